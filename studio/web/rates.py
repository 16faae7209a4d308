"""How fast calls may come: each guest has a pace of their own, and all clients without a cookie share one.

Gradio takes a call into its queue before anything else looks at it, and a full queue refuses everybody.
"""

from __future__ import annotations

import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.errors import ApiError, in_detail
from studio.ui.text import say, spoken_text
from studio.web.limits import NO_COOKIE
from studio.web.login import GUEST_HEADER, PROGRAM_PATHS
from studio.web.owner import HEADER, NO_COOKIE_HEADER

_CALL = re.compile(r"/gradio_api/(call(/v2)?/[^/]+|run/[^/]+|api/[^/]+|queue/join)/?")
_PICTURES = ("/ask/control-map", "/ask/picture-settings", "/ask/upscale")  # decode what they are sent
BURST, PER_SECOND = 120.0, 10.0  # of one guest; a page sends two or three calls for each click
SHARED_BURST, SHARED_PER_SECOND = 200.0, 20.0  # of all clients without a cookie
_UPSCALING = ("/ask/upscale", "/api/v1/upscale")
UPSCALE_BURST, UPSCALES_PER_SECOND = 24.0, 0.5  # of one guest: each may be a file of 12 MB more on the disk
MAX_BUCKETS = 10_000


class Rates:
    """ASGI middleware: a call that comes too soon gets a 429, a sentence and `Retry-After`."""

    def __init__(self, app: ASGIApp, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_call(scope["method"], scope["path"]):
            headers = Headers(scope=scope)
            wait, key = 0, ""
            if NO_COOKIE_HEADER in headers:
                wait, key = self._wait(NO_COOKIE, SHARED_BURST, SHARED_PER_SECOND), "share.busy"
            elif GUEST_HEADER in headers:
                wait, key = self._wait(headers[HEADER], BURST, PER_SECOND), "share.too_fast"
            if not wait and GUEST_HEADER in headers and scope["path"] in _UPSCALING:
                person = f"upscale {headers[HEADER]}"
                wait, key = self._wait(person, UPSCALE_BURST, UPSCALES_PER_SECOND), "share.too_fast"
            if wait:
                answer = JSONResponse(
                    in_detail(ApiError("limit", say(key, seconds=wait), retry_after=wait), spoken_text),
                    status_code=429,
                    headers={"retry-after": str(wait), "cache-control": "no-store"},
                )
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _wait(self, who: str, burst: float, per_second: float) -> int:
        """Takes one call of somebody's store. Seconds to wait where it is empty, else 0."""
        now = self._clock()
        tokens, since = self._buckets.pop(who, (burst, now))
        tokens = min(burst, tokens + (now - since) * per_second)
        enough = tokens >= 1
        self._buckets[who] = (tokens - enough, now)
        while len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return 0 if enough else max(1, math.ceil((1 - tokens) / per_second))


def _is_call(method: str, path: str) -> bool:
    if path.startswith(PROGRAM_PATHS):
        return True
    return method == "POST" and (path in _PICTURES or _CALL.fullmatch(path) is not None)
