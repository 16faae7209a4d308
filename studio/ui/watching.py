"""Watching a run: its events as views, and a visitor's earlier pictures. Knows no page, so that the studio's own
addresses can use it too."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

from studio.answered.engine import Engine, UnknownJob, run_events
from studio.answered.events import TERMINAL, Step
from studio.picture.gallery import Gallery
from studio.ui import render
from studio.ui.render import View

EARLIER = 24  # pictures in the strip
MOST_INTERRUPTED = 8  # runs that a stage offers to run again
FIRST_FRAME_SECONDS = 0.25  # after which live mode's page sends its form and follows the run like any other
SECONDS_BETWEEN_FRAMES = 0.05  # the engine keeps only the newest frame, so waiting here drops frames and delays nothing


async def earlier(gallery: Gallery, owner: str) -> list[View]:
    """This visitor's newest pictures, ready for the strip."""
    pictures = await asyncio.to_thread(gallery.earlier, owner, EARLIER)
    return [render.picture_view(p) for p in pictures]


async def interrupted(engine: Engine, owner: str, job_id: str) -> list[View]:
    """The runs that were asked for where this job was and that the studio's end has interrupted, newest first."""
    jobs = await engine.jobs(owner=owner)
    origin = next((job.origin for job in jobs if job.job_id == job_id), None)
    runs = [job for job in jobs if job.state == "interrupted" and job.origin == origin and job.comparison is None]
    return [render.interrupted_view(job, engine.catalog()) for job in runs[:MOST_INTERRUPTED]]


async def first_frame(engine: Engine, gallery: Gallery, owner: str, job_id: str) -> View | None:
    """The view of a job that has its first frame, for a stage in live mode; None when there is none at once, or the
    job is gone."""
    job = next((job for job in await engine.jobs(owner=owner) if job.job_id == job_id), None)
    if job is None:
        return None
    first_view = render.new_job_view(job.request, job_id, engine.catalog(), []) | {"live": True}
    with contextlib.suppress(UnknownJob, TimeoutError):
        async with (
            asyncio.timeout(FIRST_FRAME_SECONDS),
            contextlib.aclosing(watch(engine, gallery, owner, first_view)) as views,
        ):
            async for view in views:
                if view["state"] == "running" and any(view["previews"]):
                    return view
    return None


async def watch(engine: Engine, gallery: Gallery, owner: str, view: View) -> AsyncGenerator[View, None]:
    """The views of a job from where it is now to its end. Raises UnknownJob."""
    last_frame = 0.0
    async for event in run_events(engine, view["job"], owner=owner):
        view = render.follow(view, event)
        if isinstance(event, Step):
            await asyncio.sleep(max(0.0, last_frame + SECONDS_BETWEEN_FRAMES - time.monotonic()))
            last_frame = time.monotonic()
        if isinstance(event, TERMINAL) and view["pictures"] and not view.get("live"):  # there the page itself adds them
            view = view | {"earlier": await earlier(gallery, owner)}
        if view["state"] == "interrupted":
            view = view | {"interrupted": await interrupted(engine, owner, view["job"])}
        yield view
