"""The events of a job as a stream (SSE): each connection begins with what is so far, and ends with the job."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from studio.answered.engine import Engine, Events, Refused
from studio.answered.events import ENDS, AnyEvent
from studio.ui.text import spoken_text
from studio.web.api.event_forms import event_form

KEEPALIVE_SECONDS = 15.0  # between two lines, so that a listener that has vanished is noticed
STREAMS_OF_ONE = 16  # open at once, of one visitor
END = "end"  # the id of the last event: whoever comes back with it is told that there is no more
SNAPSHOT_SECONDS = 0.25  # for what is so far to come from an engine elsewhere


class Streams:
    """Opens streams, and counts each visitor's. For one event loop."""

    def __init__(self, engine: Engine, keepalive: float = KEEPALIVE_SECONDS) -> None:
        self._engine = engine
        self._keepalive = keepalive
        self._open: Counter[str] = Counter()

    async def open(self, job_id: str, *, owner: str, previews: bool) -> StreamingResponse:
        """The stream of a job. A listener that reads slowly gets fewer steps, one that vanishes is forgotten, and the
        job goes on. Raises UnknownJob, or Refused for one stream too many."""
        if self._open[owner] >= STREAMS_OF_ONE:
            sentence = f"You have {STREAMS_OF_ONE} streams of events open. Close one, then try again."
            raise Refused(sentence, kind="limit", retry_after=1)
        events = self._engine.watch(job_id, owner=owner)
        self._open[owner] += 1
        try:
            first = await anext(events)  # raises UnknownJob while there is still a status to be sent
        except BaseException:
            self._closed(owner)
            await events.aclose()
            raise
        return _Stream(self._lines(first, events, previews), lambda: self._closed(owner))

    def _closed(self, owner: str) -> None:
        self._open[owner] -= 1
        if not self._open[owner]:
            del self._open[owner]

    async def _lines(self, event: AnyEvent, events: Events, previews: bool) -> AsyncIterator[bytes]:
        coming: asyncio.Future[AnyEvent] | None = None
        number = 0
        try:
            yield b"retry: 2000\n\n"
            while True:
                yield _line(event, str(number), previews)
                number += 1
                if isinstance(event, ENDS):
                    return
                coming = asyncio.ensure_future(anext(events))
                while not (await asyncio.wait({coming}, timeout=self._keepalive))[0]:
                    yield b": the job goes on\n\n"
                event = coming.result()
        except StopAsyncIteration:  # the engine has let go of it
            return
        finally:
            if coming is not None:
                coming.cancel()
            await events.aclose()


class _Stream(StreamingResponse):
    """Says when it is over, however it ends."""

    def __init__(self, lines: AsyncIterator[bytes], closed: Callable[[], None]) -> None:
        super().__init__(lines, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._closed = closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._closed()


def _line(event: AnyEvent, number: str, previews: bool) -> bytes:
    form = event_form(event, previews=previews)
    name = form.__struct_config__.tag
    event_id = END if isinstance(event, ENDS) else number
    return f"id: {event_id}\nevent: {name}\ndata: ".encode() + msgspec.json.encode(form, enc_hook=spoken_text) + b"\n\n"


async def so_far(engine: Engine, job_id: str, *, owner: str) -> list[AnyEvent]:
    """What a new listener hears at once of a job. Raises UnknownJob."""
    snapshot: list[AnyEvent] = []
    try:
        async with asyncio.timeout(SNAPSHOT_SECONDS), aclosing(engine.watch(job_id, owner=owner)) as events:
            async for event in events:
                snapshot.append(event)
                if isinstance(event, ENDS):
                    break
    except TimeoutError:
        pass
    return snapshot
