"""Draws the world's objects four times as large from Noto's vector drawings, for the upscaler's training alone.

    pip install -r training/requirements.txt
    npm pack @iconify-json/noto && tar xzf iconify-json-noto-*.tgz        # in a folder outside of the repository
    python -m training.vector_sprites --icons .../package --out training/runs/vector-sprites

The package (Apache-2.0) has the newest drawings; the world's sprites are Noto's of version 2.042. Objects that are
drawn otherwise there have no file in the folder and stand in its `left-out.json` with their difference.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from training.make_sprites import CODE_POINTS
from training.world import OBJECTS, SIZES, SPRITES, fit

SCALE = 4
CANVAS = 128  # units of a drawing; a sprite's pixel is one unit
MARGIN = 8  # units that a sprite may begin before or after the drawing's own first ink
# Mean difference of sprite and drawing over four premultiplied channels in [0, 1]. Of 64 objects 53 are at most at
# 0.008, which is the bitmaps' palette and the edges; the next one, a bee with another face, is at 0.022.
SAME = 0.012
LEFT_OUT = "left-out.json"


class Place(NamedTuple):
    """Where the sprite lies in the drawing, in units, and how much the two differ."""

    difference: float
    left: int
    top: int


def load_drawings(icons: Path) -> dict[str, str]:
    """Object name -> the body of its SVG, from the unpacked package. Raises FileNotFoundError and KeyError."""
    characters: dict[str, str] = json.loads((icons / "chars.json").read_text(encoding="utf-8"))
    content: dict[str, Any] = json.loads((icons / "icons.json").read_text(encoding="utf-8"))
    bodies = {}
    for name in OBJECTS:
        code = f"{ord(CODE_POINTS[name]):x}"
        key = characters.get(code) or characters[f"{code}-fe0f"]
        if key not in content["icons"]:
            key = content["aliases"][key]["parent"]
        bodies[name] = content["icons"][key]["body"]
    return bodies


def rasterize(body: str, box: tuple[int, int, int, int], size: tuple[int, int]) -> Image.Image:
    """The part `box` (left, top, width, height in units) of a drawing at `size` pixels, RGBA."""
    import resvg_py  # only whoever draws anew needs it

    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{" ".join(map(str, box))}" width="{size[0]}" height="{size[1]}" preserveAspectRatio="none">'
        f"{body}</svg>"
    )
    with Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))) as picture:
        return picture.convert("RGBA")


def premultiply(picture: Image.Image) -> np.ndarray:
    """RGBA as float32 (H, W, 4) in [0, 1], colours times alpha: what is transparent has no colour."""
    values = np.asarray(picture, dtype=np.float32) / 255
    return np.concatenate([values[..., :3] * values[..., 3:], values[..., 3:]], axis=-1)


def locate(drawing: Image.Image, sprite: Image.Image) -> Place:
    """The place of the sprite in a drawing of one pixel a unit at which they differ least."""
    ink = drawing.getbbox()
    if ink is None:
        raise ValueError("the drawing is empty")
    width, height = sprite.size
    wanted = premultiply(sprite)
    margin = max(width, height, MARGIN)  # so that no window leaves the array
    padded = np.pad(premultiply(drawing), ((margin, margin), (margin, margin), (0, 0)))
    places = []
    for left in range(ink[0] - MARGIN, ink[0] + MARGIN + 1):
        for top in range(ink[1] - MARGIN, ink[1] + MARGIN + 1):
            window = padded[margin + top :, margin + left :][:height, :width]
            places.append(Place(float(np.abs(window - wanted).mean()), left, top))
    return min(places)


def draw_all(icons: Path, out: Path) -> dict[str, float]:
    """Writes `out/<name>-<side>.png`, RGBA boxes of 4 * side pixels; objects drawn otherwise, with their difference."""
    out.mkdir(parents=True, exist_ok=True)
    left_out = {}
    for name, body in load_drawings(icons).items():
        with Image.open(SPRITES / f"{name.replace(' ', '-')}.png") as file:
            sprite = file.convert("RGBA")
        place = locate(rasterize(body, (0, 0, CANVAS, CANVAS), (CANVAS, CANVAS)), sprite)
        if place.difference > SAME:
            left_out[name] = round(place.difference, 4)
            continue
        for side in SIZES.values():
            left, top, width, height = (SCALE * length for length in fit(sprite.size, side))
            box = Image.new("RGBA", (SCALE * side, SCALE * side), (0, 0, 0, 0))
            box.paste(rasterize(body, (place.left, place.top, *sprite.size), (width, height)), (left, top))
            box.save(out / f"{name.replace(' ', '-')}-{side}.png")
    (out / LEFT_OUT).write_text(json.dumps(left_out, indent=2) + "\n", encoding="utf-8")
    return left_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--icons", type=Path, required=True, help="the unpacked package, with icons.json")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs" / "vector-sprites")
    options = parser.parse_args()
    left_out = draw_all(options.icons, options.out)
    print(f"{len(OBJECTS) - len(left_out)} objects drawn; drawn otherwise and left out: {left_out}")


if __name__ == "__main__":
    main()
