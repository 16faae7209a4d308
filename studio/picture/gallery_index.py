"""The index of the outputs folder: one line of JSON a picture, added by any number of servers, never changed.

    {"version": 2, "id": …, "owner": sha256 of the owner, "file": …, "part_of": …, "job": …}
    {"version": 2, "saving": {the same}, "sha256": of the file's bytes}

A line whose file is named as before the owner could choose names is of version 1.

The second kind is written just before a file gets its name, so that a picture whose server is killed between the two is
found at the next start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from studio.picture.file_formats import ENDINGS

logger = logging.getLogger(__name__)

INDEX_NAME = "index.jsonl"
INDEX_VERSION = 2  # of a line; one without it is of 0.1.0, which had the form of version 1
MAX_FOLDERS = 8  # of a file's path

_FILE_OF_1 = re.compile(r"(?:compare/)?\d{4}-\d{2}-\d{2}/\d{5,}-\d+\.png")  # in a line of version 1
_PART = re.compile(r"[^./\\:*?\"<>|\x00-\x1f][^/\\:*?\"<>|\x00-\x1f]{0,254}")  # of a path that leads nowhere else
_PICTURE_ID = re.compile(r"[0-9a-f]{32}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A picture. `file` is relative to the outputs folder, with forward slashes."""

    id: str
    owner: str  # sha256 of the owner's id: whoever reads the file cannot become the owner
    file: str
    part_of: str = ""  # the job whose part it is: not listed among the pictures
    job: str = ""  # the run that made it, where it is no part


class Index:
    """The entries of one outputs folder. Whoever uses it from several threads holds a lock."""

    def __init__(self, folder: Path) -> None:
        self.entries: dict[str, Entry] = {}  # in the order of saving
        self.by_file: dict[str, Entry] = {}
        self._names: set[str] = set()  # of all files ever saved, in the form in which no two may be alike
        self._folder = folder
        self._read = 0  # bytes that were read already
        self._saving: dict[str, tuple[Entry, str]] = {}  # announced, and not there: with the file's sha256

    def refresh(self) -> None:
        """Read what was added since the last time, by whichever server."""
        try:
            with (self._folder / INDEX_NAME).open("rb") as index:
                if os.fstat(index.fileno()).st_size < self._read:  # somebody cleared the folder
                    self._read = 0
                index.seek(self._read)
                lines = index.read()
        except OSError:
            return
        complete = lines[: lines.rfind(b"\n") + 1]  # a last line without its end is torn, or still being written
        self._read += len(complete)
        for line in complete.splitlines():
            entry, sha256 = parse(line)
            if entry is not None and sha256:
                self._saving[entry.id] = entry, sha256
            elif entry is not None:
                self._saving.pop(entry.id, None)
                self.entries.setdefault(entry.id, entry)
                self.by_file[entry.file] = entry
                self._names.add(entry.file.casefold())

    def is_used(self, file: str) -> bool:
        """Whether a picture has had this name, in capitals or not. A deleted picture's name is not free: its id must
        never name another picture."""
        return file.casefold() in self._names

    def is_announced(self, file: str) -> bool:
        """Whether a picture gets this name just now, or its server was killed then."""
        return any(entry.file == file for entry, _ in self._saving.values())

    def names_of(self, folder: str) -> list[str]:
        """The names of all files that were ever saved in a folder."""
        return [file.rpartition("/")[2] for file in self.by_file if file.rpartition("/")[0] == folder]

    def append(self, entry: Entry) -> None:
        """Add a picture that lies complete under its name. Raises OSError."""
        self._write(_values(entry), to_disk=True)

    def announce(self, entry: Entry, data: memoryview) -> None:
        """Say that a complete file gets its name now, unless the name is taken. A folder that cannot be written says
        so when the file is."""
        with suppress(OSError):
            self._write({"saving": _values(entry), "sha256": hashlib.sha256(data).hexdigest()}, to_disk=False)

    def recover(self) -> None:
        """Add the pictures that were announced and have their name, but whose server was killed before it added
        them."""
        self.refresh()
        for entry, sha256 in list(self._saving.values()):
            file = self._folder / entry.file
            with suppress(OSError):
                if file.resolve() == file and hashlib.sha256(file.read_bytes()).hexdigest() == sha256:
                    self.append(entry)
        self.refresh()

    def _write(self, values: dict[str, Any], *, to_disk: bool) -> None:
        # One write, begun by a newline: a line torn by a crash, ours or another server's, never spoils the next one.
        file = values.get("saving", values)["file"]
        version = 1 if _FILE_OF_1.fullmatch(file) else INDEX_VERSION  # a studio of before reads what it understands
        line = json.dumps({"version": version} | values)
        with (self._folder / INDEX_NAME).open("ab") as index:
            index.write(f"\n{line}\n".encode())
            index.flush()
            if to_disk:
                os.fsync(index.fileno())


def _values(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in asdict(entry).items() if value}


def parse(line: bytes) -> tuple[Entry | None, str]:
    """A line of the index, and the sha256 of a file that is only announced. (None, "") for one that is torn, foreign,
    newer, or points anywhere but to a picture of ours."""
    if not line.strip():
        return None, ""
    try:
        values = json.loads(line)
        if values.get("version", 0) > INDEX_VERSION:
            _warn_of_newer(values["version"])
            return None, ""
        sha256 = values.get("sha256", "") if "saving" in values else ""
        values = values.get("saving", values)
        entry = Entry(
            id=values["id"],
            owner=values["owner"],
            file=values["file"],
            part_of=values.get("part_of", ""),
            job=values.get("job", ""),
        )
        good = (
            _PICTURE_ID.fullmatch(entry.id)
            and _HASH.fullmatch(entry.owner)
            and _leads_to_a_picture(entry.file)
            and isinstance(entry.part_of, str)
            and isinstance(entry.job, str)
            and (not sha256 or _HASH.fullmatch(sha256))
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, ""
    return (entry, sha256) if good else (None, "")


def _leads_to_a_picture(file: str) -> bool:
    """Whether a path stays below the outputs folder, in no hidden place, and ends as our pictures do."""
    parts = file.split("/")
    return len(parts) <= MAX_FOLDERS + 1 and file.endswith(ENDINGS) and all(map(_PART.fullmatch, parts))


@cache
def _warn_of_newer(version: int) -> None:
    logger.warning(
        "Pictures of a newer studio (%s version %d, not %d) are left alone.", INDEX_NAME, version, INDEX_VERSION
    )
