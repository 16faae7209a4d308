"""Maps for ControlNets: edges where there are edges, strokes where there are strokes, at the size that is made."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from studio.asked.control import Control
from studio.asked.fields import Inpaint, TextToImage
from studio.asked.problems import InvalidRequest
from studio.picture.control_maps import ControlPicture, canny, control_pictures, scribble
from studio.picture.framing import start_of


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def square(colour: str = "white") -> Image.Image:
    picture = Image.new("RGB", (64, 48), "black")
    ImageDraw.Draw(picture).rectangle((16, 12, 47, 35), fill=colour)
    return picture


def white(picture: Image.Image) -> np.ndarray:
    pixels = np.asarray(picture)
    assert pixels.shape[2] == 3
    assert set(np.unique(pixels)) <= {0, 255}
    assert (pixels[..., :1] == pixels).all()
    return pixels[..., 0] > 0


@pytest.mark.parametrize("colour", ["white", "#ff0000", "#0000ff"])
def test_canny_draws_the_outline_of_a_square_as_thin_lines(colour: str) -> None:
    edges = white(canny(square(colour)))
    assert edges.shape == (48, 64)
    assert edges[24].sum() == 2, "one pixel at each side"
    assert edges[:, 32].sum() == 2
    ys, xs = np.nonzero(edges)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == pytest.approx((15.5, 47.5, 11.5, 35.5), abs=0.6)
    assert edges.sum() == pytest.approx(2 * (32 + 24), abs=10)


def test_canny_finds_slanted_lines_whole_and_nothing_in_a_gentle_slope() -> None:
    slope = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    assert not white(canny(slope)).any()
    slanted = Image.new("RGB", (64, 64), "black")
    ImageDraw.Draw(slanted).polygon([(0, 0), (63, 63), (0, 63)], fill="white")
    edges = white(canny(slanted))
    assert edges[2:-2].any(axis=1).all(), "no gap"
    assert edges.sum() < 2.5 * 64, "and no thick line"


def test_a_weak_edge_counts_where_it_goes_on_from_a_strong_one() -> None:
    picture = Image.new("RGB", (64, 64), "black")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 32, 31, 63), fill=(60, 60, 60))  # strong: its gradient is above 200
    draw.rectangle((32, 32, 63, 63), fill=(35, 35, 35))  # weak: between 100 and 200
    together = white(canny(picture))
    assert together[30:34, 40:60].any(axis=0).all()
    alone = picture.crop((40, 0, 64, 64))
    assert not white(canny(alone)).any()


def test_scribble_finds_pencil_strokes_on_paper_and_not_its_shading() -> None:
    paper = Image.linear_gradient("L").resize((96, 96)).point(lambda v: 200 + v // 5).convert("RGB")
    drawing = paper.copy()
    ImageDraw.Draw(drawing).line((20, 20, 70, 60), fill="black", width=3)
    assert not white(scribble(paper)).any()
    strokes = white(scribble(drawing.filter(ImageFilter.GaussianBlur(0.5))))
    assert strokes[40, 45]
    assert strokes.sum() == pytest.approx(3 * 64, rel=0.6)
    assert not strokes[:, 85:].any()


def test_a_map_is_made_at_the_size_that_is_made() -> None:
    picture = ControlPicture(square(), "none")
    assert picture.map_at((64, 48)).tobytes() == square().tobytes()
    assert picture.map_at((128, 128)).size == (128, 128)
    cropped, stretched = (picture.map_at((128, 128), mode).getpixel((126, 64)) for mode in ("crop", "stretch"))
    assert cropped == stretched == (0, 0, 0)
    assert picture.map_at((128, 128), "crop").getpixel((101, 64))[0] > 200
    assert picture.map_at((128, 128), "stretch").getpixel((101, 64))[0] < 50
    edges = white(ControlPicture(square(), "canny").map_at((256, 192)))
    assert edges[96].sum() == 2, "made after the picture was scaled, so that its lines are thin"


def test_a_map_of_a_masked_part_shows_that_part() -> None:
    picture = Image.new("RGB", (256, 256), "white")
    mask = Image.new("L", (256, 256), 0)
    ImageDraw.Draw(mask).rectangle((160, 160, 223, 223), fill=255)
    asked = Inpaint(
        prompt="",
        image=png(picture),
        mask=png(mask),
        inpaint_area="masked",
        padding=0,
        mask_blur=0,
        width=64,
        height=64,
    )
    drawn = Image.new("RGB", (256, 256), "black")
    ImageDraw.Draw(drawn).rectangle((160, 160, 191, 223), fill="white")  # the left half of the masked part
    found = np.asarray(ControlPicture(drawn, "none").map_at((64, 64), "crop", start_of(asked, (64, 64))))
    assert (found[:, :30] == 255).all()
    assert (found[:, 34:] == 0).all()


def test_a_file_that_is_no_picture_is_refused_by_its_number() -> None:
    good = Control(model="x", image=png(square()), preprocessor="canny")
    (found,) = control_pictures(TextToImage(prompt="", controls=(good,)))
    assert (found.picture.size, found.preprocessor, found.size_bytes) == ((64, 48), "canny", 64 * 48 * 3)
    with pytest.raises(InvalidRequest, match=r"controls: a PDF file in control 2 is not allowed\. Allowed: a PNG"):
        control_pictures(TextToImage(prompt="", controls=(good, replace(good, image=b"%PDF-1.4"))))
