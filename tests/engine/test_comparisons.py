"""A comparison through the engine: cells share U-Net calls, equal their single runs, fail and stop one by one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from studio.answered.engine import Refused, UnknownJob
from studio.answered.events import (
    CellEvent,
    ComparisonEnded,
    ComparisonEvent,
    Event,
    Failed,
    Finished,
    Loading,
    Planned,
    Step,
    Stopped,
)
from studio.asked.compare import Comparison
from studio.asked.fields import NO_FILE
from studio.asked.problems import InvalidRequest
from studio.engine.engine import DiffusionEngine
from tests.engine.conftest import SECONDS, Calls, EngineFactory, ask, finish, pixels
from tests.engine.test_engine import agree, png


def comparison(**given: object) -> Comparison:
    plain: dict[str, object] = {"prompt": "a red fox", "checkpoint": "tiny", "seed": 5, "preview": "fast"}
    plain |= {"x": "num_inference_steps", "x_values": "2, 3, 5", "y": "guidance_scale", "y_values": "1, 4"}
    return Comparison.parse(plain | given)


async def events_of(engine: DiffusionEngine, job: str, owner: str = "anna") -> list[ComparisonEvent]:
    async def read() -> list[ComparisonEvent]:
        return [event async for event in engine.watch_comparison(job, owner=owner)]

    return await asyncio.wait_for(read(), SECONDS)


def run(engine: DiffusionEngine, asked: Comparison, **how: Any) -> list[ComparisonEvent]:
    return asyncio.run(events_of(engine, engine.submit_comparison(asked, owner="anna", **how)))


def ends(events: list[ComparisonEvent]) -> dict[int, Event]:
    """The terminal event of every cell."""
    return {
        e.cell: e.event for e in events if isinstance(e, CellEvent) and isinstance(e.event, (Finished, Stopped, Failed))
    }


def end(events: list[ComparisonEvent]) -> ComparisonEnded:
    last = events[-1]
    assert isinstance(last, ComparisonEnded)
    assert sum(isinstance(e, ComparisonEnded) for e in events) == 1
    return last


def test_cells_of_different_steps_and_guidance_share_calls_and_equal_their_single_runs(
    engine: DiffusionEngine, calls: Calls
) -> None:
    asked = comparison(y="scheduler", y_values="euler_a, dpmpp_2m", guidance_scale=4.0)
    events = run(engine, asked)
    assert max(calls.lanes) == 6
    shared = len(calls.lanes)
    assert shared <= 5 + 3  # the longest cell's evaluations, and what the first calls take to learn what pays
    assert end(events).finished_cells == 6
    cells = ends(events)
    assert sorted(cells) == list(range(6))
    for index, event in cells.items():
        request = asked.request(index)
        assert request is not None
        alone = pixels(engine, finish(engine, request))
        assert agree(pixels(engine, event), alone)
    assert len(calls.lanes) - shared == 2 * (2 + 3 + 5)


def test_exact_cells_run_alone_and_are_bit_equal(engine: DiffusionEngine, calls: Calls) -> None:
    asked = comparison(exact=True, y=None)
    cells = ends(run(engine, asked))
    assert set(calls.lanes) == {1}
    for index, event in cells.items():
        request = asked.request(index)
        assert request is not None
        assert (pixels(engine, event) == pixels(engine, finish(engine, request))).all()


def test_the_watcher_hears_the_plan_then_every_cell_to_its_end(engine: DiffusionEngine) -> None:
    events = run(engine, comparison(seed=None))
    planned = events[0]
    assert isinstance(planned, Planned)
    assert planned.comparison.base.seed is not None
    for cell in range(6):
        mine = [e.event for e in events if isinstance(e, CellEvent) and e.cell == cell]
        assert isinstance(mine[-1], Finished)
        steps = [e.index for e in mine if isinstance(e, Step)]
        assert steps == sorted(steps)
        assert mine[-1].pictures[0].seed == planned.comparison.base.seed
        assert not any(isinstance(e, (Finished, Stopped, Failed)) for e in mine[:-1])
    late = asyncio.run(events_of(engine, planned.job_id))  # a watcher after the end gets all that was finished
    assert len(ends(late)) == 6
    assert not [e for e in late if isinstance(e, CellEvent) and isinstance(e.event, Step)]


def test_the_focus_comes_first_and_a_cell_that_is_asked_for_jumps_the_queue(
    make_engine: EngineFactory, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.engine import batching, scheduler

    monkeypatch.setattr(scheduler, "LANES", 3)
    monkeypatch.setattr(scheduler, "RESERVED_LANES", 1)
    monkeypatch.setattr(batching, "MAX_ROWS", 1)
    engine = make_engine()
    calls.gate.clear()
    job = engine.submit_comparison(comparison(x_values="2-9", y=None, guidance_scale=1.0), owner="anna", focus=4)
    calls.wait()
    assert engine.prioritize(job, 7, owner="anna")
    calls.gate.set()
    events = asyncio.run(events_of(engine, job))
    order = [e.cell for e in events if isinstance(e, CellEvent) and isinstance(e.event, Finished)]
    assert order[0] == 7  # one row a call: it had to wait neither for a lane nor for the others' calls
    assert order[1] == 4
    assert not engine.prioritize(job, 7, owner="anna")
    with pytest.raises(UnknownJob):
        engine.prioritize(job, 3, owner="bob")


def test_a_failed_cell_tells_why_and_the_others_go_on(
    engine: DiffusionEngine, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.engine import executor

    real = executor.start_lane

    def broken(components: Any, request: Any, **rest: Any) -> Any:
        if request.num_inference_steps == 3 and request.guidance_scale == 4:
            raise MemoryError("9.9 GiB are needed")
        return real(components, request, **rest)

    monkeypatch.setattr(executor, "start_lane", broken)
    events = run(engine, comparison())
    cells = ends(events)
    assert isinstance(cells[4], Failed)
    assert cells[4].kind == "out_of_memory"
    assert cells[4].message
    assert all(isinstance(e, Finished) for k, e in cells.items() if k != 4)
    assert (end(events).finished_cells, end(events).failed_cells, end(events).state) == (5, 1, "finished")


def test_an_impossible_pair_is_left_out_and_the_others_are_made(engine: DiffusionEngine) -> None:
    events = run(engine, comparison(x="scheduler", x_values="lcm, euler", y="num_inference_steps", y_values="2, 60"))
    assert sorted(ends(events)) == [0, 1, 3]
    assert end(events).finished_cells == 3


def test_stop_keeps_what_is_finished(engine: DiffusionEngine, calls: Calls) -> None:
    asked = comparison(x_values="1, 40", y=None)
    job = engine.submit_comparison(asked, owner="anna")

    async def stop_after_the_first() -> list[ComparisonEvent]:
        seen: list[ComparisonEvent] = []
        async for event in engine.watch_comparison(job, owner="anna"):
            seen.append(event)
            if isinstance(event, CellEvent) and isinstance(event.event, Finished) and event.cell == 0:
                assert engine.cancel(job, owner="anna")
        return seen

    calls.before = lambda number: None
    events = asyncio.run(asyncio.wait_for(stop_after_the_first(), SECONDS))
    cells = ends(events)
    assert isinstance(cells[0], Finished)
    assert isinstance(cells[1], Stopped)
    assert end(events).state == "stopped"
    assert engine._gallery.path(cells[0].pictures[0].id, "anna") is not None
    assert not engine.cancel(job, owner="anna")


def test_stop_before_the_first_call_ends_every_cell(make_engine: EngineFactory) -> None:
    engine = make_engine(start=False)
    job = engine.submit_comparison(comparison(), owner="anna")
    assert engine.cancel(job, owner="anna")
    events = asyncio.run(events_of(engine, job))
    assert all(isinstance(e, Stopped) for e in ends(events).values())
    assert end(events).state == "stopped"


def test_closing_the_studio_tells_the_watchers(make_engine: EngineFactory) -> None:
    engine = make_engine(start=False)
    job = engine.submit_comparison(comparison(), owner="anna")
    engine.close()
    assert end(asyncio.run(events_of(engine, job))).reason == "Stopped: the studio is closing."


def test_a_comparison_is_one_job_of_its_owner_and_of_nobody_else(make_engine: EngineFactory) -> None:
    from studio.engine.jobs import Limits

    engine = make_engine(start=False, limits=Limits(per_owner=2))
    job = engine.submit_comparison(comparison(), owner="anna", origin="compare")
    engine.submit(ask(), owner="anna")
    with pytest.raises(Refused):
        engine.submit_comparison(comparison(), owner="anna")
    found = engine.jobs(owner="anna")[1]
    assert (found.job_id, found.origin, found.state) == (job, "compare", "queued")
    assert found.comparison == comparison().with_suits({entry.name: entry.suits for entry in engine.catalog()})
    assert engine.jobs(owner="bob") == ()
    for ask_for in (engine.watch_comparison, engine.cancel):
        with pytest.raises(UnknownJob):
            ask_for(job, owner="bob")
    with pytest.raises(UnknownJob):
        engine.watch(job, owner="anna")


def test_an_owners_other_job_does_not_wait_for_all_his_cells(
    make_engine: EngineFactory, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.engine import scheduler

    monkeypatch.setattr(scheduler, "LANES", 3)
    monkeypatch.setattr(scheduler, "RESERVED_LANES", 1)
    engine = make_engine()
    calls.gate.clear()
    job = engine.submit_comparison(comparison(x_values="30-40", y=None), owner="anna")
    calls.wait()
    single = engine.submit(ask(num_inference_steps=2), owner="anna")
    calls.gate.set()

    async def both() -> None:
        async for event in engine.watch(single, owner="anna"):
            last = event
        assert isinstance(last, Finished)
        assert engine.jobs(owner="anna")[1].state == "running"
        engine.cancel(job, owner="anna")

    asyncio.run(asyncio.wait_for(both(), SECONDS))


def test_a_checkpoint_on_an_axis_is_loaded_once(make_engine: EngineFactory) -> None:
    engine = make_engine()
    asked = comparison(y="checkpoint", y_values="tiny, tiny-v", x_values="2, 3")
    job = engine.submit_comparison(asked, owner="anna")
    engine.prioritize(job, 3, owner="anna")  # of the other checkpoint: its turn comes after this one's
    loads: list[str] = []
    assert engine._thread.is_alive()

    async def read() -> list[ComparisonEvent]:
        seen = []
        async for event in engine.watch_comparison(job, owner="anna"):
            seen.append(event)
            if isinstance(event, Loading) and event.checkpoint not in loads[-1:]:
                loads.append(event.checkpoint)
        return seen

    events = asyncio.run(asyncio.wait_for(read(), SECONDS))
    assert end(events).finished_cells == 4
    finished = [e.cell for e in events if isinstance(e, CellEvent) and isinstance(e.event, Finished)]
    assert [cell // 2 for cell in finished] == [0, 0, 1, 1]
    assert len(loads) == len(set(loads))


def test_an_unknown_checkpoint_on_an_axis_is_refused_with_the_axis_named(engine: DiffusionEngine) -> None:
    with pytest.raises(InvalidRequest) as refused:
        engine.submit_comparison(comparison(y="checkpoint", y_values="tiny, nowhere"), owner="anna")
    assert refused.value.problems[0].field == "y_values"
    with pytest.raises(InvalidRequest) as refused:
        engine.submit_comparison(comparison(checkpoint="nowhere"), owner="anna")
    assert refused.value.problems[0].field == "checkpoint"


def test_strength_varies_a_picture_to_start_from(engine: DiffusionEngine) -> None:
    asked = comparison(image=png(), x="strength", x_values="0, 0.5, 1", y=None, num_inference_steps=4)
    cells = ends(run(engine, asked))
    assert all(isinstance(e, Finished) for e in cells.values())
    request = asked.request(1)
    assert request is not None
    assert agree(pixels(engine, cells[1]), pixels(engine, finish(engine, request)))
    done = next(job for job in engine.jobs(owner="anna") if job.comparison is not None)
    assert done.comparison is not None
    assert done.comparison.base.image == NO_FILE  # type: ignore[union-attr]  # nothing of an upload outlives its use
    assert len(done.comparison.possible) == 3


def test_every_cell_has_its_record(engine: DiffusionEngine) -> None:
    events = run(engine, comparison(y=None))
    job = end(events).job_id
    assert b'\\"total\\": 3' in engine.record(job, owner="anna", image=1)
    with pytest.raises(UnknownJob):
        engine.record(job, owner="bob", image=1)
    with pytest.raises(UnknownJob):
        engine.record(job, owner="anna", image=9)


def test_cells_are_kept_apart_until_they_are_kept(engine: DiffusionEngine) -> None:
    before = len(engine._gallery.earlier("anna"))
    finished = ends(run(engine, comparison(y=None)))[0]
    assert isinstance(finished, Finished)
    assert len(engine._gallery.earlier("anna")) == before
    kept = engine._gallery.keep(finished.pictures[0].id, "anna")
    assert kept is not None
    assert kept.info == finished.pictures[0].info
    assert engine._gallery.earlier("anna")[0].id == kept.id
    assert engine._gallery.keep(finished.pictures[0].id, "bob") is None


def test_the_pace_is_known_after_a_run(make_engine: EngineFactory) -> None:
    engine = make_engine()
    assert engine.pace("tiny") is None
    run(engine, comparison())
    pace = engine.pace("tiny")
    assert pace is not None
    assert (pace.width, pace.height) == (64, 64)
    assert 0 < pace.seconds(comparison()) < SECONDS
    assert engine.pace("tiny", 128, 128) == pace
    assert engine.pace("nowhere") is None


def test_an_axis_leads_from_one_seed_to_another(engine: DiffusionEngine) -> None:
    """Its ends are the pictures of the two seeds; without a variation seed all cells are given one."""
    fields: dict[str, Any] = {"scheduler": "euler", "num_inference_steps": 3, "guidance_scale": 4.0}
    axis = {"x": "variation_strength", "x_values": "0, 0.5, 1", "y": None, "y_values": ""}
    cells = ends(run(engine, comparison(**axis, **fields, variation_seed=9, exact=True)))
    for index, seed in ((0, 5), (2, 9)):
        request = comparison(x="seed", x_values=str(seed), y=None, y_values="", **fields, exact=True).request(0)
        assert request is not None
        assert agree(pixels(engine, cells[index]), pixels(engine, finish(engine, request)))
    assert not agree(pixels(engine, cells[1]), pixels(engine, cells[0]))
    drawn = ends(run(engine, comparison(**axis, **fields)))
    seeds = {event.pictures[0].info["variation_seed"] for event in (drawn[1], drawn[2]) if isinstance(event, Finished)}
    assert len(seeds) == 1
