"""What programs are answered with about the library, and the bodies that they send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.picture.library.library import MAX_TOGETHER, Shown
from studio.picture.library.marks import MAX_BOARD_CHARACTERS, MAX_RATING
from studio.picture.library.reading import Facts
from studio.web.api.errors import ROOT
from studio.web.api.forms import Form

MAX_LIMIT = 200  # pictures of one page
LIMIT = 50

_PICTURES: Mapping[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_TOGETHER,
    "items": {"type": "string"},
    "description": "the ids of pictures; one that is not yours, or gone, is left out of the answer's `done`",
}
_BOARD: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_BOARD_CHARACTERS}

# By operation: the fields of its body, and which of them must be there.
BODIES: Mapping[str, tuple[Mapping[str, Mapping[str, Any]], tuple[str, ...]]] = {
    "library_rate": (
        {"pictures": _PICTURES, "rating": {"type": "integer", "minimum": 0, "maximum": MAX_RATING}},
        ("pictures", "rating"),
    ),
    "library_board": (
        {
            "pictures": _PICTURES,
            "board": _BOARD,
            "on": {"type": "boolean", "default": True, "description": "false takes them off"},
        },
        ("pictures", "board"),
    ),
    "library_change_board": (
        {
            "board": _BOARD,
            "to": {
                "type": ["string", "null"],
                "maxLength": MAX_BOARD_CHARACTERS,
                "default": None,
                "description": "its new name; null removes the board, and its pictures stay",
            },
        },
        ("board",),
    ),
    "library_delete": ({"pictures": _PICTURES}, ("pictures",)),
    "library_restore": ({"pictures": _PICTURES}, ("pictures",)),
}

# The parameters of a search; empty ones count as left out.
SEARCH: Mapping[str, Mapping[str, Any]] = {
    "q": {"type": "string", "description": 'words of the prompt, "in this order", -without'},
    "model": {"type": "string"},
    "lora": {"type": "string"},
    "board": {"type": "string"},
    "rating": {"type": "integer", "minimum": 0, "maximum": MAX_RATING, "description": "so many stars or more"},
    "size": {"type": "string", "pattern": r"^\d{1,5}x\d{1,5}$"},
    "from": {"type": "string", "format": "date"},
    "to": {"type": "string", "format": "date", "description": "this day and those before it"},
    "cells": {"type": "integer", "enum": [0, 1], "description": "1: the cells of comparisons instead"},
    "cursor": {"type": "string", "description": "`next` of the page before"},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": LIMIT},
}


class LibraryPicture(Form):
    """A picture of the library. `saved`: seconds since 1970. `foreign`: of another program's folder, which can only be
    looked at. `prompt`: at most 4,000 characters."""

    id: str
    url: str
    thumbnail: str
    width: int
    height: int
    saved: float
    prompt: str
    model: str
    loras: tuple[str, ...]
    program: str
    rating: int
    foreign: bool


class LibraryPage(Form):
    """Pictures, newest first. `next`: the cursor of the page after, null on the last. `complete`: false while the
    folders are still being looked through."""

    pictures: tuple[LibraryPicture, ...]
    next: str | None
    total: int
    complete: bool


class LibraryOne(Form):
    """A picture with all that its file says: `settings` by the names of the program that made it."""

    picture: LibraryPicture
    negative_prompt: str
    settings: dict[str, Any]
    boards: tuple[str, ...]
    file: str


class BoardForm(Form):
    """A board, and how many pictures lie on it."""

    board: str
    pictures: int


class LibraryChoices(Form):
    """What a search can be made of."""

    models: tuple[str, ...]
    loras: tuple[str, ...]
    sizes: tuple[str, ...]
    boards: tuple[BoardForm, ...]


class LibraryChange(Form):
    """The ids of the pictures that were changed. `days`: for how long a deleted one can be restored, at least."""

    done: tuple[str, ...]
    days: int | None = None


def picture_form(shown: Shown) -> LibraryPicture:
    """A picture as a page has it."""
    row, address = shown.row, f"{ROOT}/library/pictures/{shown.row.id}"
    return LibraryPicture(
        id=row.id,
        url=f"{address}/file",
        thumbnail=f"{address}/thumbnail",
        width=row.width,
        height=row.height,
        saved=row.saved,
        prompt=row.prompt,
        model=row.model,
        loras=row.loras,
        program=row.program,
        rating=shown.rating,
        foreign=shown.foreign,
    )


def one_form(shown: Shown, facts: Facts, boards: list[str]) -> LibraryOne:
    """A picture with what its file says."""
    row = shown.row
    return LibraryOne(
        picture=picture_form(shown),
        negative_prompt=facts.negative_prompt,
        settings=dict(facts.info if facts.info is not None else facts.settings),
        boards=tuple(boards),
        file=f"{row.folder}/{row.name}" if row.folder else row.name,
    )
