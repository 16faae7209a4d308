"""The second pass of a picture that is made twice: the first one scaled up, noised again, and made anew from there.

A model at a size it was not trained for repeats itself; at its own size it composes, and image to image keeps that.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from PIL import Image

from studio.asked.requests import HiresUpscalerName
from studio.diffusion import vae
from studio.diffusion.components import Components


@torch.inference_mode()
def scaled_up(
    components: Components, latents: torch.Tensor, size: tuple[int, int], upscaler: HiresUpscalerName
) -> Image.Image | torch.Tensor:
    """Clean latents (1, C, h, w) => what the second pass starts from: with "lanczos" the decoded picture at its new
    `size` in pixels, with "latent" the latents themselves, scaled bilinearly as A1111's Latent upscaler does."""
    factor = components.vae_scale_factor
    width, height = size
    if upscaler == "latent":
        return functional.interpolate(
            latents, size=(height // factor, width // factor), mode="bilinear", align_corners=False
        )
    picture = vae.to_pictures(vae.decode(components, latents))[0]
    return picture.resize((width, height), Image.Resampling.LANCZOS)
