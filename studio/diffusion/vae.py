"""Latents <-> pixels <-> pictures, and the sizes and decoders of previews. The only file that knows the VAE's scaling.

Pixels are (B, 3, H, W) in [-1, 1]; latents are (B, C, H/8, W/8) at the U-Net's scale; pictures are uint8 (H, W, 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as functional
from PIL import Image

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, without_encoder
from studio.diffusion.components import Components

Part = Literal["text encoder", "model", "scheduler", "vae"]


class NotFinite(ArithmeticError):
    """A tensor that becomes a picture holds NaN or infinity. `part` is the part that computed it; `damaged` names a
    weight that holds NaN or infinity itself, if there is one."""

    damaged: str = ""

    def __init__(self, message: str, part: Part) -> None:
        super().__init__(message)
        self.part = part


def is_finite(tensor: torch.Tensor) -> bool:
    """True when every value is a number. On a GPU it waits for the device."""
    # A single NaN or infinity makes the sum NaN or infinite. Huge finite values can overflow the sum as well, so then
    # every value is checked.
    return math.isfinite(float(tensor.sum(dtype=torch.float32))) or bool(torch.isfinite(tensor).all())


@dataclass(frozen=True)
class LatentScale:
    """Between a VAE's own latents and those at the U-Net's scale, as its config.json says: (z - shift) * factor, or per
    channel (z - mean) * factor / std. In the order of operations of diffusers' pipelines, to the last bit."""

    factor: float
    shift: float = 0.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @classmethod
    def of(cls, config: Any) -> LatentScale:
        """The scale of a VAE with this config."""
        mean, std = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))
        if mean is not None and std is not None:
            return cls(config.scaling_factor, 0.0, tuple(mean), tuple(std))
        return cls(config.scaling_factor, float(getattr(config, "shift_factor", None) or 0.0))

    def to_unet(self, latents: torch.Tensor) -> torch.Tensor:
        """The VAE's latents => those at the U-Net's scale."""
        if self.mean is not None and self.std is not None:
            return (latents - _channels(self.mean, latents)) * self.factor / _channels(self.std, latents)
        return self.factor * (latents - self.shift if self.shift else latents)

    def to_vae(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents at the U-Net's scale => the VAE's own."""
        if self.mean is not None and self.std is not None:
            return latents * _channels(self.std, latents) / self.factor + _channels(self.mean, latents)
        return latents / self.factor + self.shift if self.shift else latents / self.factor

    def spread(self, deviation: torch.Tensor) -> torch.Tensor:
        """A standard deviation of the VAE's latents => the same at the U-Net's scale."""
        scaled = self.factor * deviation
        return scaled if self.std is None else scaled / _channels(self.std, deviation)


def _channels(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values).view(1, -1, 1, 1).to(like.device, like.dtype)


@torch.inference_mode()
def encode(components: Components, pixels: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Pixels => latents: a sample of the posterior by `generator` (its mode without one), as diffusers' img2img.
    Raises InvalidRequest for a VAE that only decodes."""
    _check_encodes(components)
    pixels = pixels.to(components.device)
    posterior = components.vae.encode(pixels.to(_dtype(components))).latent_dist
    if _dtype(components) != torch.float32 and not is_finite(posterior.mean):
        _stay_in_float32(components)
        posterior = components.vae.encode(pixels.float()).latent_dist
    latents = posterior.mode() if generator is None else posterior.sample(generator)
    return LatentScale.of(components.vae.config).to_unet(latents)


@torch.inference_mode()
def posterior(components: Components, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels => mean and standard deviation of the latents' normal distribution, float32, at the U-Net's scale.
    Raises as `encode`."""
    _check_encodes(components)
    distribution = components.vae.encode(pixels.to(components.device, _dtype(components))).latent_dist
    scale = LatentScale.of(components.vae.config)
    return scale.to_unet(distribution.mean.float()), scale.spread(distribution.std.float())


@torch.inference_mode()
def decode(components: Components, latents: torch.Tensor) -> torch.Tensor:
    """Latents => pixels, float32, unclamped.

    In half precision some VAEs (SDXL's first one) overflow. When a picture is not finite there, it is decoded once more
    in float32, and the VAE stays in that precision: `components.vae_dtype` says so.
    Raises NotFinite when the picture is not finite in float32 either.
    """
    vae = components.vae
    scaled = LatentScale.of(vae.config).to_vae(latents.to(components.device))
    pixels = vae.decode(scaled.to(_dtype(components)), return_dict=False)[0].float()
    if _dtype(components) != torch.float32 and not is_finite(pixels):
        _stay_in_float32(components)
        pixels = vae.decode(scaled.float(), return_dict=False)[0]
    if not is_finite(pixels):
        raise NotFinite(Message("the decoded picture holds values that are not numbers"), "vae")
    return pixels


@torch.inference_mode()
def decode_tiny(components: Components, latents: torch.Tensor) -> torch.Tensor:
    """Latents => pixels by the checkpoint's tiny decoder, float32, unclamped. It takes latents at the U-Net's scale and
    answers in [-1, 1]; the components must have one."""
    pixels: torch.Tensor = components.tiny_vae.decode(latents.to(components.device, components.dtype)).sample.float()
    return pixels


def _check_encodes(components: Components) -> None:
    if not components.encodes_pictures:
        raise InvalidRequest(without_encoder("checkpoint", components.name))


def _dtype(components: Components) -> torch.dtype:
    return components.vae_dtype or components.dtype


def _stay_in_float32(components: Components) -> None:
    _cast(components.vae, torch.float32)
    components.vae_dtype = torch.float32


@torch.inference_mode(mode=False)
def _cast(vae: Any, dtype: torch.dtype) -> None:
    vae.to(dtype)  # outside inference mode: weights moved inside it could never be changed again


def to_uint8(pixels: torch.Tensor) -> np.ndarray:
    """Pixels (B, 3, H, W) in [-1, 1] => uint8 (B, H, W, 3), clamped and rounded as diffusers' postprocess does."""
    unit = (pixels * 0.5 + 0.5).clamp(0, 1)
    return (unit.permute(0, 2, 3, 1).cpu().float().numpy() * 255).round().astype("uint8")


def to_pictures(pixels: torch.Tensor) -> list[Image.Image]:
    """Pixels => PIL RGB pictures."""
    return [Image.fromarray(array) for array in to_uint8(pixels)]


def from_picture(picture: Image.Image, width: int, height: int) -> torch.Tensor:
    """PIL RGB => pixels (1, 3, height, width), resized by Lanczos as diffusers' VaeImageProcessor does."""
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    array = np.asarray(picture.convert("RGB"), dtype=np.float32)[None] / 255  # (1, height, width, 3)
    pixels = torch.from_numpy(array.transpose(0, 3, 1, 2)) * 2 - 1
    return pixels.contiguous()  # convolutions round differently on other memory layouts; one layout, one picture


def synthetic_pictures(count: int, side: int) -> torch.Tensor:
    """Pixels (count, 3, side, side) in [-1, 1] of all colours, with soft shades, hard edges and fine grain."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    pixels = functional.interpolate(uniform(count, 3, 4, 4), size=(side, side), mode="bicubic")
    for picture in pixels:
        for _ in range(8):
            corner = torch.randint(0, side, (2,), generator=generator).tolist()
            size = torch.randint(side // 16, side // 2, (2,), generator=generator).tolist()
            rows, columns = (slice(begin, begin + length) for begin, length in zip(corner, size))
            picture[:, rows, columns] = uniform(3, 1, 1)
    return (pixels + 0.05 * uniform(count, 1, side, side)).clamp(-1, 1)
