"""Another scheduler from an evaluation on: the levels that it takes over, what it does there, and back again."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from studio.asked.schedulers import SCHEDULERS
from studio.diffusion.evaluation import Evaluation
from studio.diffusion.lane import Lane
from studio.diffusion.rewind import PastEvaluation, rewind
from studio.diffusion.scheduler_switch import SchedulerSwitch, at_level, switch_at
from studio.families.sd1 import FAMILY as SD1
from tests.diffusion.test_predicted_x0 import lane_of, nonlinear
from tests.tiny import SCHEDULER_CONFIG

# A run on whole timesteps, one between them in each scale, and those with two evaluations a step.
RUNS = ("ddim", "dpmpp_2m", "euler", "heun", "dpm2_a", "pndm")
HERE = 3
FIRST_ORDER = (
    "ddim",
    "euler",
    "lms",
    "dpmpp_2m",
    "unipc",
    "deis",
    "pndm",
    "tcd",
)  # in their first step


def switching(lane: Lane, name: str, noise_schedule: str | None = None) -> SchedulerSwitch:
    """A switch to another scheduler where a lane stands."""
    return switch_at(lane.schedule, lane.index, name, noise_schedule, SCHEDULER_CONFIG, SD1)


def run_to(lane: Lane, index: int) -> list[Evaluation]:
    return [lane.advance(nonlinear(lane)) for _ in range(index - lane.index)]


def follow(lane: Lane, name: str, noise_schedule: str | None = None) -> None:
    """What `branching.leave` does: a switch, and x_t at the level that the new scheduler can begin at."""
    before, x_t = lane.schedule, lane.latents / lane.schedule.scale(lane.index)
    lane.switch_scheduler(switching(lane, name, noise_schedule))
    scale = lane.schedule.scale(lane.index)
    lane.latents = scale * at_level(lane.latents / scale, torch.zeros_like(x_t), before, lane.schedule, lane.index)


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("run", RUNS)
def test_every_scheduler_goes_on_from_every_other(run: str, name: str) -> None:
    lane = lane_of(run, "epsilon")
    run_to(lane, HERE)
    own, x_t = lane.schedule, lane.latents / lane.schedule.scale(HERE)
    lane.switch_scheduler(switching(lane, name))
    levels = lane.schedule.levels
    rounded = 0.02 if name in ("ddim", "ddpm", "pndm", "lcm", "tcd") else 1e-4
    assert levels[HERE].sigma == pytest.approx(own.levels[HERE].sigma, rel=rounded)
    assert torch.allclose(lane.latents / lane.schedule.scale(HERE), x_t, atol=1e-5), "x_t stays"
    first = [k for k in range(HERE, lane.total) if lane.schedule.stages[k] == 1]
    sigmas = [levels[k].sigma for k in first]
    assert sigmas == sorted(set(sigmas), reverse=True)
    left = {round(level.sigma, 6) for level in own.levels[HERE:] if level.sigma <= own.levels[HERE].sigma}
    for sigma in sigmas[1:]:
        assert min(abs(math.log(sigma / one)) for one in left) < 0.05, "the levels that the run had left"
    steps = lane.schedule.steps
    assert all(0 <= b - a <= 1 for a, b in itertools.pairwise(steps)), steps
    evaluations = run_to(lane, lane.total)
    assert torch.isfinite(lane.latents).all()
    assert [e.index for e in evaluations] == list(range(HERE, lane.total))
    for e in evaluations:
        assert torch.allclose(e.a * e.denoised + e.s * e.noise_pred, e.x_t, atol=1e-4)
        assert torch.allclose(e.latents, e.scale * e.x_t, atol=1e-4)


@pytest.mark.parametrize("name", FIRST_ORDER)
@pytest.mark.parametrize("run", ["dpmpp_2m", "euler"])
def test_its_first_step_is_of_order_one(run: str, name: str) -> None:
    """Without fresh noise a step of order one is DDIM's (Song et al. 2021, equation 12): a' x0 + s' noise."""
    lane = lane_of(run, "epsilon")
    run_to(lane, HERE)
    lane.switch_scheduler(switching(lane, name))
    [e] = run_to(lane, HERE + 1)
    following = lane.schedule.levels[HERE + 1]
    expected = following.a * e.denoised + following.s * e.noise_pred
    assert torch.allclose(lane.latents[0] / lane.schedule.scale(HERE + 1), expected, atol=2e-4)


@pytest.mark.parametrize("name", ["ddim", "euler", "heun", "dpm2", "ddpm"])
def test_a_scheduler_without_a_memory_follows_itself_as_if_nothing_had_happened(name: str) -> None:
    whole, cut = lane_of(name, "epsilon"), lane_of(name, "epsilon")
    run_to(whole, whole.total)
    run_to(cut, 4)
    cut.switch_scheduler(switching(cut, name))
    run_to(cut, cut.total)
    assert cut.total == whole.total
    assert cut.schedule.stages == whole.schedule.stages
    assert cut.schedule.steps == whole.schedule.steps
    assert torch.allclose(cut.latents, whole.latents, atol=2e-4)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_perfect_model_is_followed_to_its_picture(name: str) -> None:
    """T3 across a switch: the model knows the one picture there is."""
    picture = torch.randn((4, 8, 8), generator=torch.Generator().manual_seed(11))
    lane = lane_of("dpmpp_2m", "epsilon")

    def perfect() -> torch.Tensor:
        call, level = lane.call(), lane.schedule.levels[lane.index]
        return (call.sample - level.a * picture) / level.s

    # From x_t = a x0 + s noise on; the first latents of the test are noise alone.
    level = lane.schedule.levels[0]
    lane.latents = level.a * picture + level.s * lane.latents
    for _ in range(HERE):
        lane.advance(perfect())
    before = lane.schedule
    lane.switch_scheduler(switching(lane, name))
    scale = lane.schedule.scale(HERE)
    lane.latents = scale * at_level(lane.latents / scale, picture[None], before, lane.schedule, HERE)
    while not lane.is_finished:
        lane.advance(perfect())
    # Those that stop at the training schedule's first level end with its noise, four standard deviations of 0.029.
    most = 0.2 if name in ("ddim", "pndm", "deis", "tcd", "lcm") else 2e-3
    assert float((lane.latents[0] - picture).abs().max()) < most


@pytest.mark.parametrize("noise_schedule", ["karras", "exponential", "normal", "simple", "sgm_uniform", "beta", "ays"])
@pytest.mark.parametrize("run", ["euler", "ddim"])
def test_a_noise_schedule_begins_where_the_run_is(run: str, noise_schedule: str) -> None:
    lane = lane_of(run, "epsilon")
    run_to(lane, 2)
    own = lane.schedule
    lane.switch_scheduler(switching(lane, "dpmpp_2m", noise_schedule))
    sigmas = [level.sigma for level in lane.schedule.levels]
    assert sigmas[2] == pytest.approx(own.levels[2].sigma, rel=1e-5)
    assert sigmas[2:] == sorted(set(sigmas[2:]), reverse=True)
    assert len(sigmas) == own.total
    assert sigmas[-1] <= own.levels[1].sigma
    run_to(lane, lane.total)
    assert torch.isfinite(lane.latents).all()
    if noise_schedule == "exponential":
        ratios = [b / a for a, b in itertools.pairwise(sigmas[2:])]
        assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-3)
    if noise_schedule == "karras":
        roots = [sigma ** (1 / 7) for sigma in sigmas[2:]]
        steps = [a - b for a, b in itertools.pairwise(roots)]
        assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-3)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_run_with_a_turn_is_rewound_to_the_last_bit(name: str) -> None:
    def answer(lane: Lane) -> torch.Tensor:
        found: torch.Tensor = nonlinear(lane) * torch.tensor([1.0, 0.5])[:, None, None, None]
        return found

    def finish(lane: Lane) -> list[PastEvaluation]:
        past = []
        while not lane.is_finished:
            e = lane.advance(answer(lane))
            past.append(PastEvaluation(e.latents, e.outputs, e.guidance_scale))
        return past

    lane = lane_of("euler_a", "epsilon", guidance_scale=7.5)
    past = []
    for _ in range(HERE):
        e = lane.advance(answer(lane))
        past.append(PastEvaluation(e.latents, e.outputs, e.guidance_scale))
    follow(lane, name)
    past += finish(lane)
    for here in (HERE, HERE + 1, len(past) - 1):
        again = lane_of("euler_a", "epsilon", guidance_scale=7.5)
        rewind(again, past[:here], {}, switches=lane.switches)
        if here == HERE:
            again.switch_scheduler(lane.switches[HERE])
            again.latents = past[here].latents[None]
        assert torch.equal(again.latents[0], past[here].latents), here
        finish(again)
        assert torch.equal(again.latents, lane.latents), here


def test_the_level_of_a_whole_timestep_is_reached_along_the_noise() -> None:
    """DPM++ 2M stands between two timesteps; DDIM can only begin at one of them."""
    lane = lane_of("dpmpp_2m", "epsilon")
    run_to(lane, HERE)
    before = lane.schedule
    generator = torch.Generator().manual_seed(1)
    x0, noise = (torch.randn((1, 4, 8, 8), generator=generator) for _ in range(2))
    lane.switch_scheduler(switching(lane, "ddim"))
    after = lane.schedule
    assert not math.isclose(before.levels[HERE].sigma, after.levels[HERE].sigma, rel_tol=1e-5)
    x_t = before.levels[HERE].a * x0 + before.levels[HERE].s * noise
    moved = at_level(x_t, x0, before, after, HERE)
    assert torch.allclose(moved, after.levels[HERE].a * x0 + after.levels[HERE].s * noise, atol=1e-6)


def test_zero_terminal_snr_is_left_and_met() -> None:
    config = SCHEDULER_CONFIG | {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    from studio.diffusion.schedule import make_schedule, schedule_over
    from studio.diffusion.scheduler_switch import switched_schedule

    ddim = make_schedule("ddim", "sgm_uniform", 6, config, prediction_type="v_prediction")
    assert ddim.levels[0].a == 0
    euler = switched_schedule(ddim, 0, switch_at(ddim, 0, "euler", None, config, SD1), config, "v_prediction")
    assert euler.levels[0].sigma > 1000
    back = switched_schedule(euler, 0, switch_at(euler, 0, "ddim", None, config, SD1), config, "v_prediction")
    assert back.levels[0].a == 0
    spaced = switch_at(ddim, 0, "dpmpp_2m", "karras", config, SD1)
    found = switched_schedule(ddim, 0, spaced, config, "v_prediction")
    assert all(math.isfinite(level.sigma) for level in found.levels)
    with pytest.raises(ValueError, match="predicts sample"):
        schedule_over("euler", [1.0], [500.0], config, seed=0, prediction_type="sample")  # type: ignore[arg-type]
