"""One evaluation as a captioned picture: panes side by side with what they are, and a line of numbers under a bar that
shows how far the run is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont

from studio.export.replay import QUANTITIES, Replay

PANE = 256  # pixels, the shorter side at least
_PAPER, _INK, _QUIET, _ACCENT = (250, 249, 246), (29, 29, 31), (110, 110, 115), (46, 110, 180)
_GAP, _LINE = 12, 22


def frame(replay: Replay, index: int, quantities: Sequence[str] = tuple(QUANTITIES)) -> Image.Image:
    """Evaluation `index` as a picture with even sides, as video needs them."""
    factor = max(1, -(-PANE // min(replay.run["width"], replay.run["height"])))
    width, height = replay.run["width"] * factor, replay.run["height"] * factor
    whole = (len(quantities) * (width + _GAP) + _GAP, height + 3 * _LINE + 2 * _GAP)
    sheet = Image.new("RGB", (whole[0] + whole[0] % 2, whole[1] + whole[1] % 2), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for place, quantity in enumerate(quantities):
        pane = replay.picture(replay.of(index, quantity)).resize((width, height), Image.Resampling.NEAREST)
        left = _GAP + place * (width + _GAP)
        sheet.paste(pane, (left, _GAP + _LINE))
        draw.text((left, _GAP), QUANTITIES[quantity], _INK, font)
    top = height + _LINE + 2 * _GAP
    draw.text((_GAP, top), caption(replay, index), _QUIET, font)
    total = max(len(replay), int(replay.run["total"] or 0))
    bar = _GAP + (whole[0] - 2 * _GAP) * (index + 1) / total
    draw.rectangle((_GAP, top + _LINE, whole[0] - _GAP, top + _LINE + 3), (220, 219, 215))
    draw.rectangle((_GAP, top + _LINE, bar, top + _LINE + 3), _ACCENT)
    return sheet


def caption(replay: Replay, index: int) -> str:
    """The numbers of an evaluation in one line."""
    facts = replay.evaluations[index]
    total = max(len(replay), int(replay.run["total"] or 0))
    sigma = f"{facts['sigma']:.3f}" if facts["sigma"] is not None else "inf"
    words = [f"{index + 1}/{total}", f"t {facts['timestep']:.0f}", f"sigma {sigma}", replay.scheduler(index)]
    return "   ".join(words)


def frames(replay: Replay, quantities: Sequence[str] = tuple(QUANTITIES)) -> Iterator[Image.Image]:
    """Every evaluation in turn."""
    for index in range(len(replay)):
        yield frame(replay, index, quantities)
