"""Whose request it is: a visitor's random id, passed on as a request header.

Owns the cookie and the header; knows nothing of jobs or pictures. Whoever has entered (`studio.web.login`) is the
visitor of their session, the owner the same one on every browser; anybody else is their browser's cookie. Not Gradio's
session hash (guessable, new after a reload) and not the address (everybody behind a tunnel has the same one).
"""

from __future__ import annotations

import secrets
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.web.cookies import cookie_setting
from studio.web.guest_view import ANSWERED
from studio.web.limits import NewVisitors
from studio.web.visitor_cookie import VisitorCookie

COOKIE = "studio_owner"
HEADER = "x-studio-owner"
PERSON_HEADER = "x-studio-person"  # set by the login for the visitor of a session
NO_COOKIE_HEADER = "x-studio-no-cookie"  # set for a client that is a new visitor with each request
COOKIE_SECONDS = 365 * 24 * 3600

_OURS = (HEADER.encode(), NO_COOKIE_HEADER.encode())


class Owner:
    """Gives every request the header `x-studio-owner`, and every browser the cookie that keeps it the same.

    A client that keeps no cookie is a new owner with each request; at addresses that begin as one of `together`, all of
    them are one, since such a client asks there for what another of its requests began. Headers of these names from
    outside are dropped.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        new_visitors: NewVisitors | None = None,
        together: Collection[str] = (),
        cookie: VisitorCookie | None = None,
    ) -> None:
        """`new_visitors` learns who came without a cookie. `cookie`: what the cookie's value says."""
        self.app = app
        self.new_visitors = new_visitors
        self._cookie = cookie or VisitorCookie()
        self._together = tuple(together)
        self._all = secrets.token_hex(16)  # who they are there

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        arriving = Headers(scope=scope)
        value = cookie_parser("; ".join(arriving.getlist("cookie"))).get(COOKIE, "")
        known_id = arriving.get(PERSON_HEADER) or self._cookie.person(value)
        visitor_id = known_id or secrets.token_hex(16)
        owner = self._all if not known_id and scope["path"].startswith(self._together) else visitor_id
        if self.new_visitors is not None:
            self.new_visitors.record(owner, with_cookie=bool(known_id))
        marks = [(HEADER.encode(), owner.encode())]
        marks += [] if known_id else [(NO_COOKIE_HEADER.encode(), b"1")]
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _OURS]
        scope = dict(scope, headers=[*headers, *marks])
        ANSWERED.set(owner)

        async def send_with_cookie(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                setting = cookie_setting(scope, COOKIE, self._cookie.value(visitor_id), COOKIE_SECONDS)
                MutableHeaders(scope=message).append("set-cookie", setting)
            await send(message)

        await self.app(scope, receive, send if known_id else send_with_cookie)
