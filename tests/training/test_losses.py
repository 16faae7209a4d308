"""Every loss against a value computed by hand, and the forward process against its stated mean and variance."""

from __future__ import annotations

import math

import pytest
import torch

from training.losses import (
    conditional_ldm_loss,
    decision_weights,
    dm_loss,
    draw_timesteps,
    forward_process,
    gradient_loss,
    high_noise_weights,
    kl_loss,
    ldm_loss,
    linear_decodability_loss,
    min_snr_weights,
    reconstruction_loss,
)

ABAR = torch.tensor([0.99, 0.64, 0.04])


def test_reconstruction_is_l1_plus_l2() -> None:
    pixels = torch.zeros(1, 3, 2, 2)
    decoded = torch.full_like(pixels, 0.5)
    assert reconstruction_loss(decoded, pixels).item() == pytest.approx(0.5 + 0.25)


def test_gradient_loss_of_one_edge() -> None:
    # One row, 0 0 1 1: of three horizontal differences one is 1; there is no vertical one (height 2, equal rows).
    decoded = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(1, 1, 2, 4)
    pixels = torch.zeros(1, 1, 2, 4)
    assert gradient_loss(decoded, pixels, scales=1).item() == pytest.approx(1 / 3)


def test_gradient_loss_ignores_a_constant_shift() -> None:
    pixels = torch.rand(2, 3, 8, 8)
    assert gradient_loss(pixels + 0.25, pixels).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [(0.0, 1.0, 0.0), (2.0, 1.0, 2.0), (0.0, math.e, 0.5 * (math.e**2 - 1 - 2))],
)
def test_kl_to_the_standard_normal(mean: float, std: float, expected: float) -> None:
    shape = (2, 4, 3, 3)
    logvar = torch.full(shape, 2 * math.log(std))
    assert kl_loss(torch.full(shape, mean), logvar).item() == pytest.approx(expected, rel=1e-6)


def test_linear_decodability_is_mean_square() -> None:
    assert linear_decodability_loss(torch.ones(1, 3, 2, 2), -torch.ones(1, 3, 2, 2)).item() == pytest.approx(4.0)


def test_forward_process_by_hand() -> None:
    clean, noise = torch.full((1, 4, 1, 1), 2.0), torch.full((1, 4, 1, 1), -1.0)
    noisy = forward_process(clean, noise, torch.tensor([1]), ABAR)
    assert noisy.flatten().tolist() == pytest.approx([0.8 * 2.0 - 0.6] * 4)


@pytest.mark.parametrize("timestep", [0, 1, 2])
def test_forward_process_has_the_stated_mean_and_variance(timestep: int) -> None:
    count = 200_000
    clean = torch.full((count, 1, 1, 1), 1.5)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noisy = forward_process(clean, noise, torch.full((count,), timestep), ABAR)
    abar = ABAR[timestep].item()
    assert noisy.mean().item() == pytest.approx(math.sqrt(abar) * 1.5, abs=5 * math.sqrt((1 - abar) / count))
    assert noisy.var().item() == pytest.approx(1 - abar, rel=0.02)


def test_forward_process_takes_each_row_at_its_own_time() -> None:
    clean, noise = torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1)
    noisy = forward_process(clean, noise, torch.tensor([1, 2]), ABAR)
    assert noisy.flatten().tolist() == pytest.approx([0.8, 0.2])


def test_min_snr_weights_cut_only_the_clean_end() -> None:
    # SNR = 99, 16/9, 1/24: only the first is above gamma = 5.
    weights = min_snr_weights(torch.tensor([0, 1, 2]), ABAR, gamma=5.0)
    assert weights.tolist() == pytest.approx([5 / 99, 1.0, 1.0], rel=1e-4)


def test_high_noise_weights_by_hand() -> None:
    # SNR = 99, 16/9, 1/24.
    weights = high_noise_weights(torch.tensor([0, 1, 2]), ABAR)
    assert weights.tolist() == pytest.approx([1.0, 1.0, math.sqrt(24)], rel=1e-4)


def test_decision_weights_by_hand() -> None:
    # With the weight above they make 1 / SNR, times the gain, where that is more.
    weights = decision_weights(torch.tensor([0, 1, 2]), ABAR, gain=0.5)
    assert weights.tolist() == pytest.approx([1.0, 1.0, 0.5 * math.sqrt(24)], rel=1e-4)


def test_timesteps_are_drawn_in_proportion_to_their_weights() -> None:
    weights = torch.tensor([0.0, 1.0, 3.0, 0.0])
    drawn = draw_timesteps(400, weights, torch.Generator().manual_seed(0))
    assert torch.bincount(drawn, minlength=4).tolist() == [0, 100, 300, 0]


def test_diffusion_losses_by_hand() -> None:
    """A denoiser that always answers 0 leaves E||eps||^2; one that answers z_t leaves the error (0.8 z + 0.6 e) - e."""
    latents, noise = torch.full((2, 1, 1, 1), 0.5), torch.full((2, 1, 1, 1), 3.0)
    timesteps = torch.tensor([1, 1])
    assert dm_loss(lambda x, t: torch.zeros_like(x), latents, noise, timesteps, ABAR).item() == pytest.approx(9.0)
    by_hand = (0.8 * 0.5 + 0.6 * 3.0 - 3.0) ** 2
    assert ldm_loss(lambda z, t: z, latents, noise, timesteps, ABAR).item() == pytest.approx(by_hand, rel=1e-5)
    weights = torch.tensor([1.0, 0.0])
    weighted = ldm_loss(lambda z, t: z, latents, noise, timesteps, ABAR, weights)
    assert weighted.item() == pytest.approx(by_hand / 2, rel=1e-5)


def test_conditional_loss_sees_the_prompt_and_reaches_it_with_gradients() -> None:
    latents, noise = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 2.0)
    prompt_embeds = torch.tensor([[[0.5]]], requires_grad=True)

    def denoiser(noisy: torch.Tensor, timesteps: torch.Tensor, embeds: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(noisy) + embeds.mean()

    loss = conditional_ldm_loss(denoiser, latents, noise, torch.tensor([1]), prompt_embeds, ABAR)
    loss.backward()
    assert loss.item() == pytest.approx(1.5**2)
    assert prompt_embeds.grad is not None
    assert prompt_embeds.grad.item() == pytest.approx(-2 * 1.5)  # d/dc (c - 2)^2: tau_theta is trained jointly
