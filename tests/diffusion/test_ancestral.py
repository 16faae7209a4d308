"""Very long steps, as few of them over other betas than Stable Diffusion's have: no scheduler leaves the numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from studio.asked.schedulers import SCHEDULERS
from studio.diffusion import schedulers
from studio.diffusion.latents import image_generator
from studio.diffusion.schedule import Schedule, make_schedule
from tests.tiny import SCHEDULER_CONFIG

BETAS: dict[str, dict[str, Any]] = {
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "linear": {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
    "trailing": {"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "trailing"},
}
COUNTS = (1, 2, 3, 4, 5, 7, 10)


def schedule(name: str, noise_schedule: str, steps: int, betas: str, prediction_type: str = "epsilon") -> Schedule:
    config = SCHEDULER_CONFIG | BETAS[betas]
    return make_schedule(name, noise_schedule, steps, config, seed=1, prediction_type=prediction_type)  # type: ignore[arg-type]


def run(run: Schedule, prediction_type: str, clean: torch.Tensor) -> torch.Tensor:
    """The end of a run by a model that knows the clean latents."""
    generator = image_generator(1)
    latents = run.add_noise(clean, torch.randn(clean.shape, generator=generator), 0)
    for index, level in enumerate(run.levels):
        x_t = run.scheduler.scale_model_input(latents, run.timesteps[index])
        noise = (x_t - level.a * clean) / level.s if level.s else torch.zeros_like(x_t)
        output = noise if prediction_type == "epsilon" else level.a * noise - level.s * clean
        latents = run.step(index, output, latents, generator)
    return latents


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_stays_within_the_numbers(name: str, betas: str, prediction_type: str) -> None:
    clean = torch.randn((1, 4, 4, 4), generator=image_generator(5))
    for noise_schedule in SCHEDULERS[name].noise_schedules:
        for steps in COUNTS:
            end = run(schedule(name, noise_schedule, steps, betas, prediction_type), prediction_type, clean)
            assert torch.isfinite(end).all(), (noise_schedule, steps)


@pytest.mark.parametrize("noise_schedule", ["normal", "karras", "simple"])
@pytest.mark.parametrize("steps", [2, 3, 4, 6])
@pytest.mark.parametrize("name", ["euler_a", "dpm2_a"])
def test_a_perfect_model_is_followed_over_the_longest_steps(name: str, steps: int, noise_schedule: str) -> None:
    clean = torch.randn((1, 4, 4, 4), generator=image_generator(5))
    end = run(schedule(name, noise_schedule, steps, "cosine"), "epsilon", clean)
    torch.testing.assert_close(end, clean, rtol=0, atol=0.01)


def test_an_ancestral_step_ends_at_the_next_level() -> None:
    scheduler = schedule("dpm2_a", "normal", 6, "cosine").scheduler
    following = scheduler.sigmas[1:-1:2]
    down = torch.cat([scheduler.sigmas_down[:1], scheduler.sigmas_down[1:-1:2]])[:-1]
    up = torch.cat([scheduler.sigmas_up[:1], scheduler.sigmas_up[1:-1:2]])[:-1]
    torch.testing.assert_close(down**2 + up**2, following**2)
    assert (down[:-1] > 0).all()


@pytest.mark.parametrize("name", ["euler_a", "dpm2_a"])
def test_stable_diffusions_own_steps_stay_diffusers_to_the_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mended = [make_schedule(name, "automatic", n, SCHEDULER_CONFIG) for n in (1, 2, 3, 4, 25)]  # type: ignore[arg-type]
    unmended = {name: replace(row, mend=None) for name, row in schedulers.ROWS["preserving"].items()}
    monkeypatch.setitem(schedulers.ROWS, "preserving", unmended)
    for found in mended:
        plain = make_schedule(name, "automatic", found.steps[-1] + 1, SCHEDULER_CONFIG)  # type: ignore[arg-type]
        for values in ("sigmas", "timesteps"):
            ours, theirs = getattr(found.scheduler, values), getattr(plain.scheduler, values)
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)
