"""First latents: pure noise, or a picture's latents noised to the level where its run begins; and the unmasked part of
a picture.

One CPU generator per image: the same seed gives the same noise on every device, alone or in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from PIL import Image

from studio.asked.fields import MaskFillName
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.schedule import Schedule

PARALLEL = 0.9995  # cosine from which two noises are mixed along the chord, as A1111 does


@dataclass(frozen=True)
class Variation:
    """The noise lies `strength` (0 to 1) of the way from the image's own to that of `seed`."""

    seed: int
    strength: float


@dataclass(frozen=True)
class UnmaskedPart:
    """What stays of a masked picture: after each step the latents outside the mask are set back to the picture's.

    `mask` is (1, 1, h, w), 1 where it is repainted; `latents` and `noise` (1, C, h, w) are those the run began with.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor

    def put_back(self, latents: torch.Tensor, schedule: Schedule, index: int) -> torch.Tensor:
        """Latents before evaluation `index` (or clean ones, after the last) with the kept part in its place.

        RePaint's idea (Lugmayr et al. 2022, equation 8), once a step as in diffusers' inpaint pipeline.
        """
        noised_picture = schedule.add_noise(self.latents, self.noise, index)
        return (1 - self.mask) * noised_picture + self.mask * latents


@dataclass(frozen=True)
class Beginning:
    """Where an image's run begins: its latents in the scheduler's scale, and what stays of them."""

    latents: torch.Tensor  # (1, C, h, w) float32
    unmasked_part: UnmaskedPart | None = None


def image_generator(seed: int) -> torch.Generator:
    """The one source of randomness of an image."""
    return torch.Generator("cpu").manual_seed(seed)


def image_noise(shape: tuple[int, ...], generator: torch.Generator, variation: Variation | None = None) -> torch.Tensor:
    """Standard normal noise (1, C, h, w) on the CPU: the image's own, or on the way to its variation's."""
    noise = torch.randn(shape, generator=generator)
    if variation is None or variation.strength == 0:
        return noise
    return slerp(variation.strength, noise, torch.randn(shape, generator=image_generator(variation.seed)))


def slerp(share: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Spherical interpolation, `share` of the way from `low` to `high`, both (1, C, h, w).

    Shoemake 1985, in A1111's form: the angle is taken per column of each channel, so that pictures of a variation seed
    equal A1111's. Along a chord the noise would lose its variance, and the picture its contrast.
    """
    dim = -2
    unit_low, unit_high = (noise / noise.norm(dim=dim, keepdim=True) for noise in (low, high))
    cosine = (unit_low * unit_high).sum(dim, keepdim=True)
    if cosine.mean() > PARALLEL:
        return low * (1 - share) + high * share
    angle = torch.acos(cosine)
    weight_low, weight_high = torch.sin((1 - share) * angle), torch.sin(share * angle)
    return (weight_low * low + weight_high * high) / torch.sin(angle)


def first_latents(
    components: Components,
    generator: torch.Generator,
    width: int,
    height: int,
    schedule: Schedule,
    variation: Variation | None = None,
) -> torch.Tensor:
    """Pure noise => latents (1, C, height/8, width/8), float32, in the scheduler's scale."""
    factor = components.vae_scale_factor
    shape = (1, components.latent_channels, height // factor, width // factor)
    noise = image_noise(shape, generator, variation).to(components.device)
    return noise * schedule.first_scale


def beginning_from_picture(
    components: Components,
    generator: torch.Generator,
    picture: Image.Image | torch.Tensor,
    schedule: Schedule,
    *,
    mask: Image.Image | None = None,
    mask_fill: MaskFillName = "original",
    variation: Variation | None = None,
) -> Beginning:
    """Picture (and mask, L, of its size) => latents noised to the schedule's first evaluation. A tensor is taken as the
    picture's latents.

    In diffusers' order of random draws: an inpainting U-Net that begins from pure noise draws nothing for the picture,
    since the picture is an input of its own. With no evaluation to run (strength 0, or so small that int(n * strength)
    is 0) they are the picture's own latents. A masked run that takes all steps begins from pure noise, as diffusers'
    does.
    """
    if isinstance(picture, torch.Tensor):
        latents = picture
    elif mask is not None and schedule.complete and schedule.total and components.is_inpainting:
        width, height = picture.size
        return Beginning(first_latents(components, generator, width, height, schedule, variation))
    else:
        latents = vae.encode(components, vae.from_picture(picture, *picture.size), generator).float()
    noise = image_noise(tuple(latents.shape), generator, variation).to(latents.device)
    if mask is None:
        return Beginning(latents if schedule.total == 0 else schedule.add_noise(latents, noise, 0))
    cells = mask_cells(mask, components.vae_scale_factor).to(latents.device)
    unmasked_part = UnmaskedPart(latents, noise, cells)
    if schedule.total == 0:
        return Beginning(latents, unmasked_part)
    if schedule.complete:
        return Beginning(noise * schedule.first_scale, unmasked_part)
    inside = latents
    if mask_fill == "noise":
        other = torch.randn(latents.shape, generator=generator).to(latents.device)
        inside = (1 - cells) * latents + cells * other
    return Beginning(schedule.add_noise(inside, noise, 0), unmasked_part)


def mask_cells(mask: Image.Image, factor: int) -> torch.Tensor:
    """Mask (L, 0 or 255, white = repaint) => (1, 1, h, w), 1 for each latent cell of which any pixel is white.

    diffusers looks at a cell's first pixel alone, so that fine strokes are lost; the pixels of such a cell that are
    not white are put back when the result is pasted.
    """
    pixels = torch.from_numpy(np.asarray(mask, dtype=np.float32) / 255)[None, None]
    return (functional.max_pool2d(pixels, factor) >= 0.5).float()


def repaint_everything(components: Components, width: int, height: int) -> torch.Tensor:
    """`inpainting_input` of a mask that is white everywhere, for an inpainting U-Net without a picture to keep."""
    return inpainting_input(components, Image.new("RGB", (width, height)), Image.new("L", (width, height), 255))


def inpainting_input(components: Components, picture: Image.Image, mask: Image.Image) -> torch.Tensor:
    """What a U-Net of 9 channels takes beside the latents: mask and masked picture => (1, 5, h, w) float32.

    The mask (L, of the picture's size) is white where the picture is repainted. There the U-Net sees grey, as in
    diffusers' StableDiffusionInpaintPipeline. The latents are the mode of the posterior, not a sample of it, so that
    the extra input needs no random numbers.
    """
    white = torch.from_numpy(np.asarray(mask, dtype=np.float32) / 255)[None, None] >= 0.5
    visible = vae.from_picture(picture, *picture.size).masked_fill(white, 0.0)
    latents = vae.encode(components, visible).float()
    return torch.cat([mask_cells(mask, components.vae_scale_factor).to(latents), latents], dim=1)
