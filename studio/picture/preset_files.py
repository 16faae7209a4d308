"""Where presets lie: the owner's in the outputs folder, so that the file can be copied in and out; each guest's and
program's own beside them."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from studio.asked.messages import Message
from studio.asked.presets import Presets, from_json, to_json
from studio.asked.problems import InvalidRequest, Problem

NAME = "presets.json"
FOLDER = ".presets"  # of everybody but the owner
MAX_BYTES = 2**22
MAX_BYTES_OF_OTHERS = 2**18
MAX_FILES = 2000  # of guests and programs together


class PresetFiles:
    """The files of everybody. Any thread; a file is read whenever it is asked for, since people edit it by hand."""

    def __init__(self, folder: Path) -> None:
        """`folder`: that of the outputs."""
        self._folder = folder
        self._lock = threading.Lock()

    def of(self, visitor: str | None) -> Presets:
        """The presets of a visitor; None: the owner's. Raises InvalidRequest for a file that is no longer one, and
        OSError."""
        with self._lock:
            return self._read(visitor)

    def change(self, visitor: str | None, change: Callable[[Presets], Presets]) -> Presets:
        """What a change makes of them, written down. Raises InvalidRequest and OSError; then nothing has changed."""
        with self._lock:
            presets = change(self._read(visitor))
            self._write(visitor, presets)
            return presets

    def forget(self, visitors: Iterable[str]) -> None:
        """Delete the files of visitors who never come back."""
        with self._lock:
            for visitor in visitors:
                with suppress(OSError):
                    self._path(visitor).unlink(missing_ok=True)

    def _path(self, visitor: str | None) -> Path:
        if visitor is None:
            return self._folder / NAME
        return self._folder / FOLDER / f"{hashlib.sha256(visitor.encode()).hexdigest()[:32]}.json"

    def _read(self, visitor: str | None) -> Presets:
        try:
            with self._path(visitor).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return Presets()
        try:
            if len(data) > MAX_BYTES:
                allowed = Message("a file of at most {most} MiB", most=MAX_BYTES // 2**20)
                raise InvalidRequest(Problem(NAME, Message("a larger one"), allowed))
            return from_json(data.decode("utf-8-sig", "replace"), checked=False)
        except InvalidRequest as error:
            # To write over it would lose what somebody has edited.
            where = Message("The file {name} in the outputs folder cannot be read", name=NAME)
            raise InvalidRequest(*(_in_file(problem, where) for problem in error.problems)) from None

    def _write(self, visitor: str | None, presets: Presets) -> None:
        path = self._path(visitor)
        data = to_json(presets).encode()
        most = MAX_BYTES if visitor is None else MAX_BYTES_OF_OTHERS
        if len(data) > most:
            allowed = Message("presets of at most {most} KiB together: delete one first", most=f"{most // 1024:,}")
            raise InvalidRequest(Problem("name", Message("one preset more"), allowed))
        path.parent.mkdir(parents=True, exist_ok=True)
        if visitor is not None and not path.exists() and sum(1 for _ in path.parent.iterdir()) >= MAX_FILES:
            allowed = Message("nothing more: this studio has presets of {most} guests", most=f"{MAX_FILES:,}")
            raise InvalidRequest(Problem("name", Message("a first preset"), allowed))
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        part.write_bytes(data)
        part.replace(path)


def _in_file(problem: Problem, where: Message) -> Problem:
    return Problem(Message("{where}: {field}", where=where, field=problem.field), problem.value, problem.allowed)
