"""Classifier-free guidance: two predictions become one."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def branches(guidance_scale: float) -> int:
    """How many rows of the U-Net call one image needs. At scale 1 the negative prompt has no effect, so its row is left
    out."""
    return 1 if guidance_scale == 1 else 2


def guide(model_output: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """(2, C, h, w), negative first, => (1, C, h, w): u + w (c - u) (Ho & Salimans 2022); one branch passes through."""
    if model_output.shape[0] == 1:
        return model_output
    negative, positive = model_output.chunk(2)
    return negative + guidance_scale * (positive - negative)


def composed(model_output: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """(1 + n, C, h, w), negative first, the first of n texts last, and their weights, likewise => (1, C, h, w) float32:
    u + sum of w_i (c_i - u), the one conditional prediction of all texts (Liu et al. 2022, equation 11). Guided, it is
    A1111's u + sum of w_i w (c_i - u)."""
    negative, rows = model_output[:1].float(), model_output[1:].float()
    return negative + sum(weight * (row[None] - negative) for weight, row in zip(weights, rows))


def guidance_embedding(guidance_scale: float, width: int) -> torch.Tensor:
    """(1, width) float32: the guidance scale as the input of a distilled U-Net, diffusers' get_guidance_scale_embedding
    of w = scale - 1, after VDM's 1000 w."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(torch.log(torch.tensor(10000.0)) / (half - 1)))
    angles = torch.tensor([(guidance_scale - 1) * 1000.0])[:, None] * frequencies[None]
    embedding = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(embedding, (0, width % 2))
