"""A comparison as the page sees it: events to one view, its cost in words, watching it and finding it again.

Knows neither gradio nor how a picture is made; the scripts in static draw the view.
"""

from __future__ import annotations

import asyncio
import io
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from PIL import Image

from studio.answered.engine import Engine, Refused, UnknownJob, comparison_events
from studio.answered.events import (
    CellEvent,
    ComparisonEnded,
    ComparisonEvent,
    Failed,
    Finished,
    Loading,
    Planned,
    Queued,
    Started,
    Step,
    Stopped,
)
from studio.asked.axes import Axis
from studio.asked.compare import Comparison, prompt_notices
from studio.asked.messages import sentences
from studio.asked.orders import RunAgain, Speed, SubmitComparison
from studio.asked.problems import InvalidRequest
from studio.ui.compare import axes
from studio.ui.render import View, data_uri, problem_text, prompt_notes, settings_line
from studio.ui.text import say

logger = logging.getLogger(__name__)

EMPTY: View = {"state": "first", "job": None, "message": "", "cells": []}
SECONDS_BETWEEN_VIEWS = 0.1  # many cells change at once; the engine keeps the newest preview of each
PREVIEW_SIDE = 192  # pixels of a live preview; the finished picture is shown at its full size


async def run(
    engine: Engine, owner: str, origin: str, ask: Callable[[], Comparison], focus: int | None
) -> AsyncIterator[View]:
    """Ask for a comparison and yield its views: the first at once, the last when every cell has ended. Never raises.
    `focus`: the cell to be made first; None for the one in the middle."""
    try:
        comparison = ask()
        first = axes.middle(comparison, engine.catalog()) if focus is None else focus
        job_id = await engine.submit(SubmitComparison(comparison=comparison, focus=first), owner=owner, origin=origin)
        async for view in watch(engine, owner, job_id):
            yield view
    except InvalidRequest as error:
        yield EMPTY | {
            "state": "invalid",
            "message": say("compare.invalid"),
            "problems": [{"field": p.field, "message": problem_text(p)} for p in error.problems],
        }
    except Refused as error:
        yield EMPTY | {"state": "refused", "message": str(error)}
    except Exception:
        error_id = secrets.token_hex(4)
        logger.exception("The page failed (%s)", error_id)
        yield EMPTY | {"state": "failed", "message": say("failed.unexpected", error_id=error_id)}


async def watch(engine: Engine, owner: str, job_id: str) -> AsyncIterator[View]:
    """The views of a comparison from where it is now; what happens within a tenth of a second is one view."""
    view = EMPTY | {"state": "queued", "job": job_id}
    events = comparison_events(engine, job_id, owner=owner)
    pending: asyncio.Future[ComparisonEvent] | None = None
    shown_at = 0.0
    dirty = False
    try:
        while True:
            if pending is None:
                pending = asyncio.ensure_future(anext(events))
            wait = max(0.0, shown_at + SECONDS_BETWEEN_VIEWS - time.monotonic()) if dirty else None
            await asyncio.wait([pending], timeout=wait)
            if pending.done():
                event = pending.result()
                pending = None
                view, dirty = await asyncio.to_thread(follow, view, event), True
                if isinstance(event, ComparisonEnded):
                    yield view
                    return
            if dirty and time.monotonic() - shown_at >= SECONDS_BETWEEN_VIEWS:
                yield view
                shown_at, dirty = time.monotonic(), False
    finally:
        if pending is not None:
            pending.cancel()


async def run_again(engine: Engine, owner: str, origin: str, job_id: str) -> AsyncIterator[View]:
    """Run an interrupted comparison again and yield its views, as `run`."""
    try:
        new_id = await engine.submit(RunAgain(job_id=job_id), owner=owner, origin=origin)
        async for view in watch(engine, owner, new_id):
            yield view
    except (InvalidRequest, Refused) as error:
        yield EMPTY | {"state": "refused", "message": str(error)}
    except UnknownJob:
        yield EMPTY | {"state": "refused", "message": say("stage.again.gone")}


async def attach(
    engine: Engine, owner: str, origin: str, link: Mapping[str, object] | None = None
) -> AsyncIterator[View]:
    """What this tab showed before a reload: the visitor's newest comparison that was asked from here, running or ended.
    Where the page was opened by a `link`, only a comparison of its very settings belongs beside them."""
    job = next((j for j in await engine.jobs(owner=owner) if j.origin == origin and j.comparison is not None), None)
    if job is None or (link is not None and not _of_link(job.comparison, link)):
        yield EMPTY
        return
    try:
        async for view in watch(engine, owner, job.job_id):
            yield view
    except UnknownJob:
        yield EMPTY


def _of_link(comparison: Comparison | None, link: Mapping[str, object]) -> bool:
    try:
        return comparison is not None and Comparison.parse(link).link() == comparison.link()
    except InvalidRequest:
        return False


# --------------------------------------------------------------------------------------------------------- views


def planned_view(comparison: Comparison, job_id: str | None, focus: int | None = None) -> View:
    """The view of a comparison of which no cell has begun. `focus`: the cell that is made first."""
    refusals = [comparison.refusal(k) for k in range(len(comparison))]
    return EMPTY | {
        "state": "queued",
        "job": job_id,
        "prompt": comparison.base.prompt,
        "x": _axis(comparison.x),
        "y": _axis(comparison.y) if comparison.y is not None else None,
        "focus": focus,
        "columns": comparison.columns,
        "rows": comparison.rows,
        "possible": len(comparison.possible),
        "began": time.monotonic(),
        "link": comparison.link(),
        "cells": [{"state": "impossible", "message": r} if r else {"state": "waiting"} for r in refusals],
        "left": "",
        "notes": prompt_notices(comparison),
    }


def follow(view: View, event: ComparisonEvent) -> View:
    """The view after one more event. The given view is not changed."""
    match event:
        case Planned():
            return planned_view(event.comparison, event.job_id, event.focus)
        case Loading():
            return view | {"state": "loading", "message": event.message, "fraction": event.fraction}
        case Queued():
            ahead = say("stage.ahead.one") if event.ahead == 1 else say("stage.ahead", count=event.ahead)
            return view | {"state": "queued", "message": ahead if event.ahead else say("stage.next")}
        case CellEvent():
            cells = list(view["cells"])
            cells[event.cell] = _cell(cells[event.cell], event.event)
            return view | {"state": "running", "message": "", "cells": cells, "left": _remaining_time(view, cells)}
        case ComparisonEnded():
            end = {"state": event.state, "message": _end_sentence(view, event), "interrupted": event.interrupted}
            return view | end | {"left": ""}


def _axis(axis: Axis) -> View:
    return {
        "field": axis.field,
        "name": say(f"compare.axis.{axis.field}"),
        "labels": [axis.label(k) for k in range(len(axis.values))],
    }


def _cell(cell: View, event: Started | Step | Finished | Stopped | Failed) -> View:
    match event:
        case Started():
            return cell | {"state": "running", "index": 0, "total": event.total}
        case Step():
            preview = {"preview": _small(event.preview.jpeg)} if event.preview is not None else {}
            return cell | {"state": "running", "index": event.index + 1, "total": event.total} | preview
        case Finished():
            picture = event.pictures[0]
            return {
                "state": "finished",
                "id": picture.id,
                "width": picture.width,
                "height": picture.height,
                "line": settings_line(picture),
                "notes": prompt_notes(picture.info),
                "seconds": picture.info.get("seconds"),
                "total": picture.info.get("evaluations", 0),
            }
        case Stopped():
            last = {"preview": _small(event.last[0].jpeg)} if event.last else {}
            return cell | {"state": "stopped"} | last
        case Failed():
            return {"state": "failed", "message": event.message, "error_id": event.error_id}


def _small(jpeg: bytes) -> str:
    """A preview so small that those of all cells fit through the page's stream."""
    with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
        if max(picture.size) <= PREVIEW_SIDE:
            return data_uri(jpeg)
        picture.draft("RGB", (PREVIEW_SIDE, PREVIEW_SIDE))
        picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        jpeg_file = io.BytesIO()
        picture.save(jpeg_file, "JPEG", quality=75)
    return data_uri(jpeg_file.getvalue())


def _remaining_time(view: View, cells: list[View]) -> str:
    """Seconds left in words, from the share of evaluations done; empty before the first few are."""
    finished_cells = sum(_share(cell) for cell in cells)
    if finished_cells < 0.05 * view["possible"]:
        return ""
    seconds_so_far = time.monotonic() - view["began"]
    seconds = seconds_so_far * (view["possible"] - finished_cells) / finished_cells
    return say("stage.left", seconds=f"{seconds:.0f}" if seconds >= 1 else "< 1")


def _share(cell: View) -> float:
    if cell["state"] in ("finished", "failed", "stopped"):
        return 1.0
    return float(cell.get("index", 0) / max(1, cell.get("total", 1)))


def _end_sentence(view: View, event: ComparisonEnded) -> str:
    if event.interrupted:
        return say("compare.interrupted")
    key = "compare.finished" if event.state == "finished" else "compare.stopped"
    sentence = say(key, done=event.finished_cells, count=view["possible"], seconds=f"{event.seconds:.1f}")
    failures = [say("compare.failed", count=event.failed_cells)] if event.failed_cells else []
    why = [event.reason] if event.state == "stopped" and event.reason != "Stopped." else []
    # What only a run knows, such as that a wildcard file is not there, stands with the pictures.
    notes = [*view["notes"], *(note for cell in view["cells"] for note in cell.get("notes", ()))]
    return sentences([sentence, *why, *failures, *dict.fromkeys(notes)])


async def cost_line(engine: Engine, values: Mapping[str, Any]) -> str:
    """What the form as it stands would cost, or what is wrong with its axes, in one line."""
    try:
        comparison = Comparison.parse(values).with_suits({entry.name: entry.suits for entry in engine.catalog()})
    except InvalidRequest as error:
        return str(error.problems[0])
    cost = comparison.cost
    lines = [say("compare.cost", cells=cost.cells, evaluations=f"{cost.evaluations:,}")]
    impossible = len(comparison) - cost.cells
    if impossible:
        lines.append(say("compare.cost.impossible", count=impossible))
    base = comparison.base
    pace = await engine.ask(Speed(checkpoint=base.checkpoint, width=base.width, height=base.height))
    lines.append(_about(pace.seconds(comparison)) if pace is not None else say("compare.cost.unknown"))
    return sentences(lines)


def _about(seconds: float) -> str:
    if seconds < 90:
        return say("compare.cost.seconds", seconds=max(1, round(seconds)))
    return say("compare.cost.minutes", minutes=f"{seconds / 60:.0f}" if seconds >= 600 else f"{seconds / 60:.1f}")
