"""Finds out who sent an uploaded file, by reading Gradio's answer, which holds the file's path.

Gradio stores no owner of an upload, and an upload that no page and no call uses would stay until its hourly sweep.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Protocol

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.ui.text import spoken
from studio.web.guard import MAX_UPLOAD_BYTES
from studio.web.owner import HEADER
from studio.web.upload_room import NoRoom, Place, UploadRoom

UPLOAD = "/gradio_api/upload"
MAX_ANSWER_BYTES = 2**20  # a list of paths


class Keeper(Protocol):
    """What deletes uploads, and knows whose they are (studio.ui.uploads)."""

    def announce(self, owner: str, paths: Sequence[str]) -> None:
        """The visitor is about to learn these paths. The files may come after them."""

    def accept(self, owner: str, paths: Sequence[str]) -> None:
        """These files have come from this visitor."""

    def visitor(self, owner: str, *, here: bool) -> None:
        """Whether a visitor has the page open."""

    def owners(self, path: str) -> Collection[str] | None:
        """The visitors whose file this is; None for a path that is none of Gradio's copies."""


class Arrivals:
    """ASGI middleware: tells the keeper of each file that has come, and refuses those for which there is no `room`."""

    def __init__(self, app: ASGIApp, *, keeper: Keeper, room: UploadRoom | None = None) -> None:
        self.app = app
        self.keeper = keeper
        self.room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"].rstrip("/") != UPLOAD:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        owner = headers[HEADER]
        place: Place | None = None
        if self.room is not None:
            try:
                place = self.room.reserve(owner, int(headers.get("content-length", MAX_UPLOAD_BYTES)))
            except NoRoom as error:
                refusal = JSONResponse(
                    {"detail": spoken(str(error))}, status_code=507, headers={"cache-control": "no-store"}
                )
                await refusal(scope, receive, send)
                return
        answer = bytearray()
        status = 0

        async def send_and_read(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body" and len(answer) <= MAX_ANSWER_BYTES:
                answer.extend(message.get("body", b""))
                if status == 200 and not message.get("more_body", False):  # the page asks for the file at once
                    self.keeper.announce(owner, _paths(bytes(answer)))
            await send(message)

        try:
            await self.app(scope, receive, send_and_read)
        finally:  # also when the visitor left before the end of the answer: the file exists
            paths = _paths(bytes(answer)) if status == 200 else []
            if self.room is not None and place is not None:
                self.room.settle(place, paths)
            if status == 200:
                self.keeper.accept(owner, paths)


def _paths(answer: bytes) -> list[str]:
    try:
        paths = json.loads(answer)
    except ValueError:
        return []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
