"""Draws the sprites of the world anew from the Noto Color Emoji font (its CBDT bitmap strike of size 109).

The PNG files in `training/sprites/` are committed, so that training and tests need neither the font nor this script.

    python -m training.make_sprites --font /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training.world import SPRITES

STRIKE = 109  # the only size at which the font has bitmaps
CODE_POINTS = {
    "fox": "\U0001f98a",
    "red apple": "\U0001f34e",
    "pizza": "\U0001f355",
    "rocket": "\U0001f680",
    "banana": "\U0001f34c",
    "cat": "\U0001f431",
    "panda": "\U0001f43c",
    "frog": "\U0001f438",
    "pig": "\U0001f437",
    "penguin": "\U0001f427",
    "whale": "\U0001f433",
    "octopus": "\U0001f419",
    "butterfly": "\U0001f98b",
    "ladybug": "\U0001f41e",
    "turtle": "\U0001f422",
    "tree": "\U0001f333",
    "cactus": "\U0001f335",
    "sunflower": "\U0001f33b",
    "mushroom": "\U0001f344",
    "strawberry": "\U0001f353",
    "grapes": "\U0001f347",
    "watermelon": "\U0001f349",
    "donut": "\U0001f369",
    "ice cream": "\U0001f366",
    "house": "\U0001f3e0",
    "car": "\U0001f697",
    "balloon": "\U0001f388",
    "soccer ball": "⚽",
    "heart": "❤",
    "star": "⭐",
    "ghost": "\U0001f47b",
    "robot": "\U0001f916",
    "snowman": "⛄",
    "crown": "\U0001f451",
    "lemon": "\U0001f34b",
    "guitar": "\U0001f3b8",
    "dog": "\U0001f436",
    "lion": "\U0001f981",
    "owl": "\U0001f989",
    "fish": "\U0001f420",
    "moon": "\U0001f319",
    "pear": "\U0001f350",
    "rose": "\U0001f339",
    "airplane": "✈",
    "umbrella": "☂",
    "key": "\U0001f511",
    "bee": "\U0001f41d",
    "cherries": "\U0001f352",
    "carrot": "\U0001f955",
    "hamburger": "\U0001f354",
    "cake": "\U0001f382",
    "sailboat": "⛵",
    "bus": "\U0001f68c",
    "gift": "\U0001f381",
    "tulip": "\U0001f337",
    "elephant": "\U0001f418",
    "chick": "\U0001f424",
    "snail": "\U0001f40c",
    "crab": "\U0001f980",
    "pumpkin": "\U0001f383",
    "diamond": "\U0001f48e",
    "basketball": "\U0001f3c0",
    "cheese": "\U0001f9c0",
    "corn": "\U0001f33d",
}


def draw_sprite(font: ImageFont.FreeTypeFont, character: str) -> Image.Image:
    """One glyph as RGBA, cropped to what is not transparent."""
    canvas = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    ImageDraw.Draw(canvas).text((10, 10), character, font=font, embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"the font has no picture for {character!r}")
    return canvas.crop(box)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--font", type=Path, default=Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"))
    parser.add_argument("--out", type=Path, default=SPRITES)
    options = parser.parse_args()
    font = ImageFont.truetype(str(options.font), STRIKE)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, character in CODE_POINTS.items():
        draw_sprite(font, character).save(options.out / f"{name.replace(' ', '-')}.png", optimize=True)


if __name__ == "__main__":
    main()
