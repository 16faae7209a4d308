"""Live mode: the run before is stopped and the new one's first preview comes within 2.5 ticks of the engine."""

from __future__ import annotations

import time

import pytest

from studio.answered.events import Finished, Step
from studio.asked.orders import SubmitRun
from studio.engine.engine import DiffusionEngine
from tests.engine.conftest import Calls, EngineFactory, ask, finish, outcome


@pytest.mark.parametrize("others", [0, 2])
def test_the_first_preview_comes_within_two_and_a_half_ticks(
    engine: DiffusionEngine, calls: Calls, others: int
) -> None:
    for number in range(others):  # somebody else is at work, too
        engine.submit(ask(num_inference_steps=60, seed=number), owner=f"other-{number}")
    before = engine.submit(ask(num_inference_steps=60), owner="anna", origin="text_to_image")
    for _ in range(4):
        calls.wait()
    calls.gate.clear()  # in the middle of a call: half a tick is gone already when the slider is let go of
    calls.wait()
    at_release = engine.ticks
    seen_at: list[int] = []
    assert engine.cancel(before, owner="anna")
    after = engine.submit(ask(num_inference_steps=20, guidance_scale=3.0), owner="anna", origin="text_to_image")
    job = engine._book.get(after, owner="anna")

    def look(number: int) -> None:
        entry = job.mailbox._slots.get((Step, 0))
        if entry is not None and isinstance(entry[1], Step) and entry[1].preview is not None:
            seen_at.append(engine.ticks)

    calls.before = look
    calls.gate.set()
    outcome(engine, after)
    for number in range(others):
        for summary in engine.jobs(owner=f"other-{number}"):
            engine.cancel(summary.job_id, owner=f"other-{number}")
    assert seen_at
    assert seen_at[0] - at_release <= 2.5


def test_live_pictures_are_saved_at_a_pause_and_a_programs_at_once(make_engine: EngineFactory) -> None:
    engine = make_engine()
    gallery = engine._gallery
    gallery.live.pause_seconds = 0.05

    def live(seed: int) -> Finished:
        request = ask(num_inference_steps=1, seed=seed)
        job = engine.take(SubmitRun(request=request, live=True), owner="anna", origin="text_to_image")
        event = outcome(engine, job)
        assert isinstance(event, Finished)
        return event

    first = live(1)
    assert [one.file_name for one in first.pictures] == [""]
    deadline = time.monotonic() + 10
    while not gallery.files("anna") and time.monotonic() < deadline:
        time.sleep(0.01)
    (saved,) = gallery.files("anna")
    (picture,) = gallery.of_job(first.job_id, "anna")
    assert (saved.id, picture.info) == (first.pictures[0].id, first.pictures[0].info)
    assert engine.record(first.job_id, owner="anna"), "the record of the same run"
    gallery.live.pause_seconds = 60
    second, third = live(2), live(3)
    plain = finish(engine, ask(num_inference_steps=1, seed=4))  # as programs ask
    assert plain.pictures[0].file_name
    assert [one.id for one in gallery.files("anna")] == [first.pictures[0].id, plain.pictures[0].id]
    engine.close()  # a pause for what was seen last
    assert {one.id for one in gallery.files("anna")} == {event.pictures[0].id for event in (first, plain, third)}
    assert gallery.picture(second.pictures[0].id, "anna")
