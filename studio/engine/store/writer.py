"""The one thread that owns the jobs file: writes come by a queue, and what is there together is one transaction."""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from studio.asked.messages import Message

logger = logging.getLogger(__name__)

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], Any]

BATCH = 64  # writes of one transaction


class Writer:
    """Owns a connection from now on, and closes it. Safe from any thread."""

    def __init__(
        self, connection: sqlite3.Connection, beat: Write, seconds: float, after_beat: Callable[[], None]
    ) -> None:
        """`beat` is written every so many `seconds`; `after_beat` is then called on a thread of its own."""
        self._connection = connection
        self._beat = beat
        self._seconds = seconds
        self._after_beat = after_beat
        self._warnings: set[str] = set()
        self._writes: queue.SimpleQueue[tuple[Write, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="jobs-file", daemon=True)
        self._thread.start()

    def do(self, write: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Make a write in its turn. The future has what it returns, once that is in the file, or its error."""
        future: Future[Any] = Future()
        self._writes.put((write, future))
        return future

    def later(self, write: Write) -> None:
        """The same for a write that nobody waits for: the log hears of its error."""
        self.do(write).add_done_callback(self._look)

    def close(self, seconds: float) -> None:
        """Make what is in the queue, and close the file."""
        self._writes.put(None)
        self._thread.join(seconds)

    def report(self, error: Exception) -> str:
        """What is wrong with the file, for the page; the log hears of each kind once."""
        reason = Message("the disk does not answer") if isinstance(error, TimeoutError) else str(error)
        if reason not in self._warnings:
            self._warnings.add(reason)
            logger.warning("The jobs file of the outputs folder cannot be written: %s.", reason)
        return reason

    def _look(self, future: Future[Any]) -> None:
        error = future.exception()
        if isinstance(error, sqlite3.Error):
            self.report(error)
        elif error is not None:
            logger.error("A job could not be written down", exc_info=error)

    def _run(self) -> None:
        next_beat = time.monotonic() + self._seconds
        is_open = True
        while is_open:
            batch, is_open = self._gather(next_beat)
            if time.monotonic() >= next_beat and is_open:
                next_beat = time.monotonic() + self._seconds
                beat: Future[Any] = Future()
                beat.add_done_callback(self._look)
                batch.append((self._beat, beat))
                threading.Thread(target=self._after_beat, name="jobs-of-others", daemon=True).start()
            if batch and not self._together(batch):
                for one in batch:  # each for itself, so that one that does not fit costs nobody else
                    self._together([one], last=True)
        self._connection.close()

    def _gather(self, until: float) -> tuple[list[tuple[Write, Future[Any]]], bool]:
        """What is in the queue, waited for; and whether more may come."""
        batch: list[tuple[Write, Future[Any]]] = []
        with contextlib.suppress(queue.Empty):
            entry = self._writes.get(timeout=max(0.0, until - time.monotonic()))
            while entry is not None:
                batch.append(entry)
                if len(batch) >= BATCH:
                    return batch, True
                entry = self._writes.get_nowait()
            return batch, False
        return batch, True

    def _together(self, batch: list[tuple[Write, Future[Any]]], last: bool = False) -> bool:
        """Make these writes in one transaction. False, and nothing is changed, where one of them fails; whoever waits
        hears of it where it is the `last` try."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [write(self._connection) for write, _ in batch]
            self._connection.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            if last:
                for _, future in batch:
                    with contextlib.suppress(InvalidStateError):
                        future.set_exception(error)
            return False
        for (_, future), result in zip(batch, results):
            with contextlib.suppress(InvalidStateError):
                future.set_result(result)
        return True
