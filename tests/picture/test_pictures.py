"""What may be uploaded, what it becomes, and what is refused before anything is decoded."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin

from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest
from studio.picture import chunks
from studio.picture.decode import MAX_PIXELS, read_picture

SCENE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, *, depth: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    """A PNG of zeros, written by hand, so that it may state any size and carry any chunk."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    line = b"\0" + bytes((width * depth * channels + 7) // 8)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read_picture(data)
    (problem,) = caught.value.problems
    assert problem.field == "image"
    assert problem.allowed
    return problem.value


def pixels(data: bytes) -> np.ndarray:
    image = read_picture(data)
    assert type(image) is Image.Image
    assert image.mode == "RGB"
    assert image.info == {}
    return np.asarray(image)


# ------------------------------------------------------------------------------------------------ what comes in


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_lossless_formats_give_the_same_pixels(kind: str, options: dict[str, object]) -> None:
    assert (pixels(encoded(Image.fromarray(SCENE), kind, **options)) == SCENE).all()


def test_jpeg_is_read_by_its_bytes() -> None:
    flat = Image.new("RGB", (40, 24), (200, 30, 60))
    assert np.abs(pixels(encoded(flat, "JPEG", quality=95)).astype(int) - (200, 30, 60)).max() <= 3


def test_every_mode_of_a_png_becomes_the_right_rgb() -> None:
    grey = SCENE[:, :, 0]
    palette = Image.fromarray(SCENE).quantize(16)
    table = {
        "1": (Image.fromarray(grey > 127), np.repeat((grey > 127)[..., None] * 255, 3, 2)),
        "L": (Image.fromarray(grey), np.repeat(grey[..., None], 3, 2)),
        "P": (palette, np.asarray(palette.convert("RGB"))),
        "RGB": (Image.fromarray(SCENE), SCENE),
    }
    for mode, (image, expected) in table.items():
        assert image.mode == mode
        assert (pixels(encoded(image)) == expected).all(), mode


def test_transparency_lies_over_white() -> None:
    alpha = np.full((6, 8), 128, np.uint8)
    over_white = SCENE * (128 / 255) + 255 * (127 / 255)
    rgba = Image.fromarray(np.dstack([SCENE, alpha]))
    assert np.abs(pixels(encoded(rgba)) - over_white).max() <= 1
    assert np.abs(pixels(encoded(rgba, "WEBP", lossless=True)) - over_white).max() <= 1
    grey_alpha = Image.merge("LA", [Image.fromarray(SCENE[:, :, 0]), Image.fromarray(alpha)])
    expected = SCENE[:, :, :1] * (128 / 255) + 127
    assert np.abs(pixels(encoded(grey_alpha)) - expected).max() <= 1
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 2), 1)
    seen = pixels(encoded(palette, transparency=0))
    assert tuple(seen[0, 0]) == (255, 255, 255)
    assert tuple(seen[2, 1]) == (40, 50, 60)
    assert tuple(pixels(encoded(Image.new("RGB", (3, 3), (9, 8, 7)), transparency=(9, 8, 7)))[1, 1]) == (255,) * 3


def test_cmyk_jpeg_becomes_rgb() -> None:
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(pixels(encoded(cmyk, "JPEG", quality=95)).astype(int) - (255, 0, 0)).max() <= 4


def test_sixteen_bit_grey_is_scaled_by_value() -> None:
    ramp = np.linspace(0, 65535, 64 * 16).astype(np.uint16).reshape(16, 64)
    seen = pixels(encoded(Image.fromarray(ramp)))
    assert np.abs(seen[:, :, 0] - ramp / 257).max() <= 0.51
    assert abs(seen.mean() - 127.5) < 1


def test_sixteen_bit_rgb_is_within_one_of_its_value() -> None:
    values = np.arange(0, 65536, 97, dtype=">u2")[: 225 * 3].reshape(15, 15, 3)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
    header = struct.pack(">IIBBBBB", 15, 15, 16, 2, 0, 0, 0)
    data = chunks.SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    assert np.abs(pixels(data) - values / 257).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16], upright[:8, 16:], upright[8:, :16] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    turned = {  # how a camera held in this orientation stores the picture
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(Image.fromarray(np.ascontiguousarray(turned)), kind, exif=exif, **options)
    assert np.abs(pixels(data).astype(int) - upright).max() <= 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_cost_the_picture() -> None:
    data = encoded(Image.fromarray(SCENE), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert (pixels(data) == SCENE).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_only_the_first_frame_of_an_animation_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), (k % 250, 90, 30)) for k in range(300)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    assert tuple(pixels(data)[0, 0]) == (0, 90, 30)


def test_a_gif_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), (k % 250, 90, 30)) for k in range(300)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert tuple(pixels(data)[0, 0]) == (0, 90, 30)
    assert refusal(data[:12]) == "a broken GIF file"
    see_through = Image.new("P", (4, 4), 0)
    see_through.putpalette([10, 20, 30])
    assert tuple(pixels(encoded(see_through, "GIF", transparency=0))[0, 0]) == (255, 255, 255)


def test_a_gif_whose_frame_is_larger_than_its_screen_is_refused_by_the_frame() -> None:
    screen = b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 6000, 6000, 0) + b"\x02\x02\x4c\x01\x00\x3b"
    assert refusal(screen + frame) == "a picture of 6000x6000 pixels"


def test_metadata_is_dropped_and_metadata_bombs_are_never_inflated() -> None:
    bomb = zlib.compress(bytes(64 * 2**20), 9)
    extra = chunk(b"zTXt", b"parameters\0\0" + bomb) + chunk(b"iCCP", b"profile\0\0" + bomb)
    extra += b"".join(chunk(b"tEXt", b"k%d\0v" % k) for k in range(50_000))
    tracemalloc.start()
    try:
        assert pixels(png(4, 4, extra=extra)).sum() == 0
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


def test_a_jpeg_of_a_large_phone_camera_comes_at_half_its_size() -> None:
    data = encoded(Image.new("L", (8000, 6000), 78), "JPEG", quality=50)
    image = read_picture(data)
    assert image.size == (4000, 3000)
    assert image.getpixel((1999, 7)) == (78, 78, 78)


def test_one_pixel_is_a_picture() -> None:
    assert pixels(encoded(Image.new("RGB", (1, 1), "red"))).tolist() == [[[255, 0, 0]]]


# --------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("width", "height", "depth"),
    [(13300, 13300, 1), (9400, 9400, 1), (14000, 14000, 1), (30_000, 1000, 8), (5001, 5000, 8), (60_000, 60_000, 1)],
)
@pytest.mark.filterwarnings("ignore:.*decompression bomb")
def test_a_bomb_is_refused_by_its_header(width: int, height: int, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", decode, raising=False)
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    data = chunks.SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    value = refusal(data)
    assert value in (f"a picture of {width}x{height} pixels", "a picture of over 89 million pixels")


def test_the_largest_pictures_that_are_taken() -> None:
    assert read_picture(png(5000, 5000, depth=1)).size == (5000, 5000)
    assert MAX_PIXELS == 5000 * 5000


@pytest.mark.parametrize("size", [(20_000, 10), (10, 20_000), (330, 10), (10, 330)])
def test_very_long_pictures_are_refused_with_the_limits_named(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequest, match="at most 32 times as long as wide"):
        read_picture(png(*size))


def test_a_file_over_the_limit_is_refused_unread() -> None:
    assert refusal(bytes(MAX_IMAGE_BYTES + 2**20)) == "a file of 21.0 MiB"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "an empty file"),
        (b"hello", "a file that begins with b'hello'"),
        (b"GIF89a\1\0\1\0", "a broken GIF file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript file"),
        (b"%PDF-1.7", "a PDF file"),
        (b"  <svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG file"),
        (b"<!doctype html><h1>404</h1>", "an HTML page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC file"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "an AVIF file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the file itself"),
        (b"\x89PNG\r\n\x1a\n", "a broken PNG file (the file is cut off)"),
        (b"\xff\xd8\xff\xe0rest", "a broken JPEG file"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "a broken WebP file"),
    ],
)
def test_other_files_are_called_by_their_name(data: bytes, name: str) -> None:
    assert refusal(data) == name


def test_tiff_is_refused_whatever_it_holds() -> None:
    assert refusal(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")) == "a TIFF file"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_cut_off_file_is_refused(kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    assert refusal(data[: len(data) // 2]).startswith("a broken")


def test_a_wrong_checksum_is_refused() -> None:
    data = bytearray(encoded(Image.fromarray(SCENE)))
    data[data.index(b"IDAT") + 20] ^= 1
    assert refusal(bytes(data)) == "a broken PNG file (a checksum is wrong)"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP"]), st.integers(0, 2**32))
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated File Read")
def test_damaged_files_are_read_or_refused_and_nothing_else(kind: str, luck: int) -> None:
    chance = random.Random(luck)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encoded(Image.fromarray(SCENE).resize((40, 40)), kind, exif=exif))
    for _ in range(chance.randint(1, 6)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    with suppress(InvalidRequest):
        assert read_picture(bytes(data)).mode == "RGB"
