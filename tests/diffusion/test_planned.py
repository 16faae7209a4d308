"""DPM++ 2S a and Restart against k-diffusion's formulas, written here a second time as plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch

from studio.asked.fields import TextToImage
from studio.asked.noise_settings import NoiseSettings, idle_fields, settings_of
from studio.asked.resolved import resolve
from studio.asked.schedulers import SCHEDULERS
from studio.diffusion.components import Components
from studio.diffusion.lane import Lane, start_lane
from studio.diffusion.prompt import encode_prompts
from tests.diffusion.helpers import ask_unet, run_lane
from tests.diffusion.test_predicted_x0 import lane_of, nonlinear
from tests.diffusion.test_schedules import schedule

Model = Callable[[torch.Tensor, float], torch.Tensor]
SEED = 3  # of `lane_of`


def denoiser(lane: Lane) -> Model:
    """The predicted x0 of the model `nonlinear`, of latents x0 + sigma * noise, as k-diffusion asks for it."""
    timesteps = {level.sigma: float(t) for level, t in zip(lane.schedule.levels, lane.schedule.timesteps)}

    def denoised(x: torch.Tensor, sigma: float) -> torch.Tensor:
        timestep = timesteps[min(timesteps, key=lambda one: abs(one - sigma))]
        x_t = x / math.sqrt(sigma**2 + 1)
        noise = torch.tanh(1.3 * x_t.roll(1, dims=1) + 0.2 * x_t.roll(1, dims=3) + timestep / 2000)
        return x - sigma * noise

    return denoised


def first_noise(sigma: float) -> tuple[torch.Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn((1, 4, 8, 8), generator=generator) * sigma, generator


def dpmpp_2s_ancestral(model: Model, sigmas: list[float], eta: float = 1.0, s_noise: float = 1.0) -> torch.Tensor:
    x, generator = first_noise(sigmas[0])
    for sigma, following in zip(sigmas, [*sigmas[1:], 0.0]):
        up = min(following, eta * (following**2 * (sigma**2 - following**2) / sigma**2) ** 0.5)
        down = (following**2 - up**2) ** 0.5
        denoised = model(x, sigma)
        if down == 0:
            x = x + (x - denoised) / sigma * (down - sigma)
        else:
            t, t_next = -math.log(sigma), -math.log(down)
            h = t_next - t
            s = t + h / 2
            x_2 = math.exp(-s) / math.exp(-t) * x - math.expm1(-h / 2) * denoised
            x = math.exp(-t_next) / math.exp(-t) * x - math.expm1(-h) * model(x_2, math.exp(-s))
        if following > 0:
            x = x + torch.randn(x.shape, generator=generator) * s_noise * up
    return x


def karras(n: int, low: float, high: float) -> list[float]:
    return [(high ** (1 / 7) + i / (n - 1) * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(n)]


def restart(model: Model, sigmas: list[float], s_noise: float = 1.0) -> torch.Tensor:
    """Xu et al. 2023, algorithm 1, with AUTOMATIC1111's choice of the interval."""
    x, generator = first_noise(sigmas[0])
    n = len(sigmas)
    length, times = (0, 0) if n < 20 else (9, 1) if n < 36 else (n // 4, 2)
    main = karras(n - length * times, sigmas[-1], sigmas[0]) if times else sigmas
    main = [*main, 0.0]
    low = min(range(len(main)), key=lambda i: abs(main[i] - 0.1))
    high = min(range(len(main)), key=lambda i: abs(main[i] - 2.0))
    path: list[tuple[float, float]] = []
    for i in range(len(main) - 1):
        path.append((main[i], main[i + 1]))
        if i + 1 == low and times:
            again = karras(length + 1, main[low], main[high])
            path += list(itertools.pairwise(again)) * times
    last = None
    for old, new in path:
        if last is not None and last < old:
            x = x + torch.randn(x.shape, generator=generator) * s_noise * (old**2 - last**2) ** 0.5
        d = (x - model(x, old)) / old
        if new == 0:
            x = x + d * (new - old)
        else:
            x_2 = x + d * (new - old)
            d_2 = (x_2 - model(x_2, new)) / new
            x = x + (d + d_2) / 2 * (new - old)
        last = new
    return x


def ours(lane: Lane) -> torch.Tensor:
    while not lane.is_finished:
        lane.advance(nonlinear(lane))
    return lane.latents


def curve(noise_schedule: str, n: int) -> list[float]:
    return [float(sigma) for sigma in schedule("euler", noise_schedule, n).scheduler.sigmas[:-1]]


@pytest.mark.parametrize("noise_schedule", ["karras", "normal"])
@pytest.mark.parametrize("n", [1, 2, 6, 15])
def test_dpmpp_2s_a_is_its_formula(n: int, noise_schedule: str) -> None:
    lane = lane_of("dpmpp_2s_a", "epsilon", noise_schedule, steps=n)
    expected = dpmpp_2s_ancestral(denoiser(lane), curve(noise_schedule, n))
    torch.testing.assert_close(ours(lane), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [2, 19, 20, 25, 36, 50])
def test_restart_is_its_formula(n: int) -> None:
    lane = lane_of("restart", "epsilon", "karras", steps=n)
    expected = restart(denoiser(lane), curve("karras", n))
    torch.testing.assert_close(ours(lane), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("n", [1, 19, 20, 35, 36, 150])
def test_restart_takes_as_many_steps_as_were_asked_for(n: int) -> None:
    run = schedule("restart", "karras", n)
    assert run.stages.count(1) == n
    assert run.total == 2 * n - 1
    sigmas = [level.sigma for level, stage in zip(run.levels, run.stages) if stage == 1]
    rises = sum(later > sooner for sooner, later in itertools.pairwise(sigmas))
    assert rises == (0 if n < 20 else 1 if n < 36 else 2)


# ------------------------------------------------------------------------------------ fresh noise by request

CHURN = {"s_churn": 12.0, "s_tmin": 0.05, "s_tmax": 10.0, "s_noise": 1.003}


def churned(solver: str, model: Model, sigmas: list[float], s: dict[str, float]) -> torch.Tensor:
    """k-diffusion's sample_euler, sample_heun and sample_dpm_2."""
    x, generator = first_noise(sigmas[0])
    for sigma, following in zip(sigmas, [*sigmas[1:], 0.0]):
        gamma = min(s["s_churn"] / len(sigmas), 2**0.5 - 1) if s["s_tmin"] <= sigma <= s["s_tmax"] else 0.0
        hat = sigma * (gamma + 1)
        if gamma > 0:
            x = x + torch.randn(x.shape, generator=generator) * s["s_noise"] * (hat**2 - sigma**2) ** 0.5
        d = (x - model(x, hat)) / hat
        if solver == "euler" or following == 0:
            x = x + d * (following - hat)
        elif solver == "heun":
            x_2 = x + d * (following - hat)
            x = x + (d + (x_2 - model(x_2, following)) / following) / 2 * (following - hat)
        else:
            middle = math.exp((math.log(hat) + math.log(following)) / 2)
            x_2 = x + d * (middle - hat)
            x = x + (x_2 - model(x_2, middle)) / middle * (following - hat)
    return x


def ancestral(solver: str, model: Model, sigmas: list[float], eta: float, s_noise: float) -> torch.Tensor:
    """k-diffusion's sample_euler_ancestral and sample_dpm_2_ancestral."""
    x, generator = first_noise(sigmas[0])
    for sigma, following in zip(sigmas, [*sigmas[1:], 0.0]):
        up = min(following, eta * (following**2 * (sigma**2 - following**2) / sigma**2) ** 0.5)
        down = (following**2 - up**2) ** 0.5
        d = (x - model(x, sigma)) / sigma
        if solver == "euler_a" or down == 0:
            x = x + d * (down - sigma)
        else:
            middle = math.exp((math.log(sigma) + math.log(down)) / 2)
            x_2 = x + d * (middle - sigma)
            x = x + (x_2 - model(x_2, middle)) / middle * (down - sigma)
        if following > 0:
            x = x + torch.randn(x.shape, generator=generator) * s_noise * up
    return x


@pytest.mark.parametrize("s_tmax", [10.0, 0.0])
@pytest.mark.parametrize("name", ["euler", "heun", "dpm2"])
def test_churn_is_its_formula(name: str, s_tmax: float) -> None:
    lane = lane_of(name, "epsilon", "karras", steps=8, noise=NoiseSettings(**CHURN | {"s_tmax": s_tmax}))
    expected = churned(name, denoiser(lane), curve("karras", 8), CHURN | {"s_tmax": s_tmax or math.inf})
    torch.testing.assert_close(ours(lane), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("eta", "s_noise"), [(0.6, 1.0), (1.0, 0.9), (0.0, 1.0)])
@pytest.mark.parametrize("name", ["euler_a", "dpm2_a", "dpmpp_2s_a"])
def test_eta_is_its_formula(name: str, eta: float, s_noise: float) -> None:
    lane = lane_of(name, "epsilon", "karras", steps=8, noise=NoiseSettings(eta=eta, s_noise=s_noise))
    model, sigmas = denoiser(lane), curve("karras", 8)
    if name == "dpmpp_2s_a":
        expected = dpmpp_2s_ancestral(model, sigmas, eta, s_noise)
    else:
        expected = ancestral(name, model, sigmas, eta, s_noise)
    torch.testing.assert_close(ours(lane), expected, rtol=1e-3, atol=1e-3)


def test_ddims_eta_is_its_formula() -> None:
    """Song et al. 2021, equations 12 and 16."""
    lane = lane_of("ddim", "epsilon", "as_configured", steps=8, noise=NoiseSettings(eta=0.7))
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn((1, 4, 8, 8), generator=generator)
    levels = [(level.a, level.s) for level in lane.schedule.levels]
    while not lane.is_finished:
        e = lane.advance(nonlinear(lane))
        a, s = levels[e.index]
        torch.testing.assert_close(e.x_t, x[0], rtol=1e-4, atol=1e-4)
        a_next, s_next = levels[e.index + 1] if e.index + 1 < len(levels) else (math.nan, math.nan)
        deviation = 0.7 * s_next / s * math.sqrt(max(1 - (a / a_next) ** 2, 0)) if a_next == a_next else 0.0
        if e.index + 1 < len(levels):
            noise = torch.randn(x.shape, generator=generator)
            x = a_next * e.denoised + math.sqrt(s_next**2 - deviation**2) * e.noise_pred + deviation * noise


@pytest.mark.parametrize("name", ["dpmpp_2m_sde", "dpmpp_3m_sde", "dpmpp_sde", "restart"])
def test_without_its_noise_a_stochastic_scheduler_does_not_depend_on_the_seed(name: str) -> None:
    lanes = [lane_of(name, "epsilon", "karras", steps=24, noise=NoiseSettings(s_noise=s)) for s in (0.0, 0.0, 1.0)]
    lanes[1]._generator.manual_seed(99)
    lanes[1].schedule.reseed(99)
    silent, other_seed, loud = (ours(lane) for lane in lanes)
    assert torch.equal(silent, other_seed)
    assert not torch.allclose(silent, loud, atol=0.01)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_usual_values_are_the_scheduler_itself_to_the_last_bit(name: str) -> None:
    usual = {"eta": SCHEDULERS[name].usual_eta, "s_churn": 0.0, "s_tmin": 0.3, "s_tmax": 5.0, "s_noise": 1.0}
    assert torch.equal(ours(lane_of(name, "epsilon", noise=settings_of(name, usual))), ours(lane_of(name, "epsilon")))


def test_the_seed_of_the_noise_is_another_one_behind_the_first(components: Components) -> None:
    """A1111's ENSD: the first noise has the seed, all later noise seed + delta."""
    run = partial(TextToImage, prompt="fox", scheduler="euler_a", num_inference_steps=2, guidance_scale=1.0)
    words = encode_prompts(components, "fox", "", num_steps=2, guidance_scale=1.0)
    plain, moved, other = (
        start_lane(components, resolve(run(**fields), components.suits), seed=seed, conditioning=words)
        for fields, seed in (({}, 5), ({"noise_seed_delta": 31337}, 5), ({}, 5 + 31337))
    )
    assert torch.equal(plain.latents, moved.latents)
    other.latents = plain.latents
    other._generator.manual_seed(5 + 31337)
    for lane in (plain, moved, other):
        run_lane(lane, lambda lane: ask_unet(components, lane))
    assert torch.equal(moved.latents, other.latents)
    assert not torch.equal(moved.latents, plain.latents)


@pytest.mark.parametrize(
    ("scheduler", "values", "idle"),
    [
        ("euler", {"eta": 0.5}, ("eta",)),
        ("euler", {"s_noise": 0.9, "noise_seed_delta": 5}, ("s_noise", "noise_seed_delta")),
        ("euler", {"s_churn": 5.0, "s_noise": 0.9, "s_tmin": 0.1}, ()),
        ("euler_a", {"eta": 1.0}, ()),
        ("euler_a", {"eta": 0.0, "noise_seed_delta": 5}, ("noise_seed_delta",)),
        ("ddim", {"eta": 0.0}, ()),
        ("ddim", {"eta": 0.4, "noise_seed_delta": 5, "s_churn": 3.0}, ("s_churn",)),
        ("dpmpp_2m", {"s_tmax": 4.0}, ("s_tmax",)),
        ("dpmpp_sde", {"s_noise": 0.9, "noise_seed_delta": 5}, ("noise_seed_delta",)),
    ],
)
def test_settings_without_a_say_are_named(scheduler: str, values: dict[str, float], idle: tuple[str, ...]) -> None:
    assert idle_fields(scheduler, values) == idle
