"""What a picture says of how it was made, for whoever drops it on the page: read, answered and forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from studio.answered.engine import Engine
from studio.answered.models import Model
from studio.asked.messages import Message
from studio.asked.orders import ModelList
from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest, Problem
from studio.picture.decode import read_picture
from studio.picture.infotext import MAX_TEXT_BYTES
from studio.picture.metadata import texts_of
from studio.ui.picture_settings import sheet_of, texts_of_paste
from studio.ui.text import spoken
from studio.web.answers import refusal
from studio.web.picture_bodies import room_for
from studio.web.upload_room import NoRoom, UploadRoom

MOST_AT_ONCE = 2  # pictures that are decoded at the same time; one of 25 million pixels takes 200 MB meanwhile


class PictureSettings:
    """Answers POST /ask/picture-settings. The picture in the body counts as an upload of this visitor until it is
    answered, and is compared with the models that they may use."""

    def __init__(self, engine: Engine, room: UploadRoom | None = None) -> None:
        self._engine = engine
        self._room = room
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    async def answer(self, request: Request) -> Response:
        """POST: the body is a picture's file, or with the type text/plain an infotext. Answers {"says", "width",
        "height", "problem"}: `says` as of `picture_settings.sheet_of`, or null; `problem`: why the picture itself
        cannot be used, else "". A file that is neither a picture nor holds settings is refused with 400."""
        is_text = request.headers.get("content-type", "").startswith("text/plain")
        try:
            async with room_for(request, self._room):
                body = bytearray()
                async for part in request.stream():
                    body += part
                    if len(body) > MAX_IMAGE_BYTES:
                        break  # `read_picture` says what is allowed
                models = (await self._engine.ask(ModelList())).models
                locked = dict(next((one.locked for one in self._engine.catalog()), ()))
                async with self._places:
                    view_of = _text_view if is_text else _picture_view
                    view = await run_in_threadpool(view_of, bytes(body), models, locked)
        except NoRoom as full:
            return refusal(507, str(full))
        except InvalidRequest as error:
            return refusal(400, str(error))
        return JSONResponse(spoken(view), headers={"cache-control": "no-store"})


def _picture_view(file: bytes, models: Sequence[Model], locked: Mapping[str, object]) -> dict[str, Any]:
    says = sheet_of(texts_of(file), models, locked)
    try:
        width, height = read_picture(file).size
    except InvalidRequest as error:
        if says is None:
            raise
        return {"says": says, "width": 0, "height": 0, "problem": str(error)}
    return {"says": says, "width": width, "height": height, "problem": ""}


def _text_view(body: bytes, models: Sequence[Model], locked: Mapping[str, object]) -> dict[str, Any]:
    if len(body) > MAX_TEXT_BYTES:
        allowed = Message("a text of at most {most} KiB", most=MAX_TEXT_BYTES // 1024)
        raise InvalidRequest(Problem("text", Message("a text of {count} KiB", count=len(body) // 1024), allowed))
    says = sheet_of(texts_of_paste(body.decode("utf-8", "replace")), models, locked)
    if says is not None and not says["program"] and not says["settings"]:
        says = None  # any other text
    return {"says": says, "width": 0, "height": 0, "problem": ""}
