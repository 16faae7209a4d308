"""Classifier-free guidance: two predictions become one."""

from __future__ import annotations

import torch


def branches(guidance_scale: float) -> int:
    """How many rows of the U-Net call one image needs: at scale 1 the negative prompt has no say and is not asked."""
    return 2 if guidance_scale > 1 else 1


def guide(model_output: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """(2, C, h, w), negative first, => (1, C, h, w): u + w (c - u) (Ho & Salimans 2022); one branch passes through."""
    if model_output.shape[0] == 1:
        return model_output
    negative, positive = model_output.chunk(2)
    return negative + guidance_scale * (positive - negative)
