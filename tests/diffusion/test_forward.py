"""T7: the forward process has the variance it says, and the true noise gives the picture back."""

from __future__ import annotations

import pytest
import torch

from studio.diffusion.forward import add_noise, error, training_curve
from studio.diffusion.levels import predicted_x0
from tests.tiny import SCHEDULER_CONFIG

ANSWERS = {
    "epsilon": lambda z0, noise, level: noise,
    "v_prediction": lambda z0, noise, level: level.a * noise - level.s * z0,
    "sample": lambda z0, noise, level: z0,
}


def latents_and_noise() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return 0.7 * torch.randn((1, 4, 64, 64), generator=generator), torch.randn((1, 4, 64, 64), generator=generator)


def test_the_training_curve_is_ddpms_own() -> None:
    from diffusers import DDPMScheduler

    curve = training_curve(SCHEDULER_CONFIG)
    abar = DDPMScheduler.from_config(SCHEDULER_CONFIG).alphas_cumprod
    assert [level.a**2 for level in curve.levels] == pytest.approx(abar.double().tolist(), rel=1e-6)
    assert curve.timesteps == list(range(1000))
    ends_in_noise = training_curve(SCHEDULER_CONFIG | {"rescale_betas_zero_snr": True})
    assert ends_in_noise.levels[999].a == 0


@pytest.mark.parametrize("timestep", [0, 10, 250, 500, 999])
def test_variances_add(timestep: int) -> None:
    z0, noise = latents_and_noise()
    level = training_curve(SCHEDULER_CONFIG).levels[timestep]
    assert level.a**2 + level.s**2 == pytest.approx(1)
    expected = level.a**2 * float(z0.var()) + level.s**2
    assert float(add_noise(z0, noise, level).var()) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("prediction_type", ANSWERS)
@pytest.mark.parametrize("timestep", [0, 250, 999])
def test_a_model_that_knows_the_noise_has_no_loss_and_gives_z0_back(prediction_type: str, timestep: int) -> None:
    z0, noise = latents_and_noise()
    level = training_curve(SCHEDULER_CONFIG).levels[timestep]
    z_t = add_noise(z0, noise, level)
    answer = ANSWERS[prediction_type](z0, noise, level)
    again = predicted_x0(z_t, answer, level, prediction_type)
    assert float((again - z0).abs().max()) < 1e-5 * float(z0.abs().max()) / max(level.a, 0.1)
    assert float(error(z_t, answer, noise, level, prediction_type).square().mean()) < 1e-8
    wrong = error(z_t, answer + 0.1, noise, level, prediction_type)
    assert float(wrong.square().mean()) > 1e-6
