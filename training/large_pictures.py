"""The world's pictures four times as large: what the upscaler is to make of the small ones.

Objects from the vector drawings of `vector_sprites`, backgrounds and styles as `world` draws them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import Image

from training.vector_sprites import SCALE
from training.world import OBJECTS, SIZES, Scene, background_image, draw_scene, in_style


class LargeWorld:
    """Pictures of 512 x 512 from a folder of large sprites."""

    def __init__(self, folder: Path) -> None:
        """Raises FileNotFoundError where the folder has no object in all sizes."""
        self._files = {
            name: {side: folder / f"{name.replace(' ', '-')}-{side}.png" for side in SIZES.values()} for name in OBJECTS
        }
        self.objects = frozenset(
            name for name, files in self._files.items() if all(file.exists() for file in files.values())
        )
        if not self.objects:
            raise FileNotFoundError(f"{folder} has no large sprites: run python -m training.vector_sprites first")
        self._sprite = lru_cache(maxsize=None)(self._read)

    def _read(self, name: str, side: int) -> Image.Image:
        with Image.open(self._files[name][side]) as file:
            return file.convert("RGBA")

    def render(self, scene: Scene) -> Image.Image:
        """The scene, RGB, 512 x 512. Raises KeyError for an object that is not in `objects`."""
        image = background_image(scene.background, scene.variant, SCALE).copy()
        for placed in scene.objects:
            if placed.name not in self.objects:
                raise KeyError(f"there is no large sprite of {placed.name!r}")
            sprite = self._sprite(placed.name, placed.side)
            image.paste(sprite, (SCALE * placed.left, SCALE * placed.top), sprite)
        return in_style(image, scene.style, SCALE)

    def indices(self, seed: int, first: int, count: int) -> list[int]:
        """The next `count` samples of world `seed`, from number `first` on, that can be rendered."""
        found: list[int] = []
        index = first
        while len(found) < count:
            if all(placed.name in self.objects for placed in draw_scene(seed, index).objects):
                found.append(index)
            index += 1
        return found
