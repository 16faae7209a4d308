"""Who asks the library: the owner of the studio sees all of this machine's pictures, a guest or a program its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from starlette.requests import Request

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.picture.library.library import MAX_PAGE
from studio.picture.library.search import OWNER, Search, Viewer
from studio.web.answers import is_owner
from studio.web.owner import HEADER

MAX_SEARCH_CHARACTERS = 500
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_CURSOR = re.compile(r"(-?\d{1,12}(?:\.\d{1,9})?)-(\d{1,12})")
_NUMBER = re.compile(r"\d{1,9}")


def viewer_of(request: Request) -> Viewer:
    """Who asks."""
    return OWNER if is_owner(request) else Viewer(request.headers[HEADER])


def search_of(values: Mapping[str, str]) -> Search:
    """A search from the parameters of an address: `q`, `model`, `lora`, `board`, `rating`, `from` and `to` (days),
    `size`, `cells`. Raises InvalidRequest with every problem."""
    problems: list[Problem] = []

    def read(name: str, allowed: str, reader: Any) -> Any:
        text = values.get(name, "")
        if not text:
            return None
        try:
            return reader(text)
        except (ValueError, TypeError, OverflowError, OSError):
            problems.append(Problem(name, quoted_value(text), allowed))
            return None

    day = Message("a day as 2026-11-29")
    size = read("size", Message("a size as 512x768"), lambda text: _size(text))
    rating = read("rating", Message("whole numbers from {low} to {high}", low=0, high=5), _rating)
    text = values.get("q", "")
    if len(text) > MAX_SEARCH_CHARACTERS:
        allowed = Message("text of at most {most} characters", most=MAX_SEARCH_CHARACTERS)
        problems.append(Problem("q", Message("a text of {count} characters", count=len(text)), allowed))
    search = Search(
        text=text,
        model=values.get("model", ""),
        lora=values.get("lora", ""),
        board=values.get("board", ""),
        rating=rating or 0,
        since=read("from", day, lambda text: _midnight(date.fromisoformat(text))),
        until=read("to", day, lambda text: _midnight(date.fromisoformat(text) + timedelta(days=1))),
        width=size[0] if size else None,
        height=size[1] if size else None,
        cells=values.get("cells", "") == "1",
    )
    if problems:
        raise InvalidRequest(*problems)
    return search


def number_of(values: Mapping[str, str], name: str, default: int, most: int = 999_999_999, *, least: int = 0) -> int:
    """A whole number among the parameters. Raises InvalidRequest."""
    text = values.get(name, "")
    if not text:
        return default
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        allowed = Message("whole numbers from {low} to {high}", low=least, high=most)
        raise InvalidRequest(Problem(name, quoted_value(text), allowed))
    return int(text)


def limit_of(values: Mapping[str, str], default: int) -> int:
    """How many pictures are asked for. Raises InvalidRequest."""
    return number_of(values, "limit", default, MAX_PAGE)


def cursor_text(place: tuple[float, int]) -> str:
    """A place in time as programs hand it back."""
    return f"{place[0]:.9f}-{place[1]}"


def cursor_of(values: Mapping[str, str]) -> tuple[float, int] | None:
    """The place that a cursor names. Raises InvalidRequest."""
    text = values.get("cursor", "")
    match = _CURSOR.fullmatch(text)
    if text and match is None:
        raise InvalidRequest(Problem("cursor", quoted_value(text), Message("what the page before answered as next")))
    return (float(match[1]), int(match[2])) if match is not None else None


def _size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError
    return int(match[1]), int(match[2])


def _rating(text: str) -> int:
    if text not in "012345" or len(text) != 1:
        raise ValueError
    return int(text)


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day).astimezone().timestamp()
