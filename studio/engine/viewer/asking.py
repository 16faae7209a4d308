"""What several questions ask of a model: a picture and a caption encoded, noise, a U-Net call of one row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from studio.asked.prompt import parse_prompt
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.conditions import size_conditions
from studio.diffusion.latents import image_generator, repaint_everything
from studio.diffusion.prompt import Conditioning, encode_prompts
from studio.diffusion.unet_call import UnetCall


def unet_call(z_t: torch.Tensor, timestep: float, conditioning: Conditioning, components: Components) -> UnetCall:
    """The U-Net call of latents (1, C, h, w) at a timestep that the model knows, without guidance; an inpainting U-Net
    is shown a mask that is white everywhere."""
    embeds, conditions = conditioning.at(0)
    height, width = (side * components.vae_scale_factor for side in z_t.shape[2:])
    sample = z_t.to(components.dtype)
    if components.is_inpainting:
        sample = torch.cat([sample, repaint_everything(components, width, height).to(sample)], dim=1)
    return UnetCall(sample, float(timestep), embeds, {**conditions, **size_conditions(components, width, height, 1)})


def mean_latents(picture: Image.Image, components: Components) -> torch.Tensor:
    """z0 (1, C, h, w) float32: the mean of the posterior, so that the same picture has the same latents."""
    return vae.posterior(components, vae.from_picture(picture, *picture.size))[0]


def noise_of(z0: torch.Tensor, seed: int) -> torch.Tensor:
    """Standard normal noise of the latents' shape, the same for the same seed."""
    return torch.randn(z0.shape, generator=image_generator(seed)).to(z0.device)


def conditioning_of(caption: str, components: Components, models: Sequence[str] | None) -> Conditioning:
    """A caption encoded, without a negative prompt. `models`: ids of the embeddings that may be named; None: all."""
    return encode_prompts(
        components, parse_prompt(caption).as_one_text(), "", num_steps=1, guidance_scale=1.0, models=models
    )
