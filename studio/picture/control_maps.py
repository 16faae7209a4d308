"""The maps that ControlNets are given: a picture at the size that is made, turned into edges or strokes where that is
asked for. Pillow, NumPy and SciPy only; what would need a network of its own (depth, poses) comes as a finished map.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from studio.asked.control import PreprocessorName
from studio.asked.fields import ResizeModeName
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem
from studio.asked.requests import Request
from studio.picture.decode import read_layer, read_picture
from studio.picture.framing import Size, Start, frame, part_of
from studio.picture.masks import BLACK_BELOW

# The thresholds of most pictures that ControlNets for Canny edges were trained on, in Sobel's units (Canny 1986).
CANNY_LOW, CANNY_HIGH = 100, 200
PREVIEW_SIDE = 512  # pixels
# Of the difference of two blurs that a stroke is darker than what is around it (Winnemöller 2011, without its ramp).
STROKE_BLURS, STROKE_THRESHOLD = (0.5, 5.0), 16

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class ControlPicture:
    """One control's picture, decoded, and what makes a map of it."""

    picture: Image.Image
    preprocessor: PreprocessorName

    @property
    def size_bytes(self) -> int:
        """Decoded pixels it keeps alive."""
        size: Size = self.picture.size
        return 3 * size[0] * size[1]

    def map_at(self, size: Size, mode: ResizeModeName = "crop", start: Start | None = None) -> Image.Image:
        """The map at the size that the model is given, RGB. `start`: of a masked run, whose canvas it lies over."""
        if start is not None and start.paste is not None:
            over = frame(self.picture, start.paste.canvas.size, "crop")
            picture = part_of(over, start.paste.region, size)
        else:
            picture = frame(self.picture, size, mode)
        return PREPROCESSORS[self.preprocessor](picture)


def control_pictures(request: Request) -> tuple[ControlPicture, ...]:
    """The pictures of a request's controls. Raises InvalidRequest for files that are no pictures."""
    pictures = []
    for number, control in enumerate(request.controls, start=1):
        try:
            pictures.append(ControlPicture(_read(control.image, control.preprocessor), control.preprocessor))
        except InvalidRequest as error:
            problems = (
                Problem("controls", Message("{value} in control {number}", value=p.value, number=number), p.allowed)
                for p in error.problems
            )
            raise InvalidRequest(*problems) from None
    return tuple(pictures)


def _read(data: bytes, preprocessor: PreprocessorName) -> Image.Image:
    """A control's picture, RGB. Transparent ground is white paper under a picture, and black, where nothing is drawn,
    under a finished map. Raises InvalidRequest."""
    if preprocessor != "none":
        return read_picture(data)
    layer = read_layer(data)
    shades = Image.alpha_composite(Image.new("RGBA", layer.size, "black"), layer).convert("RGB")
    opacity = layer.getchannel("A").getextrema()
    if opacity[0] < 128 <= opacity[1] and max(high for _, high in shades.getextrema()) < BLACK_BELOW:
        value = Message("a map of black strokes on transparent ground, of which nothing is left on black,")
        expectation = Message(
            "light strokes on black or on transparent ground; the preprocessor Scribble reads dark ones"
        )
        raise InvalidRequest(Problem("controls", value, expectation))
    return shades


def preview(image: bytes, preprocessor: PreprocessorName) -> bytes:
    """The map of a picture's file, a PNG of at most PREVIEW_SIDE pixels a side. Raises InvalidRequest."""
    picture = _read(image, preprocessor)
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.LANCZOS)
    png_file = io.BytesIO()
    PREPROCESSORS[preprocessor](picture).save(png_file, "PNG")
    return png_file.getvalue()


def canny(picture: Image.Image, low: float = CANNY_LOW, high: float = CANNY_HIGH) -> Image.Image:
    """White edges on black (Canny 1986): Sobel gradients, only the crest of each, and of those that reach `low` the
    ones that hang together with one that reaches `high`. Of the three channels the strongest counts."""
    from scipy import ndimage

    pixels = np.asarray(picture.convert("RGB")).astype(np.float32)
    across, down = (  # not ndimage.sobel, which smooths over the channels too
        ndimage.correlate1d(
            ndimage.correlate1d(pixels, (-1, 0, 1), axis=along, mode="nearest"), (1, 2, 1), 1 - along, mode="nearest"
        )
        for along in (1, 0)
    )
    channel = np.argmax(np.abs(across) + np.abs(down), axis=2)[..., None]
    across, down = (np.take_along_axis(g, channel, axis=2)[..., 0] for g in (across, down))
    strength = np.abs(across) + np.abs(down)
    padded = np.pad(strength, 1)
    # Neighbours along the gradient, by which of four directions it is nearest to.
    slope = np.abs(down) / np.maximum(np.abs(across), 1e-6)
    diagonal = (slope > np.tan(np.pi / 8)) & (slope < np.tan(3 * np.pi / 8))
    steep, rising = slope >= np.tan(3 * np.pi / 8), (across * down) > 0

    def neighbours(rows: int, columns: int) -> tuple[Array, Array]:
        height, width = strength.shape
        before = padded[1 - rows : 1 - rows + height, 1 - columns : 1 - columns + width]
        return before, padded[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    crest = np.zeros(strength.shape, dtype=bool)
    for direction, (rows, columns) in (
        (~diagonal & ~steep, (0, 1)),
        (~diagonal & steep, (1, 0)),
        (diagonal & rising, (1, 1)),
        (diagonal & ~rising, (-1, 1)),
    ):
        before, after = neighbours(rows, columns)
        crest |= direction & (strength > before) & (strength >= after)
    lines, _ = ndimage.label(crest & (strength > low), structure=np.ones((3, 3)))
    strong = np.unique(lines[crest & (strength > high)])
    return _white_on_black(np.isin(lines, strong[strong > 0]))


def scribble(picture: Image.Image) -> Image.Image:
    """White strokes on black: where a picture is darker than its surroundings, as a pencil's line on paper is."""
    from scipy import ndimage

    pixels = np.asarray(picture.convert("RGB")).astype(np.float32)
    fine, coarse = (ndimage.gaussian_filter(pixels, (sigma, sigma, 0), mode="nearest") for sigma in STROKE_BLURS)
    return _white_on_black((coarse - fine).max(axis=2) > STROKE_THRESHOLD)


def _white_on_black(mask: Array) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB")


PREPROCESSORS: Mapping[PreprocessorName, Callable[[Image.Image], Image.Image]] = {
    "none": lambda picture: picture,
    "canny": canny,
    "scribble": scribble,
}
