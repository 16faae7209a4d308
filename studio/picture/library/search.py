"""Who asks the library, what they look for, and the condition of the index that stands for both."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from studio.picture.library import database

Condition = tuple[str, tuple[Any, ...]]  # of SQL, on the table `pictures p`, and its values


@dataclass(frozen=True)
class Viewer:
    """Who asks. `person`: the visitor; "" for the owner of the studio, who sees all."""

    person: str = ""

    @property
    def digest(self) -> str:
        """What the index knows them by."""
        return hashlib.sha256(self.person.encode("utf-8", "surrogatepass")).hexdigest() if self.person else ""


OWNER = Viewer()


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is looked for. `text` as a person types it; "" and None: anything. `since`, `until`: seconds since 1970.
    `width`, `height`: pixels. `cells`: the cells of comparisons instead of pictures."""

    text: str = ""
    model: str = ""
    lora: str = ""
    board: str = ""
    rating: int = 0
    since: float | None = None
    until: float | None = None
    width: int | None = None
    height: int | None = None
    cells: bool = False


def scope_of(viewer: Viewer) -> Condition:
    """What they may see."""
    return ("1", ()) if not viewer.person else ("p.owner = ?", (viewer.digest,))


def condition_of(viewer: Viewer, search: Search, newest: int | None = None) -> Condition:
    """What they may see of what they look for; `newest`: no picture with a number above it."""
    match = database.match_of(search.text)
    conditions: list[Condition | None] = [
        scope_of(viewer),
        ("p.cell = ?", (int(search.cells),)),
        ("p.number IN (SELECT rowid FROM words WHERE words MATCH ?)", (match,)) if match else None,
        ("p.model = ?", (search.model,)) if search.model else None,
        ("instr(char(10) || p.loras || char(10), char(10) || ? || char(10))", (search.lora,)) if search.lora else None,
        ("p.saved >= ?", (search.since,)) if search.since is not None else None,
        ("p.saved < ?", (search.until,)) if search.until is not None else None,
        ("p.width = ?", (search.width,)) if search.width else None,
        ("p.height = ?", (search.height,)) if search.height else None,
        ("p.id IN (SELECT picture FROM ratings WHERE person = ? AND rating >= ?)", (viewer.digest, search.rating))
        if search.rating
        else None,
        ("p.id IN (SELECT picture FROM boards WHERE person = ? AND board = ?)", (viewer.digest, search.board))
        if search.board
        else None,
        ("p.number <= ?", (newest,)) if newest is not None else None,
    ]
    present = [one for one in conditions if one is not None]
    return " AND ".join(sql for sql, _ in present), tuple(value for _, values in present for value in values)
