"""What one lane asks of the U-Net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from studio.diffusion.attention_edits import AttentionEdit
from studio.diffusion.controlnet import AppliedControl
from studio.diffusion.lora import AppliedAdapter


@dataclass(frozen=True)
class UnetCall:
    """What one lane asks of the U-Net: one row per text, the negative prompt's first; of texts joined by AND
    the first one's last, so that it is the one whose attention is looked at or edited. Before them there may be a row
    of another run (studio.diffusion.word_layout)."""

    sample: torch.Tensor  # (branches, C, h, w), model input, in the components' dtype
    timestep: float
    prompt_embeds: torch.Tensor  # (branches, tokens, dim)
    added_conditions: Mapping[str, torch.Tensor]  # added_cond_kwargs, each (branches, ...); empty but for SDXL
    adapters: tuple[AppliedAdapter, ...] = ()  # LoRAs in the U-Net; lanes of one call have the same
    controls: tuple[AppliedControl, ...] = ()  # ControlNets that act in this evaluation
    edits: tuple[AttentionEdit, ...] = ()  # of its attention; lanes of one call have edits of equal shapes
    guidance: torch.Tensor | None = None  # (1, width): the guidance scale, for a U-Net that takes it as an input
