"""The second pass of a picture that is made twice: the first one scaled up, noised again, and made anew from there.

A model at a size it was not trained for repeats itself; at its own size it composes, and image to image keeps that.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as functional
from PIL import Image

from studio.asked.requests import HiresPass, ImageToImage, TextToImage
from studio.diffusion import vae
from studio.diffusion.components import Components


@torch.inference_mode()
def scaled_up(components: Components, latents: torch.Tensor, hires: HiresPass) -> Image.Image | torch.Tensor:
    """Clean latents (1, C, h, w) => what the second pass starts from: with "lanczos" the decoded picture at its new
    size, with "latent" the latents themselves, scaled bilinearly as A1111's Latent upscaler does."""
    factor = components.vae_scale_factor
    width, height = hires.size(latents.shape[-1] * factor, latents.shape[-2] * factor)
    if hires.upscaler == "latent":
        size = (height // factor, width // factor)
        return functional.interpolate(latents, size=size, mode="bilinear", align_corners=False)
    picture = vae.to_pictures(vae.decode(components, latents))[0]
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def second_request(request: TextToImage, hires: HiresPass) -> ImageToImage:
    """The second pass as an image-to-image request, its picture being made meanwhile."""
    common = {f.name: getattr(request, f.name) for f in dataclasses.fields(ImageToImage) if hasattr(request, f.name)}
    common |= {"width": None, "height": None, "num_inference_steps": hires.num_inference_steps}
    return ImageToImage(**common, image=b"the first pass", strength=hires.strength)
