"""The colours of a ControlNet's segmentation maps as its folder states them (`palette.json`), so that a map can be
painted.

    {"nothing": "#000000", "anything": "#ffffff", "objects": {"fox": "#c000ff", ...}}

A row is (name, colour); the first is what is where nothing is, under the name "", the second (if any) an object that
the prompt names, under "*". Strangers write such files too: whatever is not as expected is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MOST_ROWS, MOST_LETTERS = 300, 60
NOTHING, ANYTHING = "", "*"

Row = tuple[str, str]


def palette(world: Mapping[str, object]) -> tuple[Row, ...]:
    """The rows of a palette.json; () when it names no colour for nothing or none for any object."""
    nothing, anything, objects = world.get("nothing"), world.get("anything"), world.get("objects")
    if not _is_color(nothing) or not isinstance(objects, dict):
        return ()
    first = [(NOTHING, str(nothing))] + ([(ANYTHING, str(anything))] if _is_color(anything) else [])
    rows = [(name, str(color)) for name, color in objects.items() if 0 < len(name) <= MOST_LETTERS and _is_color(color)]
    return tuple([*first, *rows][:MOST_ROWS]) if rows else ()


def _is_color(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"#[0-9a-f]{6}", value) is not None
