"""Errors in the log are short, so that no visitor can fill it."""

from __future__ import annotations

import logging
import traceback
from types import TracebackType

MAX_LINES = 12  # of a traceback: the last calls, and the message
MAX_MESSAGE = 200  # characters
_ErrorInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def in_one_line(error: BaseException) -> str:
    """The error's type, its message (printable, shortened) and the last places of its traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    places = [f"{_short(frame.filename)}:{frame.lineno}" for frame in (*frames[-1:], *reversed(own[-2:]))]
    message = ascii(str(error)[:MAX_MESSAGE])
    return f"{type(error).__name__} {message} at {' < '.join(dict.fromkeys(places))}"


class BriefFormatter(logging.Formatter):
    """A formatter whose tracebacks have at most MAX_LINES lines, and one line where the same was written before."""

    def __init__(self, fmt: str) -> None:
        super().__init__(fmt)
        self._known_places: set[str] = set()

    def formatException(self, ei: _ErrorInfo) -> str:  # noqa: N802  # logging's own name
        error = ei[1]
        if error is None:
            return ""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}" if frames else type(error).__name__
        if place in self._known_places:
            return f"  {in_one_line(error)} (as written above)"
        self._known_places.add(place)
        lines = super().formatException(ei).splitlines()
        return "\n".join(line[:500] for line in (lines if len(lines) <= MAX_LINES else ["  ...", *lines[-MAX_LINES:]]))


def _short(filename: str) -> str:
    return "/".join(filename.replace("\\", "/").split("/")[-2:])
