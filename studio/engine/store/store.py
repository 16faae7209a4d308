"""Jobs on the disk, so that those that wait go on after a crash or a restart, and the one that ran is known.

One thread owns the file; whoever has something to write puts it into that thread's queue, and what is there together is
one transaction. So no tick waits for a disk. Without a usable folder nothing is written: the jobs are in memory alone.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.asked.messages import Message
from studio.engine.store.database import NotUsable, connect
from studio.engine.store.servers import HEARTBEAT_SECONDS, SILENT_SECONDS, Server, this_server
from studio.engine.store.writer import Write, Writer

logger = logging.getLogger(__name__)

StoredState = Literal["waiting", "running", "interrupted", "finished", "stopped", "failed"]

MAX_SUBMISSION_BYTES = 256 * 2**20  # one row; its pictures are in it
ANSWER_SECONDS = 15.0  # after which a disk that does not answer is given up for this job
GUEST_SECONDS = 24 * 3600.0  # how long a guest's ended job is remembered
OWNER_SECONDS = 7 * 24 * 3600.0
MOST_ENDED = 500  # of all together
MOST_LISTED = MOST_ENDED + 100  # of one owner: all that is remembered, and what other servers have

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
        self._writer: Writer | None = None
        self.on_heartbeat: Callable[[], None] = lambda: None  # called on a thread of its own after each
        if folder is None:
            return
        try:
            connection = connect(folder)
        except NotUsable as error:
            self.why_not = str(error)
            logger.warning(
                "Jobs that wait are in memory alone, and end with the studio: %s.", self.why_not.removesuffix(".")
            )
            return
        self._beat(connection)
        self._writer = Writer(connection, self._beat, heartbeat_seconds, lambda: self.on_heartbeat())

    @property
    def is_on_disk(self) -> bool:
        """Whether jobs outlive this process."""
        return self._writer is not None

    # ----------------------------------------------------------------------------------------- a job's life

    def add(self, job: StoredJob) -> str:
        """Take a new job in. Returns once it is on the disk, with "", or why it is not, in a sentence for the page."""
        if self._writer is None:
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
            self._writer.do(lambda connection: connection.execute(insert, values)).result(ANSWER_SECONDS)
        except (sqlite3.Error, TimeoutError) as error:
            return Message("It does not outlive the studio: {cause}.", cause=self._writer.report(error))
        return ""

    def claim(self, job_id: str, on_refusal: Callable[[], object]) -> None:
        """The job begins. `on_refusal` is called, a moment later, where another server has its lease by now, or it was
        withdrawn: nothing is made twice. Nobody waits for the disk."""

        def claim(connection: sqlite3.Connection) -> None:
            count = connection.execute(
                "UPDATE jobs SET state = 'running' WHERE id = ? AND server = ? AND state = 'waiting'",
                (job_id, self.server.id),
            ).rowcount
            if not count and connection.execute("SELECT 1 FROM jobs WHERE id = ?", (job_id,)).fetchone():
                on_refusal()

        self._later(claim)

    def remember_seeds(self, job_id: str, seeds: Callable[[], bytes]) -> None:
        """Remember the seeds that a job has begun with."""
        self._later(
            lambda connection: connection.execute(
                "UPDATE jobs SET seeds = ? WHERE id = ? AND server = ?", (seeds(), job_id, self.server.id)
            )
        )

    def end_cell(self, job_id: str, cell: int, event: Callable[[], bytes]) -> None:
        """A cell of a comparison is over; the comparison itself may go on."""
        self._later(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO cells (job, cell, event) SELECT id, ?, ? FROM jobs WHERE id = ? AND server = ?",
                (cell, event(), job_id, self.server.id),
            )
        )

    def cells(self, job_id: str) -> list[bytes]:
        """The events of the cells that were over, in their order."""
        rows = self._select("SELECT event FROM cells WHERE job = ? ORDER BY cell", (job_id,))
        return [row[0] for row in rows]

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
        if self._writer is None:
            return []

        def take(connection: sqlite3.Connection) -> list[StoredJob]:
            now, mine = self._clock(), self.server.id
            old_ids = []
            for server_id, pid, started, boot, heartbeat in connection.execute(
                "SELECT id, pid, started, boot, heartbeat FROM servers WHERE id != ?", (mine,)
            ).fetchall():
                patient = not at_start and now - heartbeat < SILENT_SECONDS / 2
                if not patient and Server(server_id, pid, started, boot).has_ended(heartbeat, now):
                    old_ids.append(server_id)
            for server_id in old_ids:
                connection.execute("DELETE FROM servers WHERE id = ?", (server_id,))
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE state IN ('waiting', 'running') AND "
                "(server IS NULL OR (server != ? AND server NOT IN (SELECT id FROM servers))) ORDER BY number",
                (mine,),
            ).fetchall()
            connection.executemany("UPDATE jobs SET server = ? WHERE id = ?", [(mine, row[0]) for row in rows])
            return [_job(row) for row in rows]

        try:
            jobs: list[StoredJob] = self._writer.do(take).result(ANSWER_SECONDS)
        except (sqlite3.Error, TimeoutError) as error:
            self._writer.report(error)
            return []
        return jobs

    # ------------------------------------------------------------------------------------------ what is over

    def of_owner(self, owner: str) -> list[StoredJob]:
        """One owner's jobs that this server does not work on, newest first: those that are over, and those of other
        servers. Without what they were asked for and what became of them."""
        columns = _COLUMNS.replace("submission", "NULL", 1).replace("events", "NULL", 1)
        return self._jobs(
            f"SELECT {columns} FROM jobs WHERE owner = ? AND (ended IS NOT NULL OR server IS NOT ?) "
            "ORDER BY number DESC LIMIT ?",
            owner,
            self.server.id,
            MOST_LISTED,
        )

    def get(self, job_id: str, owner: str) -> StoredJob | None:
        """One owner's job, whoever works on it. One that was interrupted comes with what it was asked for."""
        columns = _COLUMNS.replace("submission", "CASE state WHEN 'interrupted' THEN submission END", 1)
        jobs = self._jobs(f"SELECT {columns} FROM jobs WHERE id = ? AND owner = ?", job_id, owner)
        return jobs[0] if jobs else None

    def withdraw(self, job_id: str, events: bytes) -> bool:
        """A job of another server that waits is stopped before that begins it. False where it has begun."""
        if self._writer is None:
            return False
        withdrawn = self._writer.do(
            lambda connection: (
                connection.execute(
                    "UPDATE jobs SET state = 'stopped', ended = ?, events = ?, submission = NULL "
                    "WHERE id = ? AND state = 'waiting'",
                    (self._clock(), events, job_id),
                ).rowcount
            )
        )
        try:
            return withdrawn.result(ANSWER_SECONDS) == 1
        except (sqlite3.Error, TimeoutError) as error:
            self._writer.report(error)
            return False

    def dismiss(self, job_id: str) -> None:
        """An interrupted job is one that was stopped from now on."""
        self._later(
            lambda connection: connection.execute(
                "UPDATE jobs SET state = 'stopped', submission = NULL WHERE id = ? AND state = 'interrupted'", (job_id,)
            )
        )

    def _jobs(self, statement: str, *values: object) -> list[StoredJob]:
        return [_job(row) for row in self._select(statement, values)]

    def _select(self, statement: str, values: Sequence[object]) -> list[Any]:
        if self._writer is None:
            return []
        rows = self._writer.do(lambda connection: connection.execute(statement, values).fetchall())
        try:
            return rows.result(ANSWER_SECONDS)
        except (sqlite3.Error, TimeoutError) as error:
            self._writer.report(error)
            return []

    def _later(self, write: Write) -> None:
        if self._writer is not None:
            self._writer.later(write)

    # ------------------------------------------------------------------------------------------------ the end

    def close(self) -> int:
        """Give every lease back, and close the file. Returns how many jobs wait for the next start."""
        if self._writer is None:
            return 0

        def release(connection: sqlite3.Connection) -> int:
            mine = self.server.id
            waiting = connection.execute(
                "SELECT count(*) FROM jobs WHERE server = ? AND state = 'waiting' AND NOT passing", (mine,)
            ).fetchone()[0]
            connection.execute("UPDATE jobs SET server = NULL WHERE server = ?", (mine,))
            connection.execute("DELETE FROM servers WHERE id = ?", (mine,))
            return int(waiting)

        released = self._writer.do(release)
        self._writer.close(ANSWER_SECONDS)
        try:
            return int(released.result(0))
        except (sqlite3.Error, TimeoutError):
            return 0

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
        connection.execute("DELETE FROM cells WHERE job NOT IN (SELECT id FROM jobs)")


def _job(row: Sequence[Any]) -> StoredJob:
    names = _COLUMNS.split(", ")
    values = dict(zip(names, row)) | {"guest": bool(row[4]), "passing": bool(row[5])}
    return StoredJob(**values)
