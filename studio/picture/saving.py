"""How pictures are saved, as the owner has chosen it: in a file beside them, which every server of the folder reads."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from studio.asked.messages import Message, listed
from studio.asked.problems import InvalidRequest, Problem, one_of, quoted_value
from studio.picture.file_formats import FILE_FORMATS, FORMAT_NAMES, MAX_QUALITY, Encoding, FormatName
from studio.picture.naming import DEFAULT_PATTERN, parse_pattern

logger = logging.getLogger(__name__)

NAME = ".saving.json"
VERSION = 1  # of the file


@dataclass(frozen=True, kw_only=True)
class Saving:
    """What the owner chooses of the files that pictures are saved as."""

    format: FormatName = "png"
    quality: int = 90
    lossless: bool = False
    pattern: str = DEFAULT_PATTERN

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Saving:
        """From plain values; what is absent is as usual. Raises InvalidRequest with every problem."""
        known = {field.name for field in fields(cls)}
        problems = [
            Problem(name, quoted_value(name), Message("one of {choices}", choices=listed(sorted(known))))
            for name in values
            if name not in known
        ]
        problems += encoding_problems(values)
        try:
            parse_pattern(values.get("pattern", DEFAULT_PATTERN))
        except InvalidRequest as error:
            problems += error.problems
        if problems:
            raise InvalidRequest(*problems)
        return cls(**values)  # type: ignore[arg-type]

    @property
    def encoding(self) -> Encoding:
        """How a picture becomes a file."""
        return Encoding(format=self.format, quality=self.quality, lossless=self.lossless)

    def to_dict(self) -> dict[str, object]:
        """Plain values, as `parse` takes them."""
        return asdict(self)


USUAL = Saving()


def encoding_problems(values: Mapping[str, object]) -> list[Problem]:
    """What is wrong with `format`, `quality` and `lossless`, as far as they are there."""
    problems = []
    if values.get("format", "png") not in FORMAT_NAMES:
        problems.append(
            Problem(
                "format",
                quoted_value(values["format"]),
                one_of({name: one.label for name, one in FILE_FORMATS.items()}),
            )
        )
    quality = values.get("quality", 90)
    if type(quality) is not int or not 1 <= quality <= MAX_QUALITY:
        numbers = Message("whole numbers from {low} to {high}", low=1, high=MAX_QUALITY)
        problems.append(Problem("quality", quoted_value(quality), numbers))
    if not isinstance(values.get("lossless", False), bool):
        problems.append(Problem("lossless", quoted_value(values["lossless"]), Message("true or false")))
    return problems


class SavingFile:
    """The choice of one outputs folder. Any thread; read anew when the file has changed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._saving = Saving()

    @property
    def path(self) -> Path:
        """Where the choice stands, as `as_text` writes it."""
        return self._path

    def now(self) -> Saving:
        """The owner's choice; what is usual where there is none, or none that can be read."""
        with self._lock:
            try:
                stamp = _stamp(self._path)
                if stamp != self._stamp:
                    self._stamp, self._saving = stamp, _read(self._path)
            except OSError:
                self._stamp, self._saving = None, Saving()
            return self._saving


def as_text(saving: Saving) -> str:
    """What the file holds."""
    return json.dumps({"version": VERSION} | saving.to_dict(), indent=1)


def _stamp(path: Path) -> tuple[int, ...]:
    facts = os.stat(path)
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def _read(path: Path) -> Saving:
    try:
        values = json.loads(path.read_bytes())
        if values.pop("version") > VERSION:
            raise ValueError("it is a newer studio's")
        return Saving.parse(values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        logger.warning("How pictures are saved cannot be read (%s): they are saved as usual.", error)
        return Saving()
