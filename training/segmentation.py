"""The world's own segmentation maps: a colour per kind of object, black where none is, white for what the words name.

A map is drawn from a scene's truth, exact or as roughly as a hand paints it. The colours are the same everywhere, so
that a map can be painted on the page and understood by the ControlNet that learned them.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.world import OBJECTS, SIZE, PlacedObject, Scene, sprite_image

Color = tuple[int, int, int]
Shape = Literal["silhouette", "blob", "ellipse", "box"]

CONTROL = "control-segmentation"  # folder of the ControlNet in the checkpoint's
NOTHING: Color = (0, 0, 0)
ANYTHING: Color = (255, 255, 255)  # an object, and the words say which
LEVELS = (0, 64, 128, 192, 255)  # of each channel
HALF = 128  # alpha from which on a pixel belongs to its object


@lru_cache(maxsize=1)
def palette() -> dict[str, Color]:
    """The colour of each kind of object, as far from all colours before it as there is one.

    A world that only adds objects at the end of OBJECTS leaves the colours of the others as they are.
    """
    grid = np.array(list(itertools.product(LEVELS, repeat=3)))
    nearest = np.minimum(_distances(grid, NOTHING), _distances(grid, ANYTHING))
    colors: dict[str, Color] = {}
    for name in OBJECTS:
        best = int(np.argmax(nearest))
        red, green, blue = (int(level) for level in grid[best])
        colors[name] = (red, green, blue)
        nearest = np.minimum(nearest, _distances(grid, colors[name]))
    return colors


def _distances(grid: np.ndarray, color: Color) -> np.ndarray:
    """Squared distances of colours (N, 3); green counts most, as it does for an eye."""
    distances: np.ndarray = ((grid - np.array(color)) ** 2 * (2, 4, 3)).sum(axis=1)
    return distances


@lru_cache(maxsize=512)
def silhouette(name: str, side: int, shape: Shape = "silhouette") -> Image.Image:
    """Where an object is in its square box, L, 0 or 255; `shape` other than "silhouette": as a hand would paint it."""
    alpha = sprite_image(name, side).getchannel("A").point(lambda value: 255 if value >= HALF else 0)
    if shape == "silhouette":
        return alpha
    if shape == "blob":
        soft = alpha.filter(ImageFilter.GaussianBlur(side / 12))
        return soft.point(lambda value: 255 if value >= HALF / 2 else 0)
    left, top, right, bottom = alpha.getbbox() or (0, 0, side, side)
    rough = Image.new("L", alpha.size, 0)
    draw = ImageDraw.Draw(rough)
    (draw.ellipse if shape == "ellipse" else draw.rectangle)((left, top, right - 1, bottom - 1), fill=255)
    return rough


def object_mask(placed: PlacedObject, shape: Shape = "silhouette") -> Image.Image:
    """Where an object is in its picture, L, 0 or 255, SIZE x SIZE."""
    mask = Image.new("L", (SIZE, SIZE), 0)
    mask.paste(silhouette(placed.name, placed.side, shape), (placed.left, placed.top))
    return mask


def segmentation_map(scene: Scene, *, shape: Shape = "silhouette", with_names: bool = True) -> Image.Image:
    """The map of a scene, RGB, SIZE x SIZE. Not `with_names`: all objects are white, and the words must name them."""
    picture = Image.new("RGB", (SIZE, SIZE), NOTHING)
    for placed in scene.objects:
        picture.paste(palette()[placed.name] if with_names else ANYTHING, (0, 0), object_mask(placed, shape))
    return picture
