"""T10: what the equation of a step says, against what the schedulers' own formulas say."""

from __future__ import annotations

import functools
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from studio.asked.schedulers import SCHEDULERS
from studio.diffusion.evaluation import Evaluation
from studio.diffusion.step_equation import StepEquation, step_equation
from tests.diffusion.test_predicted_x0 import lane_of, nonlinear

# With six steps Restart is Heun: its noise begins at twenty.
EXACT = ("ddim", "euler", "dpmpp_2m", "unipc", "heun", "dpm2", "tcd", "restart")
LONGER_HISTORY = ("lms", "pndm", "deis")
NOISY = tuple(name for name, facts in SCHEDULERS.items() if facts.adds_noise and name != "restart")
WITHOUT_HISTORY = ("ddim", "euler", "tcd", "euler_a", "ddpm", "lcm")


@functools.cache
def told(name: str) -> list[tuple[Evaluation, torch.Tensor, StepEquation]]:
    """Each evaluation of a run of six steps on latents of 64 x 64, the latents after it, and its equation."""
    lane = lane_of(name, "epsilon")
    larger = torch.randn((1, 4, 64, 64), generator=torch.Generator().manual_seed(1))
    lane.latents = larger * lane.schedule.first_scale
    found = []
    history: list[np.ndarray] = []
    while not lane.is_finished:
        evaluation = lane.advance(nonlinear(lane))
        history = [evaluation.denoised.numpy(), *history[:2]]
        equation = step_equation(lane.latents[0].numpy(), [evaluation.latents.numpy(), *history])
        found.append((evaluation, lane.latents[0], equation))
    return found


def test_every_scheduler_is_of_one_kind() -> None:
    assert sorted(SCHEDULERS) == sorted({*EXACT, *LONGER_HISTORY, *NOISY})
    assert not {*EXACT, *LONGER_HISTORY} & {*NOISY}


@pytest.mark.parametrize("name", EXACT)
def test_a_step_without_noise_is_its_equation(name: str) -> None:
    for evaluation, after, equation in told(name):
        assert equation.exact, (evaluation.index, equation)
        assert equation.residual < 1e-5 * float(after.square().mean().sqrt())


@pytest.mark.parametrize("name", LONGER_HISTORY)
def test_a_longer_history_shows_as_a_small_rest(name: str) -> None:
    rest = [equation.relative_residual for _, _, equation in told(name)]
    assert rest[0] < 1e-5, "the first step has no history"
    assert max(rest) < 0.1


@pytest.mark.parametrize("name", WITHOUT_HISTORY)
def test_a_step_without_history_has_two_terms(name: str) -> None:
    assert {len(equation.coefficients) for _, _, equation in told(name)} == {2}


def test_ddim_and_euler_are_their_formulas() -> None:
    run = told("ddim")
    for (now, _, equation), (following, _, _) in pairwise(run):
        ratio = following.s / now.s
        assert equation.coefficients == pytest.approx((ratio, following.a - now.a * ratio), abs=1e-4)
    run = told("euler")
    for (now, _, equation), (following, _, _) in pairwise(run):
        ratio = following.sigma / now.sigma
        assert equation.coefficients == pytest.approx((ratio, 1 - ratio), abs=1e-4)
    assert run[-1][2].coefficients == pytest.approx((0, 1), abs=1e-5)


def test_the_rest_is_the_fresh_noise_of_ancestral_sampling() -> None:
    run = told("euler_a")
    for (now, _, equation), (following, _, _) in pairwise(run):
        up = math.sqrt(following.sigma**2 * (now.sigma**2 - following.sigma**2) / now.sigma**2)
        assert equation.residual == pytest.approx(up, rel=0.03)
    assert run[-1][2].exact, "the last step adds nothing"
    run = told("lcm")
    for (_, _, equation), (following, _, _) in pairwise(run):
        assert equation.residual == pytest.approx(following.s, rel=0.03)


@pytest.mark.parametrize("name", NOISY)
def test_fresh_noise_is_seen_at_every_step_that_adds_some(name: str) -> None:
    run = told(name)
    assert sum(not equation.exact for _, _, equation in run) >= len(run) // 2
    assert all(np.isfinite(equation.coefficients).all() for _, _, equation in run)


def test_nothing_explains_nothing() -> None:
    zeros = np.zeros((4, 8, 8), np.float32)
    equation = step_equation(zeros, [zeros, zeros, zeros])
    assert (equation.coefficients, equation.residual, equation.exact) == ((0.0, 0.0), 0.0, True)
