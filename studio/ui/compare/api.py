"""The public endpoint `/compare`: a grid of pictures for gradio_client and compatible programs.

Its arguments are those of `/text_to_image` and the two axes; `Comparison.parse` is the gate.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from studio.answered.engine import ComparisonNow, Engine, comparison_events
from studio.answered.events import CellEvent, ComparisonEnded, Failed, Finished
from studio.asked.axes import AXIS_FIELDS
from studio.asked.compare import Comparison, prompt_notices
from studio.asked.fields import TextToImage
from studio.asked.orders import Cells, SubmitComparison
from studio.asked.prompt_notices import control_characters
from studio.picture import sheet
from studio.picture.gallery import Gallery
from studio.ui import session
from studio.ui.generate.api import FilesAndInfo, controls_of, file_of, parameters, telling
from studio.ui.text import in_english, say
from studio.ui.uploads import SECONDS_AFTER_CALL, Uploads

NAME = "compare"


def build(engine: Engine, gallery: Gallery, uploads: Uploads) -> None:
    """Add the endpoint to the page that is being built."""
    gr.api(
        _endpoint(engine, gallery, uploads),
        api_name=NAME,
        api_description=say("api.compare"),
        concurrency_limit=None,
    )


def arguments() -> list[inspect.Parameter]:
    """Required arguments first: the prompt and the first axis; then the second axis, and the rest with its defaults."""
    all_parameters = [p for p in parameters(TextToImage) if p.name != "num_images_per_prompt"]
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    axis_parameters = [inspect.Parameter(name, positional, annotation=str) for name in ("x", "x_values")]
    second = [inspect.Parameter(n, positional, default="", annotation=str) for n in ("y", "y_values")]
    return [all_parameters[0], *axis_parameters, *second, *all_parameters[1:]]


def _endpoint(engine: Engine, gallery: Gallery, uploads: Uploads) -> Callable[..., Any]:
    parameters = arguments()
    names = [p.name for p in parameters]

    async def call(*values: Any) -> AsyncIterator[FilesAndInfo]:
        owner = session.owner_of(values[-1])
        values_by_name, this_call = dict(zip(names, values)), secrets.token_hex(8)
        job_id, is_over = None, False
        left_out = control_characters(values_by_name.get("prompt"), values_by_name.get("negative_prompt"))
        with telling(NAME):
            try:
                values_by_name["controls"] = await asyncio.to_thread(
                    controls_of, uploads, this_call, values_by_name["controls"]
                )
                order = SubmitComparison(comparison=Comparison.parse(values_by_name), ephemeral=True)
                job_id = await engine.submit(order, owner=owner)
                async for event in comparison_events(engine, job_id, owner=owner):
                    is_over = isinstance(event, ComparisonEnded)
                    if is_over:
                        now = await engine.ask(Cells(job_id=job_id), owner=owner)
                        files, info = await asyncio.to_thread(_answer, gallery, uploads, owner, job_id, now)
                        yield files, info | {"notes": [*left_out, *info["notes"]]}
                    elif isinstance(event, CellEvent) and isinstance(event.event, (Finished, Failed)):
                        now = await engine.ask(Cells(job_id=job_id), owner=owner)
                        finished_cells = sum(isinstance(c.event, Finished) for c in now.cells.values())
                        yield [], {"state": "running", "done": finished_cells, "count": len(now.comparison.possible)}
            finally:
                uploads.leave(this_call, after=SECONDS_AFTER_CALL)
                # A caller without a cookie can never find its job again, so a cancelled call stops it.
                if job_id is not None and not is_over:
                    await engine.cancel(job_id, owner=owner)

    request = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request, default=None)
    call.__signature__ = inspect.Signature([*parameters, request], return_annotation=FilesAndInfo)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in [*parameters, request]} | {"return": FilesAndInfo}
    call.__name__ = NAME
    return call


def _answer(gallery: Gallery, uploads: Uploads, owner: str, job_id: str, now: ComparisonNow) -> FilesAndInfo:
    """The sheet, then every finished picture, and what became of each cell."""
    comparison, events = now.comparison, now.cells
    entries: dict[int, sheet.CellResult] = {}
    cells: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    for index in range(len(comparison)):
        event = events[index].event if index in events else None
        cell: dict[str, Any] = {a.field: a.values[p] for a, p in zip(comparison.axes, comparison.place(index))}
        if isinstance(event, Finished):
            picture = event.pictures[0]
            entries[index] = sheet.CellResult(picture=picture, file=gallery.path(picture.id, owner))
            files.append(file_of(gallery, uploads, owner, picture))
            cell |= {"state": "finished", "file": len(files), "info": dict(picture.info)}
        elif isinstance(event, Failed):
            entries[index] = sheet.CellResult(message=event.message)
            cell |= {"state": "failed", "message": event.message, "error_id": event.error_id}
        else:
            cell |= {
                "state": "impossible" if comparison.refusal(index) else "stopped",
                "message": comparison.refusal(index),
            }
        cells.append(cell)
    labels: dict[str, str] = {field: in_english(f"compare.axis.{field}") for field in AXIS_FIELDS}
    name = f"compare-{job_id[-8:]}.png"
    copy = uploads.result(sheet.png(comparison, entries, labels), name, owner)
    first = {"path": copy, "orig_name": name, "mime_type": "image/png", "meta": {"_type": "gradio.FileData"}}
    info = {"state": "finished", "surface": comparison.to_dict(), "cells": cells, "done": len(files)}
    info["notes"] = prompt_notices(comparison)
    return [first, *files], info
