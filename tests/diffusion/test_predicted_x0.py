"""Predicted x0 and predicted noise of every scheduler against the schedulers' own, where they say."""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import pytest
import torch

from studio.asked.noise_settings import USUAL, NoiseSettings
from studio.asked.problems import InvalidRequest
from studio.asked.prompt import parse_prompt
from studio.asked.schedulers import SCHEDULERS
from studio.diffusion.chunks import ChunkedPrompt
from studio.diffusion.components import Components
from studio.diffusion.evaluation import Evaluation
from studio.diffusion.lane import Lane
from studio.diffusion.latents import image_generator
from studio.diffusion.levels import Level, predicted_noise, predicted_x0
from studio.diffusion.planned import with_first_noise
from studio.diffusion.prompt import Conditioning
from studio.diffusion.schedule import make_schedule
from tests.diffusion.helpers import run_lane
from tests.tiny import SCHEDULER_CONFIG, tiny_components

NO_SAMPLE = ("euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_sde", "pndm")
KINDS = [
    (name, kind)
    for name in SCHEDULERS
    for kind in ("epsilon", "v_prediction", "sample")
    if kind != "sample" or name not in NO_SAMPLE
]
NO_WORDS = ChunkedPrompt(parse_prompt(""))
RETURNS_X0 = (
    "ddim", "ddpm", "euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_sde", "dpmpp_2s_a", "restart",
)  # fmt: skip
CONVERTS = ("dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde", "unipc")


checkpoint = functools.cache(tiny_components)


def lane_of(
    name: str,
    prediction_type: Any,
    noise_schedule: str = "automatic",
    guidance_scale: float = 1.0,
    steps: int = 6,
    noise: NoiseSettings = USUAL,
) -> Lane:
    components = checkpoint(prediction_type)
    generator = image_generator(3)
    schedule = make_schedule(
        name, noise_schedule, steps, SCHEDULER_CONFIG, seed=3, prediction_type=prediction_type, noise=noise
    )
    latents = torch.randn((1, 4, 8, 8), generator=generator) * schedule.first_scale
    branches = 2 if guidance_scale > 1 else 1
    return Lane(
        components=components,
        schedule=schedule,
        latents=with_first_noise(schedule.scheduler, latents, generator),
        generator=generator,
        conditioning=Conditioning(((99, torch.zeros(branches, 77, 8), {}),), NO_WORDS),
        guidance_scale=guidance_scale,
    )


def nonlinear(lane: Lane) -> torch.Tensor:
    """Some model: no matter what it answers, the formulas hold."""
    call = lane.call()
    return torch.tanh(1.3 * call.sample.roll(1, dims=1) + 0.2 * call.sample.roll(1, dims=3) + call.timestep / 2000)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def check_identity(evaluations: list[Evaluation]) -> None:
    for e in evaluations:
        assert relative(e.a * e.denoised + e.s * e.noise_pred, e.x_t) < 1e-5, e.index
        assert e.a**2 + e.s**2 == pytest.approx(1)
        assert math.log(e.a**2 / e.s**2) == pytest.approx(-2 * math.log(e.sigma), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("name", "prediction_type"), KINDS)
def test_x0_and_noise_recombine_to_the_model_input(name: str, prediction_type: str) -> None:
    lane = lane_of(name, prediction_type)
    evaluations = run_lane(lane, nonlinear)
    check_identity(evaluations)
    assert [e.index for e in evaluations] == list(range(lane.total))
    assert {e.stage for e in evaluations} == ({1, 2} if SCHEDULERS[name].second_order or name == "pndm" else {1})


@pytest.mark.parametrize("noise_schedule", ["as_configured", "automatic", "karras"])
@pytest.mark.parametrize(("name", "prediction_type"), [k for k in KINDS if k[0] in RETURNS_X0 + CONVERTS])
def test_x0_agrees_with_the_schedulers_own(name: str, prediction_type: str, noise_schedule: str) -> None:
    if noise_schedule not in SCHEDULERS[name].noise_schedules:
        noise_schedule = "normal"
    lane = lane_of(name, prediction_type, noise_schedule)
    scheduler = lane.schedule.scheduler
    step = scheduler.step
    own: list[torch.Tensor] = []

    def spy(model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, **arguments: Any) -> tuple[torch.Tensor]:
        if name in CONVERTS:
            if scheduler.step_index is None:
                scheduler._init_step_index(timestep)
            own.append(scheduler.convert_model_output(model_output, sample=sample))
            return step(model_output, timestep, sample, **arguments)
        result = step(model_output, timestep, sample, **(arguments | {"return_dict": True}))
        own.append(result.pred_original_sample)
        return (result.prev_sample,)

    scheduler.step = spy
    for evaluation in run_lane(lane, nonlinear):
        assert relative(evaluation.denoised, own[evaluation.index][0]) < 1e-5, evaluation.index


@pytest.mark.parametrize("name", [n for n in SCHEDULERS if "karras" in SCHEDULERS[n].noise_schedules])
def test_levels_agree_with_how_the_scheduler_scales_its_input(name: str) -> None:
    """Ratio rule: a scheduler that scales its input by r says itself that sigma = sqrt(1 / r^2 - 1)."""
    lane = lane_of(name, "epsilon", "karras")
    while not lane.is_finished:
        before = lane.latents.double()
        evaluation = lane.advance(nonlinear(lane))
        ratio = float((evaluation.x_t.double() * before[0]).sum() / (before * before).sum())
        if ratio < 1 - 1e-5:
            assert evaluation.a == pytest.approx(ratio, rel=1e-5)


@pytest.mark.parametrize("name", ["ddim", "euler", "heun", "dpmpp_2m", "pndm"])
def test_guidance_recombines_the_two_answers_exactly(name: str) -> None:
    lane = lane_of(name, "epsilon", guidance_scale=7.5)
    while not lane.is_finished:
        negative, positive = (answer := nonlinear(lane) * torch.tensor([1.0, 0.5])[:, None, None, None])
        evaluation = lane.advance(answer)
        assert torch.equal(evaluation.model_output, negative + 7.5 * (positive - negative))


def test_zero_terminal_snr_has_no_x0_in_predicted_noise() -> None:
    nothing_left = Level(sigma=math.inf, a=0.0, s=1.0)
    x_t, answer = torch.randn(4, 8, 8), torch.randn(4, 8, 8)
    assert not predicted_x0(x_t, answer, nothing_left, "epsilon").any()
    assert torch.equal(predicted_x0(x_t, answer, nothing_left, "v_prediction"), -answer)
    assert torch.equal(predicted_noise(x_t, answer, nothing_left, "v_prediction"), x_t)


@pytest.mark.parametrize("name", ["ddim", "euler", "dpmpp_2m", "unipc", "lcm"])
def test_zero_terminal_snr_checkpoints_run(name: str) -> None:
    """v prediction on betas rescaled to an end without signal: every latent and every predicted x0 is finite."""
    config = SCHEDULER_CONFIG | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    components = checkpoint("v_prediction")
    schedule = make_schedule(name, "as_configured", 6, config, prediction_type="v_prediction")
    generator = image_generator(3)
    lane = Lane(
        components=components,
        schedule=schedule,
        latents=torch.randn((1, 4, 8, 8), generator=generator) * schedule.first_scale,
        generator=generator,
        conditioning=Conditioning(((99, torch.zeros(1, 77, 8), {}),), NO_WORDS),
        guidance_scale=1.0,
    )
    for evaluation in run_lane(lane, nonlinear):
        assert bool(torch.isfinite(evaluation.denoised).all())
    assert bool(torch.isfinite(lane.latents).all())


@pytest.mark.parametrize("name", NO_SAMPLE)
def test_sample_prediction_is_refused_where_the_class_cannot(name: str) -> None:
    label = re.escape(SCHEDULERS[name].label)
    refused = f"scheduler: {label} is not allowed. Allowed: for a checkpoint that predicts samples .*DPM"
    with pytest.raises(InvalidRequest, match=refused):
        make_schedule(name, "automatic", 5, SCHEDULER_CONFIG, prediction_type="sample")


def test_half_precision_lanes_keep_float32_latents(components: Components) -> None:
    half = tiny_components(dtype=torch.bfloat16)
    lane = lane_of("euler", "epsilon")
    lane._dtype = half.dtype
    call = lane.call()
    assert call.sample.dtype == torch.bfloat16
    evaluation = lane.advance(call.sample)
    assert lane.latents.dtype == evaluation.x_t.dtype == evaluation.denoised.dtype == torch.float32
