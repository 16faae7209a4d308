"""What a program sends: JSON, read strictly, and the pictures in it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest, Problem, quoted_value
from studio.picture.gallery import Gallery
from studio.web.api.uploads import PictureUploads
from studio.web.guard import MAX_PICTURES_BYTES, MAX_UPLOAD_BYTES, Refusal
from studio.web.owner import HEADER
from studio.web.picture_bodies import check_structure, room_for

BODY_SECONDS = 300.0  # for a body to arrive: its place among the uploads is kept meanwhile
A_PICTURE = 'base64 of a PNG, JPEG, WebP or GIF file, {"upload": id} or {"picture": id}'
_DATA = re.compile(r"data:image/[a-z+]{1,20};base64,")


class BadBody(ValueError):
    """The body cannot be read. The text is a sentence; `status` that of the answer."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


class Bodies:
    """Reads bodies, and the pictures that they name, for one visitor at a time."""

    def __init__(self, gallery: Gallery, uploads: PictureUploads) -> None:
        self._gallery = gallery
        self._uploads = uploads

    @asynccontextmanager
    async def json(self, request: Request) -> AsyncIterator[dict[str, Any]]:
        """The object in a body. What it takes counts as an upload until the request is answered. Raises BadBody, or
        NoRoom."""
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json":
            raise BadBody("The body must be JSON, with the header Content-Type: application/json.", 415)
        async with room_for(request, self._uploads.room):
            body = await _whole(request, MAX_PICTURES_BYTES)
            try:
                check_structure(body)
            except Refusal as refusal:
                raise BadBody(refusal.sentence, refusal.status) from None
            yield read_object(body)

    async def upload(self, request: Request) -> str:
        """Keep the picture that is the whole body; returns its id. Raises InvalidRequest or NoRoom."""
        owner = request.headers[HEADER]
        length = request.headers.get("content-length", "")
        size = int(length) if length.isdigit() else MAX_UPLOAD_BYTES
        place = await run_in_threadpool(self._uploads.reserve, owner, size)
        try:
            data = await _whole(request, MAX_UPLOAD_BYTES)
            if not 0 < len(data) <= MAX_IMAGE_BYTES:
                expectation = f"a PNG, JPEG, WebP or GIF file of at most {MAX_IMAGE_BYTES // 2**20} MiB"
                raise InvalidRequest(Problem("body", f"a body of {len(data):,} bytes", expectation))
        except BaseException:
            await run_in_threadpool(self._uploads.free, place)
            raise
        return await run_in_threadpool(self._uploads.keep, owner, data, place)

    async def with_pictures(self, values: Mapping[str, object], names: tuple[str, ...], owner: str) -> dict[str, Any]:
        """The values with bytes in the place of every picture: those of these names, and of the controls. What is no
        list of controls is left for the table of fields to refuse. Raises InvalidRequest."""
        problems: list[Problem] = []
        read: dict[str, Any] = dict(values)
        for name in names:
            if read.get(name) is not None:
                read[name] = await self._picture(name, read[name], owner, problems)
            else:
                read.pop(name, None)
        controls_value = read.get("controls")
        if isinstance(controls_value, list):
            controls: list[object] = []
            for number, one in enumerate(controls_value):
                if isinstance(one, dict) and one.get("image") is not None:
                    data = await self._picture(f"controls[{number}].image", one["image"], owner, problems)
                    one = {**one, "image": data}
                controls.append(one)
            read["controls"] = controls
        if problems:
            raise InvalidRequest(*problems)
        return read

    async def picture(self, name: str, value: object, owner: str) -> bytes:
        """The bytes of one picture. Raises InvalidRequest."""
        problems: list[Problem] = []
        data = await self._picture(name, value, owner, problems)
        if problems:
            raise InvalidRequest(*problems)
        return data

    async def _picture(self, name: str, value: object, owner: str, problems: list[Problem]) -> bytes:
        data: bytes | None = None
        if isinstance(value, str):
            data = await run_in_threadpool(_decode, value)
        elif isinstance(value, dict) and set(value) == {"upload"}:
            data = await run_in_threadpool(self._uploads.read, owner, value["upload"])
        elif isinstance(value, dict) and set(value) == {"picture"}:
            data = await run_in_threadpool(self._picture_of, owner, value["picture"])
        if not data:
            problems.append(Problem(name, quoted_value(value), A_PICTURE))
        return data or b""

    def _picture_of(self, owner: str, picture_id: object) -> bytes | None:
        path = self._gallery.path(picture_id, owner) if isinstance(picture_id, str) else None
        try:
            return path.read_bytes() if path is not None else None
        except OSError:
            return None


def read_object(body: bytes) -> dict[str, Any]:
    """The object in a body; {} for an empty one. Raises BadBody for what is no JSON (NaN and Infinity are none), or no
    object, or nested too deeply."""
    if not body:
        return {}
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        raise BadBody("The body of this request is not JSON.") from None
    if not isinstance(value, dict):
        raise BadBody("The body of this request is JSON, but no object.")
    return value


async def _whole(request: Request, limit: int) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > limit:  # the guard counts too, and knows of chunks
                    raise BadBody(f"This request is too large: at most {limit // 2**20} MiB are read.", 413)
    except TimeoutError:
        raise BadBody(f"The body of this request did not arrive within {BODY_SECONDS:.0f} seconds.") from None
    return bytes(body)


def _decode(text: str) -> bytes | None:
    prefix = _DATA.match(text)
    try:
        return base64.b64decode(text[prefix.end() :] if prefix else text, validate=True)
    except (binascii.Error, ValueError):
        return None
