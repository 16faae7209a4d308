"""Where a scheduler itself leaves the picture: PNDM with few steps over cosine betas, here as in diffusers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import PNDMScheduler

from studio.diffusion import drift
from studio.diffusion.latents import image_generator
from studio.diffusion.schedule import make_schedule
from tests.tiny import SCHEDULER_CONFIG

COSINE = SCHEDULER_CONFIG | {"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "trailing"}


def drift_of_diffusers(config: dict[str, Any], steps: int) -> float:
    """The distance at which diffusers' own class ends by a model that knows the picture."""
    scheduler = PNDMScheduler.from_config({**config, "skip_prk_steps": True, "prediction_type": "epsilon"})
    scheduler.set_timesteps(steps)
    clean = torch.ones((1, 1, 8, 8))
    latents = torch.randn(clean.shape, generator=image_generator(0))
    for t in scheduler.timesteps:
        abar = scheduler.alphas_cumprod[int(t)]
        noise = (latents - abar**0.5 * clean) / (1 - abar) ** 0.5
        latents = scheduler.step(noise, t, latents, return_dict=False)[0]
    return float((latents - clean).abs().max())


def our_drift(config: dict[str, Any], steps: int, prediction_type: str = "epsilon") -> float:
    schedule = make_schedule("pndm", "as_configured", steps, config, prediction_type=prediction_type)
    return drift.drift(schedule, prediction_type)


@pytest.mark.parametrize("steps", [2, 4, 5, 10])  # those by which a thousand timesteps can be divided
def test_pndm_drifts_over_cosine_betas_as_diffusers_does(steps: int) -> None:
    ours = our_drift(COSINE, steps)
    assert ours == pytest.approx(drift_of_diffusers(COSINE, steps), rel=1e-3)
    assert (ours > drift.MOST) == (steps < 10)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_it_does_not_over_stable_diffusions_own(prediction_type: str) -> None:
    for steps in (3, 4, 6, 10, 20):
        assert our_drift(SCHEDULER_CONFIG, steps, prediction_type) < drift.MOST
    assert our_drift(COSINE, drift.FEW_STEPS) < 0.1
    assert our_drift(COSINE, 4, "v_prediction") < 0.1
