"""A job's mailboxes, watchers and owner; the book's limits. No engine, no torch."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from PIL import Image

from studio.answered.engine import Refused, UnknownJob
from studio.answered.events import (
    TERMINAL,
    Event,
    Failed,
    Finished,
    Loading,
    Picture,
    Preview,
    Queued,
    Started,
    Step,
    Stopped,
)
from studio.asked.fields import NO_FILE, ImageToImage, Inpaint, TextToImage
from studio.engine.jobs import Job, JobBook, Limits
from studio.engine.mailbox import Watcher
from studio.picture.framing import Start


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def request() -> TextToImage:
    return TextToImage(prompt="a fox")


def new_job(clock: Clock | None = None) -> Job:
    return Job(request(), owner="anna", origin="api", clock=clock or Clock())


def started(job: Job) -> Started:
    return Started(
        job_id=job.id, seeds=(1,), width=64, height=64, total=9, prompt_tokens=2, negative_prompt_tokens=0, chunks=1
    )


def step(job: Job, index: int, image: int = 0) -> Step:
    return Step(
        job_id=job.id,
        image=image,
        index=index,
        total=9,
        timestep=999.0 - index,
        sigma=1.0,
        seconds_per_step=0.1,
        seconds_left=1.0,
        images_done=0,
        preview=Preview(jpeg=bytes([index]), width=64, height=64, decoder="fast"),
    )


def finished(job: Job) -> Finished:
    return Finished(job_id=job.id, pictures=(), seconds=1.0, exact=False)


def stopped(job: Job) -> Stopped:
    return Stopped(job_id=job.id, pictures=(), last=(), index=0, total=9)


def failed(job: Job) -> Failed:
    return Failed(job_id=job.id, kind="internal", message="It broke.", error_id="1a2b3c4d")


async def read_all(job: Job) -> list[Event]:
    return [event async for event in Watcher(job.mailbox)]


def test_a_late_watcher_gets_the_state_so_far_from_its_newest_parts() -> None:
    job = new_job()
    job.publish(Queued(job_id=job.id, ahead=2))
    job.publish(Loading(job_id=job.id, checkpoint="tiny", message="Loading", fraction=0.5))
    job.publish(started(job))
    for index in range(5):
        job.publish(step(job, index))
    job.publish(finished(job))
    assert asyncio.run(read_all(job)) == [started(job), step(job, 4), finished(job)]


def test_what_was_true_before_the_start_is_shown_until_the_start() -> None:
    job = new_job()
    job.publish(Queued(job_id=job.id, ahead=2))
    job.publish(Queued(job_id=job.id, ahead=1))
    loading = Loading(job_id=job.id, checkpoint="tiny", message="Loading", fraction=0.5)
    job.publish(loading)

    async def first_two() -> list[Event]:
        watcher = Watcher(job.mailbox)
        return [await anext(watcher), await anext(watcher)]

    assert asyncio.run(first_two()) == [Queued(job_id=job.id, ahead=1), loading]


def test_a_slow_watcher_misses_steps_and_nothing_else() -> None:
    job = new_job()

    async def slow() -> list[Event]:
        watcher = Watcher(job.mailbox)
        job.publish(started(job))
        seen = [await anext(watcher)]
        for index in range(9):
            job.publish(step(job, index))
        seen.append(await anext(watcher))
        job.publish(finished(job))
        seen += [event async for event in watcher]
        return seen

    assert asyncio.run(slow()) == [started(job), step(job, 8), finished(job)]


def test_every_image_has_its_own_mailbox() -> None:
    job = new_job()
    job.publish(started(job))
    for index in range(3):
        for image in range(2):
            job.publish(step(job, index, image))
    job.publish(finished(job))
    assert asyncio.run(read_all(job))[1:-1] == [step(job, 2, 0), step(job, 2, 1)]


@pytest.mark.parametrize("first", [finished, stopped, failed])
@pytest.mark.parametrize("second", [finished, stopped, failed])
def test_there_is_exactly_one_terminal_event(first: object, second: object) -> None:
    job = new_job()
    assert job.publish(first(job))  # type: ignore[operator]
    assert not job.publish(second(job))  # type: ignore[operator]
    assert not job.publish(step(job, 1))
    assert asyncio.run(read_all(job)) == [first(job)]  # type: ignore[operator]
    assert asyncio.run(read_all(job)) == [first(job)]  # type: ignore[operator]


def test_many_watchers_on_many_loops_see_rising_steps_and_the_end() -> None:
    job = new_job()
    seen: list[list[Event]] = [[] for _ in range(8)]
    ready = threading.Barrier(len(seen) + 1)

    def watch(place: int) -> None:
        async def read() -> None:
            watcher = Watcher(job.mailbox)
            ready.wait()
            async for event in watcher:
                seen[place].append(event)

        asyncio.run(read())

    threads = [threading.Thread(target=watch, args=(place,)) for place in range(len(seen))]
    for thread in threads:
        thread.start()
    ready.wait()
    job.publish(started(job))
    for index in range(9):
        job.publish(step(job, index))
    job.publish(finished(job))
    for thread in threads:
        thread.join(60)
    for events in seen:
        indices = [e.index for e in events if isinstance(e, Step)]
        assert indices == sorted(set(indices))
        assert indices[-1] == 8
        assert isinstance(events[0], Started)
        assert [type(e) for e in events if isinstance(e, TERMINAL)] == [Finished]


def test_a_watcher_that_is_forgotten_leaves_nothing_behind() -> None:
    job = new_job()

    async def look_once() -> None:
        job.publish(started(job))
        watcher = Watcher(job.mailbox)
        await anext(watcher)

    asyncio.run(look_once())
    gc.collect()
    assert job.mailbox.watcher_count() == 0


def test_a_watcher_left_waiting_on_a_closed_loop_harms_nobody() -> None:
    job = new_job()
    loop = asyncio.new_event_loop()
    watcher = Watcher(job.mailbox)
    waiting = loop.create_task(watcher.__anext__())
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert job.mailbox.watcher_count() == 1
    waiting.cancel()
    loop.run_until_complete(asyncio.gather(waiting, return_exceptions=True))
    loop.close()
    job.publish(started(job))
    job.publish(finished(job))
    assert asyncio.run(read_all(job)) == [started(job), finished(job)]


def test_the_same_queue_place_is_not_news() -> None:
    job = new_job()

    async def read() -> list[Event]:
        watcher = Watcher(job.mailbox)
        job.publish(Queued(job_id=job.id, ahead=1))
        seen = [await anext(watcher)]
        job.publish(Queued(job_id=job.id, ahead=1))
        job.publish(Queued(job_id=job.id, ahead=0))
        seen.append(await anext(watcher))
        job.publish(finished(job))
        return seen + [event async for event in watcher]

    assert [type(e).__name__ for e in asyncio.run(read())] == ["Queued", "Queued", "Finished"]


def test_a_waiting_job_stops_at_once_and_a_running_one_when_the_engine_sees_it() -> None:
    waiting, running = new_job(), new_job()
    running.publish(started(running))
    assert waiting.stop()
    assert running.stop()
    assert waiting.state == "stopped"
    assert running.state == "running"
    assert running.stop_reason == "Stopped."
    assert not waiting.stop(), "it had ended already"


def test_ids_are_random_and_a_job_is_its_owners_alone() -> None:
    book = JobBook(engine="gpu2")
    jobs = [book.add(request(), owner=owner, origin="api") for owner in ("anna", "ben", "anna")]
    assert len({job.id for job in jobs}) == 3
    assert all(len(bytes.fromhex(job.id.removeprefix("gpu2-"))) == 16 for job in jobs), "128 random bits of that engine"
    assert book.get(jobs[0].id, owner="anna") is jobs[0]
    for job_id, owner in ((jobs[0].id, "ben"), (jobs[0].id, ""), ("nonsense", "anna"), ("", "anna")):
        with pytest.raises(UnknownJob, match="does not exist"):
            book.get(job_id, owner=owner)
    assert [s.job_id for s in book.of("anna")] == [jobs[2].id, jobs[0].id]
    assert book.of("nobody") == ()


def test_an_owner_and_the_whole_queue_have_limits_that_say_what_to_do() -> None:
    book = JobBook(Limits(waiting_or_running=5, per_owner=3))
    mine = [book.add(request(), owner="anna", origin="api") for _ in range(3)]
    with pytest.raises(Refused, match=r"You have 3 .* Wait for one to finish, or stop one"):
        book.add(request(), owner="anna", origin="api")
    for _ in range(2):
        book.add(request(), owner="ben", origin="api")
    with pytest.raises(Refused, match=r"queue is full: 5 are before you\. Try again in a minute"):
        book.add(request(), owner="carl", origin="api")
    mine[0].publish(finished(mine[0]))
    book.add(request(), owner="anna", origin="api")


def test_uploads_that_wait_are_bounded_by_their_bytes() -> None:
    book = JobBook(Limits(upload_bytes=25))
    upload = ImageToImage(prompt="", image=bytes(10))
    first = book.add(upload, owner="anna", origin="api")
    book.add(upload, owner="anna", origin="api")
    with pytest.raises(Refused):
        book.add(upload, owner="ben", origin="api")
    first.publish(finished(first))
    book.add(upload, owner="ben", origin="api")


def test_finished_records_live_an_hour_or_so_many() -> None:
    clock = Clock()
    book = JobBook(Limits(finished=3, finished_seconds=3600.0), clock)

    def ended() -> Job:
        job = book.add(request(), owner="anna", origin="api")
        job.publish(finished(job))
        clock.now += 1
        return job

    def known() -> list[str]:
        book.sweep()
        return [s.job_id for s in reversed(book.of("anna"))]

    jobs = [ended() for _ in range(5)]
    assert known() == [job.id for job in jobs[2:]]
    clock.now += 3597.5  # 3600.5 seconds since the third ended
    assert known() == [job.id for job in jobs[3:]]
    clock.now += 5
    assert known() == []


def test_nothing_of_an_upload_outlives_its_use() -> None:
    book = JobBook(Limits(upload_bytes=10_000_000))
    asked = Inpaint(prompt="a fox", image=bytes(600), mask=bytes(300))
    decoded = Start(Image.new("RGB", (10, 10)), Image.new("L", (10, 10)))
    job = book.add(asked, owner="anna", origin="api", start=decoded)
    assert job.size_bytes == 900 + 400
    job.publish(finished(job))
    assert job.start is None
    assert job.size_bytes == 0
    [kept] = book.of("anna")
    assert isinstance(kept.request, Inpaint)
    assert (kept.request.image, kept.request.mask, kept.request.prompt) == (NO_FILE, NO_FILE, "a fox")
    assert asked.image == bytes(600), "the caller's own request is not touched"


def test_a_job_that_runs_is_never_forgotten() -> None:
    clock = Clock()
    book = JobBook(Limits(finished=0, unwatched_seconds=None), clock)
    job = book.add(request(), owner="anna", origin="api")
    clock.now += 1e6
    book.sweep()
    assert book.get(job.id, owner="anna") is job


def test_a_job_that_nobody_watches_for_ten_minutes_is_stopped() -> None:
    clock = Clock()
    book = JobBook(Limits(), clock)
    watched, unwatched = (book.add(request(), owner="anna", origin="api") for _ in range(2))

    async def scenario() -> None:
        watcher = Watcher(watched.mailbox)
        watched.publish(Queued(job_id=watched.id, ahead=0))
        await anext(watcher)
        waiting = asyncio.ensure_future(watcher.__anext__())
        await asyncio.sleep(0)
        clock.now += 599
        assert book.sweep() == []
        clock.now += 2
        assert book.sweep() == [unwatched]
        assert watched.state == "queued"
        waiting.cancel()

    asyncio.run(scenario())
    [event] = asyncio.run(read_all(unwatched))
    assert isinstance(event, Stopped)
    assert event.reason == "Stopped: nobody watched it for 10 minutes."


def test_finished_comparisons_that_are_too_large_together_are_forgotten_oldest_first() -> None:
    from studio.asked.compare import Comparison
    from studio.engine.comparisons import ComparisonJob

    book = JobBook(Limits(finished_bytes=250))
    asked = Comparison.parse({"prompt": "", "x": "seed", "x_values": "1, 2"})
    jobs = [ComparisonJob(asked, owner="anna", origin="compare", clock=book.clock) for _ in range(3)]
    for job in jobs:
        book.take(job)
        for cell in job.parts():
            picture = Picture(
                id="0", file_name="", width=8, height=8, seed=1, info={}, parameters="", filmstrip=(bytes(50),)
            )
            cell.publish(Finished(job_id=cell.id, pictures=(picture,), seconds=1.0, exact=False))
        assert job.state == "finished"
        assert job.size_bytes == 100
    book.sweep()
    assert [summary.job_id for summary in book.of("anna")] == [jobs[2].id, jobs[1].id]


def test_a_job_that_nobody_can_come_back_to_is_forgotten_seconds_after_its_end() -> None:
    clock = Clock()
    book = JobBook(Limits(), clock)
    hers = book.add(request(), owner="anna", origin="text_to_image")
    callers = []
    for n in range(60):
        callers.append(book.add(request(), owner=f"caller {n}", origin="api", ephemeral=True))
        callers[-1].stop()
        clock.now += 1.0
    assert hers.stop()
    last = callers[-1]
    assert book.get(last.id, owner=last.owner) is last, "its caller reads the end first"
    book.sweep()
    assert len(book._jobs) <= 2 + Limits().ephemeral_seconds
    clock.now += Limits().ephemeral_seconds + 1
    assert book.sweep() == []
    assert list(book._jobs.values()) == [hers]
    with pytest.raises(UnknownJob):
        book.get(last.id, owner=last.owner)


def test_a_job_that_nobody_can_come_back_to_is_not_forgotten_before_its_end() -> None:
    clock = Clock()
    book = JobBook(Limits(unwatched_seconds=None), clock)
    job = book.add(request(), owner="a caller", origin="api", ephemeral=True)
    clock.now += 10 * Limits().ephemeral_seconds
    book.sweep()
    assert book.get(job.id, owner="a caller") is job
