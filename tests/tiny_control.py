"""Tiny random ControlNets for the tiny checkpoints; none of their convolutions is zero: they have a say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel


def tiny_controlnet(unet: Any, seed: int = 0) -> Any:
    """A ControlNet for this U-Net, all its weights random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ControlNetModel.from_unet(
            unet, conditioning_embedding_out_channels=(4, 4, 8, 8), load_weights_from_unet=False
        )
        for name, weight in net.named_parameters():
            if name.startswith(
                ("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding.conv_out")
            ):
                torch.nn.init.normal_(weight, std=0.3)
    return net.eval().requires_grad_(False)


def save_tiny_controlnet(folder: Path, unet: Any, seed: int = 0) -> Path:
    """As a diffusers folder; returns it."""
    tiny_controlnet(unet, seed).save_pretrained(folder)
    return folder
