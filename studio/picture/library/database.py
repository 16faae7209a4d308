"""The index of the library: an SQLite file beside the pictures that can be deleted at any time, since the files are the
truth and it is rebuilt from them.

    folders   each folder that was looked through, with its mtime then
    pictures  one row a picture; `owner` is the sha256 of a visitor, "" for a file that nobody here has made
    kinds     how many pictures there are of each owner, model, LoRAs and size, so that none is counted twice
    deleted   those in the trash
    words     the full text of prompts, and of the names of models, LoRAs and files (FTS5)
    ratings, boards   a copy of the marks (studio/picture/library/marks.py)
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

NAME = ".library.sqlite"
VERSION = 2
APPLICATION = 0x4C534C69  # "LSLi"
BUSY_SECONDS = 5.0

_TABLES = """
CREATE TABLE folders (root TEXT NOT NULL, name TEXT NOT NULL, mtime INTEGER NOT NULL, PRIMARY KEY (root, name));
CREATE TABLE pictures (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    root TEXT NOT NULL, folder TEXT NOT NULL, name TEXT NOT NULL,
    owner TEXT NOT NULL,
    cell INTEGER NOT NULL,   -- whether it is a cell of a comparison
    saved REAL NOT NULL,     -- seconds since 1970
    width INTEGER NOT NULL, height INTEGER NOT NULL,
    prompt TEXT NOT NULL, model TEXT NOT NULL, loras TEXT NOT NULL, program TEXT NOT NULL,
    UNIQUE (root, folder, name)
);
CREATE TABLE kinds (
    owner TEXT NOT NULL, cell INTEGER NOT NULL, model TEXT NOT NULL, loras TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, pictures INTEGER NOT NULL,
    PRIMARY KEY (owner, cell, model, loras, width, height)
) WITHOUT ROWID;
CREATE TRIGGER picture_added AFTER INSERT ON pictures BEGIN
    INSERT INTO kinds VALUES (new.owner, new.cell, new.model, new.loras, new.width, new.height, 1)
    ON CONFLICT DO UPDATE SET pictures = pictures + 1; END;
CREATE TRIGGER picture_removed AFTER DELETE ON pictures BEGIN
    UPDATE kinds SET pictures = pictures - 1 WHERE (owner, cell, model, loras, width, height)
    = (old.owner, old.cell, old.model, old.loras, old.width, old.height); END;
CREATE TABLE deleted (
    number INTEGER, id TEXT PRIMARY KEY, root TEXT, folder TEXT, name TEXT, owner TEXT, cell INTEGER, saved REAL,
    width INTEGER, height INTEGER, prompt TEXT, model TEXT, loras TEXT, program TEXT
);
CREATE INDEX pictures_by_time ON pictures (cell, saved, number);
CREATE INDEX pictures_by_owner ON pictures (owner, cell, saved, number);
CREATE INDEX pictures_by_model ON pictures (model);
CREATE VIRTUAL TABLE words USING fts5 (prompt, other, tokenize = 'unicode61 remove_diacritics 2');
CREATE TABLE ratings (person TEXT NOT NULL, picture TEXT NOT NULL, rating INTEGER NOT NULL,
    PRIMARY KEY (person, picture));
CREATE TABLE boards (person TEXT NOT NULL, board TEXT NOT NULL, picture TEXT NOT NULL,
    PRIMARY KEY (person, board, picture));
CREATE INDEX boards_by_picture ON boards (person, picture);
"""
_INSERT = (
    "INSERT INTO pictures (id, root, folder, name, owner, cell, saved, width, height, prompt, model, loras, "
    "program) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_CHINESE = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A picture as the index has it. `root`: its folder among those of the library, `folder` and `name` below it."""

    id: str
    root: str
    folder: str
    name: str
    owner: str = ""
    cell: bool = False
    saved: float = 0.0
    width: int = 0
    height: int = 0
    prompt: str = ""
    model: str = ""
    loras: tuple[str, ...] = ()
    program: str = ""

    @property
    def path(self) -> Path:
        return Path(self.root, self.folder, self.name)


def open_index(folder: Path) -> tuple[sqlite3.Connection, bool]:
    """The index of an outputs folder, and whether it lies on the disk. One that is damaged or of another version is
    made anew; where the folder cannot be written the index is in memory, which the log says once."""
    file = folder / NAME
    for _ in range(2):
        try:
            return _connect(file), True
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not isinstance(error, _Foreign):
                reason: Exception = error
                break
            logger.info("The library's index is rebuilt from the pictures (%s).", error)
            reason = error
            with suppress(OSError):
                for ending in ("", "-wal", "-shm"):
                    file.with_name(file.name + ending).unlink(missing_ok=True)
        except OSError as error:
            reason = error
            break
    logger.warning("The library's index cannot be written (%s): it is in memory until the end.", reason)
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.executescript(_TABLES)
    return connection, False


class _Foreign(sqlite3.OperationalError):
    """The file is another version's."""


def _connect(file: Path) -> sqlite3.Connection:
    if file.is_symlink():
        raise OSError("its file is a link to another place")
    handle = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    os.close(handle)
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # what a power cut damages is rebuilt
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and (version, application) != (VERSION, APPLICATION):
            raise _Foreign("it is of another version")
        if not tables:
            for statement in _TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        connection.execute("SELECT count(*) FROM (SELECT 1 FROM words LIMIT 1)").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def insert(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Add pictures with their words, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for row in rows:
            place = (row.root, row.folder, row.name)
            old = connection.execute(
                "SELECT number FROM pictures WHERE id = ? OR (root = ? AND folder = ? AND name = ?)", (row.id, *place)
            ).fetchall()
            connection.executemany("DELETE FROM words WHERE rowid = ?", old)
            connection.executemany("DELETE FROM pictures WHERE number = ?", old)
            loras = "\n".join(row.loras)
            values = (row.id, *place, row.owner, row.cell, row.saved, row.width, row.height, row.prompt, row.model)
            number = connection.execute(_INSERT, (*values, loras, row.program)).lastrowid
            other = " ".join((row.model, loras, row.name, row.program))
            connection.execute(
                "INSERT INTO words (rowid, prompt, other) VALUES (?, ?, ?)",
                (number, spaced_words(row.prompt), spaced_words(other)),
            )
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def remove(connection: sqlite3.Connection, condition: str, values: tuple[object, ...]) -> None:
    """Take pictures out of the index."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"DELETE FROM words WHERE rowid IN (SELECT number FROM pictures WHERE {condition})", values)
    connection.execute(f"DELETE FROM pictures WHERE {condition}", values)
    connection.execute("COMMIT")


def spaced_words(text: str) -> str:
    """The text with spaces around each Chinese or Japanese letter, which SQLite would read as one long word."""
    return _CHINESE.sub(r" \1 ", text).replace("_", " ")


def match_of(text: str) -> str:
    """What a person types as a question to FTS5: all words, as beginnings; "..." in this order; -word without it."""
    wanted: list[str] = []
    unwanted: list[str] = []
    for minus, phrase, word in re.findall(r'(-?)(?:"([^"]*)"|(\S+))', text):
        letters = " ".join(re.findall(r"\w+", spaced_words(phrase or word)))
        if letters:
            term = f'"{letters}"' + ("" if phrase else "*")
            (unwanted if minus else wanted).append(term)
    if not wanted:
        return ""
    return " ".join(wanted) + "".join(f" NOT {term}" for term in unwanted)
