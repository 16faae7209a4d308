"""Live mode's runs take the place of the one before, and a run that is asked for twice is made once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from studio.answered.engine import Refused, UnknownJob
from studio.answered.events import JobSummary
from studio.asked.control import Control
from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.orders import SubmitRun
from studio.asked.problems import InvalidRequest
from studio.asked.requests import Request
from studio.ui import live

FOX = TextToImage(prompt="a fox", seed=7, num_inference_steps=20)
OWNER = {"owner": "ann", "origin": "text_to_image"}


def run(call: Any) -> Any:
    """The coroutine function as a plain one."""
    return lambda *given, **named: asyncio.run(call(*given, **named))


class Jobs:
    """The part of the engine that live mode knows."""

    def __init__(self, *jobs: JobSummary) -> None:
        self.known = list(jobs)  # newest first
        self.cancelled: list[str] = []

    async def jobs(self, *, owner: str) -> tuple[JobSummary, ...]:
        return tuple(self.known) if owner == "ann" else ()

    async def cancel(self, job_id: str, *, owner: str) -> bool:
        assert owner == "ann"
        self.cancelled.append(job_id)
        return True

    async def submit(self, job: SubmitRun, *, owner: str, origin: str) -> str:
        assert owner == "ann"
        self.known.insert(
            0, JobSummary(job_id=f"new {len(self.known)}", request=job.request, state="queued", origin=origin)
        )
        return self.known[0].job_id


def job(job_id: str, request: Request = FOX, state: Any = "running", origin: str = "text_to_image") -> JobSummary:
    return JobSummary(job_id=job_id, request=request, state=state, origin=origin)


def test_what_runs_in_the_tab_is_stopped_and_nothing_else() -> None:
    engine: Any = Jobs(job("a"), job("b", state="finished"), job("c", origin="api"), job("d", state="queued"))
    assert run(live.take_place)(engine, replace(FOX, guidance_scale=3.0), **OWNER) == "new 4"
    assert engine.cancelled == ["a", "d"]


@pytest.mark.parametrize("state", ["queued", "running", "finished"])
def test_the_very_same_run_is_not_begun_twice(state: str) -> None:
    engine: Any = Jobs(job("api", origin="api"), job("a", state=state), job("b"))
    assert run(live.take_place)(engine, replace(FOX), **OWNER) == "a"
    assert engine.cancelled == []


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_a_run_that_was_stopped_is_made_again(state: str) -> None:
    engine: Any = Jobs(job("a", state=state))
    assert run(live.take_place)(engine, replace(FOX), **OWNER) == "new 1"


def test_a_slider_that_moved_begins_the_run_which_the_form_then_finds() -> None:
    engine: Any = Jobs(job("a"))
    begun = run(live.again)(engine, "a", {"guidance_scale": "3", "num_inference_steps": "30"}, owner="ann")
    asked = replace(FOX, guidance_scale=3.0, num_inference_steps=30)
    assert engine.known[0] == JobSummary(job_id=begun, request=asked, state="queued", origin="text_to_image")
    form = TextToImage.parse({"prompt": "a fox", "seed": "7", "guidance_scale": 3, "num_inference_steps": 30.0})
    assert run(live.take_place)(engine, form, **OWNER) == begun
    assert engine.cancelled == ["a"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"guidance_scale": "much"}, "guidance_scale"),
        ({"guidance_scale": "nan"}, "guidance_scale"),
        ({"num_inference_steps": "0"}, "num_inference_steps"),
        ({"prompt": "5"}, "prompt"),
        ({"colour": "5"}, "colour"),
    ],
)
def test_a_bad_number_is_refused_and_what_runs_goes_on(changed: dict[str, str], field: str) -> None:
    engine: Any = Jobs(job("a"))
    with pytest.raises(InvalidRequest) as refused:
        run(live.again)(engine, "a", changed, owner="ann")
    assert field in [problem.field for problem in refused.value.problems]
    assert engine.cancelled == []


@pytest.mark.parametrize(
    "request_",
    [
        replace(FOX, seed=None),
        replace(FOX, controls=(Control(model="edges", image=b"png"),)),
        ImageToImage(prompt="a fox", seed=7, image=b"png"),
    ],
)
def test_what_cannot_be_told_again_waits_for_the_form(request_: Request) -> None:
    engine: Any = Jobs(job("a", request_))
    with pytest.raises(Refused):
        run(live.again)(engine, "a", {"guidance_scale": "3"}, owner="ann")
    assert engine.cancelled == []


def test_nobody_begins_a_run_of_somebody_else() -> None:
    engine: Any = Jobs(job("a"))
    for visitor, job_id in (("bob", "a"), ("ann", "other")):
        with pytest.raises(UnknownJob):
            run(live.again)(engine, job_id, {"guidance_scale": "3"}, owner=visitor)
    assert engine.cancelled == []
