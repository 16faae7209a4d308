"""Forecasts in the engine: fewer calls of the U-Net, said in the notes, in the recording and in the file."""

from __future__ import annotations

from typing import Any

from studio.answered.events import Finished, Started
from studio.asked.fields import TextToImage
from studio.engine.engine import DiffusionEngine
from studio.picture.infotext import read_parameters
from tests.engine.conftest import ask, outcome, pixels, run
from tests.engine.test_branching import OWNER, branched, made, recording, same
from tests.engine.test_recorder import header

FIELDS: dict[str, Any] = {"num_inference_steps": 12, "scheduler": "euler_a", "noise_schedule": "normal"}
HALF = [3, 5, 7, 9]


def test_a_run_asks_less_and_says_so(engine: DiffusionEngine) -> None:
    before = engine.ticks
    events = run(engine, ask(**FIELDS, forecast="half", exact=True))
    started = next(event for event in events if isinstance(event, Started))
    assert "4 of 12 evaluations are forecast, without a call of the U-Net." in started.notes
    assert started.total == 12
    finished = events[-1]
    assert isinstance(finished, Finished)
    told = header(engine.record(finished.job_id, owner="anna"))
    assert told["forecast"] == "half"
    assert [e["index"] for e in told["evaluations"] if e.get("forecast")] == HALF
    assert [e["index"] for e in told["evaluations"] if not e["rows"]] == HALF
    assert all(e["norm_cond"] for e in told["evaluations"]), "both rows are forecast"
    request = read_parameters(str(finished.pictures[0].parameters))
    assert isinstance(request, TextToImage)
    assert request.forecast == "half"
    assert engine.ticks - before == 8


def test_few_steps_are_all_computed_which_is_said(engine: DiffusionEngine) -> None:
    events = run(engine, ask(forecast="two_thirds", num_inference_steps=4, scheduler="euler"))
    notes = next(event for event in events if isinstance(event, Started)).notes
    assert any(note.startswith("None of 4 evaluations is forecast: the first 3 and the last") for note in notes)


def test_beside_others_it_is_the_picture_of_the_lone_run(engine: DiffusionEngine) -> None:
    jobs = [
        engine.submit(ask(**FIELDS, forecast=forecast, seed=5 + k), owner="anna")
        for k, forecast in enumerate(("half", "off", "third"))
    ]
    together = [outcome(engine, job) for job in jobs]
    alone = run(engine, ask(**FIELDS, forecast="half", exact=True))[-1]
    assert (abs(pixels(engine, together[0]) - pixels(engine, alone)) <= 1).mean() >= 0.999


def test_a_branch_without_a_change_is_the_run_and_one_with_a_change_computes_first(engine: DiffusionEngine) -> None:
    job = made(engine, ask(**FIELDS, forecast="half", exact=True), attention=True)
    parent = recording(engine, job)
    assert len(parent["attention.down.4x4"]) == 12 - len(HALF)
    for evaluation in (5, 8):
        assert same(recording(engine, branched(engine, job, evaluation)), parent)
    child = branched(engine, job, 5, guidance_scale=2.0)
    marks = [e["index"] for e in header(engine.record(child, owner=OWNER))["evaluations"] if e.get("forecast")]
    assert marks == [3, 8, 10]
    assert same(recording(engine, branched(engine, child, 9)), recording(engine, child))
