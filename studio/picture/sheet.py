"""A comparison as files: one labelled picture that holds every setting, and a table of timings.

Pillow only. The sheet's metadata holds the whole comparison as JSON, so that it can be made again. Its `parameters`
describe the same grid in AUTOMATIC1111's words.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from studio.answered.events import CellEvent, Failed, Finished, Picture
from studio.asked.axes import A1111_AXES, Axis, values_text
from studio.asked.compare import Comparison, comparison_from_dict, prompt_notices
from studio.asked.problems import MAX_IMAGE_BYTES
from studio.picture import chunks, infotext, metadata
from studio.picture.file_formats import OWN_CHUNK, PILLOW_FORMATS, png_info

MAX_SIDE = 12_000  # pixels of the sheet; larger grids are made smaller
LARGEST_CELL = 512
SMALLEST_CELL = 96  # below, nobody could read the labels
_INK, _QUIET, _PAPER, _EMPTY, _BAD = "#1b1b1f", "#5c5c66", "#ffffff", "#f1f0ec", "#b3261e"
_GAP = 6


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What a cell has come to: its picture and that picture's file, or a sentence."""

    picture: Picture | None = None
    file: Path | None = None
    message: str = ""


def png(comparison: Comparison, cells: Mapping[int, CellResult], labels: Mapping[str, str]) -> bytes:
    """The sheet as the bytes of a PNG file. `labels` are the axes' names as the page says them, by field."""
    side = _cell_size(comparison, cells)
    font, small = _font(max(13, side[0] // 14)), _font(max(11, side[0] // 18))
    line = font.size + 8
    left = _GAP + (_width(_axis_labels(comparison.y, labels), font) + _GAP * 2 if comparison.y is not None else 0)
    width = left + comparison.columns * (side[0] + _GAP)
    header = _wrap(_header(comparison), small, width - 2 * _GAP)
    top = _GAP + len(header) * (small.size + 5) + _GAP + line
    height = top + comparison.rows * (side[1] + _GAP)
    sheet = Image.new("RGB", (int(width), int(height)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, text in enumerate(header):
        pen.text((_GAP, _GAP + number * (small.size + 5)), text, _QUIET, small)
    for column, text in enumerate(_axis_labels(comparison.x, labels)):
        x = left + column * (side[0] + _GAP)
        pen.text((x, top - line), _shorten(text, font, side[0]), _INK, font)
    if comparison.y is not None:
        for row, text in enumerate(_axis_labels(comparison.y, labels)):
            pen.text((_GAP, top + row * (side[1] + _GAP) + 2), text, _INK, font)
    for index in range(len(comparison)):
        column, row = comparison.place(index)
        corner = (int(left + column * (side[0] + _GAP)), int(top + row * (side[1] + _GAP)))
        _draw_cell(sheet, pen, corner, side, cells.get(index, CellResult()), small)
    png_file = io.BytesIO()
    sheet.save(png_file, "PNG", pnginfo=_info(comparison), compress_level=6)
    return png_file.getvalue()


def read(data: bytes) -> Comparison | None:
    """The comparison that a sheet was made of; None for any other file.

    Raises InvalidRequest for settings that the studio would not run, or that need a picture to start from or for a
    control, which no sheet holds."""
    if len(data) > MAX_IMAGE_BYTES or not data.startswith(chunks.SIGNATURE):
        return None
    try:
        values = json.loads(chunks.texts(data, limit=infotext.MAX_TEXT_BYTES).get(OWN_CHUNK, ""))
    except (ValueError, RecursionError, chunks.BrokenPng):
        return None
    if not isinstance(values, dict) or values.get("kind") != "surface":
        return None
    return comparison_from_dict(values)


def timings(comparison: Comparison, cells: Mapping[int, CellEvent]) -> str:
    """A CSV table: one line a cell with its settings, what became of it and how long it took."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    axes = [axis.field for axis in comparison.axes]
    table.writerow(
        ["cell", *[f"{k}_{f}" for k, f in zip("xy", axes)], "state", "seed", "evaluations", "seconds", "error"]
    )
    for index in range(len(comparison)):
        values = [_safe(axis.label(place)) for axis, place in zip(comparison.axes, comparison.place(index))]
        event = cells[index].event if index in cells else None
        seed: object = ""
        evaluations: object = ""
        seconds: object = ""
        error = comparison.refusal(index) or ""
        if isinstance(event, Finished):
            info = event.pictures[0].info
            seed, evaluations, seconds = event.pictures[0].seed, info.get("evaluations", ""), info.get("seconds", "")
        elif isinstance(event, Failed):
            error = event.message
        state = "impossible" if comparison.refusal(index) else type(event).__name__.lower() if event else "waiting"
        table.writerow([index, *values, state, seed, evaluations, seconds, _safe(error)])
    return out.getvalue()


def _safe(text: str) -> str:
    """Spreadsheets take a cell that begins like a formula for one; a quote in front keeps it text."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ------------------------------------------------------------------------------------------------------- drawing


def _cell_size(comparison: Comparison, cells: Mapping[int, CellResult]) -> tuple[int, int]:
    """Width and height of every cell: the largest picture's, within what the whole sheet may be."""
    sizes = [(c.picture.width, c.picture.height) for c in cells.values() if c.picture is not None] or [(128, 128)]
    width, height = max(w for w, _ in sizes), max(h for _, h in sizes)
    most = min(LARGEST_CELL, MAX_SIDE // comparison.columns - _GAP, MAX_SIDE // comparison.rows - _GAP)
    scale = max(min(1.0, most / max(width, height)), SMALLEST_CELL / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _draw_cell(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    side: tuple[int, int],
    cell: CellResult,
    font: ImageFont.FreeTypeFont,
) -> None:
    if cell.file is not None:
        try:
            with Image.open(cell.file, formats=PILLOW_FORMATS) as source:
                picture = source.convert("RGB")
        except (OSError, ValueError, SyntaxError):
            picture = Image.new("RGB", side, _EMPTY)
        scale = min(side[0] / picture.width, side[1] / picture.height)
        if scale != 1:
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        place = (corner[0] + (side[0] - picture.width) // 2, corner[1] + (side[1] - picture.height) // 2)
        sheet.paste(picture, place)
        return
    pen.rectangle((*corner, corner[0] + side[0] - 1, corner[1] + side[1] - 1), fill=_EMPTY)
    for number, text in enumerate(_wrap(cell.message, font, side[0] - 2 * _GAP)[: side[1] // (font.size + 4)]):
        pen.text((corner[0] + _GAP, corner[1] + _GAP + number * (font.size + 4)), text, _BAD, font)


def _axis_labels(axis: Axis | None, labels: Mapping[str, str]) -> list[str]:
    if axis is None:
        return []
    return [f"{labels.get(axis.field, axis.field)} {axis.label(k)}" for k in range(len(axis.values))]


def _header(comparison: Comparison) -> str:
    base, axis_fields = comparison.base, {axis.field for axis in comparison.axes}
    facts = {
        "seed": "seed {}",
        "num_inference_steps": "{} steps",
        "guidance_scale": "guidance {:g}",
        "scheduler": "{}",
        "checkpoint": "{}",
    }
    values = {name: getattr(base, name) for name in facts if name not in axis_fields}
    settings = [facts[name].format(value) for name, value in values.items() if value is not None]
    return "  ·  ".join([base.prompt.replace("\n", " ") or "(no prompt)", *settings])


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _width(texts: list[str], font: ImageFont.FreeTypeFont) -> float:
    return max((font.getlength(text) for text in texts), default=0)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """The text in lines of at most this width; a word that is too long is shortened."""
    lines = [""]
    for word in text[:2000].split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_shorten(word, font, width))
    return [line for line in lines if line] or [""]


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


# ------------------------------------------------------------------------------------------------------ metadata


def _info(comparison: Comparison) -> PngInfo:
    first = comparison.resolve_cell(comparison.possible[0])
    info = metadata.picture_info(first, width=first.width, height=first.height)
    script = {"Script": "X/Y/Z plot"}
    for name, axis in zip("XY", comparison.axes):
        script |= {f"{name} Type": A1111_AXES[axis.field], f"{name} Values": json.dumps(values_text(axis.values))}
    pairs = ", ".join(f"{key}: {value}" for key, value in script.items())
    own = comparison.to_dict()
    notes = prompt_notices(comparison)
    return png_info(own | ({"prompt_notes": notes} if notes else {}), f"{infotext.parameters_text(info)}, {pairs}")
