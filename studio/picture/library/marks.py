"""What people note of pictures: a rating from 0 to 5, and the boards that a picture lies on.

One line of JSON a change, in a file beside the pictures that this account alone can read. `person`: "" for the owner of
the studio, else the sha256 of a visitor. Which pictures somebody may note is not decided here.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
from pathlib import Path

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
        line = json.dumps({"version": VERSION, "person": person, "picture": picture, **mark}, ensure_ascii=False)
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
            person, picture = values["person"], values["picture"]
            if values["version"] > VERSION or not (_PERSON.fullmatch(person) and _PICTURE.fullmatch(picture)):
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
