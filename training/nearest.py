"""What is on a picture, by nearest rendering: every background, then every object at every place and size of the grid.

A simple, strict judge that shares nothing with the model but the world's own drawing program. It always names
something; "none" and accuracy over hundreds of prompts are the evaluation's business, not this file's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from training.world import (
    BACKGROUNDS,
    GRID,
    OBJECTS,
    SCENE_VARIANTS,
    SCENES,
    SIZE,
    SIZES,
    background_image,
    sprite_image,
)

# Half resolution: sharpness is not judged, and it is four times faster.
HALF = SIZE // 2
LUMINANCE = np.array((0.299, 0.587, 0.114), dtype=np.float32)  # as PIL's convert("L")


@dataclass(frozen=True)
class Sighting:
    """One object as found: its box in pixels, and the mean squared error of the whole picture."""

    name: str
    left: int
    top: int
    side: int
    error: float


def nearest_background(picture: Image.Image) -> tuple[str, int]:
    """Name and variant of the background that explains the best two fifths of the picture best.

    Objects cover the rest; hence not the mean over all pixels.
    """
    seen = _half(picture)
    candidates = [(name, 0) for name in BACKGROUNDS]
    candidates += [(name, variant) for name in SCENES for variant in range(SCENE_VARIANTS)]

    def misfit(candidate: tuple[str, int]) -> float:
        error = np.square(seen - _half(background_image(*candidate))).mean(axis=2).ravel()
        return float(np.sort(error)[: len(error) * 2 // 5].mean())

    return min(candidates, key=misfit)


def nearest_object(
    picture: Image.Image,
    background: Image.Image,
    sides: tuple[int, ...] = tuple(SIZES.values()),
    within: tuple[int, int, int, int] = (0, 0, SIZE, SIZE),
    gray: bool = False,
) -> Sighting:
    """The object whose rendering over `background` is nearest; its box lies within (left, top, right, bottom).

    `gray` compares with the sprites in black and white.
    """
    seen, ground = _half(picture), _half(background)
    empty = np.square(seen - ground).sum(axis=2)  # the error where no object is painted
    best: Sighting | None = None
    for name in OBJECTS:
        for side in sides:
            sprite = np.asarray(sprite_image(name, side).resize((side // 2, side // 2), Image.Resampling.BOX))
            alpha = sprite[..., 3:].astype(np.float32) / 255
            color = sprite[..., :3].astype(np.float32)
            if gray:
                color = (color @ LUMINANCE)[..., None]
            for top in range(within[1], within[3] - side + 1, GRID):
                for left in range(within[0], within[2] - side + 1, GRID):
                    box = np.s_[top // 2 : (top + side) // 2, left // 2 : (left + side) // 2]
                    painted = alpha * color + (1 - alpha) * ground[box]
                    change = np.square(seen[box] - painted).sum() - empty[box].sum()
                    error = float(empty.sum() + change) / empty.size / 3
                    if best is None or error < best.error:
                        best = Sighting(name, left, top, side, error)
    assert best is not None
    return best


def _half(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB").resize((HALF, HALF), Image.Resampling.BOX), dtype=np.float32)
