"""One evaluation as a captioned picture: panes with what they are, a line of numbers, and the noise schedule with a
cursor that shows how far the run is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from studio.asked.quantities import DEFAULT_QUANTITIES, QUANTITIES
from studio.export.replay import Replay

PANE = 256  # pixels, the shorter side at least
COLUMNS = 4  # panes side by side
_PAPER, _INK, _QUIET, _ACCENT, _LINE_COLOUR = (
    (250, 249, 246),
    (29, 29, 31),
    (110, 110, 115),
    (46, 110, 180),
    (220, 219, 215),
)
_CURSOR = (233, 162, 59)
_GAP, _LINE, _CURVE = 12, 22, 44


def frames(replay: Replay, quantities: Sequence[str] = DEFAULT_QUANTITIES, how: str = "fast") -> Iterator[Image.Image]:
    """Every evaluation in turn as a picture, all of one size, with even sides, as video needs them, and once more the
    last one with the finished picture in the place of its predicted x0. `how` as `Replay.quantity_picture`. A caption
    that is wider than the picture takes more lines."""
    factor = max(1, -(-PANE // min(replay.run["width"], replay.run["height"])))
    columns = min(COLUMNS, len(quantities))
    font = _font(14)
    across = columns * (replay.run["width"] * factor + _GAP) - _GAP
    captions = [_lines(caption(replay, index), font, across) for index in range(len(replay))]
    most = max((len(lines) for lines in captions), default=1)
    for index, lines in enumerate(captions):
        yield _frame(replay, index, quantities, how, factor, lines + [""] * (most - len(lines)))
    finished_picture = replay.finished_picture
    if finished_picture is not None and "denoised" in quantities:
        lines = captions[-1] + [""] * (most - len(captions[-1]))
        yield _frame(replay, len(replay) - 1, quantities, how, factor, lines, finished_picture)


def _frame(
    replay: Replay,
    index: int,
    quantities: Sequence[str],
    how: str,
    factor: int,
    lines: Sequence[str],
    finished_picture: Image.Image | None = None,
) -> Image.Image:
    """Evaluation `index`, each pixel of the picture as `factor` by `factor`, with the lines of its caption. The
    finished picture stands in the place of predicted x0."""
    width, height = replay.run["width"] * factor, replay.run["height"] * factor
    columns = min(COLUMNS, len(quantities))
    rows = -(-len(quantities) // columns)
    each = height + 2 * _LINE + _GAP
    whole = (columns * (width + _GAP) + _GAP, rows * each + len(lines) * _LINE + _CURVE + 2 * _GAP)
    sheet = Image.new("RGB", (whole[0] + whole[0] % 2, whole[1] + whole[1] % 2), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font, small = _font(14), _font(12)
    for place, quantity in enumerate(quantities):
        left, top = _GAP + place % columns * (width + _GAP), _GAP + place // columns * each
        is_end = finished_picture is not None and quantity == "denoised"
        label = "Finished picture" if is_end else QUANTITIES[quantity].label
        draw.text((left, top), _lines(label, font, width)[0], _INK, font)
        picture, words = replay.quantity_picture(index, quantity, how)
        if is_end:
            assert finished_picture is not None
            words = "second pass" if replay.run.get("second_pass") else "by the VAE, as saved"
            sheet.paste(ImageOps.pad(finished_picture, (width, height), color=_PAPER), (left, top + _LINE))
        elif picture is None:
            draw.rectangle((left, top + _LINE, left + width - 1, top + _LINE + height - 1), _LINE_COLOUR)
        else:
            is_smooth = words.startswith("fast decoder") and factor > 1
            smooth = Image.Resampling.BICUBIC if is_smooth else Image.Resampling.NEAREST
            sheet.paste(picture.resize((width, height), smooth), (left, top + _LINE))
        draw.text((left, top + _LINE + height + 3), words, _QUIET, small)
    top = rows * each + _GAP
    for number, line in enumerate(lines):
        draw.text((_GAP, top + number * _LINE), line, _QUIET, font)
    top += len(lines) * _LINE
    _schedule(draw, replay, index, (_GAP, top, whole[0] - _GAP, top + _CURVE - 6))
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _lines(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text in lines of at most `width` pixels, broken where it has three spaces, else where it has one."""
    lines = [""]
    for part in text.split("   "):
        longer = f"{lines[-1]}   {part}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        for word in part.split():
            longer = f"{lines[-1]} {word}".strip() if lines[-1] and word != part.split()[0] else word
            if longer != word and font.getlength(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
    return [line for line in lines if line] or [""]


def _schedule(draw: ImageDraw.ImageDraw, replay: Replay, index: int, box: tuple[int, int, int, int]) -> None:
    """log-SNR of every evaluation, rising from noise to picture, and a cursor where the run is."""
    left, top, right, bottom = box
    total = max(len(replay), int(replay.run["total"] or 0))
    levels = [facts["log_snr"] for facts in replay.evaluations]
    finite_levels = [level for level in levels if level is not None] or [0.0]
    low, high = min(finite_levels), max(max(finite_levels), min(finite_levels) + 1e-6)
    draw.line((left, bottom, right, bottom), _LINE_COLOUR)

    def at(place: int) -> tuple[float, float]:
        level = low if levels[place] is None else levels[place]  # pure noise has none: it stands at the lowest
        return left + (right - left) * place / max(1, total - 1), bottom - (bottom - top) * (level - low) / (high - low)

    draw.line([at(place) for place in range(len(levels))], _ACCENT, 2)
    x, y = at(index)
    draw.line((x, top, x, bottom), _CURSOR, 2)
    draw.ellipse((x - 4, y - 4, x + 4, y + 4), _CURSOR)


def caption(replay: Replay, index: int) -> str:
    """The numbers of an evaluation in one line."""
    facts = replay.evaluations[index]
    total = max(len(replay), int(replay.run["total"] or 0))
    sigma = f"{facts['sigma']:.3f}" if facts["sigma"] is not None else "inf"
    words = [f"{index + 1}/{total}", f"t {facts['timestep']:.0f}", f"sigma {sigma}", replay.scheduler(index)]
    if facts["log_snr"] is not None:
        words.insert(3, f"log-SNR {facts['log_snr']:.2f}")
    return "   ".join(words)
