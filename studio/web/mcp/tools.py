"""The four tools: from an agent's arguments to a job of the engine, and from its end to pictures and text."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from studio.answered.engine import ComparisonNow, Engine, UnknownJob, comparison_events, run_events
from studio.answered.events import (
    CellEvent,
    ComparisonEnded,
    Failed,
    Finished,
    Loading,
    Picture,
    Queued,
    Started,
    Step,
    Stopped,
)
from studio.asked.axes import AXIS_FIELDS
from studio.asked.compare import Comparison, prompt_notices
from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.orders import Cells, RecordPart, Submission, SubmitComparison, SubmitRun
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.prompt_notices import control_characters
from studio.asked.requests import Request
from studio.picture import sheet
from studio.picture.file_formats import PILLOW_FORMATS
from studio.picture.gallery import Gallery
from studio.picture.metadata import own_info, request_from_info
from studio.ui.text import in_english
from studio.web import base64_pictures
from studio.web.mcp import explaining

MAX_PICTURE_BYTES = 2**20  # of a picture in an answer; many agents take no more
MAX_PICTURE_SIDE = 1536  # pixels, of one that has to be made smaller
ORIGIN = "mcp"

Report = Callable[[float, float, str], Awaitable[None]]  # done, of how much, what is going on


class JobFailed(Exception):
    """The job has ended without its pictures. The text is a plain sentence."""


@dataclass(frozen=True)
class Shown:
    """What a tool answers: a text, pictures as (bytes, media type), and the same as values."""

    text: str
    pictures: tuple[tuple[bytes, str], ...]
    values: dict[str, Any]


class Tools:
    """What an agent may do here, each for one visitor (`owner`)."""

    def __init__(self, engine: Engine, gallery: Gallery) -> None:
        self.engine = engine
        self.gallery = gallery

    async def text_to_image(self, arguments: Mapping[str, object], owner: str, report: Report) -> Shown:
        """Pictures from words. Raises InvalidRequest, Refused or JobFailed, as all of them."""
        request = TextToImage.parse(_without_nulls(arguments))
        return await self._pictures(request, arguments, owner, report)

    async def image_to_image(self, arguments: Mapping[str, object], owner: str, report: Report) -> Shown:
        """Pictures from a picture."""
        values = _without_nulls(arguments)
        picture_id, text = values.pop("picture_id", None), values.pop("image", None)
        if (picture_id is None) == (text is None):
            both = "both" if text is not None else "neither"
            raise InvalidRequest(Problem("image", both, "one of image and picture_id"))
        if picture_id is not None:
            values["image"] = await asyncio.to_thread(self._own_picture, picture_id, owner)
        else:
            values["image"] = await asyncio.to_thread(base64_pictures.read, "image", text)
        return await self._pictures(ImageToImage.parse(values), arguments, owner, report)

    async def compare(self, arguments: Mapping[str, object], owner: str, report: Report) -> Shown:
        """A grid of pictures along one or two axes, as one labelled picture."""
        comparison = Comparison.parse(_without_nulls(arguments))
        job_id = await self._submit(SubmitComparison(comparison=comparison, ephemeral=True), owner)
        is_over = False
        try:
            count = 0
            async for event in comparison_events(self.engine, job_id, owner=owner):
                if isinstance(event, CellEvent) and isinstance(event.event, (Finished, Failed)):
                    count += 1
                    await report(count, len(comparison.possible), "cells")
                elif isinstance(event, ComparisonEnded):
                    is_over = True
                    now = await self.engine.ask(Cells(job_id=job_id), owner=owner)
                    return await asyncio.to_thread(self._grid, now, owner)
        finally:
            if not is_over:
                await self._cancel(job_id, owner)
        raise JobFailed("The comparison has ended without an end.")

    async def explain_run(self, arguments: Mapping[str, object], owner: str, report: Report) -> Shown:
        """The numbers and the word maps of the run that made a picture: it is made again, and recorded."""
        unknown = [name for name in arguments if name != "picture_id"]
        if unknown:
            raise InvalidRequest(*(Problem(name, "this argument", "picture_id alone") for name in unknown))
        request = await asyncio.to_thread(self._request_of, arguments.get("picture_id"), owner)
        job_id = await self._submit(SubmitRun(request=request, attention=True), owner)
        await self._wait_for_end(job_id, owner, report)
        recording = await self.engine.record(job_id, RecordPart(), owner=owner)
        answer = await asyncio.to_thread(explaining.explain, recording)
        pictures_with_titles = [(title, *await asyncio.to_thread(sendable, data)) for title, data in answer.pictures]
        titles = "\n".join(
            f"Picture {number}: {title}" for number, (title, _, _) in enumerate(pictures_with_titles, start=1)
        )
        pictures = tuple((data, media_type) for _, data, media_type in pictures_with_titles)
        return Shown(f"{answer.text}\n\n{titles}", pictures, answer.numbers)

    # ------------------------------------------------------------------------------------------------- within

    async def _pictures(self, request: Request, arguments: Mapping[str, object], owner: str, report: Report) -> Shown:
        job_id = await self._submit(SubmitRun(request=request, ephemeral=True), owner)
        event, notes = await self._wait_for_end(job_id, owner, report)
        left_out = control_characters(arguments.get("prompt"), arguments.get("negative_prompt"))
        return await asyncio.to_thread(self._answer, event.pictures, [*left_out, *notes], owner)

    async def _submit(self, job: Submission, owner: str) -> str:
        return await self.engine.submit(job, owner=owner, origin=ORIGIN)

    async def _cancel(self, job_id: str, owner: str) -> None:
        with suppress(UnknownJob):
            await self.engine.cancel(job_id, owner=owner)

    async def _wait_for_end(self, job_id: str, owner: str, report: Report) -> tuple[Finished, tuple[str, ...]]:
        """Watch a run to its end; an agent that leaves stops it."""
        notes: tuple[str, ...] = ()
        images, evaluations = 1, dict[int, int]()  # done so far, by image
        is_over = False
        try:
            async for event in run_events(self.engine, job_id, owner=owner):
                match event:
                    case Queued():
                        await report(0, 1, f"in the queue, {event.ahead} before this one")
                    case Loading():
                        await report(0, 1, event.message)
                    case Started():
                        notes, images = event.notes, len(event.seeds)
                    case Step():
                        evaluations[event.image] = event.index + 1
                        done = sum(evaluations.values())  # images advance side by side
                        await report(done, event.total * images, f"step of image {event.image + 1}")
                    case Finished():
                        is_over = True
                        return event, (*notes, *event.notes)
                    case Failed():
                        is_over = True
                        raise JobFailed(f"{event.message} (error id {event.error_id})")
                    case Stopped():
                        is_over = True
                        raise JobFailed(event.reason)
        finally:
            if not is_over:
                await self._cancel(job_id, owner)
        raise JobFailed("The job has ended without an end.")

    def _own_picture(self, picture_id: object, owner: str) -> bytes:
        path = self.gallery.path(picture_id, owner) if isinstance(picture_id, str) else None
        if path is None:
            allowed = "the id of a picture that one of your own calls has made"
            raise InvalidRequest(Problem("picture_id", quoted_value(picture_id), allowed))
        return path.read_bytes()

    def _request_of(self, picture_id: object, owner: str) -> Request:
        info = own_info(self._own_picture(picture_id, owner)) or {}
        if info.get("kind") != TextToImage.kind or info.get("controls"):
            value = f"{quoted_value(picture_id)}, which was made from another picture,"
            raise InvalidRequest(Problem("picture_id", value, "a picture that was made from words alone"))
        return replace(request_from_info(info), num_images_per_prompt=1)

    def _answer(self, pictures: Sequence[Picture], notes: Sequence[str], owner: str) -> Shown:
        saved_files = [self._own_picture(picture.id, owner) for picture in pictures]
        files = [sendable(file) for file in saved_files]
        lines = [f"Picture {k}: id {p.id}\n{p.parameters}" for k, p in enumerate(pictures, start=1)]
        if any(sent is not file for (sent, _), file in zip(files, saved_files)):
            lines.append("A picture of over 1 MiB is shown as a smaller JPEG; the studio keeps the whole one.")
        values = {
            "pictures": [
                {"id": p.id, "seed": p.seed, "width": p.width, "height": p.height, "settings": dict(p.info)}
                for p in pictures
            ],
            "notes": list(notes),
        }
        return Shown("\n\n".join([*lines, *notes]), tuple(files), values)

    def _grid(self, now: ComparisonNow, owner: str) -> Shown:
        comparison, results = now.comparison, dict[int, sheet.CellResult]()
        cells: list[dict[str, Any]] = []
        for index in range(len(comparison)):
            event = now.cells[index].event if index in now.cells else None
            cell: dict[str, Any] = {a.field: a.values[p] for a, p in zip(comparison.axes, comparison.place(index))}
            if isinstance(event, Finished):
                picture = event.pictures[0]
                results[index] = sheet.CellResult(picture=picture, file=self.gallery.path(picture.id, owner))
                cell |= {"state": "finished", "picture_id": picture.id, "seed": picture.seed}
            elif isinstance(event, Failed):
                results[index] = sheet.CellResult(message=event.message)
                cell |= {"state": "failed", "message": event.message}
            else:
                cell |= {"state": "not made", "message": comparison.refusal(index) or "stopped"}
            cells.append(cell)
        labels: dict[str, str] = {field: in_english(f"compare.axis.{field}") for field in AXIS_FIELDS}
        picture_of_all = sendable(sheet.png(comparison, results, labels))
        notes = prompt_notices(comparison)
        lines = ["; ".join(f"{name} {value}" for name, value in cell.items()) for cell in cells]
        text = "\n".join(["One picture with all cells, row by row:", *lines, *notes])
        return Shown(text, (picture_of_all,), {"cells": cells, "notes": notes})


def sendable(file: bytes) -> tuple[bytes, str]:
    """A picture's file as it is where it is small, else a JPEG that is, and its media type."""
    with Image.open(io.BytesIO(file), formats=PILLOW_FORMATS) as image:
        if len(file) <= MAX_PICTURE_BYTES:
            return file, str(image.get_format_mimetype())
        picture = image.convert("RGB")
    picture.thumbnail((MAX_PICTURE_SIDE, MAX_PICTURE_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue(), "image/jpeg"


def _without_nulls(arguments: Mapping[str, object]) -> dict[str, object]:
    """An argument that is null was not given."""
    return {name: value for name, value in arguments.items() if value is not None}
