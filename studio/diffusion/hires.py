"""The second pass of a picture that is made twice: the first result is enlarged, noised again and denoised.

At a size that it was not trained for, a model repeats objects. At its own size it composes well, and image to image
keeps the composition.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from PIL import Image

from studio.asked.fields import HiresUpscalerName
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
