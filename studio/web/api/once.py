"""A request that is sent twice under one key is done once: for programs that repeat what they got no answer to."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from studio.asked.problems import InvalidRequest, Problem, quoted_value

HEADER = "idempotency-key"
MAX_KEYS = 1000

_KEY = re.compile(r"[\x21-\x7e]{1,200}")


class Once:
    """The answers of the newest keys, each its visitor's own. For one event loop."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[tuple[str, str], tuple[str, asyncio.Task[str]]] = OrderedDict()

    async def run(self, owner: str, key: str | None, digest: str, make: Callable[[], Awaitable[str]]) -> str:
        """What `make` returns, or what it returned for the same key before; one that raised is done again. `digest`:
        of all that is asked. Raises InvalidRequest for a key of another request."""
        if key is None:
            return await make()
        if not _KEY.fullmatch(key):
            raise InvalidRequest(Problem("Idempotency-Key", quoted_value(key), "1 to 200 visible ASCII characters"))
        there = self._tasks.get((owner, key))
        if there is not None and there[0] != digest:
            expectation = "a key that was not sent with another request"
            raise InvalidRequest(Problem("Idempotency-Key", quoted_value(key), expectation))
        if there is None:
            there = digest, asyncio.ensure_future(self._make(owner, key, make))
            self._tasks[owner, key] = there
            while len(self._tasks) > MAX_KEYS:
                self._tasks.popitem(last=False)
        return await asyncio.shield(there[1])  # whoever leaves does not undo what was begun

    async def _make(self, owner: str, key: str, make: Callable[[], Awaitable[str]]) -> str:
        try:
            return await make()
        except BaseException:
            self._tasks.pop((owner, key), None)
            raise
