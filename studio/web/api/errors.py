"""Every error below `/api/v1/` in one form, whoever answers it: the guard, the login, a route, or the page behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.answered.errors import ApiError, as_json, error_of_status
from studio.ui.text import spoken_text

ROOT = "/api/v1"
MAX_ANSWER_BYTES = 2**16  # of an error


def is_ours(path: str) -> bool:
    """Whether an address is one for programs."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def has_form(value: dict[str, Any]) -> bool:
    """Whether an answer has the form already."""
    return isinstance(value.get("error"), dict) and "detail" not in value


class ErrorForm:
    """ASGI middleware, the outermost: an error that is a sentence becomes the form; one that has it passes.

    Another interface may have another form: `covers` says which addresses are its own, `write` makes it, `has_form`
    knows it, `challenge` is what a 401 asks for."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        covers: Callable[[str], bool] = is_ours,
        write: Callable[[ApiError], bytes] = as_json,
        has_form: Callable[[dict[str, Any]], bool] = has_form,
        challenge: str = "Bearer",
    ) -> None:
        self.app = app
        self._covers = covers
        self._write = write
        self._has_form = has_form
        self._challenge = challenge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._covers(scope["path"]):
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = bytearray()

        async def send_on(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] >= 400:
                start = message
                return
            if start is None:
                await send(message)
                return
            if len(body) < MAX_ANSWER_BYTES:
                body.extend(message.get("body", b""))
            if message.get("more_body", False):
                return
            content = self._in_form(start["status"], Headers(raw=start["headers"]), bytes(body))
            headers = MutableHeaders(raw=list(start["headers"]))
            headers["content-type"] = "application/json"
            headers["content-length"] = str(len(content))
            headers["cache-control"] = "no-store"
            if start["status"] == 401:
                headers["www-authenticate"] = self._challenge
            await send({"type": "http.response.start", "status": start["status"], "headers": headers.raw})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})

        await self.app(scope, receive, send_on)

    def _in_form(self, status: int, headers: Headers, body: bytes) -> bytes:
        text = body.decode("utf-8", "replace")
        if headers.get("content-type", "").startswith("application/json"):
            try:
                value = json.loads(text)
            except ValueError:
                value = None
            if isinstance(value, dict) and self._has_form(value):
                return body
            text = value["detail"] if isinstance(value, dict) and isinstance(value.get("detail"), str) else "Not found."
        wait = headers.get("retry-after", "")
        return self._write(error_of_status(status, text, int(wait) if wait.isdigit() else None))


def response(error: ApiError, *, status: int | None = None) -> Response:
    """An error as an answer."""
    headers = {"cache-control": "no-store"}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    return Response(as_json(error, spoken_text), status or error.status, headers, "application/json")
