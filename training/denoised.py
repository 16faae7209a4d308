"""Latents as the U-Net leaves them: encoded pictures noised to some level and denoised again in a few guided steps.

A decoder that was trained on exact latents alone shows each small error of a U-Net as a smudge. Trained on these too,
it learns what was meant: as training with noise on the latents does, with the noise that there really is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from training.schedule import make_scheduler
from training.tokenizer import MODEL_MAX_LENGTH, load_tokenizer

STEPS = 4
LEVELS = (250, 750)  # timesteps that a picture is noised to: what the prompt still leaves to be seen of it
GUIDANCE_SCALE = 5.0  # the default of the built-in model: its pictures are what is decoded


class Denoiser:
    """A checkpoint's U-Net and text encoder, frozen."""

    def __init__(self, checkpoint: Path, device: torch.device) -> None:
        unet = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet", torch_dtype=torch.float32)
        text_encoder = CLIPTextModel.from_pretrained(checkpoint, subfolder="text_encoder", dtype=torch.float32)
        self._unet = unet.to(device).eval().requires_grad_(False)
        self._text_encoder = text_encoder.to(device).eval().requires_grad_(False)
        self._tokenizer = load_tokenizer(checkpoint / "tokenizer")
        self._alphas_cumprod = make_scheduler().alphas_cumprod.to(device)

    @torch.no_grad()
    def leave(self, latents: Tensor, captions: Sequence[str], level: int, noise: Tensor) -> Tensor:
        """`latents` (B, 4, h, w) at the U-Net's scale, noised to timestep `level` and denoised by the captions."""
        count = len(latents)
        words = self._tokenizer(
            ["", *captions], padding="max_length", max_length=MODEL_MAX_LENGTH, truncation=True, return_tensors="pt"
        )
        embeds = self._text_encoder(words.input_ids.to(latents.device))[0]
        both = torch.cat([embeds[:1].expand(count, -1, -1), embeds[1:]])
        alphas = self._alphas_cumprod
        timesteps = torch.linspace(level, 0, STEPS + 1).long()
        noisy = alphas[level].sqrt() * latents + (1 - alphas[level]).sqrt() * noise
        for now, then in itertools.pairwise(timesteps):
            without, with_prompt = self._unet(torch.cat([noisy, noisy]), now, both, return_dict=False)[0].chunk(2)
            predicted = without + GUIDANCE_SCALE * (with_prompt - without)
            clean = (noisy - (1 - alphas[now]).sqrt() * predicted) / alphas[now].sqrt()
            # Song et al. 2021, eq. 12 with sigma 0; what is left at the end is predicted x0 itself.
            noisy = clean if then == 0 else alphas[then].sqrt() * clean + (1 - alphas[then]).sqrt() * predicted
        return noisy


def draw_level(generator: torch.Generator) -> int:
    """A timestep from LEVELS."""
    return int(torch.randint(*LEVELS, (1,), generator=generator))
