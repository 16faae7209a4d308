"""Decides in which language a request is answered (`studio.ui.language`)."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.ui import language


class Language:
    """ASGI middleware: what is said within speaks the language that the request asks for."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        cookies = cookie_parser("; ".join(headers.getlist("cookie")))
        with language.speaking(language.asked_for(cookies, headers.get("accept-language", ""))):
            await self.app(scope, receive, send)
