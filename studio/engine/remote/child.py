"""The child process: a `LocalEngine` that is asked by frames on stdin and answers by frames on stdout.

What it prints goes to stderr, so that nothing else gets between the frames. It ends when it is told to, or when the
other end of the pipe is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from studio.answered.codec import BadMessage, encode
from studio.answered.engine import Refused, UnknownJob
from studio.answered.events import JobSummary
from studio.answered.models import NoSuchModel
from studio.asked import orders
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest
from studio.checkpoints.options import ModelOptions
from studio.engine.engine import DiffusionEngine
from studio.engine.jobs import Limits
from studio.engine.local import LocalEngine
from studio.engine.remote.frames import read_frame, to_frame, write_frame
from studio.engine.store.store import JobStore
from studio.picture.gallery import Gallery

logger = logging.getLogger(__name__)

METHODS = frozenset({"submit", "cancel", "prioritize", "jobs", "record", "ask", "order"})
STATUS_SECONDS = 0.1  # between two looks at what the page has a mirror of
CATALOG_SECONDS = 2.0
PULSE_SECONDS = 5.0  # a message at least this often, so that the page's side looks who still watches
FLUSH_SECONDS = 0.3  # for the last events of jobs that the end has stopped


class Child:
    """Serves one engine to the other end of two pipes."""

    def __init__(self, engine: LocalEngine, commands: IO[bytes], answers: IO[bytes]) -> None:
        self._engine = engine
        self._commands, self._answers = commands, answers
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="answers")  # one, so that frames keep their order
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._open_jobs: dict[str, str] = {}  # jobs of which the page has not heard how they ended, with their owners
        self._change = asyncio.Event()  # something that lists models was asked or ordered
        self._over = asyncio.Event()

    async def serve(self) -> None:
        """Until it is told to close, or nobody is there any more."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, args=[loop], name="commands", daemon=True).start()
        telling = asyncio.create_task(self._tell())
        await self._over.wait()
        await asyncio.to_thread(self._engine.close)
        telling.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=FLUSH_SECONDS)
        self._writer.shutdown(wait=True, cancel_futures=False)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """On a thread of its own: the commands, one after the other."""
        try:
            while (message := read_frame(self._commands)) is not None:
                loop.call_soon_threadsafe(self._take, message)
        except (OSError, ValueError):
            logger.exception("The engine's process could not read what it was asked")
        loop.call_soon_threadsafe(self._over.set)

    def _take(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("call", number, method, arguments, named):
                self._begin(number, self._call(number, method, arguments, named))
            case ("watch", number, job_id, owner):
                self._begin(number, self._watch(number, job_id, owner))
            case ("drop" | "unwatch", number):
                if number in self._tasks:
                    self._tasks[number].cancel()
            case ("visitor", owner, here):
                self._engine.visitor(owner, here=here)
            case ("start",):
                self._engine.start()
            case ("close",):
                self._over.set()
            case _:
                logger.error("The engine's process was asked something unknown: %s", message[0])

    def _begin(self, number: int, work: Any) -> None:
        task = self._tasks[number] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _call(self, number: int, method: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        try:
            if method not in METHODS:
                raise TypeError(f"an engine has no {method}")
            value = await getattr(self._engine, method)(*arguments, **keywords)
        except Exception as error:
            await self._send("raised", number, visitors_error(error))
        else:
            if method == "submit" and not getattr(arguments[0], "ephemeral", False):
                self._open_jobs[value] = keywords["owner"]
            await self._send("returned", number, value)
        if method == "order" or any(isinstance(argument, orders.ModelList) for argument in arguments):
            self._change.set()

    async def _watch(self, number: int, job_id: str, owner: str) -> None:
        try:
            events = self._engine.watch(job_id, owner=owner)
        except UnknownJob as error:
            await self._send("raised", number, error)
            return
        await self._send("returned", number, None)
        try:
            async for event in events:
                await self._send("event", number, event)
        finally:
            await events.aclose()

    async def _tell(self) -> None:
        """Keep the page's mirror up to date."""
        status, catalog, active = None, None, None
        last_look = last_message = float("-inf")
        loop = asyncio.get_running_loop()
        while True:
            news = None
            if self._change.is_set() or loop.time() - last_look >= CATALOG_SECONDS:
                self._change.clear()
                last_look = loop.time()
                now = await asyncio.to_thread(self._engine.catalog)
                if now != catalog:
                    news = catalog = now
            now_status, now_active = self._engine.status(), self._engine.engine.active_jobs()
            ended_jobs = self._take_ended_jobs(now_active)
            has_news = news is not None or now_status != status or now_active != active or bool(ended_jobs)
            if has_news or loop.time() - last_message >= PULSE_SECONDS:
                status, active, last_message = now_status, now_active, loop.time()
                await self._send("now", status, news, active, ended_jobs)
            await asyncio.sleep(STATUS_SECONDS)

    def _take_ended_jobs(self, active: Sequence[str]) -> tuple[tuple[str, JobSummary, bytes], ...]:
        """The jobs that have ended since this was last asked, each with its owner and what a late watcher hears."""
        ended_jobs = []
        for job_id, owner in [entry for entry in self._open_jobs.items() if entry[0] not in active]:
            del self._open_jobs[job_id]
            with contextlib.suppress(UnknownJob):  # it has been forgotten meanwhile
                summary, events = self._engine.engine.job_so_far(job_id, owner=owner)
                ended_jobs.append((owner, summary, encode(events)))
        return tuple(ended_jobs)

    async def _send(self, *message: Any) -> None:
        try:
            frame = to_frame(message)
        except BadMessage as error:
            logger.exception("An answer could not be sent")
            frame = to_frame(("raised", message[1], visitors_error(error)))
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._writer, write_frame, self._answers, frame)
        except (OSError, ValueError, RuntimeError):  # nobody reads any more
            self._over.set()


def visitors_error(error: Exception) -> Exception:
    """What the page's side raises: what a visitor may be told, or an id that the log has too."""
    if isinstance(error, (InvalidRequest, Refused, UnknownJob, NoSuchModel)):
        return error
    error_id = secrets.token_hex(4)
    logger.error("A call of the engine failed (%s)", error_id, exc_info=error)
    sentence = Message("Something went wrong in the engine. The log has the cause under {error_id}.", error_id=error_id)
    return Refused(sentence, kind="internal")


def engine_of(settings: dict[str, Any]) -> LocalEngine:
    """The engine that the settings describe."""
    return LocalEngine(
        DiffusionEngine(
            models_dirs=[Path(folder) for folder in settings["models_dirs"]],
            gallery=Gallery(Path(settings["outputs_dir"])),
            device=settings["device"],
            dtype=settings["dtype"],
            exact=settings["exact"],
            preload=settings["preload"],
            limits=Limits(**settings["limits"]),
            options=ModelOptions(**settings["options"]),
            name=settings["name"],
            store=JobStore(Path(settings["outputs_dir"]), studio=settings["studio"]) if settings["jobs_file"] else None,
        )
    )


def main() -> None:
    """Read the settings, then serve. The parent ends this process: Ctrl+C is none of its business."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s engine: %(name)s: %(message)s")
    commands = sys.stdin.buffer
    settings = read_frame(commands)
    if settings is None:
        return

    async def serve() -> None:
        await Child(engine_of(settings[1]), commands, answers).serve()

    asyncio.run(serve())
    logging.shutdown()
    os._exit(0)  # torch's threads and a read of stdin would hold it


if __name__ == "__main__":
    main()
