"""Masks and control maps on transparent ground: transparent is not painted, whatever format carries it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.asked.control import Control
from studio.asked.fields import TextToImage
from studio.asked.problems import InvalidRequest
from studio.picture.control_maps import control_pictures, preview
from studio.picture.masks import read_mask

CASES = Path(__file__).parent.parent / "cases"
SQUARE = (10, 12, 30, 32)


def encoded(picture: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


def square(colour: str, ground: str = "#00000000") -> Image.Image:
    drawing = Image.new("RGBA", (64, 48), ground)
    ImageDraw.Draw(drawing).rectangle((10, 12, 29, 31), fill=colour)
    return drawing


def map_of(data: bytes, preprocessor: str = "none") -> np.ndarray:
    control = Control(model="any", image=data, preprocessor=preprocessor)  # type: ignore[arg-type]
    (found,) = control_pictures(TextToImage(prompt="", controls=(control,)))
    return np.asarray(found.picture)


@pytest.mark.parametrize("name", ["m2.png", "m3.png"])
def test_the_square_alone_is_painted(name: str) -> None:
    mask = read_mask((CASES / name).read_bytes(), (128, 128))
    left, upper, right, lower = mask.getbbox()
    assert (right - left, lower - upper) == (32, 32)
    assert np.asarray(mask).mean() == 255 * 32 * 32 / 128**2


@pytest.mark.parametrize("colour", ["white", "red", "#0000ff", "black", "#ffffffb0"])
@pytest.mark.parametrize("ground", ["#00000000", "#ffffff00", "#ff000010"])
def test_strokes_of_any_colour_on_transparent_ground_are_the_mask(colour: str, ground: str) -> None:
    for data in (encoded(square(colour, ground)), encoded(square(colour, ground), "WEBP", lossless=True)):
        assert read_mask(data, (64, 48)).getbbox() == SQUARE


def test_grey_with_alpha_palettes_and_gifs_have_transparent_ground_too() -> None:
    drawing = square("white")
    assert read_mask(encoded(drawing.convert("LA")), (64, 48)).getbbox() == SQUARE
    palette = Image.new("P", (64, 48), 0)
    palette.putpalette([255, 255, 255, 255, 255, 255])
    palette.paste(1, SQUARE)
    assert read_mask(encoded(palette, transparency=0), (64, 48)).getbbox() == SQUARE
    assert read_mask(encoded(palette, "GIF", transparency=0), (64, 48)).getbbox() == SQUARE


def test_a_black_and_white_mask_keeps_its_meaning_with_transparent_ground_around_it() -> None:
    sheet = Image.new("RGBA", (64, 48), "#ffffff00")
    sheet.paste((0, 0, 0, 255), (4, 4, 60, 44))
    sheet.paste((255, 255, 255, 255), SQUARE)
    assert read_mask(encoded(sheet), (64, 48)).getbbox() == SQUARE


def test_a_mask_without_transparency_is_read_by_its_light() -> None:
    assert read_mask(encoded(square("white", "black").convert("RGB")), (64, 48)).getbbox() == SQUARE
    assert read_mask(encoded(square("red", "black")), (64, 48)).getbbox() is None
    assert read_mask(encoded(Image.new("RGBA", (64, 48), "#ffffff00")), (64, 48)).getbbox() is None


def test_a_map_on_transparent_ground_lies_over_black_and_a_picture_over_white() -> None:
    lines = encoded(square("white"))
    found = map_of(lines)
    assert np.argwhere(found[..., 0]).min(axis=0).tolist() == [12, 10]
    assert found.mean() == pytest.approx(255 * 20 * 20 / (64 * 48))
    shown = np.asarray(Image.open(io.BytesIO(preview(lines, "none"))))
    assert (shown == found).all(), "what the page shows is what the ControlNet is given"
    assert map_of(encoded(square("black")), "scribble").mean() > 200, "a picture of pencil strokes on paper"


def test_a_map_of_black_strokes_on_transparent_ground_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidRequest, match=r"controls: a map of black strokes.* in control 1 .*Scribble"):
        map_of(encoded(square("black")))
