"""Wildcard files: `wildcards/NAME.txt` beside a models folder, of whose lines `__NAME__` in a prompt is one.

Names are `[\\w/-]+`, so that none leads out of the folder; a link may, and is not followed there.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

from studio.asked.guest_rules import Rules
from studio.asked.messages import Message
from studio.asked.problems import clean_text
from studio.asked.rows import MAX_PROMPT_CHARACTERS
from studio.asked.template import NoSuchLines, NoWildcards, Wildcards

FOLDER = "wildcards"
ENDING = ".txt"
MAX_BYTES = 2**22  # of one file
MAX_FILES = 10_000  # that are listed
NOT_FOR_GUESTS = Message("is read as words: the owner of this studio keeps the wildcard files to themselves.")
_NAME = re.compile(r"[\w-]+(?:/[\w-]+)*")


class WildcardFiles:
    """Implements `studio.asked.template.Wildcards` over the folders beside the models folders, the first one first. A
    file is read again when it has changed. Safe for several threads."""

    def __init__(self, models_dirs: Sequence[Path]) -> None:
        self._folders = tuple(dict.fromkeys(Path(folder).absolute().parent / FOLDER for folder in models_dirs))
        self._lines: dict[Path, tuple[Hashable, tuple[str, ...]]] = {}

    def for_visitor(self, rules: Rules) -> Wildcards:
        """The same as far as the rules let their visitor use it."""
        return self if rules.wildcards else NoWildcards(NOT_FOR_GUESTS)

    def lines(self, name: str) -> Sequence[str]:
        """See `Wildcards.lines`: neither empty ones nor those that begin with #."""
        if not _NAME.fullmatch(name):
            raise NoSuchLines(Message("is read as words: no wildcard file has this name."))
        for folder in self._folders:
            path = _within(folder, folder / f"{name}{ENDING}")
            if path is not None:
                return self._read(path)
        raise NoSuchLines(Message("is read as words: no wildcard file has this name."))

    def names(self) -> tuple[str, ...]:
        """What can be named, in alphabetical order."""
        names = {
            path.relative_to(folder).with_suffix("").as_posix() for folder in self._folders for path in _files(folder)
        }
        return tuple(sorted(name for name in names if _NAME.fullmatch(name)))

    def _read(self, path: Path) -> Sequence[str]:
        try:
            stat = path.stat()
            version = (stat.st_size, stat.st_mtime_ns)
            if stat.st_size > MAX_BYTES:
                most = MAX_BYTES // 2**20
                raise NoSuchLines(Message("is read as words: its file is larger than {most} MiB.", most=most))
            known = self._lines.get(path)
            if known is None or known[0] != version:
                text = clean_text(path.read_bytes().decode("utf-8-sig", "replace"))
                known = self._lines[path] = (version, _lines_of(text))
        except OSError:
            raise NoSuchLines(Message("is read as words: its file cannot be read.")) from None
        if not known[1]:
            raise NoSuchLines(Message("is read as words: its file has no lines."))
        return known[1]


def _lines_of(text: str) -> tuple[str, ...]:
    lines = (line.strip() for line in text.split("\n"))
    return tuple(line for line in lines if line and not line.startswith("#") and len(line) <= MAX_PROMPT_CHARACTERS)


def _within(folder: Path, path: Path) -> Path | None:
    """The file that a path means, where it is one in this folder and no link leads out of it."""
    try:
        real = path.resolve(strict=True)
        return real if real.is_relative_to(folder.resolve()) and real.is_file() else None
    except (OSError, RuntimeError):
        return None


def _files(folder: Path) -> Iterator[Path]:
    for number, path in enumerate(folder.rglob(f"*{ENDING}")):
        if number >= MAX_FILES:
            return
        if _within(folder, path) is not None:
            yield path
