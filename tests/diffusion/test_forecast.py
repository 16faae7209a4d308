"""Forecast evaluations against a plain loop, and the rule by which they are chosen."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch

from studio.asked.fields import TextToImage
from studio.asked.forecast import Asked, ForecastName, can_forecast, forecast_evaluations
from studio.asked.problems import InvalidRequest
from studio.asked.resolved import resolve
from studio.asked.schedulers import SCHEDULERS
from studio.diffusion.components import Components
from studio.diffusion.evaluation import Evaluation
from studio.diffusion.lane import Lane, start_lane
from studio.diffusion.prompt import encode_prompts
from tests.diffusion.helpers import ask_unet, reference_scheduler, run_lane
from tests.tiny import tiny_components

SEED, STEPS, SCALE = 1234, 12, 20.0  # the tiny model cares little for its prompt
ABLE = [name for name in SCHEDULERS if can_forecast(name)]


def lane_of(components: Components, prompt: str = "a red apple", steps: int = STEPS, **fields: Any) -> Lane:
    request = TextToImage(
        prompt=prompt,
        negative_prompt="snow",
        num_inference_steps=steps,
        guidance_scale=SCALE,
        **{"noise_schedule": "as_configured"} | fields,
    )
    conditioning = encode_prompts(components, prompt, "snow", num_steps=steps, guidance_scale=SCALE)
    return start_lane(components, resolve(request, components.suits), seed=SEED, conditioning=conditioning)


def run(lane: Lane, components: Components) -> tuple[list[Evaluation], int]:
    calls = 0

    def answer(lane: Lane) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return ask_unet(components, lane)

    return run_lane(lane, answer), calls


def line_of(count: int, **questions: int) -> list[Asked]:
    return [Asked(float(index), questions.get(f"at_{index}", 0)) for index in range(count)]


@pytest.mark.parametrize(
    ("forecast", "expected"),
    [("off", set()), ("third", {3, 6, 9}), ("half", {3, 5, 7, 9}), ("two_thirds", {3, 4, 6, 7, 9, 10})],
)
def test_the_first_and_the_last_are_computed_and_a_share_in_between_is_forecast(
    forecast: ForecastName, expected: set[int]
) -> None:
    assert forecast_evaluations(forecast, line_of(12)) == expected
    assert forecast_evaluations(forecast, line_of(4)) == set()
    assert forecast_evaluations(forecast, line_of(14), begin=2) == {index + 2 for index in expected}
    at_25 = {"off": 0, "third": 7, "half": 11, "two_thirds": 14}  # as the page and the docs say
    assert len(forecast_evaluations(forecast, line_of(25))) == at_25[forecast]


def test_a_change_of_the_question_is_computed_three_times() -> None:
    asked = [Asked(float(index), index >= 6) for index in range(14)]
    assert forecast_evaluations("half", asked) == {3, 5, 9, 11}
    alternating = [Asked(float(index), index % 2) for index in range(14)]
    assert forecast_evaluations("half", alternating) == set()


def test_what_no_line_reaches_is_computed() -> None:
    unknown = [Asked(None), *line_of(12)]
    assert 3 not in forecast_evaluations("half", unknown)
    assert 4 in forecast_evaluations("half", unknown)
    far = [Asked(place) for place in (0.0, 1.0, 2.0, 6.5, 7.0, 7.5, 8.0)]
    assert 3 not in forecast_evaluations("half", far)
    still = [Asked(place) for place in (0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)]
    assert forecast_evaluations("half", still) == set()


@pytest.mark.parametrize(("prediction", "rescale"), [("epsilon", 0.0), ("v_prediction", 0.0), ("epsilon", 0.7)])
def test_it_is_the_plain_loop(components: Components, prediction: str, rescale: float) -> None:
    """Euler of diffusers, with x0 of both rows on the line through the last two that were computed."""
    if prediction != "epsilon":
        components = tiny_components(prediction_type=prediction)
    scheduler = reference_scheduler("euler", components.scheduler_config, SEED)
    embeds = encode_prompts(components, "a red apple", "snow", num_steps=STEPS, guidance_scale=SCALE).at(0)[0]
    scheduler.set_timesteps(STEPS)
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(SEED)) * scheduler.init_noise_sigma
    known: list[tuple[float, torch.Tensor]] = []
    with torch.inference_mode():
        for index, t in enumerate(scheduler.timesteps):
            sigma = float(scheduler.sigmas[index])
            a = 1 / math.sqrt(1 + sigma**2)
            s = sigma * a
            x_t = scheduler.scale_model_input(latents, t)
            place = -math.log(sigma)
            if index in {3, 5, 7, 9}:
                (before, first), (last, second) = known[-2:]
                x0 = second + (place - last) / (last - before) * (second - first)
                outputs = (x_t - a * x0) / s if prediction == "epsilon" else (a * x_t - x0) / s
            else:
                outputs = components.unet(torch.cat([x_t, x_t]), t, embeds, return_dict=False)[0]
                x0 = (x_t - s * outputs) / a if prediction == "epsilon" else a * x_t - s * outputs
                known.append((place, x0))
            u, c = outputs.chunk(2)
            guided = u + SCALE * (c - u)
            if rescale:
                guided = rescale * guided * c.std() / guided.std() + (1 - rescale) * guided
            latents = scheduler.step(guided, t, latents, return_dict=False)[0]
    lane = lane_of(components, scheduler="euler", forecast="half", guidance_rescale=rescale)
    assert len(lane.forecasts) == 4
    evaluations, calls = run(lane, components)
    assert calls == 8
    assert [e.index for e in evaluations if e.is_forecast] == [3, 5, 7, 9]
    assert all(len(e.outputs) == 2 for e in evaluations)
    assert (lane.latents - latents).abs().max() <= 1e-4 * latents.abs().max()
    whole = lane_of(components, scheduler="euler", guidance_rescale=rescale)
    run(whole, components)
    assert (lane.latents - whole.latents).abs().max() > 1e-3 * latents.abs().max()


@pytest.mark.parametrize("scheduler", ABLE)
def test_a_model_whose_x0_is_such_a_line_is_forecast_without_a_mistake(components: Components, scheduler: str) -> None:
    """Also where the scheduler adds noise: then predicted noise is no line, but x0 is."""
    generator = torch.Generator().manual_seed(1)
    start, slope = torch.randn((2, 1, 4, 8, 8), generator=generator)

    def answer(lane: Lane) -> torch.Tensor:
        call = lane.call()
        level = lane.schedule.levels[lane.index]
        x0 = start + slope * math.log(level.a / level.s) / 10
        return (call.sample[:1] - level.a * x0).expand(2, -1, -1, -1) / level.s

    steps = {"scheduler": scheduler, "steps": 20}
    skipping, whole = lane_of(components, forecast="two_thirds", **steps), lane_of(components, **steps)
    assert len(skipping.forecasts) >= 5
    run_lane(skipping, answer)
    run_lane(whole, answer)
    assert torch.isfinite(skipping.latents).all()
    assert (skipping.latents - whole.latents).abs().max() < 5e-3


def test_a_band_of_guidance_and_a_scheduled_prompt_are_computed_where_they_change(components: Components) -> None:
    banded = lane_of(components, steps=24, scheduler="euler", forecast="half", guidance_low=0.7, guidance_high=4.0)
    evaluations, calls = run(banded, components)
    assert calls == 24 - len(banded.forecasts)
    rows = [len(e.outputs) for e in evaluations]
    changes = [index for index in range(1, 24) if rows[index] != rows[index - 1]]
    assert len(changes) == 2
    assert not any(evaluations[place].is_forecast for change in changes for place in range(change, min(change + 3, 24)))
    scheduled = lane_of(components, "a [red:blue:0.5] apple", steps=20, scheduler="euler", forecast="half")
    evaluations, _ = run(scheduled, components)
    assert not any(evaluations[place].is_forecast for place in (10, 11, 12))
    assert evaluations[13].is_forecast


def test_a_lane_that_is_asked_in_vain_says_so(components: Components) -> None:
    with pytest.raises(ValueError, match="evaluation 0 is not to be forecast"):
        lane_of(components, scheduler="euler", forecast="half").forecast()


@pytest.mark.parametrize("scheduler", sorted(set(SCHEDULERS) - set(ABLE)))
def test_schedulers_of_two_evaluations_a_step_are_refused_by_name(scheduler: str) -> None:
    expected = re.escape(f"forecast: Half is not allowed. Allowed: with {SCHEDULERS[scheduler].label} Off.")
    with pytest.raises(InvalidRequest, match=expected) as refusal:
        TextToImage(prompt="", scheduler=scheduler, forecast="half")  # type: ignore[arg-type]
    assert [problem.field for problem in refusal.value.problems] == ["forecast"]
    second = {"hires_scale": 1.5, "hires_scheduler": scheduler}
    with pytest.raises(InvalidRequest, match=expected):
        TextToImage(prompt="", scheduler="euler", forecast="half", **second)  # type: ignore[arg-type]
    TextToImage(prompt="", scheduler="euler", forecast="half", hires_scheduler=scheduler)  # type: ignore[arg-type]
