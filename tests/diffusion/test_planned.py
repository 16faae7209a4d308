"""DPM++ 2S a and Restart against k-diffusion's formulas, written here a second time as plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch

from studio.diffusion.lane import Lane
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
