"""What size is made of a picture, which part the model is given, and that the rest comes out as it went in."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from studio.asked.fields import RESIZE_MODES, ImageToImage, Inpaint
from studio.asked.problems import InvalidRequest
from studio.asked.requests import RANGES
from studio.picture import masks
from studio.picture.framing import MAX_CANVAS_PIXELS, Start, frame, start_of, target_size

NATIVE = (512, 512)


def encoded(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def scene(width: int, height: int) -> Image.Image:
    """A picture of which no two pixels near each other are alike."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def spot(width: int, height: int, box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    return mask


def inpaint(picture: Image.Image, mask: Image.Image | None = None, native: object = NATIVE, **fields: object) -> Start:
    data = encoded(mask) if mask is not None else b""
    return start_of(Inpaint(prompt="", image=encoded(picture), mask=data, **fields), native)  # type: ignore[arg-type]


def refusal(picture: Image.Image, mask: Image.Image | None = None, **fields: object) -> str:
    with pytest.raises(InvalidRequest) as caught:
        inpaint(picture, mask, **fields)
    return str(caught.value)


# --------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("picture", "mode", "asked", "made"),
    [
        ((600, 400), "crop", (None, None), (600, 400)),  # the model can do that
        ((4000, 3000), "crop", (None, None), (592, 440)),  # far too large for it: its aspect, the native area
        ((100, 50), "crop", (None, None), (728, 360)),  # far too small
        ((600, 400), "fit", (None, None), (624, 416)),
        ((600, 400), "crop", (512, 512), (512, 512)),
        ((600, 400), "pad", (512, 768), (512, 768)),
        ((600, 400), "stretch", (256, None), (256, 168)),
        ((600, 400), "crop", (None, 256), (384, 256)),
        ((600, 400), "fit", (512, 512), (512, 344)),
        ((400, 600), "fit", (512, 512), (344, 512)),
        ((1, 1), "crop", (None, None), (512, 512)),
    ],
)
def test_the_size_that_is_made(picture: object, mode: object, asked: tuple[int, int], made: object) -> None:
    assert target_size(picture, mode, *asked, NATIVE) == made  # type: ignore[arg-type]


sides = st.one_of(st.none(), st.integers(8, 256).map(lambda cells: cells * 8))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 400), st.integers(1, 400), sides, sides, st.sampled_from(sorted(RESIZE_MODES)),
    st.sampled_from([(64, 64), (128, 128), (512, 512), (1024, 1024)]),
)  # fmt: skip
def test_every_picture_gets_a_size_the_engine_takes(w: int, h: int, a: object, b: object, mode: str, n: object) -> None:
    size = target_size((w, h), mode, a, b, n)  # type: ignore[arg-type]
    assert RANGES["width"].holds(size[0])
    assert RANGES["height"].holds(size[1])
    if max(size) <= 512:
        assert frame(Image.new("RGB", (w, h)), size, mode).size == size  # type: ignore[arg-type]


def test_each_mode_does_what_it_says() -> None:
    picture = Image.new("RGB", (300, 100), "red")
    picture.paste((0, 0, 255), (100, 0, 200, 100))  # red, blue, red
    middle = {mode: np.asarray(frame(picture, (96, 96), mode))[48] for mode in ("crop", "pad", "stretch")}
    assert (middle["crop"][4:-4] == (0, 0, 255)).all(), "the middle square alone"
    assert tuple(middle["stretch"][10]) == tuple(middle["pad"][10]) == (255, 0, 0)
    assert tuple(middle["stretch"][48]) == tuple(middle["pad"][48]) == (0, 0, 255)
    padded = np.asarray(frame(picture, (96, 96), "pad"))
    assert (padded[0] == padded[40]).all(), "the edge goes on"
    assert frame(picture, picture.size, "crop") is picture


def test_image_to_image_is_given_the_picture_at_its_size() -> None:
    start = start_of(ImageToImage(prompt="", image=encoded(scene(100, 70)), width=64, height=64), (64, 64))
    assert (start.picture.size, start.mask, start.paste) == ((64, 64), None, None)


@pytest.mark.parametrize("size", [(1, 1), (20, 1), (1, 20)])
def test_the_smallest_pictures_are_made_larger(size: tuple[int, int]) -> None:
    start = start_of(ImageToImage(prompt="", image=encoded(scene(*size))), (64, 64))
    assert min(start.picture.size) >= 64


# ------------------------------------------------------------------------------------------------- what comes back


@settings(max_examples=40, deadline=None)
@given(
    st.integers(70, 150), st.integers(70, 150), st.sampled_from(["whole", "masked"]), st.integers(0, 12),
    st.tuples(*[st.sampled_from([0, 0, 5, 24])] * 4), st.integers(0, 40),
    st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.02, 0.6), st.floats(0.02, 0.6)),
)  # fmt: skip
def test_what_is_further_away_than_the_blur_comes_out_to_the_last_bit(
    width: int, height: int, area: str, blur: int, extend: tuple[int, ...], padding: int, at: tuple[float, ...]
) -> None:
    left, upper = int(at[0] * width), int(at[1] * height)
    right, lower = (min(end, int(begin + part * end) + 1) for begin, part, end in
                    ((left, at[2], width), (upper, at[3], height)))  # fmt: skip
    picture, mask = scene(width, height), spot(width, height, (left, upper, right, lower))
    fields = dict(zip(("extend_left", "extend_up", "extend_right", "extend_down"), extend))
    start = inpaint(
        picture, mask, native=(96, 96), inpaint_area=area, mask_blur=blur, padding=padding, mask_fill="edges", **fields
    )
    assert start.mask is not None
    assert start.paste is not None
    assert start.picture.size == start.mask.size
    assert all(RANGES["width"].holds(side) for side in start.picture.size)
    made = Image.new("RGB", start.picture.size, (1, 2, 3))
    result = np.asarray(start.paste.over(made)).astype(int)
    assert result.shape == (height + extend[1] + extend[3], width + extend[0] + extend[2], 3)
    mask_there = np.pad(np.asarray(mask), ((extend[1], extend[3]), (extend[0], extend[2])), constant_values=255) > 0
    assert (result[mask_there] == (1, 2, 3)).all(), "everything painted is the made picture, whatever the blur"
    reach = np.asarray(Image.fromarray(mask_there.astype(np.uint8)))
    from scipy.ndimage import distance_transform_edt

    far = distance_transform_edt(reach == 0) > blur
    inside = np.zeros_like(far)
    inside[extend[1] : extend[1] + height, extend[0] : extend[0] + width] = True
    there = far & inside
    original = np.zeros_like(result)
    original[extend[1] : extend[1] + height, extend[0] : extend[0] + width] = np.asarray(picture)
    assert (result[there] == original[there]).all()


def test_only_the_masked_part_is_given_to_the_model_at_its_full_size() -> None:
    picture, mask = scene(1600, 1200), spot(1600, 1200, (800, 600, 860, 640))
    start = inpaint(picture, mask, inpaint_area="masked", padding=32, mask_blur=4)
    assert start.paste is not None
    left, upper, right, lower = start.paste.region
    assert (left, upper, right, lower) == pytest.approx((764, 564, 896, 676), abs=4)
    assert start.picture.width * start.picture.height == pytest.approx(512 * 512, rel=0.1)
    assert start.picture.width / start.picture.height == pytest.approx((right - left) / (lower - upper), rel=0.02)
    assert start.paste.canvas.size == (1600, 1200)


def test_the_region_stays_inside_the_picture_where_it_can() -> None:
    start = inpaint(scene(800, 600), spot(800, 600, (0, 0, 40, 40)), inpaint_area="masked", width=512, height=512)
    assert start.paste is not None
    assert start.paste.region[:2] == (0, 0)
    assert start.picture.size == (512, 512)
    part = start.picture.resize((start.paste.region[2], start.paste.region[3]))
    assert np.asarray(part).std() > 20


def test_a_picture_is_extended_by_what_is_asked_and_that_is_painted() -> None:
    start = inpaint(scene(100, 80), extend_left=30, extend_down=7, native=(128, 128), mask_blur=0)
    assert start.paste is not None
    assert start.mask is not None
    assert start.paste.canvas.size == (130, 87)
    assert start.picture.size == (136, 88), "the model's grid; the rest is cut off in the end"
    mask = np.asarray(start.mask)
    assert mask[:87, :30].all()
    assert mask[80:87, :130].all()
    assert not mask[:80, 30:130].any()
    assert np.asarray(start.picture)[:80, 30:130].tobytes() == np.asarray(scene(100, 80)).tobytes()


def test_a_large_picture_is_made_smaller_before_it_is_extended() -> None:
    start = inpaint(scene(900, 900), extend_right=300, native=(128, 128))
    assert start.paste is not None
    assert start.paste.canvas.width * start.paste.canvas.height <= 128 * 128 * 5
    assert start.mask is not None
    mask = np.asarray(start.mask)
    assert start.paste.canvas.width / start.paste.canvas.height == pytest.approx(1200 / 900, rel=0.02)
    assert mask[100].mean() == pytest.approx(255 * 300 / 1200, rel=0.05), "a quarter of the canvas is new"


def test_the_border_that_pad_adds_is_painted() -> None:
    start = inpaint(scene(128, 64), spot(128, 64, (60, 30, 64, 34)), width=128, height=128, resize_mode="pad")
    assert start.mask is not None
    mask = np.asarray(start.mask)
    assert mask[:30].all()
    assert mask[-30:].all()
    assert not mask[40:60].any()


def test_masks_that_do_not_fit_are_refused_by_name() -> None:
    assert "mask: a mask of 64x64 pixels" in refusal(scene(100, 50), Image.new("L", (64, 64), 255))
    assert "mask: a mask with nothing painted" in refusal(scene(64, 64), Image.new("L", (64, 64), 100))
    with pytest.raises(InvalidRequest, match="mask: a PDF file"):
        start_of(Inpaint(prompt="", image=encoded(scene(64, 64)), mask=b"%PDF"), NATIVE)
    with pytest.raises(InvalidRequest, match="image: a PDF file"):
        start_of(Inpaint(prompt="", image=b"%PDF", mask=encoded(scene(64, 64))), NATIVE)


def test_a_canvas_beyond_all_measure_is_refused() -> None:
    assert MAX_CANVAS_PIXELS == 25_000_000
    wide = Image.new("RGB", (5600, 4400))
    assert "a canvas of 7648x4400 pixels" in refusal(wide, extend_left=1024, extend_right=1024, inpaint_area="masked")


def test_a_mask_may_be_drawn_smaller_than_its_picture() -> None:
    start = inpaint(scene(200, 100), spot(100, 50, (10, 10, 20, 20)), native=(128, 128), mask_blur=0)
    assert start.mask is not None
    assert start.mask.getbbox() == pytest.approx((20, 20, 40, 40), abs=1)


# ----------------------------------------------------------------------------------------------------------- masks


def test_the_fade_is_whole_under_the_mask_falls_outside_and_ends_at_the_blur() -> None:
    soft = np.asarray(masks.fade(spot(60, 20, (20, 0, 30, 20)), 6)).astype(int)
    row = soft[10]
    assert (row[20:30] == 255).all()
    assert (np.diff(row[30:37]) < 0).all()
    assert (row[:14] == 0).all()
    assert (row[36:] == 0).all()
    assert row[35] > 0
    assert (row[14:20][::-1] == row[30:36]).all()


def test_holes_are_filled_smoothly_with_the_colours_around_them() -> None:
    picture = Image.new("RGB", (65, 33), (200, 40, 40))
    picture.paste((40, 40, 200), (33, 0, 65, 33))
    noisy = picture.copy()
    noisy.paste((0, 255, 0), (20, 8, 45, 25))
    filled = np.asarray(masks.filled_from_edges(noisy, spot(65, 33, (20, 8, 45, 25)))).astype(int)
    assert (filled[..., 1] <= 41).all(), "nothing of what lay under the mask"
    assert (np.asarray(picture)[:, :20] == filled[:, :20]).all()
    row = filled[16, 20:45]
    assert row[0, 0] > 150 > row[-1, 0]
    assert np.abs(np.diff(row[:, 0])).max() < 60
    flat = Image.new("RGB", (40, 40), (10, 120, 250))
    assert np.asarray(masks.filled_from_edges(flat, spot(40, 40, (5, 5, 30, 30)))).std(axis=(0, 1)).max() == 0


def test_a_picture_that_is_all_mask_is_left_as_it_is() -> None:
    picture = scene(16, 16)
    assert masks.filled_from_edges(picture, Image.new("L", (16, 16), 255)) is picture
