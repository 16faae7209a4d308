"""The fast preview finds the linear decoder that made the pictures, and needs no VAE to be tested."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.diffusion.preview import MEMORY_ROWS, FastFit, FastFrames, decode_fast, fit_fast_preview
from studio.diffusion.vae import to_uint8


def test_fit_recovers_a_linear_decoder() -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(24, 4, 16, 16, generator=generator)
    weight = 0.02 * torch.randn(192, 4, 3, 3, generator=generator)
    bias = 0.1 * torch.randn(192, generator=generator)
    pixels = decode_fast(latents, weight, bias)
    assert pixels.abs().max() < 1  # nothing was clamped, so the truth is linear
    fitted_weight, fitted_bias = fit_fast_preview(latents, pixels, ridge=0.0)
    torch.testing.assert_close(fitted_weight, weight, atol=1e-4, rtol=0)
    torch.testing.assert_close(fitted_bias, bias, atol=1e-4, rtol=0)


def test_fit_of_constant_latents_gives_their_mean_colour() -> None:
    latents, pixels = torch.ones(2, 4, 4, 4), torch.full((2, 3, 32, 32), 0.25)
    decoded = decode_fast(latents, *fit_fast_preview(latents, pixels))
    torch.testing.assert_close(decoded, pixels, atol=1e-3, rtol=0)


def test_pixels_stay_in_range_at_any_size() -> None:
    weight, bias = torch.full((192, 4, 3, 3), 9.0), torch.zeros(192)
    pixels = decode_fast(torch.randn(1, 4, 3, 5), weight, bias)
    assert pixels.shape == (1, 3, 24, 40)
    assert pixels.abs().max() <= 1


def linear(seed: int, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and what one and the same linear decoder makes of them."""
    generator = torch.Generator().manual_seed(3)
    weight, bias = 0.02 * torch.randn(192, 4, 3, 3, generator=generator), 0.1 * torch.randn(192, generator=generator)
    latents = torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    return latents, decode_fast(latents, weight, bias)


def test_pictures_one_by_one_and_two_fits_together_are_as_all_at_once() -> None:
    latents, pixels = linear(1)
    whole = fit_fast_preview(latents, pixels)
    running, other = FastFit.empty(4, 8), FastFit.empty(4, 8)
    for fit, half in ((running, slice(0, 3)), (other, slice(3, 6))):
        for one, its in zip(latents[half].split(1), pixels[half].split(1)):
            fit.add(one, its)
    assert running.rows == 3 * 64
    running += other
    assert running.rows == 6 * 64
    for found, wanted in zip(running.solve(), whole):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_some_patches_of_a_large_picture_are_enough() -> None:
    latents, pixels = linear(2)
    fit = FastFit.empty(4, 8)
    fit.add(latents, pixels, most=150)
    assert fit.rows == 150
    assert float((decode_fast(latents, *fit.solve(ridge=0.0)) - pixels).abs().max()) < 1e-3


def test_what_is_new_outweighs_what_is_old() -> None:
    fit = FastFit.empty(4, 8)
    latents = linear(4)[0]
    fit.add(latents, torch.full((6, 3, 64, 64), -0.5))
    fit.normal, fit.moment, fit.rows = (x * MEMORY_ROWS for x in (fit.normal, fit.moment, fit.rows))
    heavy = fit.rows
    fit.add(latents, torch.full((6, 3, 64, 64), 0.5))
    assert fit.rows == heavy / 2 + 6 * 64


@pytest.mark.parametrize("shape", [(1, 4, 16, 16), (3, 4, 5, 7)])
def test_the_frames_of_a_run_are_what_the_pixels_are_rounded_to(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(shape, generator=generator)
    weight, bias = torch.randn(192, 4, 3, 3, generator=generator) * 0.1, torch.randn(192, generator=generator)
    frames = FastFrames(weight, bias)(latents)
    difference = frames.astype(int) - to_uint8(decode_fast(latents, weight, bias))
    assert np.abs(difference).max() <= 1  # of pixels halfway between two levels
    assert np.count_nonzero(difference) <= 1e-3 * difference.size
    assert frames.flags.c_contiguous
    assert frames.std() > 0
