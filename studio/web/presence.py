"""Who has the page open: counts each visitor's connections, one of which Gradio keeps for each open page.

Not Gradio's `unload` event: it comes for each tab and each reload, and knows a session where we know an owner.
"""

from __future__ import annotations

import re
from collections import Counter

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.engine import Engine
from studio.web.arrivals import Keeper
from studio.web.owner import HEADER

_HEARTBEAT = re.compile(r"/gradio_api/heartbeat/[^/]+/?")


class Presence:
    """ASGI middleware: tells the engine and the uploads when a visitor opens a first page and when they close the last
    one."""

    def __init__(self, app: ASGIApp, *, engine: Engine, keeper: Keeper | None = None) -> None:
        self.app = app
        self.engine = engine
        self.keeper = keeper
        self._open: Counter[str] = Counter()  # pages by owner; touched by the event loop alone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _HEARTBEAT.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        owner = Headers(scope=scope)[HEADER]
        self._open[owner] += 1
        if self._open[owner] == 1:
            self._tell(owner, here=True)
        try:
            await self.app(scope, receive, send)
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]
                self._tell(owner, here=False)

    def _tell(self, owner: str, *, here: bool) -> None:
        self.engine.visitor(owner, here=here)
        if self.keeper is not None:
            self.keeper.visitor(owner, here=here)
