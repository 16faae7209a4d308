"""Bodies of JSON that hold pictures: read within their limit, and counted as uploads until they have been answered."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from studio.web.guard import MAX_BODY_BYTES, MAX_PICTURES_BYTES, Refusal, check_json
from studio.web.owner import HEADER
from studio.web.upload_room import UploadRoom

MAX_QUOTES = 100_000  # in a body that is longer than others may be
# A text of JSON, or one that never ends: the pattern never fails once it has begun, so it reads every byte once.
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


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
    check_structure(bytes(body))
    return await run_in_threadpool(check_json, bytes(body))


def check_structure(body: bytes, limit: int = MAX_BODY_BYTES) -> None:
    """Refuse JSON that is long for another reason than a few long texts: each of many small values takes ten times its
    bytes in memory. Raises Refusal."""
    if len(body) > limit and (body.count(b'"') > MAX_QUOTES or len(_TEXT.sub(b'""', body)) > limit):
        most = limit // 2**20
        raise Refusal(413, f"This request is too large: but for its pictures, at most {most} MiB of JSON are read.")
