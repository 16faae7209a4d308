"""What the page relies on, asked of every engine alike."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import threading
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image

from studio.answered.engine import Engine, Refused, UnknownJob, comparison_events, run_events
from studio.answered.events import (
    TERMINAL,
    AnyEvent,
    CellEvent,
    ComparisonEnded,
    Finished,
    Planned,
    Started,
    Step,
    Stopped,
)
from studio.answered.ids import engine_of
from studio.answered.models import NoSuchModel
from studio.asked import orders
from studio.asked.branch import Branch
from studio.asked.compare import Comparison
from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.problems import InvalidRequest
from studio.asked.questions import DecodedStart
from studio.picture.gallery import Gallery
from tests.engine.contract.conftest import ENGINES, SECONDS, Place

Door = tuple[Engine, Place]
Value = TypeVar("Value")


def wait(answer: Awaitable[Value]) -> Value:
    """An answer, on an event loop of its own."""

    async def within() -> Value:
        return await asyncio.wait_for(answer, SECONDS)

    return asyncio.run(within())


def request(place: Place, **fields: Any) -> TextToImage:
    asked = {"prompt": "a fox", "checkpoint": place.checkpoint, "num_inference_steps": 4, "seed": 5, "preview": "fast"}
    return TextToImage(**{**asked, "width": 64, "height": 64} | fields)  # type: ignore[arg-type]


def submit(engine: Engine, asked: TextToImage | ImageToImage, owner: str = "anna", **more: Any) -> str:
    return wait(engine.submit(orders.SubmitRun(request=asked, **more), owner=owner, origin="text_to_image"))


async def read(engine: Engine, job_id: str, owner: str = "anna") -> list[AnyEvent]:
    return [event async for event in engine.watch(job_id, owner=owner)]


def ready(engine: Engine) -> None:
    """Wait until the first checkpoint is there."""
    until = time.monotonic() + SECONDS
    while engine.status().state in ("starting", "loading") and time.monotonic() < until:
        time.sleep(0.02)
    assert engine.status().state == "ready"


def header(record: bytes) -> dict[str, Any]:
    (length,) = struct.unpack("<Q", record[:8])
    run: dict[str, Any] = json.loads(json.loads(record[8 : 8 + length])["__metadata__"]["run"])
    return run


def test_a_run_is_watched_from_start_to_its_pictures(door: Door) -> None:
    engine, place = door
    job = submit(engine, request(place, num_images_per_prompt=2, num_inference_steps=12))
    events = wait(read(engine, job))
    assert {event.job_id for event in events} == {job}
    (started,) = (event for event in events if isinstance(event, Started))
    assert (started.seeds, started.width, started.height) == ((5, 6), 64, 64)
    steps = [event for event in events if isinstance(event, Step)]
    for image in (0, 1):
        indices = [step.index for step in steps if step.image == image]
        assert indices == sorted(set(indices))
    previews = [step.preview for step in steps if step.preview is not None]
    assert previews
    assert Image.open(io.BytesIO(previews[-1].jpeg)).format == "JPEG"
    last = events[-1]
    assert isinstance(last, Finished), last
    assert sum(isinstance(event, TERMINAL) for event in events) == 1
    assert [picture.seed for picture in last.pictures] == [5, 6]
    assert all(len(picture.filmstrip) == started.total for picture in last.pictures)
    for picture in last.pictures:
        path = place.gallery.path(picture.id, "anna")
        assert path is not None, "the gallery of the page has the picture"
        with Image.open(path) as saved:
            assert saved.size == (64, 64)
        assert place.gallery.path(picture.id, "bob") is None
    assert wait(read(engine, job))[-1] == last, "a late watcher hears of the end"


def test_a_picture_to_start_from_crosses_whole(door: Door) -> None:
    engine, place = door
    out = io.BytesIO()
    Image.effect_noise((96, 64), 60).convert("RGB").save(out, "PNG")
    asked = ImageToImage(
        prompt="a fox", image=out.getvalue(), checkpoint=place.checkpoint, num_inference_steps=4, strength=0.5,
        width=64, height=64, seed=1,
    )  # fmt: skip
    job = submit(engine, asked)
    assert isinstance(wait(read(engine, job))[-1], Finished)
    (mine, *_) = wait(engine.jobs(owner="anna"))
    assert (mine.job_id, mine.state, mine.origin) == (job, "finished", "text_to_image")
    assert isinstance(mine.request, ImageToImage)
    assert mine.request.file_bytes == 0, "nothing of an upload outlives its use"
    with pytest.raises(InvalidRequest) as caught:
        submit(engine, ImageToImage(prompt="x", image=b"no picture", checkpoint=place.checkpoint))
    assert caught.value.problems[0].field == "image"


def test_what_cannot_be_run_is_refused_with_its_field(door: Door) -> None:
    engine, place = door
    with pytest.raises(InvalidRequest) as caught:
        submit(engine, request(place, checkpoint="gone"))
    (problem,) = caught.value.problems
    assert (problem.field, problem.value) == ("checkpoint", "'gone'")
    assert place.checkpoint in problem.allowed


def test_jobs_belong_to_their_owner_and_ids_to_their_engine(door: Door) -> None:
    engine, place = door
    job = submit(engine, request(place, num_inference_steps=60, prompt="slow"))
    assert engine_of(job) == engine.id
    for call in (
        lambda: engine.cancel(job, owner="bob"),
        lambda: engine.record(job, owner="bob"),
        lambda: engine.ask(orders.Cells(job_id=job), owner="bob"),
        lambda: engine.ask(orders.BranchTree(job_id=job), owner="bob"),
        lambda: read(engine, job, "bob"),
        lambda: read(engine, "here-" + "0" * 32),
        lambda: read(engine, "nothing"),
    ):
        with pytest.raises(UnknownJob):
            wait(call())  # type: ignore[arg-type]
    assert job not in [one.job_id for one in wait(engine.jobs(owner="bob"))]
    assert wait(engine.cancel(job, owner="anna")) is True
    last = wait(read(engine, job))[-1]
    assert isinstance(last, Stopped)
    assert wait(engine.cancel(job, owner="anna")) is False


def test_sixty_watchers_of_one_run_take_no_thread(door: Door) -> None:
    engine, place = door
    job = submit(engine, request(place, num_inference_steps=40, prompt="slow, watched by many"))

    async def watched() -> tuple[int, list[list[AnyEvent]]]:
        before = threading.active_count()
        watchers = [asyncio.ensure_future(read(engine, job)) for _ in range(60)]
        await asyncio.sleep(0.3)
        during = threading.active_count() - before
        return during, await asyncio.gather(*watchers)

    more, seen = wait(watched())
    assert more <= 2
    assert all(events[-1] == seen[0][-1] for events in seen)
    assert isinstance(seen[0][-1], Finished)
    assert all(any(isinstance(event, Step) for event in events) for events in seen), "all of them see it run"


def test_a_stopped_run_shows_what_was_there(door: Door) -> None:
    engine, place = door
    job = submit(engine, request(place, num_inference_steps=100, prompt="slow to be stopped"))

    async def stopped() -> list[AnyEvent]:
        events = []
        async for event in engine.watch(job, owner="anna"):
            events.append(event)
            if isinstance(event, Step) and event.preview is not None and len(events) < 6:
                await engine.cancel(job, owner="anna")
        return events

    last = wait(stopped())[-1]
    assert isinstance(last, Stopped)
    assert last.reason == "Stopped."
    assert len(last.last) == 1
    assert Image.open(io.BytesIO(last.last[0].jpeg)).format == "JPEG"


def test_a_comparison_is_one_job(door: Door) -> None:
    engine, place = door
    comparison = Comparison.parse(
        {
            "prompt": "a fox", "checkpoint": place.checkpoint, "width": 64, "height": 64, "x": "num_inference_steps",
            "x_values": "2, 3", "y": "guidance_scale", "y_values": "1, 4", "seed": 3,
        }
    )  # fmt: skip
    job = wait(engine.submit(orders.SubmitComparison(comparison=comparison), owner="anna", origin="compare"))
    comparison = comparison.with_suits({one.name: one.suits for one in engine.catalog()})

    async def events() -> list[AnyEvent]:
        return [event async for event in comparison_events(engine, job, owner="anna")]

    seen = wait(events())
    assert any(isinstance(event, Planned) and event.comparison == comparison for event in seen)
    last = seen[-1]
    assert isinstance(last, ComparisonEnded)
    assert (last.state, last.finished_cells, last.failed_cells) == ("finished", 4, 0)
    now = wait(engine.ask(orders.Cells(job_id=job), owner="anna"))
    assert now.comparison == comparison
    assert sorted(now.cells) == [0, 1, 2, 3]
    assert all(isinstance(cell, CellEvent) and isinstance(cell.event, Finished) for cell in now.cells.values())
    assert wait(engine.jobs(owner="anna"))[0].comparison == comparison
    assert header(wait(engine.record(job, orders.RecordPart(image=1), owner="anna")))["total"] == 3
    assert wait(engine.prioritize(job, 0, owner="anna")) is False

    async def as_run() -> None:
        async for _ in run_events(engine, job, owner="anna"):
            pass

    with pytest.raises(UnknownJob):
        wait(as_run())


def test_a_record_is_read_in_parts_and_branched(door: Door) -> None:
    engine, place = door
    job = submit(engine, request(place, num_inference_steps=6, exact=True))
    first = wait(read(engine, job))[-1]
    assert isinstance(first, Finished)
    whole = header(wait(engine.record(job, owner="anna")))
    assert (whole["total"], len(whole["evaluations"])) == (6, 6)
    rest = header(wait(engine.record(job, orders.RecordPart(since=4), owner="anna")))
    assert [one["index"] for one in rest["evaluations"]] == [4, 5]
    with pytest.raises(UnknownJob):
        wait(engine.record(job, orders.RecordPart(image=7), owner="anna"))
    branch = Branch(evaluation=2, guidance_scale=3.0)
    child = wait(engine.submit(orders.SubmitBranch(job_id=job, branch=branch), owner="anna", origin="noise_viewer"))
    assert isinstance(wait(read(engine, child))[-1], Finished)
    root, leaf = wait(engine.ask(orders.BranchTree(job_id=child), owner="anna"))
    assert (root.job_id, root.parent) == (job, None)
    assert (leaf.job_id, leaf.parent, leaf.evaluation) == (child, job, 2)
    assert leaf.changed == {"guidance_scale": 3.0}
    with pytest.raises(UnknownJob):
        wait(engine.submit(orders.SubmitBranch(job_id=job, branch=branch), owner="bob"))


def test_questions_are_answered(door: Door) -> None:
    engine, place = door
    ready(engine)
    tokens = wait(engine.ask(orders.Tokens(checkpoint=place.checkpoint, text="a red fox")))
    assert (tokens.count, tokens.chunks, len(tokens.pieces)) == (3, 1, 3)
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(out, "PNG")
    question = DecodedStart(checkpoint=place.checkpoint, image=out.getvalue(), width=64, height=64)
    answer = wait(engine.ask(question, owner="anna"))
    assert answer.media_type == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).format == "JPEG"
    wait(read(engine, submit(engine, request(place))))
    wait(read(engine, submit(engine, request(place))))
    speed = wait(engine.ask(orders.Speed(checkpoint=place.checkpoint, width=64, height=64)))
    assert speed is not None
    assert speed.row(1) > 0


def test_an_allowance_is_held_and_the_work_of_all_is_told(door: Door) -> None:
    engine, place = door
    ready(engine)
    allowance = orders.Allowance(group="g", together=orders.Quota(jobs=1))
    job_id = submit(engine, request(place, num_inference_steps=150, num_images_per_prompt=2), allowance=allowance)
    [load] = wait(engine.ask(orders.Work())).jobs
    assert (load.job_id, load.owner, load.group) == (job_id, "anna", "g")
    assert (load.images, load.steps, load.pixels) == (2, 300, 2 * 64 * 64)
    assert (load.kind, load.checkpoint, load.total) == ("text_to_image", place.checkpoint, 300)
    with pytest.raises(Refused, match="1 jobs waiting or running"):
        submit(engine, request(place), owner="ben", allowance=allowance)
    wait(engine.cancel(job_id, owner="anna"))
    wait(read(engine, job_id))
    wait(read(engine, submit(engine, request(place), owner="ben", allowance=allowance), owner="ben"))
    work = wait(engine.ask(orders.Work()))
    assert work.jobs == ()
    assert work.device_seconds["ben"] > 0


def test_models_are_listed_and_ordered(door: Door) -> None:
    engine, place = door
    ready(engine)
    assert place.checkpoint in [one.name for one in engine.catalog()]
    now = wait(engine.ask(orders.ModelList(refresh=True)))
    model = next(one for one in now.models if one.name == place.checkpoint)
    assert model.place == "device"
    wait(engine.order(orders.Annotate(model_id=model.id, note="good with foxes")))
    now = wait(engine.ask(orders.ModelList()))
    assert next(one for one in now.models if one.id == model.id).note == "good with foxes"
    with pytest.raises(InvalidRequest):
        wait(engine.order(orders.Annotate(model_id=model.id, note="\x00")))
    for wrong in (orders.LoadModel(model_id="gone"), orders.UnloadModel(model_id="here-gone")):
        with pytest.raises(NoSuchModel):
            wait(engine.order(wrong))
    assert wait(engine.ask(orders.ModelPicture(model_id="gone"))) is None
    wait(engine.order(orders.PrepareCheckpoint(checkpoint=place.checkpoint)))


def test_a_full_queue_is_refused_in_words(door: Door) -> None:
    engine, place = door
    asked = request(place, num_inference_steps=100, prompt="slow")
    taken = [submit(engine, asked, owner="greedy") for _ in range(8)]
    with pytest.raises(Refused, match="waiting or running"):
        submit(engine, asked, owner="greedy")
    for job in taken:
        wait(engine.cancel(job, owner="greedy"))
    for job in taken:
        assert isinstance(wait(read(engine, job, "greedy"))[-1], Stopped)


@pytest.mark.parametrize("kind", ENGINES)
def test_the_end_stops_what_runs(kind: str, models_dir: Path, tmp_path: Path) -> None:
    checkpoint, make = ENGINES[kind]
    place = Place(models_dir, Gallery(tmp_path), checkpoint)
    engine = make(place)
    engine.start()
    job = submit(engine, request(place, num_inference_steps=150, prompt="slow to the end"))

    async def ended() -> list[AnyEvent]:
        reading = asyncio.ensure_future(read(engine, job))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await asyncio.to_thread(engine.close)
        assert time.monotonic() - began < 3.5
        return await reading

    last = wait(ended())[-1]
    assert isinstance(last, Stopped)
    engine.visitor("anna", here=False)  # a page that goes later than the engine hurts nobody
    with pytest.raises(Refused):
        submit(engine, request(place))
