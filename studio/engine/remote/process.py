"""A child process and the pipes to it: frames out from any thread, frames in on a thread of its own."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from functools import partial
from pathlib import Path
from typing import Any

from studio.answered.codec import BadMessage
from studio.answered.engine import UnknownJob
from studio.answered.events import AnyEvent
from studio.asked.messages import Message
from studio.engine.mailbox import Mailbox, Watcher
from studio.engine.remote.frames import read_frame, to_frame, write_frame

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[3]


class Subscription:
    """The events of one job for one owner, from one child, for any number of watchers on this side."""

    def __init__(self, clock: Callable[[], float], number: int) -> None:
        self.mailbox = Mailbox(clock)
        self.number = number
        self.opening: Future[None] = Future()  # raises UnknownJob


class ChildProcess:
    """One child, from its start to its end. `on_message` is called with each "now" message, `on_end` once when it has
    ended, both on the thread that reads."""

    def __init__(
        self,
        settings: dict[str, Any],
        *,
        clock: Callable[[], float],
        on_message: Callable[[ChildProcess, tuple[Any, ...]], None],
        on_end: Callable[[ChildProcess], None],
    ) -> None:
        command = [sys.executable, "-m", "studio.engine.remote.child"]
        folder = {"TMPDIR": tempfile.gettempdir()}  # that of the studio, which is swept
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | folder
        )
        self._clock, self._on_message, self._on_end = clock, on_message, on_end
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # of the next three
        self._pending: dict[int, Future[Any]] = {}
        self.subscriptions: dict[tuple[str, str], Subscription] = {}
        self._has_ended = False
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.send("settings", settings)
        threading.Thread(target=self._write, name="engine-commands", daemon=True).start()
        threading.Thread(target=self._read, name="engine-answers", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id, for tests and the log."""
        return self._process.pid

    def send(self, *message: Any) -> None:
        """Put a message into the queue; nothing happens when the child has ended. Raises BadMessage."""
        self._out.put(to_frame(message))

    def call(self, method: str, *arguments: Any, **keywords: Any) -> Future[Any]:
        """Ask the engine; the future has its answer or its error. It raises ChildGone when the child ends before."""
        future: Future[Any] = Future()
        number = next(self._numbers)
        frame = to_frame(("call", number, method, arguments, keywords))
        with self._lock:
            if self._has_ended:
                raise ChildEnded
            self._pending[number] = future
        self._out.put(frame)
        future.add_done_callback(lambda call_future: self.send("drop", number) if call_future.cancelled() else None)
        return future

    def watch(self, job_id: str, owner: str) -> tuple[Future[None], Watcher]:
        """A watcher of a job's events, which are asked for once however many watch, and what says whether there is such
        a job: the future raises UnknownJob or ChildGone. Raises ChildGone."""
        with self._lock:
            if self._has_ended:
                raise ChildEnded
            subscription = self.subscriptions.get((job_id, owner))
            if subscription is not None:
                return subscription.opening, Watcher(subscription.mailbox)
            new_subscription = Subscription(self._clock, next(self._numbers))
            self._pending[new_subscription.number] = new_subscription.opening
            self.subscriptions[job_id, owner] = new_subscription
            watcher = Watcher(new_subscription.mailbox)
        self.send("watch", new_subscription.number, job_id, owner)
        return new_subscription.opening, watcher

    def take_over(
        self, subscriptions: Mapping[tuple[str, str], Subscription], on_loss: Callable[[str], AnyEvent]
    ) -> None:
        """Go on with the subscriptions of a child that has ended. `on_loss`: the end of a job that this one does
        not know."""
        for (job_id, owner), subscription in subscriptions.items():
            answer: Future[None] = Future()
            with self._lock:
                subscription.number = next(self._numbers)
                self._pending[subscription.number] = answer
                self.subscriptions[job_id, owner] = subscription
            answer.add_done_callback(partial(_end_if_unknown, subscription, job_id, on_loss))
            self.send("watch", subscription.number, job_id, owner)

    def unsubscribe_idle(self) -> None:
        """Tell the engine that nobody watches what nobody watches, so that it may stop such a job in time."""
        with self._lock:
            idle = {key: one for key, one in self.subscriptions.items() if not one.mailbox.watcher_count()}
            for key in idle:
                del self.subscriptions[key]
        for one in idle.values():
            self.send("unwatch", one.number)

    def close(self, seconds: float) -> None:
        """Let the engine stop what runs and tell it, then end the process."""
        self.send("close")
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            logger.warning("The engine's process did not end in time and is killed")
            self._process.kill()
            self._process.wait(1)

    def why(self) -> str:
        """How the process ended, for the log and the visitor."""
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return Message("it did not answer")
        if code < 0 and os.name != "nt":
            if code == -9:
                return Message("signal {number}, perhaps for want of memory", number=9)
            return Message("signal {number}", number=-code)
        return Message("exit code {code}", code=code)

    def _write(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            while (frame := self._out.get()) is not None:
                write_frame(pipe, frame)
        with contextlib.suppress(OSError, ValueError):
            pipe.close()

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        try:
            while (message := read_frame(pipe)) is not None:
                self._take(message)
        except (OSError, ValueError, BadMessage):
            logger.exception("The engine's process sent something that is no message")
            self._process.kill()
        self._out.put(None)
        with self._lock:
            self._has_ended = True
            pending, self._pending = list(self._pending.values()), {}
        self._on_end(self)
        for future in pending:
            settle(future, error=ChildEnded())

    def _take(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("returned", number, value):
                settle(self._pop(number), value=value)
            case ("raised", number, error):
                settle(self._pop(number), error=error)
            case ("event", number, event):
                self._deliver(number, event)
            case ("now", *_):
                self._on_message(self, message)

    def _pop(self, number: int) -> Future[Any] | None:
        with self._lock:
            return self._pending.pop(number, None)

    def _deliver(self, number: int, event: AnyEvent) -> None:
        with self._lock:
            subscription = next((one for one in self.subscriptions.values() if one.number == number), None)
        if subscription is not None:
            subscription.mailbox.put(event)


def _end_if_unknown(
    subscription: Subscription, job_id: str, on_loss: Callable[[str], AnyEvent], answer: Future[None]
) -> None:
    if isinstance(answer.exception(), UnknownJob):
        subscription.mailbox.put(on_loss(job_id))


class ChildEnded(Exception):
    """The child process has ended before it answered."""


def settle(future: Future[Any] | None, *, value: Any = None, error: Exception | None = None) -> None:
    """Give a future its end, if somebody still waits for it."""
    if future is None:
        return
    with contextlib.suppress(InvalidStateError):
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)
