"""Live mode: the run before is stopped and the new one's first preview comes within 2.5 ticks of the engine."""

from __future__ import annotations

import pytest

from studio.answered.events import Step
from studio.engine.engine import DiffusionEngine
from tests.engine.conftest import Calls, ask, outcome


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
