"""Gradio's copies of uploads and of a call's results go to their owner alone. Gradio itself serves them to everybody
who knows the path, which is made from the file's content.

A caller without a cookie is another visitor with each request, so the copies of such a caller go to whoever knows the
path: a program could not fetch its own otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.web.owner import HEADER

# Gradio writes the state of any session into such a file for it; nothing on the page asks for that.
_DEEP_LINK = "/gradio_api/deep_link"
_COPY = re.compile(r"/gradio_api/file[=/](.*)", re.DOTALL)  # the form with the slash is Gradio's old one


class Register(Protocol):
    """What knows whose a copy is (studio.ui.uploads)."""

    def owners(self, path: str) -> Collection[str] | None:
        """The visitors who sent this file or got it as a result; None for a path that is none of these files."""


class Copies:
    """ASGI middleware: a copy of another visitor gets the same 404 as one that is gone. `new_visitors`: the visitors
    who keep no cookie. Deep links are refused to all."""

    def __init__(self, app: ASGIApp, *, register: Register, new_visitors: Container[str]) -> None:
        self.app = app
        self.register = register
        self.new_visitors = new_visitors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/") == _DEEP_LINK:
            await _nothing_here(scope, receive, send)
            return
        path = _COPY.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if path is not None:
            owners = await run_in_threadpool(self.register.owners, path[1])
            visitor = Headers(scope=scope)[HEADER]
            if owners is not None and visitor not in owners and not any(owner in self.new_visitors for owner in owners):
                await _nothing_here(scope, receive, send)
                return
        await self.app(scope, receive, send)


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    answer = PlainTextResponse("There is nothing here.", status_code=404, headers={"cache-control": "no-store"})
    await answer(scope, receive, send)
