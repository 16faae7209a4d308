"""The tab Noise viewer: the record of one run, moved through in the browser.

Starts a run or names one; the record itself is fetched by the viewer's script from `/record/<job>`. A panel is one
file in static/ and one name in PANELS.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.answered.events import Finished, JobSummary
from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.guidance import GUIDANCE_FIELDS
from studio.asked.messages import sentences
from studio.asked.quantities import QUANTITIES
from studio.asked.requests import Request
from studio.asked.resolved import Suits, resolve
from studio.asked.schedulers import SCHEDULERS
from studio.picture.gallery import Gallery
from studio.ui import keeping, render, session
from studio.ui.blocks import QUIET, WATCHING, html_block
from studio.ui.generate.widgets import locked_values
from studio.ui.text import VIEWER_CAPTIONS, in_every_language, say, words
from studio.ui.viewer import run_settings
from studio.ui.viewer.ask_field import ask_field

TAB = "noise_viewer"
STORAGE = f"latent-studio-{TAB}"  # where the browser keeps the prompt
ADDRESS = "viewer"  # what viewer.js writes between # and : while its tab is open
PANELS = (
    "machine",
    "timeline",
    "panes",
    "schedule",
    "numbers",
    "equation",
    "guidance",
    "schedules",
    "forward",
    "latent",
    "vae",
    "words",
    "attention",
    "weights",
    "branches",
    "runs",
    "trajectories",
    "architecture",
    "export",
)
RUNS = 12  # to choose from
# Where a first visit finds its run and its picture, which training/make_sample.py makes
SAMPLE = {"record": "/studio-static/sample.safetensors", "picture": "/studio-static/sample.png"}
EMPTY: dict[str, Any] = {
    "job": None,
    "image": 0,
    "ended": True,
    "message": "",
    "picture": None,
    "checkpoint": "",
    "runs": [],
    "locked": [],  # fields that the owner has fixed for this visitor
}


def build(engine: Engine, gallery: Gallery, demo: gr.Blocks) -> tuple[gr.HTML, gr.Dropdown]:
    """Draw the tab and connect it. Returns the viewer, for other tabs to send a run to, and the field of the
    checkpoint."""
    with gr.Column(elem_classes="ls-viewer-tab", elem_id=f"{TAB}-workspace"):
        with gr.Row(elem_classes="ls-ask"):
            prompt = ask_field(TAB)
            run = gr.Button(say("viewer.run"), variant="primary", elem_id=f"{TAB}-run", min_width=96)
            last = gr.Button(say("viewer.last"), elem_id=f"{TAB}-last", min_width=120)
        fields = {"prompt": prompt} | run_settings.build(engine, TAB)
        html_block("comparedRun")  # a line of the sheet of a picture's settings
        show = html_block(
            "viewer",
            value=EMPTY,
            events=("seen", "look", "denoise"),
            **props(PANELS),
            sample=SAMPLE,
            elem_id=f"{TAB}-viewer",
        )

    async def start(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Any]:
        ask = run_settings.typed_values(fields, values)
        async for view in follow(engine, gallery, session.owner_of(request), lambda: TextToImage.parse(ask)):
            yield view

    async def newest(request: gr.Request) -> Any:
        owner = session.owner_of(request)
        job = next(iter(await engine.jobs(owner=owner)), None)
        if job is None:
            return {**EMPTY, "checkpoint": _checkpoint(engine), "locked": _locked(engine)}
        return await run_by_id(engine, owner, job.job_id, 0)

    async def show_newest(event: gr.EventData, request: gr.Request) -> Any:
        return {**await newest(request), "request_count": event._data.get("request_count")}

    def back(stored: object, _: gr.Request) -> dict[Any, Any]:
        return run_settings.back(engine, fields, stored)

    gr.on([field.change for field in fields.values()], **keeping.keeper(STORAGE, fields))
    keeping.restore(demo, STORAGE, fields, [], back)
    # "multiple", since Gradio's "once" ignores a click that comes before the end of the last run has arrived. What is
    # asked for twice in a moment is one run (run_follower.js, forward.js).
    gr.on([run.click, prompt.submit], start, set(fields.values()), [show], trigger_mode="multiple", **WATCHING)
    last.click(newest, None, [show], **QUIET)
    show.seen(show_newest, None, [show], **QUIET)

    async def look(event: gr.EventData, request: gr.Request) -> Any:
        return await run_of_button(engine, event, request)

    show.look(look, None, [show], **QUIET)

    async def denoise(event: gr.EventData, request: gr.Request) -> AsyncIterator[Any]:
        owner = session.owner_of(request)
        ask = await denoising(engine, gallery, owner, event._data)
        async for view in follow(engine, gallery, owner, lambda: ImageToImage.parse(ask)):
            yield view

    show.denoise(denoise, None, [show], trigger_mode="multiple", **WATCHING)
    return show, fields["checkpoint"]


async def follow(
    engine: Engine, gallery: Gallery, owner: str, ask: Callable[[], Request]
) -> AsyncIterator[dict[str, Any]]:
    """Ask for a run that records its attention maps, and yield what the viewer is to show of it until it has ended."""
    async for view in session.run(engine, gallery, owner, TAB, ask, attention=True):
        if view["state"] not in ("running",) or view["step"] is None:
            more = {"requested_here": True, "runs": await runs(engine, owner), "locked": _locked(engine)}
            yield view_of(view) | more


async def denoising(engine: Engine, gallery: Gallery, owner: str, values: dict[str, Any]) -> dict[str, Any]:
    """The fields of the run that the panel of the forward process asks for; `values` are those of its event."""
    job_id = values.get("job")
    job = next((one for one in await engine.jobs(owner=owner) if one.job_id == job_id), None)
    return await asyncio.to_thread(_again, job, _checkpoint(engine), gallery, owner, values)


def _again(
    job: JobSummary | None, checkpoint: str, gallery: Gallery, owner: str, values: dict[str, Any]
) -> dict[str, Any]:
    """The fields of an image to image run that noises a picture and denoises it. The picture is a finished one, or one
    that the page sends as a data URL. Guidance and scheduler are those of the run that is shown, and so is the prompt,
    unless the page sends another."""
    path = gallery.path(str(values.get("picture")), owner)
    file = _data_url(values.get("file"))
    fields: dict[str, Any] = {
        "image": file or (path.read_bytes() if path is not None else b""),
        "strength": values.get("strength"),
        "num_inference_steps": values.get("steps"),
        "checkpoint": checkpoint,
    }
    if job is not None:
        names = ("prompt", "negative_prompt", "guidance_scale", "scheduler", "noise_schedule", "checkpoint")
        fields |= {name: getattr(job.request, name) for name in (*names, *GUIDANCE_FIELDS)}
    if isinstance(values.get("prompt"), str):
        fields["prompt"] = values["prompt"]
    return fields


def _data_url(text: object) -> bytes:
    """The bytes of a PNG in a data URL; b"" for anything else. They are checked like any upload."""
    beginning = "data:image/png;base64,"
    if not isinstance(text, str) or not text.startswith(beginning):
        return b""
    try:
        return base64.b64decode(text[len(beginning) :], validate=True)
    except ValueError:
        return b""


def props(panels: tuple[str, ...]) -> dict[str, Any]:
    """What the viewer's script gets once: its panels, words, the quantities and how each is drawn, and the names of
    schedulers."""
    return {
        "panels": panels,
        "words": words("viewer"),
        "machine": words("machine"),
        "captions": in_every_language(VIEWER_CAPTIONS),
        "quantities": {name: quantity.kind for name, quantity in QUANTITIES.items()},
        "schedulers": {
            name: {"label": facts.label, "noise_schedules": facts.noise_schedules} for name, facts in SCHEDULERS.items()
        },
        "noise_schedules": words("choice.noise_schedule"),
    }


def view_of(view: render.View) -> dict[str, Any]:
    """A run's view for the viewer: which record to fetch, and what to say until there is one."""
    is_over = view["state"] not in ("queued", "loading", "running")
    message = sentences([view.get("message") or "", *(p["message"] for p in view.get("problems", []))])
    pictures = view.get("pictures") or []
    return {
        **EMPTY,
        "job": view["job"],
        "ended": is_over,
        "message": "" if view["state"] == "finished" else message,
        "picture": pictures[0]["id"] if pictures else None,
    }


async def run_of_button(engine: Engine, event: gr.EventData, request: gr.Request) -> dict[str, Any]:
    """The run whose "Noise viewer" button was pressed on a stage; the empty viewer when it is not this visitor's."""
    job_id, image = event._data.get("job"), event._data.get("image")
    return await run_by_id(engine, session.owner_of(request), str(job_id), image if isinstance(image, int) else 0)


async def run_by_id(engine: Engine, owner: str, job_id: str, image: int) -> dict[str, Any]:
    """One image of a visitor's own run, with its finished picture if there is one; else the message that it is gone."""
    job = next((one for one in await engine.jobs(owner=owner) if one.job_id == job_id), None)
    if job is None:
        return {**EMPTY, "message": say("viewer.gone"), "checkpoint": _checkpoint(engine)}
    is_over = job.state not in ("queued", "running")
    value: dict[str, Any] = {
        **EMPTY,
        "job": job_id,
        "image": image,
        "ended": is_over,
        "runs": await runs(engine, owner),
        "locked": _locked(engine),
    }
    value["checkpoint"] = job.request.checkpoint
    if job.state == "interrupted":
        value["message"] = say("viewer.interrupted")
    if job.state == "finished":
        async for event in engine.watch(job_id, owner=owner):
            if isinstance(event, Finished) and image < len(event.pictures):
                value["picture"] = event.pictures[image].id
    return value


async def runs(engine: Engine, owner: str) -> list[dict[str, str]]:
    """This visitor's newest finished runs, for the comparison side by side, each with a line that identifies it."""
    jobs = [job for job in await engine.jobs(owner=owner) if job.state == "finished"]
    return [{"job": job.job_id, "label": _line(job)} for job in jobs[:RUNS]]


def _line(job: JobSummary) -> str:
    request, run = job.request, resolve(job.request, Suits())
    return " · ".join(
        [
            request.prompt or say("viewer.no_prompt"),
            SCHEDULERS[run.scheduler].label,
            say("viewer.runs.steps", count=run.num_inference_steps),
            say("viewer.fact.guidance", guidance=f"{run.guidance_scale:g}"),
        ]
    )


def _locked(engine: Engine) -> list[str]:
    return list(locked_values(engine))


def _checkpoint(engine: Engine) -> str:
    catalog = engine.catalog()
    return catalog[0].name if catalog else ""
