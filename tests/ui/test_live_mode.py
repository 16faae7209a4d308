"""What live mode sets by itself, and the picture that comes from the live canvas."""

from __future__ import annotations

import base64

import pytest

from studio.asked.problems import InvalidRequest
from studio.asked.schedulers import steps_run
from studio.ui.generate.live_mode import fixed_values
from studio.ui.generate.starting import painting_of


def test_an_open_seed_is_drawn_once_and_a_seed_that_is_there_stays() -> None:
    seed = fixed_values({"seed": " "})["seed"]
    assert 0 <= int(seed) < 2**32
    assert fixed_values({"seed": "7", "num_inference_steps": 1}) == {}


@pytest.mark.parametrize(("steps", "strength"), [(1, 0.5), (1, 0.6), (2, 0.3), (4, 0.2), (1, 0.05)])
def test_a_model_of_few_steps_runs_at_least_one(steps: int, strength: float) -> None:
    now = fixed_values({"seed": "7", "num_inference_steps": steps, "strength": strength})["num_inference_steps"]
    assert steps_run(now, strength) == 1


@pytest.mark.parametrize(("steps", "strength"), [(1, 1.0), (4, 0.6), (25, 0.6), (4, 0.0), (None, 0.6), (4, None)])
def test_steps_that_are_enough_or_no_number_stay(steps: object, strength: object) -> None:
    assert fixed_values({"seed": "7", "num_inference_steps": steps, "strength": strength}) == {}


def test_what_is_painted_comes_as_a_picture_and_a_closed_canvas_as_none() -> None:
    assert painting_of({"png": base64.b64encode(b"picture").decode()}) == b"picture"
    for closed in ({}, None, {"png": ""}, "png"):
        assert painting_of(closed) == b""
    with pytest.raises(InvalidRequest, match="image"):
        painting_of({"png": "no base64!"})
