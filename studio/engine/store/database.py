"""The SQLite file of the jobs: opened or refused, its tables, its rows.

Version 1 (the file's `user_version`):

    servers  who works on this folder: process, boot, heartbeat
    jobs     one row a job, in the order they came; `server` holds its lease
    cells    the cells of comparisons that are over

What a job was asked for, uploads included, lies in `submission` until the job ends; then it is overwritten.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
import time
from pathlib import Path

from studio.engine.store.disk import network_type

NAME = "jobs.sqlite"
VERSION = 1
APPLICATION = 0x4C537475  # "LStu", the file's `application_id`
BUSY_SECONDS = 5.0  # to wait for another server's write
WAL_BYTES = 16 * 2**20  # of the log beside the file, once its writes are in the file
_HEADER = 100  # bytes at the begin of every SQLite file (sqlite.org/fileformat.html)

_TABLES = """
CREATE TABLE servers (
    id TEXT PRIMARY KEY, pid INTEGER NOT NULL, started REAL NOT NULL, boot TEXT NOT NULL, heartbeat REAL NOT NULL
);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    studio TEXT NOT NULL,        -- which start of a studio took it
    server TEXT,                 -- whose lease it has; none: nobody's
    state TEXT NOT NULL,         -- waiting, running, then interrupted, finished, stopped or failed
    owner TEXT NOT NULL,
    guest INTEGER NOT NULL,      -- whether its owner had an allowance
    passing INTEGER NOT NULL,    -- whether its owner is only known until the studio ends
    origin TEXT NOT NULL,
    submitted REAL NOT NULL,     -- seconds since 1970
    ended REAL,
    summary BLOB NOT NULL,       -- a JobSummary without pictures, as studio.answered.codec writes it
    submission BLOB,             -- the order and its allowance, likewise
    seeds BLOB,                  -- those that it began with, likewise
    events BLOB                  -- what a late watcher hears, likewise
);
CREATE TABLE cells (job TEXT NOT NULL, cell INTEGER NOT NULL, event BLOB NOT NULL, PRIMARY KEY (job, cell));
CREATE INDEX jobs_by_owner ON jobs (owner, number);
CREATE INDEX jobs_by_server ON jobs (server);
"""


class NotUsable(Exception):
    """The jobs cannot be in this folder. The text says why."""


def connect(folder: Path) -> sqlite3.Connection:
    """The jobs file of an outputs folder, made where there is none. Raises NotUsable; then nothing was changed."""
    file = folder / NAME
    kind = network_type(folder)
    if kind:
        raise NotUsable(f"the outputs folder is on a network drive ({kind}), where SQLite cannot lock its file")
    try:
        _make_private(file)
        _check_header(file)
        connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection
    except OSError as error:
        raise NotUsable(f"{file} cannot be written ({error.strerror})") from error
    except sqlite3.Error as error:
        raise NotUsable(f"{file} cannot be used: {error}") from error


def _make_private(file: Path) -> None:
    """SQLite gives the files beside it the mode of the file itself."""
    if file.is_symlink():
        raise NotUsable(f"{file} is a link to another place")
    handle = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if os.name != "nt" and os.fstat(handle).st_mode & 0o077:
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)
    if not os.access(file.parent, os.W_OK):  # its log lies beside it
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _check_header(file: Path) -> None:
    """Whose file it is stands in its first bytes, so that a foreign one need not be opened."""
    with file.open("rb") as stream:
        head = stream.read(_HEADER)
    if not head:
        return
    if len(head) < _HEADER or not head.startswith(b"SQLite format 3\0"):
        raise NotUsable(f"{file} is no SQLite file; move it away")
    version, application = struct.unpack_from(">I", head, 60)[0], struct.unpack_from(">I", head, 68)[0]
    if application not in (APPLICATION, 0) or (application == 0 and version):
        raise NotUsable(f"{file} is another program's; move it away")
    if version > VERSION:
        raise NotUsable(f"{file} is of a newer studio (version {version}, not {VERSION}) and is left alone")


def _prepare(connection: sqlite3.Connection) -> None:
    # The tables come before the log, so that the version stands in the file itself from the first moment.
    connection.execute("PRAGMA auto_vacuum = FULL")  # an upload that is over leaves no empty pages
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    if _journal_mode(connection) != "wal":
        raise NotUsable("the disk of the outputs folder lacks the shared memory that SQLite's log needs")
    connection.execute("PRAGMA synchronous = NORMAL")  # whole after any crash; a power cut may cost the last second
    connection.execute("PRAGMA secure_delete = ON")  # nothing of an upload outlives its use
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    connection.execute("BEGIN IMMEDIATE")  # a disk that cannot lock says so here
    connection.execute("COMMIT")


def _journal_mode(connection: sqlite3.Connection) -> str:
    """Switch to the log. SQLite does not wait here for another server that does so at this moment."""
    patience = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError:
            if time.monotonic() > patience:
                raise
            time.sleep(0.02)
