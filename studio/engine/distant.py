"""Watching a job that another server on the same outputs folder has: that it waits, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from studio.answered.engine import Events
from studio.answered.events import ENDS, AnyEvent

LOOK_SECONDS = 1.0  # between two reads of the jobs file


class DistantEvents:
    """Reads what is known of such a job now, then how it ended. Where this server has taken it over meanwhile, its
    events are read here."""

    def __init__(
        self,
        now: Sequence[AnyEvent],
        last_events: Callable[[], Sequence[AnyEvent] | None],
        here: Callable[[], Events | None],
    ) -> None:
        """`last_events`: how it ended, once it is over; None before that. Raises UnknownJob where it is gone. `here`:
        its events where it is this server's."""
        self._next = list(now)
        self._last_events = last_events
        self._here = here
        self._events: Events | None = None
        self._over = False

    def __aiter__(self) -> DistantEvents:
        return self

    async def __anext__(self) -> AnyEvent:
        while not self._over:
            if self._events is not None:
                return await self._events.__anext__()
            if self._next:
                event = self._next.pop(0)
                self._over = isinstance(event, ENDS)
                return event
            self._events = self._here()
            if self._events is None:
                events = await asyncio.to_thread(self._last_events)
                self._next = list(events or ())
                if not self._next:
                    await asyncio.sleep(LOOK_SECONDS)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop watching; the job goes on."""
        self._over = True
        if self._events is not None:
            await self._events.aclose()
