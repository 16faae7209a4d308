"""One visitor's tab: whose request it is, watching a run, and finding it again after a reload.

A run lives in the engine and is only watched here, so a closed tab ends a generator and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable

import gradio as gr
from gradio.context import LocalContext

from studio.answered.engine import Engine, Refused, UnknownJob
from studio.asked.orders import RunAgain, SubmitRun
from studio.asked.problems import InvalidRequest
from studio.asked.requests import Request
from studio.picture.gallery import Gallery
from studio.ui import live, render
from studio.ui.render import View
from studio.ui.text import say
from studio.ui.watching import EARLIER, earlier, interrupted, watch

logger = logging.getLogger(__name__)


OWNER_HEADER = "x-studio-owner"  # set by the studio's own middleware, never by the browser
GUEST_HEADER = "x-studio-guest"  # set by the studio's own middleware for those who came in with the guests' password
PROGRAM_HEADER = "x-studio-program"  # set by it for programs


def owner_of(request: gr.Request) -> str:
    """Whose request this is. Raises KeyError when the middleware that says so is missing."""
    return str(request.headers[OWNER_HEADER])


def visitor_now() -> str:
    """Whose event of the page this task works on; "" outside of one. Gradio says so where it calls our functions."""
    request = LocalContext.request.get(None)
    return str(request.headers.get(OWNER_HEADER) or "") if request is not None else ""


def may_manage(request: gr.Request) -> bool:
    """Whether this visitor may load, download and annotate models: everybody on this machine, and whoever logged in
    with the owner's password; guests may not."""
    return request.headers.get(GUEST_HEADER) is None


def preset_owner_of(request: gr.Request) -> str | None:
    """Whose presets a request asks for; None: the owner's."""
    is_owner = may_manage(request) and request.headers.get(PROGRAM_HEADER) is None
    return None if is_owner else owner_of(request)


async def run(
    engine: Engine, gallery: Gallery, owner: str, origin: str, ask: Callable[[], Request], attention: bool = False
) -> AsyncIterator[View]:
    """Ask for a job and yield every view of it, the first at once and the last when it has ended. Never raises.

    With `attention` the recording holds the attention maps.
    """
    past: list[View] = []
    try:
        try:  # the engine is asked first: what stands on the page already can wait
            request = ask()
            job_id = await engine.submit(SubmitRun(request=request, attention=attention), owner=owner, origin=origin)
        finally:
            past = await earlier(gallery, owner)
        first_view = render.new_job_view(request, job_id, engine.catalog(), past)
        yield first_view
        async for view in watch(engine, gallery, owner, first_view):
            yield view
    except InvalidRequest as error:
        yield render.problems_view(error, past)
    except Refused as error:
        yield render.refused_view(str(error), past)
    except Exception:
        error_id = secrets.token_hex(4)
        logger.exception("The page failed (%s)", error_id)
        yield render.failed_view(say("failed.unexpected", error_id=error_id), error_id, past)


async def run_again(engine: Engine, gallery: Gallery, owner: str, origin: str, job_id: str) -> AsyncIterator[View]:
    """Run an interrupted job again and yield its views, as `run`. The first says which others are interrupted."""
    past = await earlier(gallery, owner)
    try:
        new_id = await engine.submit(RunAgain(job_id=job_id), owner=owner, origin=origin)
        jobs = await engine.jobs(owner=owner)
        request = next(job.request for job in jobs if job.job_id == new_id)
        first_view = render.new_job_view(request, new_id, engine.catalog(), past)
        yield first_view | {"interrupted": await interrupted(engine, owner, new_id)}
        async for view in watch(engine, gallery, owner, first_view):
            yield view
    except (InvalidRequest, Refused, UnknownJob) as error:
        sentence = say("stage.again.gone") if isinstance(error, UnknownJob) else str(error)
        view = render.refused_view(sentence, past)
        yield view | {"interrupted": await interrupted(engine, owner, job_id)}


async def run_live(
    engine: Engine, gallery: Gallery, owner: str, origin: str, ask: Callable[[], Request]
) -> AsyncIterator[View]:
    """Like `run`, after a slider was released: the tab's earlier run is stopped and the new one submitted before
    anything else is looked up. Its views say `live`, so that the earlier picture stays until the first preview.

    Views that only say that it begins are left out unless other jobs are ahead: drawing them takes the browser's time,
    and on two cores the U-Net's, just when the first preview is made.
    """
    try:
        request = ask()
        job_id = await live.take_place(engine, request, owner=owner, origin=origin)
        first_view = render.new_job_view(request, job_id, engine.catalog(), []) | {"live": True}
        at_once = engine.status().queued <= 1  # but for this one
        if not at_once:
            yield first_view
        async for view in watch(engine, gallery, owner, first_view):
            if at_once and view["state"] in ("queued", "running") and not any(view.get("previews") or ()):
                continue
            at_once = False
            yield view
    except InvalidRequest as error:
        yield render.problems_view(error, await earlier(gallery, owner))
    except Refused as error:
        yield render.refused_view(str(error), await earlier(gallery, owner))
    except UnknownJob:  # it ended and was forgotten meanwhile
        return


async def attach(engine: Engine, gallery: Gallery, owner: str, origin: str) -> AsyncIterator[View]:
    """What this tab showed before a reload: the visitor's newest job from this tab, running or ended. Its views say
    `attached`, so that the page can tell them from those of a run that was asked for meanwhile."""
    past = await asyncio.to_thread(gallery.earlier, owner, EARLIER)
    first = render.first_view(past)
    jobs = await engine.jobs(owner=owner)
    job = next((j for j in jobs if j.origin == origin), None)
    if job is None:
        none = not engine.catalog()
        yield render.refused_view(say("checkpoint.none"), first["earlier"]) | {"attached": True} if none else first
        return
    first_view = render.new_job_view(job.request, job.job_id, engine.catalog(), first["earlier"])
    # Once, since what is dismissed meanwhile does not come back.
    news = {"interrupted": await interrupted(engine, owner, job.job_id)}
    try:
        async for view in watch(engine, gallery, owner, first_view):
            yield view | {"attached": True} | news
            news = {}
    except UnknownJob:
        yield first
