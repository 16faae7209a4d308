"""Jobs of a studio that has ended: what waits goes on, what ran is interrupted and can be run again."""

from __future__ import annotations

import asyncio
import io
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from studio.answered.codec import decode, encode
from studio.answered.engine import Refused, UnknownJob
from studio.answered.events import (
    AnyEvent,
    CellEvent,
    ComparisonEnded,
    Failed,
    Finished,
    Planned,
    Queued,
    Started,
    Stopped,
)
from studio.asked import orders
from studio.asked.branch import Branch
from studio.asked.compare import Comparison
from studio.asked.fields import Inpaint
from studio.asked.orders import Allowance, Quota
from studio.engine.engine import DiffusionEngine
from studio.engine.history import BRANCH_WITHOUT_RUN, INTERRUPTED, OTHER_VERSION, SHARE_OVER
from studio.engine.jobs import Job, Limits
from studio.engine.store.database import NAME
from studio.engine.store.servers import Server
from studio.picture.gallery import Gallery
from tests.engine.conftest import EngineFactory, ask, finish, outcome
from tests.engine.store.conftest import StoreFactory, settled

MakeServer = Callable[[], Server]


@pytest.fixture
def crashed(
    make_engine: EngineFactory, store_at: StoreFactory, tmp_path: Path, dead: MakeServer
) -> Callable[..., DiffusionEngine]:
    """Makes engines of a process that is gone, as the next one sees it; what they take waits."""

    def make(**settings: object) -> DiffusionEngine:
        return make_engine(start=False, store=store_at(server=dead()), gallery=Gallery(tmp_path), **settings)

    return make


@pytest.fixture
def next_engine(make_engine: EngineFactory, store_at: StoreFactory, tmp_path: Path) -> Callable[..., DiffusionEngine]:
    """Makes the engine of the next start on the same folder."""
    return lambda **settings: make_engine(store=store_at(), gallery=Gallery(tmp_path), **settings)


def job_of(engine: DiffusionEngine, job_id: str, owner: str = "anna") -> Job:
    return engine._book.get(job_id, owner=owner)


def begin(engine: DiffusionEngine, job_id: str, seeds: tuple[int, ...] = (77,), owner: str = "anna") -> Job:
    """Let a job have begun."""
    job = job_of(engine, job_id, owner)
    job.begin()
    job.publish(
        Started(
            job_id=job_id,
            seeds=seeds,
            width=64,
            height=64,
            total=4,
            prompt_tokens=2,
            negative_prompt_tokens=0,
            chunks=1,
        )
    )
    settled(engine._store)
    return job


def heard(engine: DiffusionEngine, job_id: str, owner: str = "anna") -> list[AnyEvent]:
    async def read() -> list[AnyEvent]:
        return [event async for event in engine.watch_any(job_id, owner=owner)]

    return asyncio.run(asyncio.wait_for(read(), 60))


def picture(colour: str = "red", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (64, 64), colour).save(file, "PNG")
    return file.getvalue()


def test_what_waited_goes_on_under_the_same_id_for_its_owner_alone(
    crashed: Callable[..., DiffusionEngine],
    next_engine: Callable[..., DiffusionEngine],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = crashed()
    first, second = (before.submit(ask(prompt=prompt), owner="anna", origin="text_to_image") for prompt in "ab")
    other = before.submit(ask(), owner="ben")
    with caplog.at_level(logging.INFO):
        after = next_engine(start=False)
    assert "Jobs from before: 3 waited and go on." in caplog.text
    mine = after.jobs(owner="anna")
    assert [(job.job_id, job.state, job.request.prompt, job.origin) for job in mine] == [
        (second, "queued", "b", "text_to_image"),
        (first, "queued", "a", "text_to_image"),
    ]
    with pytest.raises(UnknownJob):
        after.watch_any(other, owner="anna")
    assert after.status().queued == 3
    after.start()
    ends = {name: outcome(after, name, owner) for name, owner in ((first, "anna"), (second, "anna"), (other, "ben"))}
    assert all(isinstance(end, Finished) for end in ends.values())
    assert {picture.info["prompt"] for picture in after._gallery.earlier("anna")} == {"a", "b"}


def test_pictures_masks_and_settings_come_back_as_they_were(
    crashed: Callable[..., DiffusionEngine], next_engine: Callable[..., DiffusionEngine], make_engine: EngineFactory
) -> None:
    request = Inpaint(
        prompt="a fox", checkpoint="tiny", image=picture(), mask=picture("white", "L"), seed=4, num_inference_steps=3,
        strength=0.7,
    )  # fmt: skip
    before = crashed()
    job_id = before.submit(request, owner="anna", attention=True)
    after = next_engine(start=False)
    job, was = job_of(after, job_id), job_of(before, job_id)
    assert job.request == was.request
    assert job.attention
    assert job.start is not None
    assert job.start.picture.tobytes() == was.start.picture.tobytes()  # type: ignore[union-attr]
    after.start()
    again = outcome(after, job_id)
    assert isinstance(again, Finished)
    alone = finish(make_engine(), request)
    assert again.pictures[0].info["image_sha256"] == alone.pictures[0].info["image_sha256"]


def test_a_comparison_that_waited_goes_on(
    crashed: Callable[..., DiffusionEngine], next_engine: Callable[..., DiffusionEngine]
) -> None:
    fields = {"prompt": "a fox", "checkpoint": "tiny", "width": 64, "height": 64, "num_inference_steps": 2}
    comparison = Comparison.parse({**fields, "x": "guidance_scale", "x_values": "1, 4"})
    before = crashed()
    job_id = before.submit_comparison(comparison, owner="anna", origin="compare", focus=1)
    seed = job_of(before, job_id).comparison.base.seed  # type: ignore[attr-defined]
    after = next_engine()
    events = heard(after, job_id)
    planned = next(event for event in events if isinstance(event, Planned))
    assert planned.comparison.base.seed == seed is not None
    assert isinstance(events[-1], ComparisonEnded)
    assert (events[-1].state, events[-1].finished_cells) == ("finished", 2)


def test_what_ran_is_interrupted_and_is_run_again_with_its_seed(
    crashed: Callable[..., DiffusionEngine], next_engine: Callable[..., DiffusionEngine]
) -> None:
    before = crashed()
    job_id = before.submit(ask(seed=None), owner="anna", origin="text_to_image")
    begin(before, job_id, seeds=(77,))
    after = next_engine()
    (mine,) = after.jobs(owner="anna")
    assert (mine.job_id, mine.state, mine.origin) == (job_id, "interrupted", "text_to_image")
    (end,) = heard(after, job_id)
    assert end == Stopped(job_id=job_id, pictures=(), last=(), index=0, total=0, reason=INTERRUPTED, interrupted=True)
    with pytest.raises(UnknownJob):
        heard(after, job_id, "ben")
    with pytest.raises(UnknownJob):
        after.take(orders.RunAgain(job_id=job_id), owner="ben")
    again = after.take(orders.RunAgain(job_id=job_id), owner="anna")
    made = outcome(after, again)
    assert isinstance(made, Finished)
    assert made.pictures[0].seed == 77
    settled(after._store)
    assert {job.job_id: (job.state, job.origin) for job in after.jobs(owner="anna")} == {
        again: ("finished", "text_to_image"),
        job_id: ("stopped", "text_to_image"),
    }
    with pytest.raises(UnknownJob):
        after.take(orders.RunAgain(job_id=job_id), owner="anna")


def test_an_interrupted_run_that_is_not_wanted_is_offered_no_more(
    crashed: Callable[..., DiffusionEngine], next_engine: Callable[..., DiffusionEngine]
) -> None:
    before = crashed()
    job_id = before.submit(ask(), owner="anna")
    begin(before, job_id)
    after = next_engine(start=False)
    with pytest.raises(UnknownJob):
        after.cancel(job_id, owner="ben")
    assert [job.state for job in after.jobs(owner="anna")] == ["interrupted"]
    assert after.cancel(job_id, owner="anna") is True
    assert after.cancel(job_id, owner="anna") is False
    assert [job.state for job in after.jobs(owner="anna")] == ["stopped"]
    with pytest.raises(UnknownJob):
        after.take(orders.RunAgain(job_id=job_id), owner="anna")


def test_an_interrupted_comparison_is_named_and_run_again(
    crashed: Callable[..., DiffusionEngine], next_engine: Callable[..., DiffusionEngine]
) -> None:
    fields = {"prompt": "a fox", "checkpoint": "tiny", "width": 64, "height": 64, "num_inference_steps": 2}
    comparison = Comparison.parse({**fields, "x": "guidance_scale", "x_values": "1, 4"})
    before = crashed()
    job_id = before.submit_comparison(comparison, owner="anna", origin="compare")
    job_of(before, job_id).parts()[0].begin()
    settled(before._store)
    after = next_engine()
    planned, end = heard(after, job_id)
    assert isinstance(planned, Planned)
    assert isinstance(end, ComparisonEnded)
    assert (end.state, end.interrupted) == ("stopped", True)
    again = after.take(orders.RunAgain(job_id=job_id), owner="anna")
    last = heard(after, again)[-1]
    assert isinstance(last, ComparisonEnded)
    assert last.finished_cells == 2


def test_the_cells_that_an_interrupted_comparison_had_made_are_there(
    crashed: Callable[..., DiffusionEngine], next_engine: Callable[..., DiffusionEngine]
) -> None:
    fields = {"prompt": "a fox", "checkpoint": "tiny", "width": 64, "height": 64, "num_inference_steps": 2}
    comparison = Comparison.parse({**fields, "x": "guidance_scale", "x_values": "1, 4"})
    before = crashed()
    job_id = before.submit_comparison(comparison, owner="anna", origin="compare")
    first, _ = job_of(before, job_id).parts()
    first.begin()
    saved = before._gallery.save(
        Image.new("RGB", (64, 64)), info={"seed": 1}, parameters="", owner="anna", part_of=job_id
    )
    made = replace(saved, filmstrip=(b"a frame",))
    first.publish(Finished(job_id=first.id, pictures=(made,), seconds=1.0, exact=False))
    settled(before._store)
    after = next_engine(start=False)
    _, cell, end = heard(after, job_id)
    assert isinstance(cell, CellEvent)
    assert (cell.cell, cell.event.pictures) == (0, (saved,))  # type: ignore[union-attr]
    assert isinstance(end, ComparisonEnded)
    assert (end.finished_cells, end.interrupted) == (1, True)
    assert list(after.comparison(job_id, owner="anna").cells) == [0]
    with pytest.raises(UnknownJob):
        after.comparison(job_id, owner="ben")


def test_a_run_whose_last_picture_was_saved_just_before_the_end_is_finished(
    crashed: Callable[..., DiffusionEngine], next_engine: Callable[..., DiffusionEngine], tmp_path: Path
) -> None:
    before = crashed()
    one, two = (before.submit(ask(num_images_per_prompt=n), owner="anna") for n in (1, 2))
    for job_id in (one, two):
        begin(before, job_id)
        before._gallery.save(
            Image.new("RGB", (64, 64)), info={"seed": 77, "seconds": 1.5}, parameters="", owner="anna", job=job_id
        )
    after = next_engine(start=False)
    states = {job.job_id: job.state for job in after.jobs(owner="anna")}
    assert states == {one: "finished", two: "interrupted"}
    (end,), (cut,) = heard(after, one), heard(after, two)
    assert isinstance(end, Finished)
    assert isinstance(cut, Stopped)
    assert len(end.pictures) == len(cut.pictures) == 1
    assert end.seconds == 1.5
    assert after._gallery.path(end.pictures[0].id, "anna") is not None


def test_a_branch_says_that_its_recording_is_gone(
    make_engine: EngineFactory,
    store_at: StoreFactory,
    dead: MakeServer,
    tmp_path: Path,
    next_engine: Callable[..., DiffusionEngine],
) -> None:
    before = make_engine(store=store_at(server=dead()), gallery=Gallery(tmp_path))
    made = finish(before, ask(exact=True))
    before._book.runnable = lambda: []  # type: ignore[method-assign]  # nothing begins any more
    branch = before.branch(made.job_id, Branch(evaluation=1, prompt="a bear"), owner="anna", origin="noise_viewer")
    after = next_engine(start=False)
    (end,) = heard(after, branch)
    assert isinstance(end, Stopped)
    assert (end.reason, end.interrupted) == (BRANCH_WITHOUT_RUN, False)
    (job,) = (job for job in after.jobs(owner="anna") if job.job_id == branch)
    assert (job.state, job.request.prompt) == ("stopped", "a bear")


GUEST = Allowance(group="share", visitor=Quota(jobs=2), ends_with_studio=True)


def test_guests_of_a_share_that_is_over_lose_what_waits_and_are_told(
    crashed: Callable[..., DiffusionEngine],
    next_engine: Callable[..., DiffusionEngine],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = crashed()
    guests = before.submit(ask(), owner="guest", allowance=GUEST)
    lasting = before.submit(ask(), owner="ben", allowance=replace(GUEST, group="password", ends_with_studio=False))
    with caplog.at_level(logging.INFO):
        after = next_engine(start=False)
    assert "1 waited and go on; 1 dropped" in caplog.text
    (end,) = heard(after, guests, "guest")
    assert isinstance(end, Stopped)
    assert end.reason == SHARE_OVER
    assert [job.state for job in after.jobs(owner="ben")] == ["queued"]
    assert lasting in after.active_jobs()


def test_limits_count_the_jobs_that_go_on(
    crashed: Callable[..., DiffusionEngine], next_engine: Callable[..., DiffusionEngine]
) -> None:
    guest = replace(GUEST, group="password", ends_with_studio=False)
    before = crashed()
    for _ in range(2):
        before.submit(ask(), owner="ben", allowance=guest)
    for _ in range(3):
        before.submit(ask(), owner="anna")
    after = next_engine(start=False, limits=Limits(per_owner=3))
    with pytest.raises(Refused, match="You may have 2 jobs waiting or running: there are 2"):
        after.submit(ask(), owner="ben", allowance=guest)
    with pytest.raises(Refused, match="You have 3 pictures waiting"):
        after.submit(ask(), owner="anna")


def test_a_call_that_nobody_can_come_back_to_is_not_kept(
    crashed: Callable[..., DiffusionEngine], next_engine: Callable[..., DiffusionEngine]
) -> None:
    crashed().submit(ask(), owner="anna", ephemeral=True)
    assert next_engine(start=False).jobs(owner="anna") == ()


def test_what_cannot_be_made_any_more_fails_with_the_reason(
    crashed: Callable[..., DiffusionEngine], next_engine: Callable[..., DiffusionEngine], tmp_path: Path
) -> None:
    before = crashed()
    gone, foreign = before.submit(ask(), owner="anna"), before.submit(ask(), owner="anna")
    before.close()
    with sqlite3.connect(tmp_path / NAME) as connection:
        (stored,) = connection.execute("SELECT submission FROM jobs WHERE id = ?", (gone,)).fetchone()
        order = decode(stored)
        order = replace(order, request=replace(order.request, checkpoint="lost"))
        connection.execute("UPDATE jobs SET submission = ? WHERE id = ?", (encode(order), gone))
        connection.execute("UPDATE jobs SET submission = ? WHERE id = ?", (b"of another version", foreign))
    after = next_engine(start=False)
    (lost,), (unread,) = heard(after, gone), heard(after, foreign)
    assert isinstance(lost, Failed)
    assert isinstance(unread, Failed)
    assert "checkpoint" in lost.message
    assert unread.message == OTHER_VERSION
    assert [job.state for job in after.jobs(owner="anna")] == ["failed", "failed"]


def test_an_orderly_end_keeps_what_waits_and_interrupts_what_runs(
    make_engine: EngineFactory,
    store_at: StoreFactory,
    tmp_path: Path,
    next_engine: Callable[..., DiffusionEngine],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = make_engine(start=False, store=store_at(), gallery=Gallery(tmp_path))
    waits, runs = before.submit(ask(prompt="waits"), owner="anna"), before.submit(ask(prompt="runs"), owner="anna")
    begin(before, runs)
    with caplog.at_level(logging.INFO):
        before.close()
    assert "1 waiting job goes on at the next start." in caplog.text
    after = next_engine()
    assert {job.job_id: job.state for job in after.jobs(owner="anna")}[runs] == "interrupted"
    assert isinstance(outcome(after, waits), Finished)


def test_a_disk_that_is_full_is_told_with_the_run_and_the_run_is_made(
    make_engine: EngineFactory, store_at: StoreFactory, tmp_path: Path
) -> None:
    store = store_at()
    engine = make_engine(store=store, gallery=Gallery(tmp_path))
    store._writer.do(lambda connection: connection.execute("PRAGMA query_only = ON")).result(30)
    job_id = engine.submit(ask(), owner="anna")
    events = heard(engine, job_id)
    (started,) = (event for event in events if isinstance(event, Started))
    assert "It does not outlive the studio" in started.notes[0]
    assert isinstance(events[-1], Finished)


def test_two_engines_on_one_folder_make_everything_once(
    make_engine: EngineFactory, store_at: StoreFactory, tmp_path: Path, dead: MakeServer, alive: MakeServer
) -> None:
    before = make_engine(start=False, store=store_at(server=dead()), gallery=Gallery(tmp_path))
    left = [before.submit(ask(seed=k), owner="anna") for k in range(12)]
    engines = [
        make_engine(start=False, store=store_at(server=server), gallery=Gallery(tmp_path))
        for server in (alive(), alive())
    ]
    own = [
        [engine.submit(ask(seed=100 * (k + 1) + n), owner="ben") for n in range(4)] for k, engine in enumerate(engines)
    ]
    for engine in engines:
        engine.start()
    for engine, jobs in zip(engines, own):
        assert all(isinstance(outcome(engine, job, "ben"), Finished) for job in jobs)
    for engine in engines:
        for job in engine.active_jobs():
            assert isinstance(outcome(engine, job), Finished)
        settled(engine._store)
    pictures = Gallery(tmp_path).earlier("anna")
    assert sorted(picture.seed for picture in pictures) == list(range(12))
    assert len(Gallery(tmp_path).earlier("ben")) == 8
    states = {job.job_id: job.state for job in engines[0].jobs(owner="anna")}
    assert states == dict.fromkeys(left, "finished")


def test_a_job_that_another_server_has_taken_is_not_made_here(
    make_engine: EngineFactory, store_at: StoreFactory, tmp_path: Path, dead: MakeServer
) -> None:
    slow = make_engine(start=False, store=store_at(server=dead()), gallery=Gallery(tmp_path))
    job_id = slow.submit(ask(num_inference_steps=50), owner="anna")
    other = make_engine(start=False, store=store_at(), gallery=Gallery(tmp_path))
    slow.start()
    end = outcome(slow, job_id)
    assert isinstance(end, Stopped)
    assert "another studio" in end.reason
    other.start()
    assert isinstance(outcome(other, job_id), Finished)
    assert len(Gallery(tmp_path).earlier("anna")) == 1


def test_a_job_that_another_studio_has_is_listed_watched_and_withdrawn(
    make_engine: EngineFactory, store_at: StoreFactory, tmp_path: Path, alive: MakeServer
) -> None:
    other = make_engine(start=False, store=store_at(server=alive()), gallery=Gallery(tmp_path))
    here = make_engine(start=False, store=store_at(server=alive()), gallery=Gallery(tmp_path))
    seen, unwanted = other.submit(ask(prompt="seen"), owner="anna"), other.submit(ask(), owner="anna")
    assert [(job.job_id, job.state) for job in here.jobs(owner="anna")] == [(unwanted, "queued"), (seen, "queued")]
    assert here.jobs(owner="ben") == ()
    with pytest.raises(UnknownJob):
        here.cancel(unwanted, owner="ben")
    assert here.cancel(unwanted, owner="anna") is True

    async def watched() -> list[AnyEvent]:
        events = here.watch_any(seen, owner="anna")
        first = await anext(aiter(events))
        other.start()
        return [first, *[event async for event in events]]

    first, last = asyncio.run(asyncio.wait_for(watched(), 60))
    assert isinstance(first, Queued)
    assert isinstance(last, Finished)
    assert last.pictures[0].info["prompt"] == "seen"
    (end,) = heard(here, unwanted)
    assert isinstance(end, Stopped)
    assert isinstance(outcome(other, unwanted), Stopped)
    assert len(Gallery(tmp_path).earlier("anna")) == 1
