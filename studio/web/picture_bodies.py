"""Bodies of JSON that hold pictures: read within their limit, and counted as uploads until they have been answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from studio.web.guard import MAX_PICTURES_BYTES, check_json
from studio.web.owner import HEADER
from studio.web.upload_room import UploadRoom


@asynccontextmanager
async def room_for(request: Request, room: UploadRoom | None) -> AsyncIterator[None]:
    """A place among the uploads for this request's body, until it has been answered. Raises NoRoom."""
    if room is None:
        yield
        return
    place = room.reserve(request.headers[HEADER], int(request.headers.get("content-length", MAX_PICTURES_BYTES)))
    try:
        yield
    finally:
        room.settle(place, [])


async def read(request: Request) -> object:
    """The body's value. Raises the guard's Refusal for what is no JSON, or is too large."""
    body = bytearray()
    async for part in request.stream():
        body += part
    return await run_in_threadpool(check_json, bytes(body))
