"""A job outlives the tab that asked for it: its record, its mailboxes, its watchers, and the book of all jobs.

Plain Python, safe from any thread; knows no torch, no page and no model. The engine publishes events into a job, any
number of watchers on any event loops read them. A job keeps one slot per kind of event and one per image for `Step`. So
a slow watcher skips frames and never slows the engine. A late one gets the state so far from the same slots.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from studio.answered.engine import Refused, UnknownJob, WorkNow
from studio.answered.events import (
    ENDS,
    AnyEvent,
    ComparisonEnded,
    Failed,
    Finished,
    JobSummary,
    Queued,
    Started,
    Stopped,
)
from studio.answered.ids import HERE, new_id
from studio.asked.branch import BranchNode
from studio.asked.guest_rules import NO_RULES, Rules
from studio.asked.messages import Message
from studio.asked.orders import Allowance
from studio.asked.requests import Request
from studio.engine.allowances import RETRY_SECONDS, Allowances, Entry, Load, load_of
from studio.engine.forks import Fork
from studio.engine.job_loads import job_load
from studio.engine.mailbox import Mailbox
from studio.picture.control_maps import ControlPicture
from studio.picture.framing import Start

JobState = Literal["queued", "running", "interrupted", "finished", "stopped", "failed"]

_STATES: dict[type, JobState] = {Finished: "finished", Stopped: "stopped", Failed: "failed"}


class Witness(Protocol):
    """Hears that a job begins and what becomes of it (`studio.engine.history`)."""

    def begin(self, job: Job) -> None: ...

    def hear(self, job: Job, event: AnyEvent) -> None: ...


class Job:
    """One request on its way, and what is known of it. Made by `JobBook.add`, ended by exactly one terminal event."""

    def __init__(
        self,
        request: Request,
        *,
        owner: str,
        origin: str,
        clock: Callable[[], float],
        engine: str = HERE,
        start: Start | None = None,
        attention: bool = False,
        fork: Fork | None = None,
        controls: Sequence[ControlPicture] = (),
        ephemeral: bool = False,
        live: bool = False,
        job_id: str | None = None,
    ) -> None:
        """`job_id`: the id that it has already, where it comes from an earlier start of the studio."""
        self.id = job_id or new_id(engine)
        self.request: Request = request
        self.owner = owner
        self.origin = origin
        self.ephemeral = ephemeral  # nobody can come back to it: nothing is recorded, and it is forgotten soon
        self.live = live  # it follows typing or sliders: its pictures are saved at a pause
        self.attention = attention  # whether its recording says where the U-Net looks
        self.fork = fork  # where it leaves another run, for a branch; dropped at the end
        self.node = fork.node() if fork is not None else None  # the same in words, which stays
        self.start = start  # what a run from a picture begins with, decoded; dropped at the end, as the file is
        self.controls = tuple(controls)  # the pictures of its ControlNets, decoded; dropped likewise
        self.created = clock()
        self.ended: float | None = None
        self.stop_reason: str | None = None  # set by `stop`; the engine looks at it between ticks
        self.allowance: Allowance | None = None  # set by `JobBook.take`
        self.priority = 0  # the larger goes first among its owner's jobs: a cell that was asked for
        self.ready = True  # False until it is on the disk: it gets no lane before
        self.witness: Witness | None = None
        self.notes: tuple[str, ...] = ()  # sentences worth knowing when it starts
        self._clock = clock
        self._lock = threading.Lock()
        self._state: JobState = "queued"
        self.mailbox = Mailbox(clock)

    @property
    def state(self) -> JobState:
        return self._state

    @property
    def part_of(self) -> str | None:
        """The job that this one is a cell of, None for one of its own."""
        return None

    @property
    def rules(self) -> Rules:
        """What its visitor may use."""
        return self.allowance.rules if self.allowance is not None else NO_RULES

    @property
    def has_exact_weights(self) -> bool:
        """Whether its checkpoint is in float32 where others may have it in bfloat16. A branch has its run's."""
        return self.fork.recipe.has_exact_weights if self.fork is not None else self.request.exact

    @property
    def has_allowance(self) -> bool:
        """Whether it is of somebody whose use is limited: a guest, or a caller without a cookie."""
        return self.allowance is not None

    def parts(self) -> Sequence[Job]:
        """The cells of a comparison, empty for any other job."""
        return ()

    def runnable(self) -> Sequence[Job]:
        """The jobs that may be given lanes now, in that order."""
        return (self,) if self.ended is None and self.ready else ()

    def begin(self) -> None:
        """It gets its first lane. It is stopped a moment later where another server has it by now."""
        if self.witness is not None:
            self.witness.begin(self)

    @property
    def load(self) -> Load:
        """What it takes, the cells of a comparison together."""
        parts = self.parts()
        if not parts:
            return load_of(self.request, self.start)
        return replace(sum((part.load for part in parts), Load()), jobs=1)

    @property
    def size_bytes(self) -> int:
        """What the record keeps alive that can be large: the uploaded pictures, as files and decoded."""
        total_bytes = self.request.file_bytes + sum(control.size_bytes for control in self.controls)
        return total_bytes + (self.start.size_bytes if self.start is not None else 0)

    def publish(self, event: AnyEvent) -> bool:
        """Put an event into its slot and wake the watchers. False, and nothing happens, when the job has ended."""
        with self._lock:
            if self.ended is not None:
                return False
            if isinstance(event, Queued) and self.mailbox.get(Queued) == event:
                return True
            if isinstance(event, Started):
                self._state = "running"
            if isinstance(event, ENDS):
                self._state = event.state if isinstance(event, ComparisonEnded) else _STATES[type(event)]
                self.ended = self._clock()
                self.start = self.fork = None
                self.controls = ()
                self.request = self.request.without_pictures()  # nothing of an upload outlives its use
            self.mailbox.put(event)
        if self.witness is not None:
            self.witness.hear(self, event)
        return True

    def stop(self, reason: str = "Stopped.") -> bool:
        """Ask the job to stop; one that has not started stops here and now. False when it had ended already."""
        with self._lock:
            if self.ended is not None:
                return False
            self.stop_reason = self.stop_reason or reason
            waiting = self._state == "queued"
        if waiting:
            self.publish(Stopped(job_id=self.id, pictures=(), last=(), index=0, total=0, reason=self.stop_reason))
        return True

    def abandon(self) -> None:
        """Stop here and now: nobody is left who would do it between two ticks."""
        self.stop()
        self.publish(Stopped(job_id=self.id, pictures=(), last=(), index=0, total=0, reason=str(self.stop_reason)))

    def branch_node(self) -> BranchNode:
        """This job's place in a tree of branches."""
        node = self.node or BranchNode(job_id=self.id, state="", prompt="", guidance_scale=0.0)
        return replace(
            node,
            job_id=self.id,
            state=self._state,
            prompt=self.request.prompt,
            guidance_scale=self.request.guidance_scale,
        )

    def summary(self) -> JobSummary:
        return JobSummary(job_id=self.id, request=self.request, state=self._state, origin=self.origin)


SWEEP_SECONDS = 1.0  # between two looks for jobs that nobody watches, and for what is over for long


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the book holds. Numbers of jobs, seconds, bytes."""

    waiting_or_running: int = 64
    per_owner: int = 8
    upload_bytes: int = 512 * 2**20  # pictures of jobs that wait or run
    finished: int = 200
    finished_seconds: float = 3600.0
    ephemeral_seconds: float = 10.0  # the same for a job that nobody can come back to; its caller reads the end first
    finished_bytes: int = 256 * 2**20  # of the strips of comparisons
    unwatched_seconds: float | None = 600.0  # a job that nobody watches is stopped after this; None: never


class JobBook:
    """Every job the engine knows, by random id, each visible to its owner alone."""

    def __init__(
        self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic, engine: str = HERE
    ) -> None:
        """`engine`: whose jobs these are; their ids begin with it."""
        self.limits = limits or Limits()
        self.clock = clock
        self._engine = engine
        self._lock = threading.Lock()
        self._allowances = Allowances(clock)
        self._entries: dict[str, Entry] = {}  # of the jobs that wait or run
        self._jobs: dict[str, Job] = {}  # in the order they came; the cells of a comparison are found through it

    def add(
        self,
        request: Request,
        *,
        owner: str,
        origin: str,
        start: Start | None = None,
        attention: bool = False,
        fork: Fork | None = None,
        controls: Sequence[ControlPicture] = (),
        ephemeral: bool = False,
        allowance: Allowance | None = None,
    ) -> Job:
        """Take a job in. Raises Refused, with what to do, when the queue or this owner's share of it is full."""
        job = Job(
            request,
            owner=owner,
            origin=origin,
            clock=self.clock,
            engine=self._engine,
            start=start,
            attention=attention,
            fork=fork,
            controls=controls,
            ephemeral=ephemeral,
        )
        self.take(job, allowance)
        return job

    def restore(self, job: Job, allowance: Allowance | None) -> None:
        """Take a job in that was taken before by a server that has ended. It counts like any other and is not refused;
        one that is there already stays."""
        with self._lock:
            if job.id not in self._jobs:
                job.allowance = allowance
                self._entries[job.id] = Entry(job.owner, allowance, job.load)
                self._jobs[job.id] = job

    def take(self, job: Job, allowance: Allowance | None = None) -> None:
        """Take a job in that was made elsewhere (with the book's `clock`). Raises as `add`, also where it is more than
        its `allowance`."""
        owner = job.owner
        entry = Entry(owner, allowance, job.load)
        with self._lock:
            active = [j for j in self._jobs.values() if j.ended is None]
            if sum(j.owner == owner for j in active) >= self.limits.per_owner:
                raise Refused(
                    Message(
                        "You have {per_owner} pictures waiting or running. "
                        "Wait for one to finish, or stop one, then try again.",
                        per_owner=self.limits.per_owner,
                    ),
                    kind="limit",
                    retry_after=self._allowances.seconds_of(1) or RETRY_SECONDS,
                )
            uploads = sum(j.size_bytes for j in active) + job.size_bytes
            if len(active) >= self.limits.waiting_or_running or uploads > self.limits.upload_bytes:
                wait = self._allowances.wait(len(active)) or Message("a minute")
                raise Refused(
                    Message(
                        "The queue is full: {count} are before you. Try again in {wait}.", count=len(active), wait=wait
                    ),
                    kind="full",
                    retry_after=self._allowances.seconds_of(1) or RETRY_SECONDS,
                )
            self._allowances.check(entry, (self._entries[j.id] for j in active if j.id in self._entries))
            job.allowance = allowance
            self._entries[job.id] = entry
            self._jobs[job.id] = job
            self._forget()

    def get(self, job_id: str, *, owner: str) -> Job:
        """Raises UnknownJob for an id that does not exist or belongs to somebody else; the two are not told apart."""
        with self._lock:
            job = self._jobs.get(job_id) if isinstance(job_id, str) else None
        if job is None or job.owner != owner:
            raise UnknownJob(Message("This job does not exist any more."))
        return job

    def has(self, job_id: str) -> bool:
        """Whether it knows a job of this id, whoever's it is."""
        with self._lock:
            return job_id in self._jobs

    def of(self, owner: str) -> tuple[JobSummary, ...]:
        """One owner's jobs, newest first."""
        with self._lock:
            return tuple(j.summary() for j in reversed(self._jobs.values()) if j.owner == owner)

    def branches(self, job_id: str, *, owner: str) -> tuple[BranchNode, ...]:
        """The tree of branches that a job belongs to, its root first, as far as its jobs are still known. Raises
        UnknownJob."""
        self.get(job_id, owner=owner)
        with self._lock:
            mine = {j.id: j for j in self._jobs.values() if j.owner == owner}
        parents = {j.id: j.node.parent for j in mine.values() if j.node is not None}

        def root(of: str) -> str:
            while (parent := parents.get(of)) is not None:
                of = parent
            return of

        return tuple(j.branch_node() for j in mine.values() if root(j.id) == root(job_id))

    def active(self) -> list[Job]:
        """Jobs that wait or run, oldest first."""
        with self._lock:
            return [j for j in self._jobs.values() if j.ended is None]

    def runnable(self) -> list[Job]:
        """What may be given lanes, in order: an owner's cells come after all their other jobs."""
        jobs = self.active()
        return [part for job in sorted(jobs, key=lambda job: bool(job.parts())) for part in job.runnable()]

    def charge(self, seconds: Mapping[str, float]) -> None:
        """These owners had the device for so long."""
        with self._lock:
            groups = {entry.owner: entry.allowance.group for entry in self._entries.values() if entry.allowance}
            for owner, share in seconds.items():
                self._allowances.charge(owner, groups.get(owner, ""), share)

    def work(self) -> WorkNow:
        """What waits and runs, and who had the device."""
        with self._lock:
            loads = [
                job_load(self._jobs[job_id], entry)
                for job_id, entry in self._entries.items()
                if self._jobs[job_id].ended is None
            ]
            return WorkNow(jobs=tuple(loads), device_seconds=self._allowances.device_seconds())

    def sweep(self) -> list[Job]:
        """Stop what nobody watches and forget what is over for long. Returns the jobs that were stopped."""
        overdue = []
        seconds = self.limits.unwatched_seconds
        for job in self.active():
            if seconds is not None and job.mailbox.unwatched_for() > seconds:
                job.stop(Message("Stopped: nobody watched it for {seconds} minutes.", seconds=f"{seconds / 60:g}"))
                overdue.append(job)
        with self._lock:
            self._forget()
        return overdue

    def _forget(self) -> None:
        """Drop finished records, oldest first, that are too old, too many or too large. The lock is held."""
        now = self.clock()
        for job_id in [job_id for job_id in self._entries if self._jobs[job_id].ended is not None]:
            del self._entries[job_id]
            self._allowances.count_job()
        for job in [j for j in self._jobs.values() if j.ephemeral and j.ended is not None]:
            if now - (job.ended or 0.0) > self.limits.ephemeral_seconds:
                del self._jobs[job.id]
        ended_jobs = sorted((j for j in self._jobs.values() if j.ended is not None), key=lambda j: j.ended or 0.0)
        surplus = len(ended_jobs) - self.limits.finished
        size = sum(j.size_bytes for j in ended_jobs)
        for place, job in enumerate(ended_jobs):
            old = now - (job.ended or 0.0) > self.limits.finished_seconds
            if place >= surplus and not old and size <= self.limits.finished_bytes:
                break
            size -= job.size_bytes
            del self._jobs[job.id]
