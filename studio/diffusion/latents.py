"""First latents: from pure noise, or from a picture's latents noised to where image to image starts.

One CPU generator per image: the same seed gives the same noise on every device, alone or in a batch.
"""

from __future__ import annotations

import torch
from PIL import Image

from studio.diffusion import vae
from studio.diffusion.families import Components
from studio.diffusion.schedule import Schedule


def image_generator(seed: int) -> torch.Generator:
    """The one source of randomness of an image."""
    return torch.Generator("cpu").manual_seed(seed)


def first_latents(
    components: Components, generator: torch.Generator, width: int, height: int, schedule: Schedule
) -> torch.Tensor:
    """Pure noise => latents (1, C, height/8, width/8), float32, in the scheduler's scale."""
    factor = components.vae_scale_factor
    shape = (1, components.latent_channels, height // factor, width // factor)
    noise = torch.randn(shape, generator=generator).to(components.device)
    return noise * schedule.scheduler.init_noise_sigma


def first_latents_from_image(
    components: Components,
    generator: torch.Generator,
    picture: Image.Image,
    width: int,
    height: int,
    schedule: Schedule,
) -> torch.Tensor:
    """Picture => latents noised to the schedule's first evaluation, in diffusers' order of random draws.

    With no evaluation to run (strength 0, or so small that int(n * strength) is 0) they are the picture's own latents.
    """
    pixels = vae.from_picture(picture, width, height)
    latents = vae.encode(components, pixels, generator).float()
    if schedule.total == 0:
        return latents
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    return schedule.scheduler.add_noise(latents, noise, schedule.timesteps[:1])
