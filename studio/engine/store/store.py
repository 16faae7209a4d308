"""Jobs on the disk, so that those that wait go on after a crash or a restart, and the one that ran is known.

One thread owns the file; whoever has something to write puts it into that thread's queue, and what is there together is
one transaction. So no tick waits for a disk. Without a usable folder nothing is written: the jobs are in memory alone.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from studio.asked.messages import Message
from studio.engine.store.database import NotUsable, connect
from studio.engine.store.servers import HEARTBEAT_SECONDS, SILENT_SECONDS, Server, this_server

logger = logging.getLogger(__name__)

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], Any]

StoredState = Literal["waiting", "running", "interrupted", "finished", "stopped", "failed"]

MAX_SUBMISSION_BYTES = 256 * 2**20  # one row; its pictures are in it
ANSWER_SECONDS = 15.0  # after which a disk that does not answer is given up for this job
GUEST_SECONDS = 24 * 3600.0  # how long a guest's ended job is remembered
OWNER_SECONDS = 7 * 24 * 3600.0
MOST_ENDED = 500  # of all together
BATCH = 64  # writes of one transaction

_COLUMNS = "id, studio, state, owner, guest, passing, origin, submitted, ended, summary, submission, seeds, events"


@dataclass(frozen=True, kw_only=True)
class StoredJob:
    """A row. What is bytes here is what `studio.answered.codec` writes."""

    id: str
    studio: str
    state: StoredState
    owner: str
    guest: bool
    passing: bool
    origin: str
    submitted: float
    ended: float | None = None
    summary: bytes = b""
    submission: bytes | None = None
    seeds: bytes | None = None
    events: bytes | None = None


class JobStore:
    """The jobs of one outputs folder, as one server sees them. Safe from any thread."""

    def __init__(
        self,
        folder: Path | None,
        *,
        studio: str = "",
        clock: Callable[[], float] = time.time,
        server: Server | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """`studio`: the start of a studio that this is a part of, the same for all processes of it. Where the folder
        cannot be used the log says so once, and the jobs are in memory alone, as without a folder."""
        self.server = server or this_server()
        self.studio = studio or self.server.id
        self.why_not = ""  # why nothing is written; "" where it is
        self._clock = clock
        self._heartbeat_seconds = heartbeat_seconds
        self._told: set[str] = set()
        self._writes: queue.SimpleQueue[tuple[Write, Future[Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.on_heartbeat: Callable[[], None] = lambda: None  # called on a thread of its own after each
        if folder is None:
            return
        try:
            self._connection = connect(folder)
        except NotUsable as error:
            self.why_not = str(error)
            logger.warning(
                "Jobs that wait are in memory alone, and end with the studio: %s.", self.why_not.removesuffix(".")
            )
            return
        self._beat(self._connection)
        self._thread = threading.Thread(target=self._run, name="jobs-file", daemon=True)
        self._thread.start()

    @property
    def is_on_disk(self) -> bool:
        """Whether jobs outlive this process."""
        return self._thread is not None

    # ----------------------------------------------------------------------------------------- a job's life

    def add(self, job: StoredJob) -> str:
        """Take a new job in. Returns once it is on the disk, with "", or why it is not, in a sentence for the page."""
        if not self.is_on_disk:
            return ""
        if job.submission is not None and len(job.submission) > MAX_SUBMISSION_BYTES:
            limit = MAX_SUBMISSION_BYTES // 2**20
            return Message(
                "Its pictures are larger than {limit} MB together, so it does not outlive the studio.", limit=limit
            )
        values = (
            job.id, self.studio, self.server.id, job.state, job.owner, job.guest, job.passing, job.origin,
            job.submitted, job.summary, job.submission,
        )  # fmt: skip
        insert = (
            "INSERT INTO jobs (id, studio, server, state, owner, guest, passing, origin, submitted, summary, "
            "submission) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        try:
            self._do(lambda connection: connection.execute(insert, values)).result(ANSWER_SECONDS)
        except (sqlite3.Error, TimeoutError) as error:
            return Message("It does not outlive the studio: {cause}.", cause=self._tell(error))
        return ""

    def claim(self, job_id: str) -> bool:
        """The job begins. False where another server has its lease by now, so that nothing is made twice."""
        if not self.is_on_disk:
            return True

        def claim(connection: sqlite3.Connection) -> bool:
            changed = connection.execute(
                "UPDATE jobs SET state = 'running' WHERE id = ? AND server = ? AND state = 'waiting'",
                (job_id, self.server.id),
            ).rowcount
            row = connection.execute("SELECT server FROM jobs WHERE id = ?", (job_id,)).fetchone()
            return changed == 1 or row is None or row[0] == self.server.id

        try:
            return bool(self._do(claim).result(ANSWER_SECONDS))
        except (sqlite3.Error, TimeoutError) as error:
            self._tell(error)
            return True

    def began(self, job_id: str, seeds: Callable[[], bytes]) -> None:
        """Remember the seeds that a job has begun with."""
        self._later(
            lambda connection: connection.execute(
                "UPDATE jobs SET seeds = ? WHERE id = ? AND server = ?", (seeds(), job_id, self.server.id)
            )
        )

    def end(
        self,
        job_id: str,
        state: StoredState,
        events: Callable[[], bytes],
        summary: Callable[[], bytes],
        *,
        closed: bool = False,
    ) -> None:
        """A job is over. What it was asked for is overwritten, but for one that is interrupted: it can be run again.
        Where the studio itself is `closed`, what waits goes on at the next start."""

        def end(connection: sqlite3.Connection) -> None:
            only = " AND state = 'running'" if closed else ""
            rest = "" if state == "interrupted" else ", submission = NULL"
            connection.execute(
                f"UPDATE jobs SET state = ?, ended = ?, events = ?, summary = ?, server = NULL{rest} "
                f"WHERE id = ? AND server = ?{only}",
                (state, self._clock(), events(), summary(), job_id, self.server.id),
            )

        self._later(end)

    def forget(self, job_id: str) -> None:
        """A job that was not taken after all."""
        self._later(lambda connection: connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,)))

    # ------------------------------------------------------------------------------------- after a server's end

    def take_over(self, *, at_start: bool = True) -> list[StoredJob]:
        """The jobs of servers that have ended, leased to this one from now on, oldest first: each is got by one server
        alone. Not `at_start` others are given the time to start again."""
        if not self.is_on_disk:
            return []

        def take(connection: sqlite3.Connection) -> list[StoredJob]:
            now, mine = self._clock(), self.server.id
            gone = []
            for server_id, pid, started, boot, heartbeat in connection.execute(
                "SELECT id, pid, started, boot, heartbeat FROM servers WHERE id != ?", (mine,)
            ).fetchall():
                patient = not at_start and now - heartbeat < SILENT_SECONDS / 2
                if not patient and Server(server_id, pid, started, boot).has_ended(heartbeat, now):
                    gone.append(server_id)
            for server_id in gone:
                connection.execute("DELETE FROM servers WHERE id = ?", (server_id,))
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE state IN ('waiting', 'running') AND "
                "(server IS NULL OR (server != ? AND server NOT IN (SELECT id FROM servers))) ORDER BY number",
                (mine,),
            ).fetchall()
            connection.executemany("UPDATE jobs SET server = ? WHERE id = ?", [(mine, row[0]) for row in rows])
            return [_job(row) for row in rows]

        try:
            jobs: list[StoredJob] = self._do(take).result(ANSWER_SECONDS)
        except (sqlite3.Error, TimeoutError) as error:
            self._tell(error)
            return []
        return jobs

    # ------------------------------------------------------------------------------------------ what is over

    def past(self, owner: str) -> list[StoredJob]:
        """One owner's jobs that are over, newest first; without what they were asked for."""
        columns = _COLUMNS.replace("submission", "NULL", 1)
        return self._select(
            f"SELECT {columns} FROM jobs WHERE owner = ? AND ended IS NOT NULL ORDER BY number DESC", (owner,)
        )

    def get(self, job_id: str, owner: str) -> StoredJob | None:
        """One owner's job that is over, with what it was asked for if it was interrupted."""
        jobs = self._select(
            f"SELECT {_COLUMNS} FROM jobs WHERE id = ? AND owner = ? AND ended IS NOT NULL", (job_id, owner)
        )
        return jobs[0] if jobs else None

    def dismiss(self, job_id: str) -> None:
        """An interrupted job is one that was stopped from now on."""
        self._later(
            lambda connection: connection.execute(
                "UPDATE jobs SET state = 'stopped', submission = NULL WHERE id = ? AND state = 'interrupted'", (job_id,)
            )
        )

    def _select(self, statement: str, values: Sequence[object]) -> list[StoredJob]:
        if not self.is_on_disk:
            return []
        read = self._do(lambda connection: connection.execute(statement, values).fetchall())
        try:
            return [_job(row) for row in read.result(ANSWER_SECONDS)]
        except (sqlite3.Error, TimeoutError) as error:
            self._tell(error)
            return []

    # ------------------------------------------------------------------------------------------------ the end

    def close(self) -> int:
        """Give every lease back, and close the file. Returns how many jobs wait for the next start."""
        if not self.is_on_disk:
            return 0

        def release(connection: sqlite3.Connection) -> int:
            mine = self.server.id
            waiting = connection.execute(
                "SELECT count(*) FROM jobs WHERE server = ? AND state = 'waiting' AND NOT passing", (mine,)
            ).fetchone()[0]
            connection.execute("UPDATE jobs SET server = NULL WHERE server = ?", (mine,))
            connection.execute("DELETE FROM servers WHERE id = ?", (mine,))
            return int(waiting)

        released = self._do(release)
        self._writes.put(None)
        assert self._thread is not None
        self._thread.join(ANSWER_SECONDS)
        try:
            return int(released.result(0))
        except (sqlite3.Error, TimeoutError):
            return 0

    # ---------------------------------------------------------------------------------------- on the thread

    def _do(self, write: Callable[[sqlite3.Connection], T]) -> Future[T]:
        future: Future[Any] = Future()
        self._writes.put((write, future))
        return future

    def _later(self, write: Write) -> None:
        if self.is_on_disk:
            self._do(write).add_done_callback(self._look)

    def _look(self, future: Future[Any]) -> None:
        error = future.exception()
        if isinstance(error, sqlite3.Error):
            self._tell(error)
        elif error is not None:
            logger.error("A job could not be written down", exc_info=error)

    def _tell(self, error: Exception) -> str:
        """What is wrong with the file, for the page; the log hears of each kind once."""
        reason = Message("the disk does not answer") if isinstance(error, TimeoutError) else str(error)
        if reason not in self._told:
            self._told.add(reason)
            logger.warning("The jobs file of the outputs folder cannot be written: %s.", reason)
        return reason

    def _run(self) -> None:
        next_beat = time.monotonic() + self._heartbeat_seconds
        going_on = True
        while going_on:
            batch: list[tuple[Write, Future[Any]]] = []
            with contextlib.suppress(queue.Empty):
                entry = self._writes.get(timeout=max(0.0, next_beat - time.monotonic()))
                while True:
                    if entry is None:
                        going_on = False
                        break
                    batch.append(entry)
                    if len(batch) >= BATCH:
                        break
                    entry = self._writes.get_nowait()
            if time.monotonic() >= next_beat and going_on:
                next_beat = time.monotonic() + self._heartbeat_seconds
                beat: Future[Any] = Future()
                batch.append((self._beat, beat))
                beat.add_done_callback(self._look)
                threading.Thread(target=self.on_heartbeat, name="jobs-of-others", daemon=True).start()
            if batch and not self._together(batch):
                for one in batch:  # each for itself, so that one that does not fit costs nobody else
                    self._together([one], last=True)
        self._connection.close()

    def _together(self, batch: list[tuple[Write, Future[Any]]], last: bool = False) -> bool:
        """Make these writes in one transaction. False, and nothing is changed, where one of them fails; what a failure
        is told to whoever waits for it where it is the `last` try."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [write(self._connection) for write, _ in batch]
            self._connection.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            if last:
                for _, future in batch:
                    _settle(future, error=error)
            return False
        for (_, future), result in zip(batch, results):
            _settle(future, result)
        return True

    def _beat(self, connection: sqlite3.Connection) -> None:
        now, server = self._clock(), self.server
        connection.execute(
            "INSERT INTO servers (id, pid, started, boot, heartbeat) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET heartbeat = excluded.heartbeat",
            (server.id, server.pid, server.started, server.boot, now),
        )
        connection.execute(
            "DELETE FROM jobs WHERE ended < CASE WHEN guest THEN ? ELSE ? END",
            (now - GUEST_SECONDS, now - OWNER_SECONDS),
        )
        connection.execute(
            "DELETE FROM jobs WHERE ended IS NOT NULL AND number <= "
            "(SELECT number FROM jobs WHERE ended IS NOT NULL ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (MOST_ENDED,),
        )


def _settle(future: Future[Any], result: Any = None, error: Exception | None = None) -> None:
    with contextlib.suppress(InvalidStateError):
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


def _job(row: Sequence[Any]) -> StoredJob:
    names = _COLUMNS.split(", ")
    values = dict(zip(names, row)) | {"guest": bool(row[4]), "passing": bool(row[5])}
    return StoredJob(**values)
