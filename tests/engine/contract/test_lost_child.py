"""The child process is killed: everybody who waits is told, and a new one works."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.answered.codec import encode
from studio.answered.engine import Refused, UnknownJob
from studio.answered.events import AnyEvent, ComparisonEnded, Failed, Finished, JobSummary, Planned, Step, Stopped
from studio.asked import orders
from studio.asked.branch import Branch
from studio.asked.compare import Comparison
from studio.asked.fields import TextToImage
from studio.engine.jobs import Limits
from studio.engine.remote.engine import MAX_RESTARTS, RemoteEngine
from studio.engine.remote.past_jobs import EndedJob, PastJobs
from studio.picture.gallery import Gallery
from studio.ui import session
from studio.ui.compare import views
from studio.ui.render import View
from tests.engine.contract.conftest import SECONDS, Place, child
from tests.engine.contract.test_contract import read, ready, request, submit, wait


@pytest.fixture
def place(models_dir: Path, tmp_path: Path) -> Place:
    return Place(models_dir, Gallery(tmp_path), "tiny")


@pytest.fixture
def engine(place: Place) -> Iterator[RemoteEngine]:
    made = child(place)
    assert isinstance(made, RemoteEngine)
    made.start()
    ready(made)
    yield made
    made.close()


def kill(engine: RemoteEngine) -> None:
    assert engine._child is not None
    os.kill(engine._child.pid, signal.SIGKILL)


def test_every_watcher_of_a_killed_child_hears_one_clear_end_and_a_new_child_works(
    engine: RemoteEngine, place: Place
) -> None:
    long = request(place, num_inference_steps=150, num_images_per_prompt=8, prompt="long")
    job, waiting = submit(engine, long), submit(engine, long, owner="bob")

    async def watched() -> list[list[AnyEvent]]:
        watchers = [asyncio.ensure_future(read(engine, job)) for _ in range(5)]
        watchers.append(asyncio.ensure_future(read(engine, waiting, "bob")))
        async for event in engine.watch(job, owner="anna"):
            if isinstance(event, Step):
                kill(engine)
                break
        return await asyncio.gather(*watchers)

    ends = [events[-1] for events in wait(watched())]
    assert all(isinstance(end, Failed) for end in ends)
    assert ends[0] == ends[4]
    assert "The engine's process has ended unexpectedly (signal 9" in ends[0].message  # type: ignore[union-attr]
    assert "ask again" in ends[0].message  # type: ignore[union-attr]
    # The same after a reload, and for its owner alone.
    assert wait(read(engine, job))[-1] == ends[0]
    (mine,) = wait(engine.jobs(owner="anna"))
    assert (mine.job_id, mine.state, mine.request.prompt) == (job, "failed", "long")
    assert wait(engine.cancel(job, owner="anna")) is False

    async def page() -> list[View]:
        return [view async for view in session.attach(engine, place.gallery, "anna", "text_to_image")]

    last = wait(page())[-1]
    assert last["state"] == "failed"
    assert "ended unexpectedly" in last["message"]
    ready(engine)
    assert isinstance(wait(read(engine, submit(engine, request(place))))[-1], Finished)


def test_jobs_that_had_ended_are_listed_and_seen_after_the_child_was_killed(engine: RemoteEngine, place: Place) -> None:
    fields = {"prompt": "a fox", "checkpoint": "tiny", "width": 64, "height": 64, "seed": 3}
    asked = Comparison.parse({**fields, "x": "num_inference_steps", "x_values": "1, 2"})
    first = submit(engine, request(place, prompt="first"))
    (picture,) = wait(read(engine, first))[-1].pictures  # type: ignore[union-attr]
    branch = wait(engine.submit(orders.SubmitBranch(job_id=first, branch=Branch(evaluation=1)), owner="anna"))
    comparison = wait(engine.submit(orders.SubmitComparison(comparison=asked), owner="anna"))
    unseen = submit(engine, request(place, prompt="nobody watches"))
    call = wait(engine.submit(orders.SubmitRun(request=request(place), ephemeral=True), owner="anna"))
    other = submit(engine, request(place, prompt="of bob"), owner="bob")
    for job, owner in ((branch, "anna"), (comparison, "anna"), (call, "anna"), (other, "bob")):
        wait(read(engine, job, owner))
    before = wait(engine.jobs(owner="anna"))
    assert [one.job_id for one in before if one.job_id != call] == [unseen, comparison, branch, first]
    events = {job: wait(read(engine, job)) for job in (first, branch, comparison, unseen)}
    until = time.monotonic() + SECONDS
    while len(engine._past._jobs) < 5 and time.monotonic() < until:  # the child says so ten times a second
        time.sleep(0.02)
    assert not engine._past.of("anna"), "while the child lives it is the one to ask"

    kill(engine)
    ready(engine)
    after = wait(engine.jobs(owner="anna"))
    assert [one for one in before if one.job_id != call] == sorted(after, key=lambda one: before.index(one))
    assert {one.state for one in after} == {"finished"}
    assert len(after) == 4
    assert [one.job_id for one in wait(engine.jobs(owner="bob"))] == [other]
    for job, heard in events.items():
        assert wait(read(engine, job)) == heard
        assert wait(engine.cancel(job, owner="anna")) is False
    with pytest.raises(UnknownJob):
        wait(read(engine, first, "bob"))
    assert place.gallery.path(picture.id, "anna") is not None

    async def page() -> list[View]:
        return [view async for view in session.attach(engine, place.gallery, "anna", "text_to_image")]

    assert wait(page())[-1]["state"] == "finished"


def test_of_past_jobs_the_oldest_make_room() -> None:
    now = [0.0]
    past = PastJobs(Limits(finished=3, finished_seconds=60.0), lambda: now[0])

    def end(job_id: str, seconds: float = 1.0) -> None:
        now[0] += seconds
        summary = JobSummary(
            job_id=job_id, request=TextToImage(prompt=job_id, checkpoint="tiny"), state="stopped", origin="api"
        )
        stopped = Stopped(job_id=job_id, pictures=(), last=(), index=0, total=0, reason="Stopped.")
        past.add(EndedJob("anna", summary, encode((stopped,))))

    def listed() -> list[str]:
        return [one.job_id for one in past.of("anna")]

    for job_id in "abcd":
        end(job_id)
    assert listed() == []
    past.end_child()
    assert listed() == ["d", "c", "b"]
    end("e")
    assert listed() == ["d", "c"], "e is of the child that is there"
    assert past.get("e", "anna") is None
    assert past.get("d", "bob") is None
    now[0] += 58.5
    assert listed() == ["d"]
    now[0] += 60
    assert listed() == []
    assert past.watch("d", "anna") is None


def test_a_comparison_that_is_lost_is_said_on_its_tab(engine: RemoteEngine, place: Place) -> None:
    values = ", ".join(map(str, range(100, 130)))
    fields = {"prompt": "a fox", "checkpoint": "tiny", "width": 64, "height": 64, "seed": 3}
    comparison = Comparison.parse({**fields, "x": "num_inference_steps", "x_values": values})

    async def shown() -> list[View]:
        states = []
        async for view in views.run(engine, "anna", "compare", lambda: comparison, 0):
            states.append(view)
            if any(cell.get("index") for cell in view["cells"]):
                kill(engine)
        return states

    last = wait(shown())[-1]
    assert last["state"] == "stopped"
    assert "ended unexpectedly" in last["message"]
    (job,) = wait(engine.jobs(owner="anna"))
    events = wait(read(engine, job.job_id))
    assert isinstance(events[0], Planned)
    assert isinstance(events[-1], ComparisonEnded)


def test_what_waits_for_an_answer_is_refused_with_what_to_do(engine: RemoteEngine, place: Place) -> None:
    async def asked() -> None:
        kill(engine)
        for _ in range(100):
            await engine.ask(orders.ModelList())

    with pytest.raises(Refused, match="Try again in a moment"):
        wait(asked())
    assert engine.catalog(), "the mirror stays"


def test_a_child_that_ends_again_and_again_is_not_started_for_ever(engine: RemoteEngine) -> None:
    until = time.monotonic() + SECONDS
    for _ in range(MAX_RESTARTS + 1):
        past = engine._child
        kill(engine)
        while engine._child is past and time.monotonic() < until:
            time.sleep(0.02)
    assert engine.status().state == "failed"
    assert "start the studio anew" in engine.status().message
    with pytest.raises(Refused, match="start the studio anew"):
        submit(engine, TextToImage(prompt="x", checkpoint="tiny"))


def test_the_child_ends_with_its_parent(place: Place) -> None:
    engine = child(place)
    assert isinstance(engine, RemoteEngine)
    engine.start()
    ready(engine)
    process = engine._child._process  # type: ignore[union-attr]
    engine._closing = True  # as if this process were gone: its end of the pipe is closed, and nothing was said
    engine._child._out.put(None)  # type: ignore[union-attr]
    assert process.wait(15) == 0


def test_with_a_jobs_file_what_waits_outlives_the_child_and_what_ran_can_be_run_again(place: Place) -> None:
    made = child(place, jobs_file=True)
    assert isinstance(made, RemoteEngine)
    try:
        made.start()
        ready(made)
        long = request(place, num_inference_steps=150, num_images_per_prompt=4, prompt="long", exact=True)
        runs = submit(made, long)
        call = wait(made.submit(orders.SubmitRun(request=long, ephemeral=True), owner="anna"))

        async def watched() -> tuple[list[AnyEvent], list[AnyEvent], list[AnyEvent], str]:
            async for event in made.watch(runs, owner="anna"):
                if isinstance(event, Step):
                    break
            waits = await made.submit(orders.SubmitRun(request=request(place, prompt="waits")), owner="bob")
            watchers = [
                asyncio.ensure_future(read(made, job, owner)) for job, owner in ((runs, "anna"), (call, "anna"))
            ]
            waiting = asyncio.ensure_future(read(made, waits, "bob"))
            await asyncio.sleep(0)
            kill(made)
            first, second = await asyncio.gather(*watchers)
            return first, second, await waiting, waits

        cut, lost, waited, waits = wait(watched())
        assert isinstance(cut[-1], Stopped)
        assert cut[-1].interrupted
        assert isinstance(lost[-1], Failed), "nobody can come back to a call"
        assert isinstance(waited[-1], Finished) or (isinstance(waited[-1], Stopped) and waited[-1].interrupted)
        states = {job.job_id: job.state for job in wait(made.jobs(owner="anna"))}
        assert states[runs] == "interrupted"
        again = wait(made.submit(orders.RunAgain(job_id=runs), owner="anna"))
        wait(made.cancel(again, owner="anna"))
        assert isinstance(wait(read(made, again))[-1], Stopped)
        assert {job.job_id for job in wait(made.jobs(owner="bob"))} == {waits}
    finally:
        made.close()
