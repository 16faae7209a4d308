"""The newest events of a job, one slot for each kind, and those who read them.

A slow reader skips frames and never slows whoever publishes; a late one gets the state so far from the same slots.
Watching takes no thread. Safe from any thread; a watcher may be read on any event loop.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable

from studio.answered.events import ENDS, TERMINAL, AnyEvent, CellEvent, Loading, Queued, Started, Step


class Mailbox:
    """One slot for each kind of event, for each image of `Step`, and for each cell of a comparison."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: dict[object, tuple[int, AnyEvent]] = {}
        self._sequence = 0
        self._watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()
        self._last_watch = clock()

    def put(self, event: AnyEvent) -> None:
        """Put an event into its slot, drop what it makes old news, and wake the watchers."""
        with self._lock:
            for slot in _old_news(event):
                self._slots.pop(slot, None)
            self._sequence += 1
            self._slots[_slot(event)] = self._sequence, event
            watchers = tuple(self._watchers)
        for watcher in watchers:
            watcher.wake()

    def exchange(self, event: AnyEvent) -> None:
        """Put an event in the place of the one of its kind, for those who come late: it is no news."""
        with self._lock:
            number, _ = self._slots[_slot(event)]
            self._slots[_slot(event)] = number, event

    def get(self, kind: type) -> AnyEvent | None:
        """The event in the slot of a kind."""
        entry = self._slots.get(kind)
        return entry[1] if entry is not None else None

    def events(self) -> tuple[AnyEvent, ...]:
        """Everything in its slots, in the order in which it was published."""
        with self._lock:
            return tuple(event for _, event in sorted(self._slots.values(), key=lambda entry: entry[0]))

    def after(self, number: int) -> tuple[int, AnyEvent] | None:
        """The oldest event still in its slot that is newer than `number`, with its number; None when there is none."""
        with self._lock:
            newer = [entry for entry in self._slots.values() if entry[0] > number]
        return min(newer, key=lambda entry: entry[0]) if newer else None

    def unwatched_for(self) -> float:
        """Seconds since somebody last waited for these events; 0 while somebody does."""
        with self._lock:
            if any(w.is_waiting() for w in self._watchers):
                return 0.0
            return self._clock() - self._last_watch

    def enter(self, watcher: Watcher) -> None:
        """Count a watcher in."""
        with self._lock:
            self._watchers.add(watcher)
            self._last_watch = self._clock()

    def leave(self, watcher: Watcher) -> None:
        """Count a watcher out; one that was merely forgotten leaves when it is collected."""
        with self._lock:
            self._watchers.discard(watcher)

    def watcher_count(self) -> int:
        return len(self._watchers)


def _old_news(event: AnyEvent) -> tuple[object, ...]:
    """The slots whose events were true only before this one."""
    if isinstance(event, (Started, *ENDS)):
        return Queued, Loading
    if isinstance(event, CellEvent):
        if isinstance(event.event, TERMINAL):
            return (Started, event.cell), (Step, event.cell)
        return (Queued, Loading) if isinstance(event.event, Started) else (Queued,)
    return ()


def _slot(event: AnyEvent) -> object:
    if isinstance(event, CellEvent):
        return type(event.event), event.cell
    return (Step, event.image) if isinstance(event, Step) else type(event)


class Watcher(AsyncIterator[AnyEvent]):
    """Reads a mailbox, each slot's newest, in the order they were published, ending after the terminal one.

    Holds nothing but its place, so a watcher that is dropped without a goodbye costs nothing.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._last_number = 0
        self._over = False
        self._lock = threading.Lock()
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        mailbox.enter(self)

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> AnyEvent:
        while not self._over:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            with self._lock:
                self._waiting = (loop, future)  # before looking, so that no event falls between look and wait
            numbered_event = self._mailbox.after(self._last_number)
            if numbered_event is None:
                self._mailbox.enter(self)
                await future
                continue
            with self._lock:
                self._waiting = None
            self._last_number, event = numbered_event
            if isinstance(event, ENDS):
                await self.aclose()
            return event
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop watching; the job goes on."""
        self._over = True
        self._mailbox.leave(self)

    def is_waiting(self) -> bool:
        """Whether somebody really waits: a watcher left over on a loop that is gone does not count."""
        waiting = self._waiting
        return waiting is not None and not waiting[0].is_closed() and not waiting[1].cancelled()

    def wake(self) -> None:
        """Called from the engine's thread when there is something to see."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        loop, future = waiting
        try:
            loop.call_soon_threadsafe(_resolve, future)
        except RuntimeError:  # that loop is closed: nobody is there to be told
            self._mailbox.leave(self)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
