"""Noise schedules against their formulas, written down a second time, and every combination run to its end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.schedulers import AysSchedules
from scipy.stats import beta

from studio.asked.schedulers import NOISE_SCHEDULES, SCHEDULERS, evaluations, steps_run
from studio.diffusion.latents import image_generator
from studio.diffusion.schedule import Schedule, make_schedule
from tests.tiny import SCHEDULER_CONFIG

SIGMA_SCHEDULERS = [name for name, facts in SCHEDULERS.items() if "karras" in facts.noise_schedules]
TIMESTEP_SCHEDULERS = [name for name in SCHEDULERS if name not in SIGMA_SCHEDULERS]
SEED = 5


def training_sigmas() -> np.ndarray[Any, Any]:
    abar = DDPMScheduler.from_config(SCHEDULER_CONFIG).alphas_cumprod.numpy()
    return np.asarray(np.sqrt((1 - abar) / abar), dtype=np.float64)


def formula_timesteps(noise_schedule: str, n: int) -> np.ndarray[Any, Any] | None:
    if noise_schedule == "normal":
        return np.array([999.0]) if n == 1 else np.array([999 - 999 * i / (n - 1) for i in range(n)])
    if noise_schedule == "sgm_uniform":
        return np.array([999 - 999 * i / n for i in range(n)])
    if noise_schedule == "simple":
        return np.array([999.0 - int(i * 1000 / n) for i in range(n)])
    if noise_schedule == "turbo":
        return np.array([round((n - i) * 1000 / n) - 1.0 for i in range(n)])
    if noise_schedule == "beta":
        found = [round(beta.ppf(1 - i / n, 0.6, 0.6) * 999) for i in range(n)]
        return np.array(list(dict.fromkeys(found)), dtype=float)
    return None


def formula_sigmas(noise_schedule: str, n: int) -> np.ndarray[Any, Any]:
    """Sigmas of the first evaluation of each step."""
    sigma = training_sigmas()
    timesteps = formula_timesteps(noise_schedule, n)
    if timesteps is not None:
        low = np.floor(timesteps).astype(int)
        high = np.minimum(low + 1, 999)
        share = timesteps - low
        return np.asarray((1 - share) * sigma[low] + share * sigma[high])
    high, low = sigma[-1], sigma[0]
    if noise_schedule == "karras":
        return np.array(
            [(high ** (1 / 7) + i / max(n - 1, 1) * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(n)]
        )
    if noise_schedule == "kl_optimal":
        places = [i / max(n - 1, 1) for i in range(n)]
        return np.array([math.tan(p * math.atan(low) + (1 - p) * math.atan(high)) for p in places])
    if noise_schedule in ("exponential", "polyexponential"):
        return np.array([high * (low / high) ** (i / max(n - 1, 1)) for i in range(n)])
    table = [*AysSchedules["StableDiffusionSigmas"][:10], low]
    found = []
    for i in range(n):
        place = i / n * 10
        k = int(place)
        found.append(table[k] * (table[min(k + 1, 10)] / table[k]) ** (place - k))
    return np.array(found)


def schedule(name: str, noise_schedule: str, n: int, **settings: Any) -> Schedule:
    return make_schedule(name, noise_schedule, n, SCHEDULER_CONFIG, seed=SEED, **settings)


def first_of_each_step(values: list[float], run: Schedule) -> np.ndarray[Any, Any]:
    second_order = SCHEDULERS[run.name].second_order
    return np.array(values[::2] if second_order else values)


@pytest.mark.parametrize("noise_schedule", [s for s in NOISE_SCHEDULES if s not in ("automatic", "as_configured")])
@pytest.mark.parametrize("name", SIGMA_SCHEDULERS)
def test_sigmas_equal_their_formula(name: str, noise_schedule: str) -> None:
    for n in (1, 2, 19 if name == "restart" else 25):  # from 20 on Restart goes back
        run = schedule(name, noise_schedule, n)
        expected = formula_sigmas(noise_schedule, n)
        np.testing.assert_allclose(first_of_each_step([v.sigma for v in run.levels], run), expected, rtol=1e-6)
        assert float(run.scheduler.sigmas[-1]) == pytest.approx(training_sigmas()[0] if name == "deis" else 0)
        timesteps = formula_timesteps(noise_schedule, n)
        if timesteps is not None:
            found = first_of_each_step([float(t) for t in run.timesteps], run)
            np.testing.assert_allclose(found, timesteps, atol=1e-4)  # float32 of numbers up to 999


@pytest.mark.parametrize("name", SIGMA_SCHEDULERS)
@pytest.mark.parametrize("noise_schedule", ["karras", "exponential", "kl_optimal", "ays"])
def test_timesteps_fit_their_sigmas(name: str, noise_schedule: str) -> None:
    """Where the curve is one of sigmas, the U-Net is told the timestep of that sigma, to within its rounding."""
    run = schedule(name, noise_schedule, 25)
    sigma = training_sigmas()
    for timestep, level in zip(run.timesteps.tolist(), run.levels):
        below, above = sigma[max(math.floor(timestep) - 1, 0)], sigma[min(math.ceil(timestep) + 1, 999)]
        assert below * (1 - 1e-4) <= level.sigma <= above * (1 + 1e-4)


@pytest.mark.parametrize("noise_schedule", ["normal", "sgm_uniform", "simple", "turbo", "ays"])
@pytest.mark.parametrize("name", TIMESTEP_SCHEDULERS)
def test_integer_timesteps_equal_their_formula(name: str, noise_schedule: str) -> None:
    if noise_schedule not in SCHEDULERS[name].noise_schedules:
        with pytest.raises(ValueError, match="noise_schedule: ays; pndm can run"):
            schedule(name, noise_schedule, 10)
        return
    for n in (1, 2, 10, 25):
        expected = formula_timesteps(noise_schedule, n)
        if expected is None:
            log_sigmas = np.log(training_sigmas())
            expected = np.interp(np.log(formula_sigmas("ays", n)), log_sigmas, np.arange(1000))
        found = schedule(name, noise_schedule, n).timesteps.tolist()
        if name == "pndm" and n > 1:
            assert found.pop(1) == found[1]  # asked twice
        assert found == np.round(expected).astype(int).tolist()


def test_as_configured_is_the_checkpoints_own_leading_spacing() -> None:
    assert schedule("ddim", "as_configured", 10).timesteps.tolist() == list(range(901, 0, -100))
    assert schedule("pndm", "as_configured", 10).timesteps.tolist() == [901, 801, *range(801, 0, -100)]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_automatic_is_what_the_table_says(name: str) -> None:
    automatic, named = schedule(name, "automatic", 8), schedule(name, SCHEDULERS[name].automatic, 8)
    assert torch.equal(automatic.timesteps, named.timesteps)
    assert automatic.levels == named.levels


# ------------------------------------------------------------------------------------------- everything runs to its end

CLEAN = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(3))


@torch.inference_mode()
def run_with_oracle(run: Schedule, strength: float = 1.0, prediction_type: str = "epsilon") -> torch.Tensor:
    """Run with a perfect model, one that knows the clean latents CLEAN; what comes out should be them."""
    generator = image_generator(SEED)
    noise = torch.randn(CLEAN.shape, generator=generator)
    if strength == 1:
        latents = noise * run.first_scale
    else:
        latents = run.scheduler.add_noise(CLEAN, noise, run.timesteps[:1]) if run.total else CLEAN
    for index, level in enumerate(run.levels):
        x_t = run.scheduler.scale_model_input(latents, run.timesteps[index])
        eps = (x_t - level.a * CLEAN) / level.s
        answer = {"epsilon": eps, "v_prediction": level.a * eps - level.s * CLEAN, "sample": CLEAN}[prediction_type]
        latents = run.step(index, answer, latents, generator)
    return latents


def check_runs(name: str, noise_schedule: str, counts: tuple[int, ...]) -> None:
    for n in counts:
        if n > SCHEDULERS[name].max_steps:
            with pytest.raises(ValueError, match="can run 1 to"):
                schedule(name, noise_schedule, n)
            continue
        run = schedule(name, noise_schedule, n)
        assert bool(torch.isfinite(run_with_oracle(run)).all()), n
        dropped = noise_schedule == "beta" or (noise_schedule == "ays" and name in ("ddim", "ddpm"))
        if not (dropped and n == 150):
            assert run.total == evaluations(name, n), n
        else:
            assert evaluations(name, n) - 2 <= run.total < evaluations(name, n)
        part = schedule(name, noise_schedule, n, strength=0.3)
        assert bool(torch.isfinite(run_with_oracle(part, 0.3)).all()), n
        assert len(set(part.steps)) == steps_run(len(set(run.steps)), 0.3), n


COMBINATIONS = [(name, s) for name, facts in SCHEDULERS.items() for s in facts.noise_schedules if s != "automatic"]


@pytest.mark.parametrize(("name", "noise_schedule"), COMBINATIONS)
def test_every_combination_runs_to_its_end(name: str, noise_schedule: str) -> None:
    check_runs(name, noise_schedule, (1, 2, 4))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "noise_schedule"), COMBINATIONS)
def test_every_combination_runs_to_its_end_with_many_steps(name: str, noise_schedule: str) -> None:
    check_runs(name, noise_schedule, (3, 25, 50, 51, 150))


@pytest.mark.parametrize("name", TIMESTEP_SCHEDULERS)
def test_what_cannot_run_is_refused(name: str) -> None:
    for noise_schedule in {"karras", "exponential", "beta"}:
        with pytest.raises(ValueError, match=f"noise_schedule: {noise_schedule}; {name} can run"):
            schedule(name, noise_schedule, 10)


# What is left of the noise, and why. Ending at the first training timestep instead of at the clean latents leaves a
# std of sqrt(1 - abar_0) = 0.0292.
LEFT_OVER = {"ddim": 0.15, "pndm": 0.15, "deis": 0.15, "tcd": 0.15, "lcm": 0.15}


def check_oracle(name: str, noise_schedule: str, prediction_type: str) -> None:
    for strength in (1.0, 0.5):
        run = schedule(name, noise_schedule, 6, strength=strength, prediction_type=prediction_type)
        error = float((run_with_oracle(run, strength, prediction_type) - CLEAN).abs().max())
        assert error < LEFT_OVER.get(name, 2e-5), (strength, error)


@pytest.mark.parametrize(("name", "noise_schedule"), COMBINATIONS)
def test_a_perfect_model_is_followed_to_the_clean_latents(name: str, noise_schedule: str) -> None:
    """Every scheduler, on every schedule, from noise and from the middle, keeps latents and level in step."""
    check_oracle(name, noise_schedule, "epsilon")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_perfect_v_model_is_followed_to_the_clean_latents(name: str) -> None:
    check_oracle(name, "automatic", "v_prediction")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_strength_runs_the_last_steps(name: str) -> None:
    whole, part = schedule(name, "automatic", 10), schedule(name, "automatic", 10, strength=0.35)
    assert sorted(set(part.steps)) == [0, 1, 2]
    assert part.timesteps[-1] == whole.timesteps[-1]
    assert schedule(name, "automatic", 10, strength=0.05).total == 0


def test_dpmpp_sde_takes_its_noise_from_the_images_seed() -> None:
    torch.manual_seed(1)
    once = run_noisy(7)
    torch.manual_seed(2)
    assert torch.equal(once, run_noisy(7))
    assert not torch.equal(once, run_noisy(8))


@torch.inference_mode()
def run_noisy(seed: int) -> torch.Tensor:
    """DPM++ SDE with a model that answers half its input."""
    run = make_schedule("dpmpp_sde", "karras", 4, SCHEDULER_CONFIG, seed=seed)
    latents = CLEAN * 14
    for index in range(run.total):
        x_t = run.scheduler.scale_model_input(latents, run.timesteps[index])
        latents = run.step(index, x_t / 2, latents, image_generator(seed))
    return latents
