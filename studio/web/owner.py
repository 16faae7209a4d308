"""Whose request it is: a random id in a cookie, passed on as a request header.

Owns the cookie and the header; knows nothing of logins, jobs or pictures. Not Gradio's session hash (guessable, new
after a reload) and not the address (everybody behind a tunnel has the same one).
"""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "studio_owner"
HEADER = "x-studio-owner"
COOKIE_SECONDS = 365 * 24 * 3600

_OWNER_ID = re.compile(r"[0-9a-f]{32}")


class Owner:
    """Gives every request the header `x-studio-owner`, and every browser the cookie that keeps it the same.

    A client that keeps no cookie is a new owner with each request. A header of that name from outside is dropped.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        known = cookie_parser("; ".join(Headers(scope=scope).getlist("cookie"))).get(COOKIE, "")
        owner = known if _OWNER_ID.fullmatch(known) else secrets.token_hex(16)
        headers = [(name, value) for name, value in scope["headers"] if name.lower() != HEADER.encode()]
        scope = dict(scope, headers=[*headers, (HEADER.encode(), owner.encode())])

        async def send_with_cookie(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                secure = "; Secure" if scope["scheme"] in ("https", "wss") else ""
                cookie = f"{COOKIE}={owner}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax{secure}"
                MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        await self.app(scope, receive, send if owner == known else send_with_cookie)
