"""Jobs that outlive their child process: how they ended, remembered on the page's side.

A child says of each of its jobs how it ended. While that child lives it is the one to ask; when it has ended, this is.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from studio.answered.codec import decode
from studio.answered.events import JobSummary
from studio.engine.jobs import Limits
from studio.engine.mailbox import Mailbox, Watcher

MAX_BYTES = 64 * 2**20  # of all events together: they hold the frames of filmstrips


@dataclass(frozen=True)
class EndedJob:
    """A job that is over. `events` is what a late watcher hears of it, as the codec writes it."""

    owner: str
    summary: JobSummary
    events: bytes


class PastJobs:
    """As many jobs, for as long, as a `JobBook` remembers. Safe from any thread."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, tuple[float, EndedJob]] = OrderedDict()  # by the time of their end
        self._past: set[str] = set()  # those of children that have ended

    def add(self, job: EndedJob) -> None:
        """Remember a job of the child that is there."""
        with self._lock:
            self._jobs[job.summary.job_id] = self._clock(), job
            self._forget()

    def end_child(self) -> None:
        """Nobody else knows the jobs so far any more: from now on they are listed here."""
        with self._lock:
            self._past = set(self._jobs)

    def get(self, job_id: str, owner: str) -> EndedJob | None:
        """One owner's job of a child that has ended; None for any other."""
        with self._lock:
            self._forget()
            entry = self._jobs.get(job_id) if job_id in self._past else None
        return entry[1] if entry is not None and entry[1].owner == owner else None

    def watch(self, job_id: str, owner: str) -> Watcher | None:
        """What a late watcher of such a job hears; None where there is none."""
        job = self.get(job_id, owner)
        if job is None:
            return None
        mailbox = Mailbox(self._clock)
        for event in decode(job.events):
            mailbox.put(event)
        return Watcher(mailbox)

    def of(self, owner: str) -> tuple[JobSummary, ...]:
        """One owner's jobs of children that have ended, newest first."""
        with self._lock:
            self._forget()
            jobs = [job for job_id, (_, job) in reversed(self._jobs.items()) if job_id in self._past]
        return tuple(job.summary for job in jobs if job.owner == owner)

    def _forget(self) -> None:
        """Drop those that are too old, too many or too large, the oldest first. The lock is held."""
        size = sum(len(job.events) for _, job in self._jobs.values())
        while self._jobs:
            job_id, (end_time, job) = next(iter(self._jobs.items()))
            is_old = self._clock() - end_time > self._limits.finished_seconds
            if not is_old and len(self._jobs) <= self._limits.finished and size <= MAX_BYTES:
                return
            size -= len(job.events)
            del self._jobs[job_id]
            self._past.discard(job_id)
