"""Questions of the noise viewer: what is understood, and what is refused with a name, a value and what is allowed."""

from __future__ import annotations

import pytest

from studio.asked.problems import InvalidRequest
from studio.asked.questions import QUESTION_KINDS, ForwardProcess, ScheduleCurves, parse


def test_names_and_numbers_are_understood() -> None:
    found = parse(
        "schedule", {"checkpoint": "tiny", "scheduler": "Euler a", "num_inference_steps": "7", "strength": "0.5"}
    )
    assert found == ScheduleCurves(checkpoint="tiny", scheduler="euler_a", num_inference_steps=7, strength=0.5)
    assert parse("forward", {"checkpoint": "tiny"}, b"x") == ForwardProcess(checkpoint="tiny", image=b"x")


@pytest.mark.parametrize("name", [n for n, kind in QUESTION_KINDS.items() if kind.needs_image])
def test_a_question_about_a_picture_needs_one(name: str) -> None:
    with pytest.raises(InvalidRequest, match="image: nothing is not allowed"):
        parse(name, {"checkpoint": "tiny"})


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "checkpoint"),
        ({"checkpoint": "tiny", "num_inference_steps": "0"}, "num_inference_steps"),
        ({"checkpoint": "tiny", "num_inference_steps": "2.5"}, "num_inference_steps"),
        ({"checkpoint": "tiny", "num_inference_steps": "9" * 40}, "num_inference_steps"),
        ({"checkpoint": "tiny", "strength": "nan"}, "strength"),
        ({"checkpoint": "tiny", "scheduler": "magic"}, "scheduler"),
        ({"checkpoint": "tiny", "noise_schedule": "wavy"}, "noise_schedule"),
        ({"checkpoint": "tiny", "scheduler": "ddim", "noise_schedule": "karras"}, "noise_schedule"),
        ({"checkpoint": "tiny", "scheduler": "lcm", "num_inference_steps": "51"}, "num_inference_steps"),
        ({"checkpoint": "tiny", "colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse("schedule", given)
    assert [p.field for p in refused.value.problems] == [field]
