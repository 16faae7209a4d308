"""A picture on its way to the model and back: which size is made of it, which part the model is given, where the result
is pasted. Pillow and NumPy only; knows no model but its native size.

Three kinds of size meet here. The *picture* is what came in. The *canvas* is what goes out: the picture, resized or
extended. The *region* is the box of the canvas that the model works on, at a size of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from studio.asked.fields import ImageToImage, Inpaint, ResizeModeName
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem
from studio.asked.requests import RANGES
from studio.picture import masks
from studio.picture.decode import read_picture

Size = tuple[int, int]
Box = tuple[int, int, int, int]  # left, upper, right, lower, as Pillow's

GRID = RANGES["width"].step or 1  # pixels; what the latents' cells stand for
# Without a size given, a picture keeps its own as long as the model can do something with it.
OWN_SIZE = (1 / 4, 4)  # its pixels / the model's native pixels
MAX_CANVAS_PIXELS = 25_000_000  # what is kept of a picture beside the part that the model is given


@dataclass(frozen=True)
class Paste:
    """Where the made region belongs: over `canvas` at `region`, which may reach beyond it, as far as `fade` lets it."""

    canvas: Image.Image
    region: Box
    fade: Image.Image  # L, as large as the canvas: 255 the made picture, 0 the canvas to the last bit

    def over(self, region: Image.Image) -> Image.Image:
        """The canvas with the region that was made in it."""
        left, upper, right, lower = self.region
        if region.size != (right - left, lower - upper):
            region = region.resize((right - left, lower - upper), Image.Resampling.LANCZOS)
        layer = self.canvas.copy()
        layer.paste(region, (left, upper))
        return Image.composite(layer, self.canvas, self.fade)


@dataclass(frozen=True)
class Start:
    """What a run begins with: `picture` (RGB) and `mask` (L, 0 or 255, white = repaint) at the size that the model is
    given, and for a masked run where its result is pasted."""

    picture: Image.Image
    mask: Image.Image | None = None
    paste: Paste | None = None

    @property
    def size_bytes(self) -> int:
        """Decoded pixels it keeps alive."""
        pictures = [self.picture, self.mask, *((self.paste.canvas, self.paste.fade) if self.paste else ())]
        return sum(p.width * p.height * len(p.getbands()) for p in pictures if p is not None)


def start_of(request: ImageToImage, native: Size) -> Start:
    """The beginning of a request that starts from a picture. `native` is the checkpoint's size.

    Raises InvalidRequest for files that are no pictures, and for masks and sizes that do not go together.
    """
    picture = read_picture(request.image)
    if isinstance(request, Inpaint):
        return _masked_start(request, picture, native)
    return Start(resize(picture, request.resize_mode, request.width, request.height, native))


def resize(
    picture: Image.Image, mode: ResizeModeName, width: int | None, height: int | None, native: Size
) -> Image.Image:
    """The picture at the size that is made of it: `target_size`, then `frame`."""
    return frame(picture, target_size(picture.size, mode, width, height, native), mode)


# ---------------------------------------------------------------------------------------------- resizing the whole


def target_size(picture: Size, mode: ResizeModeName, width: int | None, height: int | None, native: Size) -> Size:
    """Width and height that are made of a picture, on the grid and within the range.

    Both given: exactly these; with "fit" the largest size of the picture's aspect inside them. One given: the other by
    the picture's aspect. None given: the picture's own size if it has a quarter to four times the model's native
    number of pixels, else (and with "fit" always) its aspect with the native number of pixels.
    """
    aspect = picture[0] / picture[1]
    if width is not None and height is not None:
        if mode != "fit":
            return width, height
        scale = min(width / picture[0], height / picture[1])
        return _on_grid(picture[0] * scale), _on_grid(picture[1] * scale)
    if width is not None:
        return width, _on_grid(width / aspect)
    if height is not None:
        return _on_grid(height * aspect), height
    share = picture[0] * picture[1] / (native[0] * native[1])
    if mode != "fit" and OWN_SIZE[0] <= share <= OWN_SIZE[1]:
        return _on_grid(picture[0]), _on_grid(picture[1])
    return native_size(aspect, native)


def native_size(aspect: float, native: Size) -> Size:
    """The size of an aspect (width / height) with about the native number of pixels."""
    pixels = native[0] * native[1]
    return _on_grid((pixels * aspect) ** 0.5), _on_grid((pixels / aspect) ** 0.5)


def frame(picture: Image.Image, size: Size, mode: ResizeModeName) -> Image.Image:
    """The picture at exactly this size: "stretch" forgets its aspect, "pad" keeps all of it and continues its edges,
    "crop" and "fit" keep its aspect and cut off what does not fit, at both ends alike."""
    if picture.size == size:
        return picture
    if mode == "stretch":
        return picture.resize(size, Image.Resampling.LANCZOS)
    if mode == "pad":
        left, upper, inner = _inside(picture.size, size)
        small = picture.resize(inner, Image.Resampling.LANCZOS)
        return continue_edges(small, (left, upper, size[0] - inner[0] - left, size[1] - inner[1] - upper))
    scale = max(size[0] / picture.width, size[1] / picture.height)
    # What is shown, in pixels of the picture; rounding must not lead out of it.
    visible_size = min(size[0] / scale, picture.width), min(size[1] / scale, picture.height)
    left, upper = (picture.width - visible_size[0]) / 2, (picture.height - visible_size[1]) / 2
    box = (left, upper, picture.width - left, picture.height - upper)
    return picture.resize(size, Image.Resampling.LANCZOS, box=box)


def _inside(picture: Size, size: Size) -> tuple[int, int, Size]:
    """Left, upper and size of the whole picture, as large as it fits, in the middle of a size."""
    scale = min(size[0] / picture[0], size[1] / picture[1])
    width = max(1, min(size[0], round(picture[0] * scale)))
    height = max(1, min(size[1], round(picture[1] * scale)))
    return (size[0] - width) // 2, (size[1] - height) // 2, (width, height)


def continue_edges(picture: Image.Image, borders: Sequence[int]) -> Image.Image:
    """The picture with borders (left, above, right, below) in which its outermost pixels go on."""
    left, upper, right, lower = borders
    array = np.pad(np.asarray(picture), ((upper, lower), (left, right), (0, 0)), mode="edge")
    return Image.fromarray(array)


def _on_grid(pixels: float) -> int:
    limits = RANGES["width"]
    return int(min(max(round(pixels / GRID) * GRID, limits.low), limits.high))


# ------------------------------------------------------------------------------------------------ a masked region


def _masked_start(request: Inpaint, picture: Image.Image, native: Size) -> Start:
    """Picture and mask => canvas, region, and what the model is given of both."""
    mask = masks.read_mask(request.mask, picture.size) if request.mask else Image.new("L", picture.size, 0)
    whole = request.inpaint_area == "whole"
    original_size = picture.size
    if whole and (request.width is not None or request.height is not None or not any(request.extensions)):
        size = target_size(original_size, request.resize_mode, request.width, request.height, native)
        # Without a size that was asked for, a picture that the model can do keeps its own to the pixel.
        if request.width is not None or request.height is not None or not _nearly(size, original_size):
            picture, mask = frame(picture, size, request.resize_mode), _framed_mask(mask, size, request.resize_mode)
    elif whole:
        picture, mask = _fitting(picture, mask, request, native)
    scales = picture.width / original_size[0], picture.height / original_size[1]
    extensions = tuple(round(pixels * scale) for pixels, scale in zip(request.extensions, scales * 2))
    canvas, mask = _extend(picture, mask, extensions)
    if canvas.width * canvas.height > MAX_CANVAS_PIXELS:
        expectation = Message(
            "pictures that have at most {most} million pixels when they are extended",
            most=MAX_CANVAS_PIXELS // 10**6,
        )
        raise InvalidRequest(
            Problem(
                "image",
                Message("a canvas of {width}x{height} pixels", width=canvas.width, height=canvas.height),
                expectation,
            )
        )
    painted_box = mask.getbbox()
    if painted_box is None:
        raise InvalidRequest(
            Problem("mask", Message("a mask with nothing painted"), Message("a mask that is white somewhere"))
        )
    fade = masks.fade(mask, request.mask_blur)
    if whole:
        size = (_grid_above(canvas.width), _grid_above(canvas.height))
        region: Box = (0, 0, *size)
        _check_canvas(size)
    else:
        reach = fade.getbbox() or painted_box
        region, size = _region_around(reach, canvas.size, request, native)
    part, part_mask = part_of(canvas, region, size), masks.part(mask, region, size)
    if request.mask_fill == "edges" or any(request.extensions):
        hole = (
            part_mask if request.mask_fill == "edges" else masks.part(_new_area(canvas.size, extensions), region, size)
        )
        part = masks.filled_from_edges(part, hole)
    return Start(part, part_mask, Paste(canvas, region, fade))


def _framed_mask(mask: Image.Image, size: Size, mode: ResizeModeName) -> Image.Image:
    """The mask as `frame` does it with its picture; what "pad" adds is there to be painted."""
    if mode == "pad":
        left, upper, inner = _inside(mask.size, size)
        padded = Image.new("L", size, 255)
        padded.paste(masks.resize(mask, inner), (left, upper))
        return padded
    return masks.binary(frame(Image.merge("RGB", (mask, mask, mask)), size, mode).getchannel(0))


def _fitting(
    picture: Image.Image, mask: Image.Image, request: Inpaint, native: Size
) -> tuple[Image.Image, Image.Image]:
    """A picture that is to be extended, made smaller (as its extension will be) where the canvas would be more than the
    model can do."""
    left, upper, right, lower = request.extensions
    width, height = picture.width + left + right, picture.height + upper + lower
    too_many = width * height / (native[0] * native[1] * OWN_SIZE[1])
    scale = min(1.0, too_many**-0.5, RANGES["width"].high / width, RANGES["height"].high / height)
    if scale >= 1:
        return picture, mask
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS), masks.resize(mask, size)


def _extend(picture: Image.Image, mask: Image.Image, extensions: Sequence[int]) -> tuple[Image.Image, Image.Image]:
    if not any(extensions):
        return picture, mask
    left, upper, right, lower = extensions
    array = np.pad(np.asarray(mask), ((upper, lower), (left, right)), constant_values=255)
    return continue_edges(picture, extensions), Image.fromarray(array)


def _new_area(canvas: Size, extensions: Sequence[int]) -> Image.Image:
    """L, white where the canvas was extended."""
    left, upper, right, lower = extensions
    area = Image.new("L", canvas, 255)
    area.paste(0, (left, upper, canvas[0] - right, canvas[1] - lower))
    return area


def _region_around(reach: Box, canvas: Size, request: Inpaint, native: Size) -> tuple[Box, Size]:
    """The box around what is painted, with its padding, in the aspect of the size the model is given; and that size."""
    left, upper = max(0, reach[0] - request.padding), max(0, reach[1] - request.padding)
    right, lower = min(canvas[0], reach[2] + request.padding), min(canvas[1], reach[3] + request.padding)
    size = target_size((right - left, lower - upper), "fit", None, None, native)
    if request.width is not None or request.height is not None:
        size = target_size((right - left, lower - upper), "crop", request.width, request.height, native)
    aspect = size[0] / size[1]
    width = max(right - left, round((lower - upper) * aspect))
    height = max(lower - upper, round(width / aspect))
    left = _slid(left, right, width, canvas[0])
    upper = _slid(upper, lower, height, canvas[1])
    return (left, upper, left + width, upper + height), size


def _slid(low: int, high: int, length: int, end: int) -> int:
    """Where a span of this length around low..high begins: in the middle, but inside 0..end as far as it fits."""
    begin = (low + high - length) // 2
    return max(0, min(begin, end - length)) if length <= end else (end - length) // 2


def part_of(canvas: Image.Image, region: Box, size: Size) -> Image.Image:
    """The region of the canvas at the model's size; beyond the canvas its edges go on."""
    left, upper, right, lower = region
    inner = (max(0, left), max(0, upper), min(canvas.width, right), min(canvas.height, lower))
    borders = (inner[0] - left, inner[1] - upper, right - inner[2], lower - inner[3])
    part = continue_edges(canvas.crop(inner), borders)
    return part if part.size == size else part.resize(size, Image.Resampling.LANCZOS)


def _nearly(size: Size, picture: Size) -> bool:
    """Whether the size is the picture's own but for the grid."""
    return all(abs(a - b) < GRID for a, b in zip(size, picture))


def _grid_above(pixels: int) -> int:
    return max(int(RANGES["width"].low), -(-pixels // GRID) * GRID)


def _check_canvas(size: Size) -> None:
    for name, side in zip(("width", "height"), size):
        if not RANGES[name].holds(side):
            raise InvalidRequest(
                Problem(name, Message("a canvas of {side} pixels", side=side), RANGES[name].describe())
            )
