"""A call whose work takes long and ends when whoever asked for it has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

T = TypeVar("T")


async def unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of the work; None where the caller left before, which cancels it. The request's body has been read.
    Raises what the work does."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(wait_for_departure(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        leaving.cancel()
        working.cancel()


async def wait_for_departure(request: Request) -> None:
    """Returns when the caller has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
