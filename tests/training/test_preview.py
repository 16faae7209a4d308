"""The fast preview finds the linear decoder that made the pictures, and needs no VAE to be tested."""

from __future__ import annotations

import torch

from studio.diffusion.preview import decode_fast, fit_fast_preview


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
