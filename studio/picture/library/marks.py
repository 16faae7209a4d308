"""What people note of pictures: a rating from 0 to 5, and the boards that a picture lies on.

One line of JSON a change, in a file beside the pictures that this account alone can read. `person`: "" for the owner of
the studio, else the sha256 of a visitor. Which pictures somebody may note is not decided here.

    {"person", "picture", "rating": 0 to 5}
    {"person", "picture", "board", "on": whether it lies on it}
    {"person", "board", "to": its new name, or null where it is removed}
"""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
from pathlib import Path

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value

logger = logging.getLogger(__name__)

NAME = ".library.jsonl"
VERSION = 1
MAX_RATING = 5
MAX_BOARD_CHARACTERS = 60
MAX_BOARDS = 200  # of one person

_PERSON = re.compile(r"(?:[0-9a-f]{64})?")
_PICTURE = re.compile(r"[0-9a-f]{32}")


class Marks:
    """The marks of one outputs folder, copied into the index. Whoever uses it from several threads holds a lock."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self._file = folder / NAME
        self._connection = connection
        self._read = 0  # bytes
        self._warned = False
        connection.execute("DELETE FROM ratings")
        connection.execute("DELETE FROM boards")

    def refresh(self) -> bool:
        """Read what was added since the last time, by whichever server. Says whether there was something."""
        try:
            if self._file.stat().st_size == self._read:
                return False
            with self._file.open("rb") as file:
                file.seek(self._read)
                lines = file.read()
        except OSError:
            return False
        complete = lines[: lines.rfind(b"\n") + 1]
        self._read += len(complete)
        self._connection.execute("BEGIN")
        for line in complete.splitlines():
            if line.strip():
                self._take(line)
        self._connection.execute("COMMIT")
        return bool(complete)

    def note(self, person: str, picture: str, **mark: object) -> None:
        """Note a `rating`, or `board` and whether the picture is `on` it."""
        self._write({"person": person, "picture": picture, **mark})

    def change_board(self, person: str, board: str, to: str | None) -> None:
        """Give a board another name, or remove it."""
        self._write({"person": person, "board": board, "to": to})

    def boards(self, person: str, scope: str, values: tuple[object, ...]) -> list[tuple[str, int]]:
        """Name and number of pictures of each board; `scope`: the condition of those that they may see."""
        sql = (
            f"SELECT board, count(p.id) FROM boards b LEFT JOIN pictures p ON p.id = b.picture AND {scope} "
            "WHERE b.person = ? GROUP BY board ORDER BY board COLLATE NOCASE"
        )
        return self._connection.execute(sql, (*values, person)).fetchall()

    def has_board(self, person: str, board: str) -> bool:
        """Whether they have a board of this name."""
        sql = "SELECT 1 FROM boards WHERE person = ? AND board = ? LIMIT 1"
        return self._connection.execute(sql, (person, board)).fetchone() is not None

    def count_boards(self, person: str) -> int:
        """How many boards they have."""
        sql = "SELECT count(DISTINCT board) FROM boards WHERE person = ?"
        return int(self._connection.execute(sql, (person,)).fetchone()[0])

    def boards_of(self, person: str, picture: str) -> list[str]:
        """The boards that a picture lies on."""
        sql = "SELECT board FROM boards WHERE person = ? AND picture = ? ORDER BY board COLLATE NOCASE"
        return [row[0] for row in self._connection.execute(sql, (person, picture))]

    def on_board(self, person: str, board: str) -> list[str]:
        """The pictures of a board."""
        sql = "SELECT picture FROM boards WHERE person = ? AND board = ?"
        return [row[0] for row in self._connection.execute(sql, (person, board))]

    def _write(self, change: dict[str, object]) -> None:
        line = json.dumps({"version": VERSION, **change}, ensure_ascii=False)
        try:
            handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "ab") as file:
                file.write(f"\n{line}\n".encode())
            self.refresh()
        except OSError as error:
            if not self._warned:
                logger.warning("Ratings and boards cannot be written down (%s): known until the end.", error.strerror)
                self._warned = True
            self._take(line.encode())

    def _take(self, line: bytes) -> None:
        try:
            values = json.loads(line)
            person = values["person"]
            if values["version"] > VERSION or not _PERSON.fullmatch(person):
                return
            if "to" in values:
                self._change_board(person, str(values["board"]), values["to"])
                return
            picture = values["picture"]
            if not _PICTURE.fullmatch(picture):
                return
            if "rating" in values:
                rating = int(values["rating"])
                if rating:
                    sql = "INSERT OR REPLACE INTO ratings VALUES (?, ?, ?)"
                    self._connection.execute(sql, (person, picture, min(rating, MAX_RATING)))
                else:
                    sql = "DELETE FROM ratings WHERE person = ? AND picture = ?"
                    self._connection.execute(sql, (person, picture))
            else:
                key = (person, str(values["board"])[:MAX_BOARD_CHARACTERS], picture)
                sql = "DELETE FROM boards WHERE person = ? AND board = ? AND picture = ?"
                sql = "INSERT OR IGNORE INTO boards VALUES (?, ?, ?)" if values["on"] else sql
                self._connection.execute(sql, key)
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # a line that is torn or foreign

    def _change_board(self, person: str, board: str, to: str | None) -> None:
        if to is not None:
            sql = "INSERT OR IGNORE INTO boards SELECT person, ?, picture FROM boards WHERE person = ? AND board = ?"
            self._connection.execute(sql, (to[:MAX_BOARD_CHARACTERS], person, board))
        if to != board:
            self._connection.execute("DELETE FROM boards WHERE person = ? AND board = ?", (person, board))


def board_name(field: str, value: object) -> str:
    """A board's name as somebody has typed it. Raises InvalidRequest."""
    name = " ".join(value.split()) if isinstance(value, str) else ""
    if not 0 < len(name) <= MAX_BOARD_CHARACTERS or not name.isprintable():
        allowed = Message("a name of 1 to {most} characters", most=MAX_BOARD_CHARACTERS)
        raise InvalidRequest(Problem(field, quoted_value(value), allowed))
    return name
