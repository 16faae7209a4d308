"""Latents as a U-Net leaves them: exactly the given ones when it knows the noise, and of its guided answer when not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from training.denoised import GUIDANCE_SCALE, LEVELS, STEPS, Denoiser, draw_level
from training.schedule import make_scheduler

CHECKPOINT = Path("models/small-world-128")


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser(CHECKPOINT, torch.device("cpu"))


def test_a_unet_that_knows_the_picture_gives_it_back(denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    alphas = make_scheduler().alphas_cumprod
    seen: list[int] = []

    def knows(noisy: Tensor, timestep: Tensor, embeds: Tensor, return_dict: bool) -> tuple[Tensor]:
        seen.append(int(timestep))
        assert len(noisy) == len(embeds) == 4  # both branches of both pictures in one call
        abar = alphas[timestep]
        return ((noisy - abar.sqrt() * torch.cat([latents, latents])) / (1 - abar).sqrt(),)

    monkeypatch.setattr(denoiser, "_unet", knows)
    left = denoiser.leave(latents, ["a fox", "a pig"], 600, noise)
    torch.testing.assert_close(left, latents, rtol=0, atol=1e-4)
    assert seen == [600, 450, 300, 150]
    assert len(seen) == STEPS


def test_its_answers_are_guided(denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = torch.zeros(1, 4, 16, 16)
    answers = torch.tensor([0.01, 0.03]).view(2, 1, 1, 1).expand(2, 4, 16, 16)
    monkeypatch.setattr(denoiser, "_unet", lambda *given, **named: (answers,))
    monkeypatch.setattr("training.denoised.STEPS", 1)
    left = denoiser.leave(latents, ["a fox"], 500, torch.zeros_like(latents))
    abar = make_scheduler().alphas_cumprod[500]
    guided = 0.01 + GUIDANCE_SCALE * 0.02
    assert float(left.mean()) == pytest.approx(float(-(1 - abar).sqrt() * guided / abar.sqrt()), rel=1e-4)


def test_the_shipped_unet_brings_latents_back_towards_the_picture(denoiser: Denoiser) -> None:
    """From t = 400 on the prompt and what is left of the picture decide it: nearer than the noised one, not exact."""
    from training.encode_latents import load_vae
    from training.train_autoencoder import picture_batch
    from training.world import draw_scene

    vae = load_vae(CHECKPOINT)
    with torch.inference_mode():
        latents = vae.encode(picture_batch(990_001, range(4))).latent_dist.mean.clone() * vae.config.scaling_factor
    captions = [draw_scene(990_001, index).caption for index in range(4)]
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(3))
    left = denoiser.leave(latents, captions, 400, noise)
    error = float((left - latents).square().mean())
    assert 0 < error < 0.2  # its variance is 1


def test_levels_are_drawn_within_their_range() -> None:
    levels = {draw_level(torch.Generator().manual_seed(seed)) for seed in range(50)}
    assert min(levels) >= LEVELS[0]
    assert max(levels) < LEVELS[1]
    assert len(levels) > 20
