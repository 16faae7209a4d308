"""Masks: L pictures, 255 where the picture is to be made anew, 0 where it stays. Reading, fading, filling.

Pillow and NumPy only. A mask is hard, 0 or 255; soft is only the fade by which the result is pasted.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageChops

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem
from studio.picture.decode import read_layer

MAX_ASPECT_ERROR = 0.02  # of a mask's aspect against its picture's: what rounding to a smaller drawing costs
BLACK_BELOW = 32  # of 255: what is black in a mask that is drawn in black and white on transparent ground


def read_mask(data: bytes, size: tuple[int, int]) -> Image.Image:
    """An uploaded or drawn mask at its picture's size, decoded by the rules for pictures. Light is white, from 128 on.

    On transparent ground the strokes are the mask, whatever their colour; transparent is not painted. Raises
    InvalidRequest with a Problem of the field `mask`.
    """
    mask = _read(data)
    aspects = mask.width / mask.height, size[0] / size[1]
    if abs(aspects[0] / aspects[1] - 1) > MAX_ASPECT_ERROR:
        value = Message("a mask of {width}x{height} pixels", width=mask.width, height=mask.height)
        raise InvalidRequest(
            Problem(
                "mask",
                value,
                Message("a mask of the picture's shape, {width}x{height} pixels", width=size[0], height=size[1]),
            )
        )
    return resize(mask, size)


def inverted(data: bytes) -> bytes:
    """A mask's file with what is painted and what is not exchanged, as a PNG. Raises InvalidRequest as `read_mask`."""
    buffer = io.BytesIO()
    ImageChops.invert(binary(_read(data))).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _read(data: bytes) -> Image.Image:
    try:
        return _coverage(read_layer(data))
    except InvalidRequest as error:
        raise InvalidRequest(*(Problem("mask", p.value, p.allowed) for p in error.problems)) from None


def _coverage(drawing: Image.Image) -> Image.Image:
    """RGBA => L: how far each pixel is painted."""
    alpha = drawing.getchannel("A")
    light = drawing.convert("RGB").convert("L")
    opaque = np.asarray(alpha) >= 128
    if opaque.all():
        return light
    values = np.asarray(light)[opaque]
    # A drawing in black and white that has transparent ground around it says by its light what is painted.
    black_and_white = bool((values < BLACK_BELOW).any() and (values >= 128).any())
    return ImageChops.multiply(light, alpha) if black_and_white else alpha


def resize(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The mask at another size, hard again."""
    return binary(mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR))


def binary(mask: Image.Image) -> Image.Image:
    """255 from 128 on, else 0: diffusers' rule for masks."""
    return mask.point(lambda value: 255 * (value >= 128))


def part(mask: Image.Image, region: tuple[int, int, int, int], size: tuple[int, int]) -> Image.Image:
    """A region of the mask at the model's size, where the finest stroke still counts; the fade keeps to the strokes.
    What lies beyond the mask is black: it is cut off in the end."""
    region_mask = mask.crop(region)
    return (region_mask if region_mask.size == size else region_mask.resize(size, Image.Resampling.BOX)).point(
        lambda value: 255 * (value > 0)
    )


def fade(mask: Image.Image, blur: int) -> Image.Image:
    """How much of the made picture is seen at each pixel, L: all of it under the mask, and over `blur` pixels around it
    less and less. Further away it is exactly 0, so there the picture stays as it was to the last bit.

    The fade lies outside the mask, so that what was painted over does not shine through at its rim.
    """
    box = mask.getbbox()
    if blur == 0 or box is None:
        return mask
    from scipy.ndimage import distance_transform_edt  # slow to import and needed by masked runs alone

    around = (
        max(0, box[0] - blur),
        max(0, box[1] - blur),
        min(mask.width, box[2] + blur),
        min(mask.height, box[3] + blur),
    )
    distance = distance_transform_edt(np.asarray(mask.crop(around)) == 0)
    share = np.where(distance <= blur, 0.5 + 0.5 * np.cos(np.pi * distance / (blur + 1)), 0)
    faded_mask = Image.new("L", mask.size, 0)
    faded_mask.paste(Image.fromarray(np.round(255 * share).astype(np.uint8)), around[:2])
    return faded_mask


def filled_from_edges(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture with its masked part filled by the colours around it, smoothly: what is known is averaged into
    smaller and smaller pictures (pull), and each hole takes the next smaller one's colours (push)."""
    weight = (np.asarray(mask) == 0).astype(np.float32)[..., None]
    if not weight.any():
        return picture
    pixels = np.asarray(picture).astype(np.float32)
    filled_pixels = np.where(weight > 0, pixels, _push_pull(pixels, weight))
    return Image.fromarray(np.clip(np.round(filled_pixels), 0, 255).astype(np.uint8))


def _push_pull(colours: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) everywhere, from those that are known as far as `weight` (H, W, 1), 0 to 1, says."""
    height, width = weight.shape[:2]
    if weight.min() >= 1 or (height == 1 and width == 1):
        return colours
    sums, weights = _sum_pairs(colours * weight), _sum_pairs(weight)
    smaller = _push_pull(sums / np.maximum(weights, 1e-6), np.minimum(weights, 1))
    rows, columns = (np.clip((np.arange(n) - 0.5) / 2, 0, None) for n in (height, width))
    above, side = rows.astype(int), columns.astype(int)
    below, next_to = np.minimum(above + 1, smaller.shape[0] - 1), np.minimum(side + 1, smaller.shape[1] - 1)
    down, along = (rows - above)[:, None, None], (columns - side)[None, :, None]
    upper = smaller[above][:, side] * (1 - along) + smaller[above][:, next_to] * along
    lower = smaller[below][:, side] * (1 - along) + smaller[below][:, next_to] * along
    blend = colours * weight + (upper * (1 - down) + lower * down) * (1 - weight)
    return np.asarray(blend, dtype=np.float32)


def _sum_pairs(array: np.ndarray) -> np.ndarray:
    """Sums of 2x2 pixels; an odd row or column is counted twice."""
    padded = np.pad(array, ((0, array.shape[0] % 2), (0, array.shape[1] % 2), (0, 0)), mode="edge")
    return np.asarray(padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2])
