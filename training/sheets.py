"""Many small pictures with their prompts and verdicts on one sheet."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIDE = 128
GAP = 6
LINES = 3
LETTERS = 27  # that fit a line
LINE = 11
QUALITY = 78  # of JPEG: all sheets of the docs together stay below 2 MB
INK, QUIET, GOOD, BAD = "#222222", "#777777", "#2a9d4a", "#d0342c"


@dataclass(frozen=True)
class Cell:
    """A picture of 128 x 128, what was asked, what the judge says, and whether that agrees (None: not asked)."""

    picture: Image.Image
    prompt: str
    verdict: str
    right: bool | None = None


def save_sheet(path: Path, cells: Sequence[Cell], columns: int = 10) -> None:
    """Writes the cells row by row, as JPEG or whatever the path ends in."""
    height = SIDE + (LINES + 1) * LINE + GAP
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * (SIDE + GAP) + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(9.5)
    for index, cell in enumerate(cells):
        left, top = GAP + index % columns * (SIDE + GAP), GAP + index // columns * height
        sheet.paste(cell.picture, (left, top))
        if cell.right is not None:
            draw.rectangle((left, top + SIDE, left + SIDE - 1, top + SIDE + 1), fill=GOOD if cell.right else BAD)
        lines = textwrap.wrap(cell.prompt, LETTERS)[: LINES - 1]
        for line, (text, color) in enumerate([*((text, INK) for text in lines), (cell.verdict[: LETTERS * 2], QUIET)]):
            for part, words in enumerate(textwrap.wrap(text, LETTERS) or [""]):
                draw.text((left, top + SIDE + 2 + (line + part) * LINE), words, fill=color, font=font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=QUALITY, optimize=True)
