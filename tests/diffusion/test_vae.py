"""Latents, pixels and pictures, and the fast preview for a VAE that came without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.preview import FastFit, decode_fast
from tests.tiny import tiny_components


def latents(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


@torch.inference_mode()
def test_decode_is_diffusers_decode_and_owns_the_scaling(components: Components) -> None:
    given = latents(2, 4, 8, 6)
    reference = components.vae.decode(given / components.vae.config.scaling_factor, return_dict=False)[0]
    pixels = vae.decode(components, given)
    assert torch.equal(pixels, reference)
    assert pixels.shape == (2, 3, 64, 48)
    theirs = VaeImageProcessor(vae_scale_factor=8).postprocess(reference, output_type="pil")
    assert [np.array(p).tolist() for p in vae.to_pictures(pixels)] == [np.array(p).tolist() for p in theirs]


def test_encode_without_a_generator_is_the_posteriors_mode(components: Components) -> None:
    pixels = vae.synthetic_pictures(1, 64)
    mode = vae.encode(components, pixels)
    assert torch.equal(mode, vae.encode(components, pixels))
    sampled = vae.encode(components, pixels, torch.Generator().manual_seed(1))
    assert not torch.equal(mode, sampled)
    assert mode.shape == (1, 4, 8, 8)


def test_uint8_is_clamped_and_rounded() -> None:
    pixels = torch.tensor([-5.0, -1.0, 0.0, 1.0, 5.0, 2 * 100.4 / 255 - 1, 2 * 100.6 / 255 - 1])
    found = vae.to_uint8(pixels[None, None, None].expand(1, 3, 1, -1))
    assert found[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255, 100, 101]


def test_a_picture_survives_the_way_to_pixels_and_back() -> None:
    picture = Image.radial_gradient("L").convert("RGB").resize((40, 24))
    back = vae.to_pictures(vae.from_picture(picture, 40, 24))[0]
    assert np.array_equal(np.array(back), np.array(picture))


class DecodesToNan:
    """A VAE that overflows in half precision, as some do on a GPU."""

    def __init__(self, real: Any) -> None:
        self.real, self.config, self.asked = real, real.config, []

    def to(self, dtype: torch.dtype) -> None:
        self.real.to(dtype)

    def decode(self, scaled: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        self.asked.append(scaled.dtype)
        pixels = self.real.decode(scaled, return_dict=return_dict)[0]
        return (pixels if scaled.dtype == torch.float32 else pixels * float("nan"),)


def test_a_nan_in_half_precision_is_decoded_once_more_in_float32_and_then_always() -> None:
    half = tiny_components(dtype=torch.bfloat16)
    half.vae = overflowing = DecodesToNan(half.vae)
    assert vae.is_finite(vae.decode(half, latents(1, 4, 8, 8)))
    assert overflowing.asked == [torch.bfloat16, torch.float32]
    assert (half.vae_dtype, half.dtype) == (torch.float32, torch.bfloat16)
    vae.decode(half, latents(1, 4, 8, 8))
    assert overflowing.asked == [torch.bfloat16, torch.float32, torch.float32]
    weight = next(overflowing.real.parameters())
    assert weight.dtype == torch.float32
    assert not weight.is_inference()


def test_what_is_not_finite_in_float32_is_an_error(components: Components) -> None:
    with pytest.raises(vae.NotFinite):
        vae.decode(components, latents(1, 4, 8, 8) * float("nan"))


def test_synthetic_pictures_have_all_colours_and_are_always_the_same() -> None:
    drawn = vae.synthetic_pictures(6, 64)
    assert torch.equal(drawn, vae.synthetic_pictures(6, 64))
    assert drawn.shape == (6, 3, 64, 64)
    assert float(drawn.min()) >= -1
    assert float(drawn.max()) <= 1
    assert (drawn.std(dim=(0, 2, 3)) > 0.3).all()


def test_a_preview_can_be_fitted_to_any_vae(components: Components) -> None:
    fit = FastFit.empty(4, 8)
    for drawn in vae.synthetic_pictures(6, 64).split(1):
        encoded = vae.encode(components, drawn)
        fit.add(encoded, vae.decode(components, encoded).clamp(-1, 1))
    weight, bias = fit.solve()
    assert weight.shape == (192, 4, 3, 3)
    assert bias.shape == (192,)
    encoded = vae.encode(components, vae.synthetic_pictures(6, 64))
    wanted = vae.decode(components, encoded).clamp(-1, 1)
    found = decode_fast(encoded, weight, bias)
    assert found.shape == wanted.shape
    constant = wanted.mean(dim=(0, 2, 3), keepdim=True)
    assert float((found - wanted).square().mean()) < 0.8 * float((constant - wanted).square().mean())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_finite_is_what_holds_numbers_alone_however_large_their_sum(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    assert vae.is_finite(torch.full((2, 3, 40), largest, dtype=dtype))
    for wrong in ([float("nan")], [float("inf")], [float("inf"), -float("inf")]):
        assert not vae.is_finite(torch.tensor([1.0, *wrong, 2.0], dtype=dtype))
