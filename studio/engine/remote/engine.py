"""The engine in a child process, as the page holds it: a mirror that events keep up to date, and calls that cross.

The child saves pictures into the same outputs folder as the page's gallery reads, so a picture crosses as its id and
never as a path. A child that ends unexpectedly ends its jobs with a sentence, and a new one is started; how its other
jobs ended is known here.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from studio.answered.codec import encode
from studio.answered.engine import EngineStatus, Events, Refused, UnknownJob
from studio.answered.events import AnyEvent, ComparisonEnded, Failed, JobSummary, Planned, Stopped
from studio.answered.ids import HERE
from studio.answered.models import Checkpoint
from studio.asked import orders
from studio.asked.messages import Message
from studio.checkpoints.options import ModelOptions
from studio.engine.jobs import Limits
from studio.engine.mailbox import Watcher
from studio.engine.remote.past_jobs import EndedJob, PastJobs
from studio.engine.remote.process import ChildEnded, ChildProcess

logger = logging.getLogger(__name__)

FIRST_SECONDS = 60.0  # a child may take this long until it says what models there are
CLOSE_SECONDS = 2.8
MAX_RESTARTS = 3  # within RESTART_SECONDS; then somebody has to look
RESTART_SECONDS = 300.0
ASK_AGAIN = Message("The engine's process has ended unexpectedly and is started anew. Try again in a moment.")
CLOSING = Message("The studio is closing.")


@dataclass(frozen=True)
class PendingJob:
    """A job that the child has taken, for when it is lost with it."""

    owner: str
    summary: JobSummary
    start_time: float


class RemoteEngine:
    """Implements `studio.answered.engine.Engine`."""

    def __init__(
        self,
        models_dirs: Sequence[Path],
        outputs_dir: Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        exact: bool = False,
        preload: str | None = None,
        limits: Limits | None = None,
        options: ModelOptions | None = None,
        name: str = HERE,
        jobs_file: bool = False,
    ) -> None:
        """Starts the child, which lists the models; `start` lets it load and work. `outputs_dir` is the gallery's. With
        `jobs_file` jobs outlive the child, and the studio."""
        self._name = name
        self._settings = {
            "models_dirs": [str(Path(folder).resolve()) for folder in models_dirs],
            "outputs_dir": str(Path(outputs_dir).resolve()),
            "device": device,
            "dtype": dtype,
            "exact": exact,
            "preload": preload,
            "limits": asdict(limits or Limits()),
            "options": asdict(options or ModelOptions()),
            "name": name,
            "studio": secrets.token_hex(8),  # the same for every child of this studio
            "jobs_file": jobs_file,
        }
        self._lock = threading.Lock()
        self._status = EngineStatus(state="starting", message=Message("Starting the engine's process"))
        self._catalog: tuple[Checkpoint, ...] = ()
        self._first = threading.Event()  # the mirror has been filled
        self._jobs: dict[str, PendingJob] = {}  # that wait or run
        self._past = PastJobs(limits or Limits(), time.monotonic)
        self._restarts: list[float] = []
        self._jobs_file = jobs_file
        self._has_started = self._closing = False
        self._child: ChildProcess | None = self._spawn()

    @property
    def id(self) -> str:
        """See `Engine.id`."""
        return self._name

    def start(self) -> None:
        """See `Engine.start`."""
        self._has_started = True
        if self._child is not None:
            self._child.send("start")

    def close(self) -> None:
        """See `Engine.close`."""
        self._closing = True
        if self._child is not None:
            self._child.close(CLOSE_SECONDS)

    def status(self) -> EngineStatus:
        """See `Engine.status`."""
        self._first.wait(FIRST_SECONDS)
        return self._status

    def catalog(self) -> tuple[Checkpoint, ...]:
        """See `Engine.catalog`."""
        self._first.wait(FIRST_SECONDS)
        return self._catalog

    async def submit(self, job: orders.Submission, *, owner: str, origin: str = "api") -> str:
        """See `Engine.submit`."""
        job_id: str = await self._call("submit", job, owner=owner, origin=origin)
        if isinstance(job, (orders.SubmitRun, orders.SubmitComparison)):
            comparison = job.comparison.without_pictures() if isinstance(job, orders.SubmitComparison) else None
            request = job.request.without_pictures() if isinstance(job, orders.SubmitRun) else job.comparison.base
            summary = JobSummary(
                job_id=job_id, request=request.without_pictures(), state="queued", origin=origin, comparison=comparison
            )
            with self._lock:
                self._jobs[job_id] = PendingJob(owner, summary, time.monotonic())
        return job_id

    def watch(self, job_id: str, *, owner: str) -> Events:
        """See `Engine.watch`."""
        past = self._past.watch(job_id, owner)
        if past is not None:
            return past
        try:
            child = self._there()
            confirmation, watcher = child.watch(job_id, owner)
        except (ChildEnded, Refused) as error:
            raise UnknownJob(Message("This job does not exist any more.")) from error
        return _Opening(confirmation, watcher)

    async def cancel(self, job_id: str, *, owner: str) -> bool:
        """See `Engine.cancel`."""
        if self._past.get(job_id, owner) is not None:
            return False
        return bool(await self._call("cancel", job_id, owner=owner))

    async def prioritize(self, job_id: str, cell: int, *, owner: str) -> bool:
        """See `Engine.prioritize`."""
        if self._past.get(job_id, owner) is not None:
            return False
        return bool(await self._call("prioritize", job_id, cell, owner=owner))

    async def jobs(self, *, owner: str) -> tuple[JobSummary, ...]:
        """See `Engine.jobs`. Those of a child that has ended stand last."""
        try:
            there: tuple[JobSummary, ...] = await self._call("jobs", owner=owner)
        except Refused:
            there = ()
        ids = {job.job_id for job in there}
        return (*there, *(job for job in self._past.of(owner) if job.job_id not in ids))

    async def record(self, job_id: str, part: orders.RecordPart = orders.WHOLE_RECORD, *, owner: str) -> bytes:
        """See `Engine.record`."""
        recording: bytes = await self._call("record", job_id, part, owner=owner)
        return recording

    async def ask(self, question: Any, *, owner: str = "") -> Any:
        """See `Engine.ask`."""
        return await self._call("ask", question, owner=owner)

    async def order(self, order: orders.ModelOrder) -> None:
        """See `Engine.order`."""
        await self._call("order", order)

    def visitor(self, owner: str, *, here: bool) -> None:
        """See `Engine.visitor`."""
        if self._child is not None:
            self._child.send("visitor", owner, here)

    # ------------------------------------------------------------------------------------------------ inside

    def _spawn(self) -> ChildProcess:
        child = ChildProcess(
            self._settings, clock=time.monotonic, on_message=self._take_message, on_end=self._replace_child
        )
        if self._has_started:
            child.send("start")
        return child

    def _there(self) -> ChildProcess:
        """The child. Raises Refused when there is none."""
        if self._closing:
            raise Refused(CLOSING, kind="unavailable")
        if self._child is None:
            raise Refused(self._status.message, kind="unavailable")
        return self._child

    async def _call(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        try:
            return await asyncio.wrap_future(self._there().call(method, *arguments, **keywords))
        except ChildEnded:
            raise Refused(CLOSING if self._closing else ASK_AGAIN, kind="unavailable") from None

    def _take_message(self, child: ChildProcess, message: tuple[Any, ...]) -> None:
        """What the child says of itself, in the order in which it answers."""
        _, status, catalog, active, ended_jobs = message
        for owner, summary, events in ended_jobs:
            self._past.add(EndedJob(owner, summary, events))
        with self._lock:
            self._status = status
            self._catalog = self._catalog if catalog is None else catalog
            self._jobs = {job_id: job for job_id, job in self._jobs.items() if job_id in active}
        if self._catalog or catalog is not None:
            self._first.set()
        child.unsubscribe_idle()

    def _replace_child(self, child: ChildProcess) -> None:
        """The child has ended: nobody who watches is left waiting, and a new one is started."""
        self._first.set()
        if self._closing:
            self._end(child, Message("Stopped: the studio is closing."), "")
            return
        why, error_id = child.why(), secrets.token_hex(4)
        now = time.monotonic()
        self._restarts = [at for at in self._restarts if now - at < RESTART_SECONDS] + [now]
        again = len(self._restarts) <= MAX_RESTARTS
        logger.error("The engine's process has ended (%s); error %s", why, error_id)
        next_step = (
            Message("It is started anew: ask again.")
            if again
            else Message("It ended too often: start the studio anew.")
        )
        message = Message(
            "The engine's process has ended unexpectedly ({why}), and this run with it. {next_step}",
            why=why,
            next_step=next_step,
        )
        state = "starting" if again else "failed"
        reason = Message(
            "The engine's process has ended unexpectedly ({why}). {next_step}", why=why, next_step=next_step
        )
        self._status = replace(self._status, state=state, message=reason, checkpoint=None, running=0, queued=0)  # type: ignore[arg-type]
        self._child = self._spawn() if again else None
        if self._child is not None and self._jobs_file:
            self._go_on(child, self._child, message, error_id)
        else:
            self._end(child, message, error_id)

    def _go_on(self, child: ChildProcess, new: ChildProcess, message: str, error_id: str) -> None:
        """What waits goes on in the new child, which has it from the jobs file; what it does not know is over."""
        with self._lock:
            jobs, self._jobs = self._jobs, {}

        def end(job_id: str) -> AnyEvent:
            if job_id in jobs:
                return _ends(job_id, jobs[job_id], message, error_id)[-1]
            return Failed(job_id=job_id, kind="internal", message=message, error_id=error_id)

        new.take_over(child.subscriptions, end)
        self._past.end_child()

        def look() -> None:
            for owner in {job.owner for job in jobs.values()}:
                try:
                    states = {one.job_id: one.state for one in new.call("jobs", owner=owner).result(FIRST_SECONDS)}
                except (ChildEnded, TimeoutError):
                    states = {}
                for job_id, job in [(job_id, job) for job_id, job in jobs.items() if job.owner == owner]:
                    if job_id not in states:
                        self._remember_loss(job_id, job, message, error_id)
                    elif states[job_id] in ("queued", "running"):
                        with self._lock:
                            self._jobs[job_id] = job
            self._past.end_child()

        threading.Thread(target=look, name="lost-jobs", daemon=True).start()

    def _remember_loss(self, job_id: str, job: PendingJob, message: str, error_id: str) -> None:
        state = "failed" if job.summary.comparison is None else "stopped"
        summary = replace(job.summary, state=state)  # type: ignore[arg-type]
        self._past.add(EndedJob(job.owner, summary, encode(_ends(job_id, job, message, error_id))))

    def _end(self, child: ChildProcess, message: str, error_id: str) -> None:
        """Every job that the child has not ended is over."""
        with self._lock:
            jobs, self._jobs = self._jobs, {}
        ends = {job_id: _ends(job_id, job, message, error_id) for job_id, job in jobs.items()}
        if not self._closing:
            for job_id, job in jobs.items():
                self._remember_loss(job_id, job, message, error_id)
            self._past.end_child()
        for (job_id, _), subscription in child.subscriptions.items():
            if self._closing:
                end: AnyEvent = Stopped(job_id=job_id, pictures=(), last=(), index=0, total=0, reason=message)
            elif job_id in ends:
                end = ends[job_id][-1]
            else:
                end = Failed(job_id=job_id, kind="internal", message=message, error_id=error_id)
            subscription.mailbox.put(end)


def _ends(job_id: str, job: PendingJob, message: str, error_id: str) -> tuple[AnyEvent, ...]:
    """What a watcher of a lost job hears: what it was, if it was a comparison, and its end."""
    if job.summary.comparison is None:
        return (Failed(job_id=job_id, kind="internal", message=message, error_id=error_id),)
    seconds = time.monotonic() - job.start_time
    return (
        Planned(job_id=job_id, comparison=job.summary.comparison),
        ComparisonEnded(
            job_id=job_id, state="stopped", reason=message, finished_cells=0, failed_cells=0, seconds=seconds
        ),
    )


class _Opening:
    """A watcher that first hears whether there is such a job."""

    def __init__(self, confirmation: Any, watcher: Watcher) -> None:
        self._confirmation = confirmation
        self._watcher = watcher

    def __aiter__(self) -> _Opening:
        return self

    async def __anext__(self) -> AnyEvent:
        if self._confirmation is not None:
            try:
                await asyncio.shield(asyncio.wrap_future(self._confirmation))
            except ChildEnded:
                pass  # the mailbox has the end
            except UnknownJob:
                await self.aclose()
                raise
            self._confirmation = None
        return await self._watcher.__anext__()

    async def aclose(self) -> None:
        """Stop watching; the job goes on."""
        await self._watcher.aclose()
