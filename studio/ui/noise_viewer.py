"""The tab Noise viewer: the record of one run, moved through in the browser.

Starts a run or names one; the record itself is fetched by the viewer's script from `/record/<job>`. A panel is one
file in static/viewer/ and one name in PANELS.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from studio.events import Engine
from studio.gallery import Gallery
from studio.requests import TextToImage
from studio.ui import render, session
from studio.ui.drawn import QUIET, WATCHING, drawn
from studio.ui.text import VIEWER_CAPTIONS, say, words

TAB = "noise_viewer"
ADDRESS = "viewer"  # what viewer.js writes between # and : while its tab is open
PANELS = ("timeline", "panes", "schedule", "numbers", "equation", "guidance", "latent")
EMPTY = {"job": None, "image": 0, "ended": True, "message": ""}


def build(engine: Engine, gallery: Gallery) -> gr.HTML:
    """Draw the tab and connect it. Returns the viewer, for other tabs to send a run to."""
    with gr.Column(elem_classes="ls-viewer-tab"):
        with gr.Row(elem_classes="ls-ask"):
            prompt = gr.Textbox(
                value="",
                label=say("prompt.label"),
                placeholder=say("prompt.placeholder"),
                show_label=False,
                max_lines=1,
                elem_id=f"{TAB}-prompt",
                scale=1,
            )
            run = gr.Button(say("viewer.run"), variant="primary", elem_id=f"{TAB}-run", min_width=96)
            last = gr.Button(say("viewer.last"), elem_id=f"{TAB}-last", min_width=120)
        show = drawn(
            "viewer",
            value=EMPTY,
            events=("seen",),
            panels=PANELS,
            words=words("viewer"),
            captions=VIEWER_CAPTIONS,
            elem_id=f"{TAB}-viewer",
        )

    async def start(prompt: str, request: gr.Request) -> AsyncIterator[Any]:
        owner = session.owner_of(request)
        ask = {"prompt": prompt, "checkpoint": _checkpoint(engine)}
        async for view in session.run(engine, gallery, owner, TAB, lambda: TextToImage.parse(ask)):
            if view["state"] not in ("running",) or view["step"] is None:
                yield viewed(view)

    def newest(request: gr.Request) -> Any:
        job = next(iter(engine.jobs(owner=session.owner_of(request))), None)
        return {**EMPTY, "job": job.job_id, "ended": job.state not in ("queued", "running")} if job else EMPTY

    gr.on([run.click, prompt.submit], start, [prompt], [show], trigger_mode="once", **WATCHING)
    last.click(newest, None, [show], **QUIET)
    show.seen(newest, None, [show], **QUIET)
    return show


def viewed(view: render.View) -> dict[str, Any]:
    """A run's view as the viewer needs it: which record to fetch, and what to say while there is none."""
    ended = view["state"] not in ("queued", "loading", "running")
    message = " ".join([view.get("message") or "", *(p["message"] for p in view.get("problems", []))]).strip()
    return {"job": view["job"], "image": 0, "ended": ended, "message": "" if view["state"] == "finished" else message}


def sent(engine: Engine, event: gr.EventData, request: gr.Request) -> dict[str, Any]:
    """The run whose "Noise viewer" button was pressed on a stage; the empty viewer when it is not this visitor's."""
    job_id, image = event._data.get("job"), event._data.get("image")
    mine = {job.job_id for job in engine.jobs(owner=session.owner_of(request))}
    if job_id not in mine:
        return {**EMPTY, "message": say("viewer.gone")}
    return {**EMPTY, "job": job_id, "image": image if isinstance(image, int) else 0}


def _checkpoint(engine: Engine) -> str:
    catalog = engine.catalog()
    return catalog[0].name if catalog else ""
