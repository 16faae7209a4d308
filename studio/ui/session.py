"""One visitor's tab: who is asking, watching a run, and finding it again after a reload.

A run lives in the engine; what stands here only watches it, so a closed tab ends a generator and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import gradio as gr

from studio.events import TERMINAL, Engine, Refused, Step, UnknownJob
from studio.gallery import Gallery
from studio.requests import InvalidRequest, Request
from studio.ui import live, render
from studio.ui.render import View
from studio.ui.text import say

logger = logging.getLogger(__name__)

OWNER_HEADER = "x-studio-owner"  # set by the studio's own middleware, never by the browser
GUEST_HEADER = "x-studio-guest"  # set by the studio's own middleware for those who came in with the guests' password
EARLIER = 24  # pictures in the strip
FIRST_FRAME_SECONDS = 0.25  # after which live mode's page sends its form and follows the run like any other
SECONDS_BETWEEN_FRAMES = 0.05  # the engine keeps only the newest frame, so waiting here drops frames and delays nothing


def owner_of(request: gr.Request) -> str:
    """Whose request this is. Raises KeyError when the middleware that says so is missing."""
    return str(request.headers[OWNER_HEADER])


def may_manage(request: gr.Request) -> bool:
    """Whether this visitor may load, download and annotate models: everybody on this machine, and whoever came in with
    the owner's password; a guest may not."""
    return request.headers.get(GUEST_HEADER) is None


async def earlier(gallery: Gallery, owner: str) -> list[View]:
    """This visitor's newest pictures, ready for the strip."""
    pictures = await asyncio.to_thread(gallery.earlier, owner, EARLIER)
    return [render.picture_view(p) for p in pictures]


async def run(
    engine: Engine, gallery: Gallery, owner: str, origin: str, ask: Callable[[], Request], attention: bool = False
) -> AsyncIterator[View]:
    """Ask for a job and yield every view of it, the first at once and the last when it has ended. Never raises.

    `attention` has the recording say where the U-Net looks."""
    past: list[View] = []
    try:
        past = await earlier(gallery, owner)
        request = ask()
        job_id = engine.submit(request, owner=owner, origin=origin, attention=attention)
        asked = render.asked_view(request, job_id, engine.catalog(), past)
        yield asked
        async for view in watch(engine, gallery, owner, asked):
            yield view
    except InvalidRequest as error:
        yield render.problems_view(error, past)
    except Refused as error:
        yield render.refused_view(str(error), past)
    except Exception:
        error_id = secrets.token_hex(4)
        logger.exception("The page failed (%s)", error_id)
        yield render.failed_view(say("failed.unexpected", error_id=error_id), error_id, past)


async def run_live(
    engine: Engine, gallery: Gallery, owner: str, origin: str, ask: Callable[[], Request]
) -> AsyncIterator[View]:
    """As `run`, for a slider that was let go of: the tab's run before is stopped, and the new one is asked for before
    anything else is looked up. Its views say `live`, so that the picture before stays until the first preview.

    What would only say that it begins is left out while nobody waits before it: drawing that takes the browser's
    time, and on two cores the U-Net's, just when the first preview is made.
    """
    try:
        request = ask()
        job_id = live.take_place(engine, request, owner=owner, origin=origin)
        asked = render.asked_view(request, job_id, engine.catalog(), []) | {"live": True}
        at_once = engine.status().queued <= 1  # but for this one
        if not at_once:
            yield asked
        async for view in watch(engine, gallery, owner, asked):
            if at_once and view["state"] in ("queued", "running") and not any(view.get("previews") or ()):
                continue
            at_once = False
            yield view
    except InvalidRequest as error:
        yield render.problems_view(error, await earlier(gallery, owner))
    except Refused as error:
        yield render.refused_view(str(error), await earlier(gallery, owner))
    except UnknownJob:  # it ended, and was forgotten, between two looks
        return


async def first_frame(engine: Engine, gallery: Gallery, owner: str, job_id: str) -> View | None:
    """The view of a job that has its first frame, for a stage in live mode; None when there is none at once, or the
    job is gone."""
    job = next((job for job in engine.jobs(owner=owner) if job.job_id == job_id), None)
    if job is None:
        return None
    asked = render.asked_view(job.request, job_id, engine.catalog(), []) | {"live": True}
    with contextlib.suppress(UnknownJob, TimeoutError):
        async with (
            asyncio.timeout(FIRST_FRAME_SECONDS),
            contextlib.aclosing(watch(engine, gallery, owner, asked)) as views,
        ):
            async for view in views:
                if view["state"] == "running" and any(view["previews"]):
                    return view
    return None


async def watch(engine: Engine, gallery: Gallery, owner: str, view: View) -> AsyncGenerator[View, None]:
    """The views of a known job from where it is now, ending with its end. Raises UnknownJob."""
    last_frame = 0.0
    async for event in engine.watch(view["job"], owner=owner):
        view = render.follow(view, event)
        if isinstance(event, Step):
            await asyncio.sleep(max(0.0, last_frame + SECONDS_BETWEEN_FRAMES - time.monotonic()))
            last_frame = time.monotonic()
        if isinstance(event, TERMINAL) and view["pictures"]:
            view = view | {"earlier": await earlier(gallery, owner)}
        yield view


async def attach(engine: Engine, gallery: Gallery, owner: str, origin: str) -> AsyncIterator[View]:
    """What this tab showed before a reload: the visitor's newest job that was asked from here, running or ended."""
    past = await asyncio.to_thread(gallery.earlier, owner, EARLIER)
    first = render.first_view(past)
    job = next((j for j in engine.jobs(owner=owner) if j.origin == origin), None)
    if job is None:
        none = not engine.catalog()
        yield render.refused_view(say("checkpoint.none"), first["earlier"]) if none else first
        return
    asked = render.asked_view(job.request, job.job_id, engine.catalog(), first["earlier"])
    try:
        async for view in watch(engine, gallery, owner, asked):
            yield view
    except UnknownJob:
        yield first
