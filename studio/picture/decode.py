"""Pictures that come from outside, decoded safely: bytes in, a plain RGB picture out, or a sentence why not.

Owns the limits of what is decoded. Knows nothing of models, sizes the engine likes, or the page. Everything in the
file but the pixels and their orientation is dropped.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image

from studio.asked.messages import Message
from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest, Problem, quoted_value
from studio.picture import chunks

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MAX_PIXELS = 25_000_000  # decoded; Pillow needs 4 bytes for each, and a few copies on the way to RGB
MAX_JPEG_PIXELS = 50_000_000  # phones write such JPEGs; they can be decoded at half size, which costs a quarter
MAX_SIDE = 16_384  # pixels
MAX_ASPECT = 32  # longer side / shorter side: that of the longest picture the studio makes, 2048x64

# What is needed to see a PNG. Texts, colour profiles and animation frames are never looked at, so none can be a bomb.
_PNG_KINDS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"))

_ALLOWED = Message("a PNG, JPEG, WebP or GIF file of at most {most} MiB", most=MAX_IMAGE_BYTES // 2**20)
_ALLOWED_SIZE = Message(
    "pictures of at most {most} million pixels ({most_jpeg} million in a "
    "JPEG), "
    "{side} a side, and at most {aspect} times as long as wide",
    most=MAX_PIXELS // 10**6,
    most_jpeg=MAX_JPEG_PIXELS // 10**6,
    side=f"{MAX_SIDE:,}",
    aspect=MAX_ASPECT,
)
# First bytes of what people try, to call it by its name.
_OTHER_FILES = {
    b"GIF8": Message("a broken GIF file"),
    b"BM": Message("a BMP file"),
    b"II*\0": Message("a TIFF file"),
    b"MM\0*": Message("a TIFF file"),
    b"%PDF": Message("a PDF file"),
    b"%!PS": Message("a PostScript file"),
    b"8BPS": Message("a Photoshop file"),
    b"<svg": Message("an SVG file"),
    b"<?xml": Message("an XML or SVG file"),
    b"<!DOCTYPE": Message("an HTML page"),
    b"<html": Message("an HTML page"),
    b"PK\3\4": Message("a ZIP file"),
    b"version https://git-lfs": Message("a Git LFS pointer, not the file itself"),
}
_BRANDS = {
    b"heic": Message("a HEIC file"),
    b"heix": Message("a HEIC file"),
    b"mif1": Message("a HEIF file"),
    b"avif": Message("an AVIF file"),
    b"avis": Message("an AVIF file"),
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION = 0x0112
# What Pillow raises for broken files (its fuzzers' list); MemoryError and the like are not the visitor's.
_FILE_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def read_picture(data: bytes, ground: str = "white") -> Image.Image:
    """Decode an uploaded picture: RGB, 8 bits, upright, first frame, transparency over `ground`, without any metadata.

    The bytes decide the format. 16-bit values are scaled (v / 257), not cut. A JPEG of 25 to 50 million pixels
    comes at half its size. Raises InvalidRequest with a Problem of the field `image`; nothing is decoded before
    the size that the header states has been found acceptable.
    """
    return _decode(data, lambda image: _to_rgb(image, ground))


def read_layer(data: bytes) -> Image.Image:
    """Decode a drawing that may lie on transparent ground, by the same rules: RGBA, opaque where the file has no
    transparency. Raises InvalidRequest with a Problem of the field `image`."""
    return _decode(data, lambda image: image.convert("RGBA") if _has_alpha(image) else _to_rgb(image).convert("RGBA"))


def _decode(data: bytes, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    if not data:
        raise _refusal(Message("an empty file"))
    if len(data) > MAX_IMAGE_BYTES:
        raise _refusal(Message("a file of {count} MiB", count=f"{len(data) / 2**20:.1f}"))
    try:
        if data.startswith(chunks.SIGNATURE):
            data = chunks.only(data, _PNG_KINDS)
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except chunks.BrokenPng as error:
        raise _refusal(Message("a broken PNG file ({error})", error=error)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidRequest(Problem("image", Message("a picture of over 89 million pixels"), _ALLOWED_SIZE)) from None
    except _FILE_ERRORS:
        raise _refusal(_name_of(data)) from None
    with image:
        _check_size(image)
        orientation = _orientation(image)
        if image.width * image.height > MAX_PIXELS:
            image.draft(None, (image.width // 2, image.height // 2))
        try:
            image.load()
        except _FILE_ERRORS:
            raise _refusal(Message("a broken or cut-off {format} file", format=image.format)) from None
        upright = _upright(convert(image), orientation)
    upright.info = {}
    return upright


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    limit = MAX_JPEG_PIXELS if image.format in ("JPEG", "MPO") else MAX_PIXELS
    too_long = max(width, height) > MAX_ASPECT * min(width, height)
    if width * height > limit or max(width, height) > MAX_SIDE or too_long:
        raise InvalidRequest(
            Problem("image", Message("a picture of {width}x{height} pixels", width=width, height=height), _ALLOWED_SIZE)
        )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or the EXIF data is broken: pixels count, not metadata."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except _FILE_ERRORS:
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info


def _to_rgb(image: Image.Image, ground: str = "white") -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own convert would clip it to white
        grey = image.convert("I").point(lambda value: value * (1 / 257) + 0.5)
        return grey.convert("L").convert("RGB")
    if _has_alpha(image):
        pixels = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, ground), pixels).convert("RGB")
    return image.convert("RGB")


def _name_of(data: bytes) -> str:
    """What the file is instead, by its first bytes."""
    start = data[:512].lstrip()
    for magic, name in _OTHER_FILES.items():
        if start.lower().startswith(magic.lower()):
            return name
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], Message("a video or HEIF file"))
    if data[:2] == b"\xff\xd8" or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return Message("a broken {value} file", value="JPEG" if data[:2] == bytes((0xFF, 0xD8)) else "WebP")
    if data.startswith(chunks.SIGNATURE):
        return Message("a broken PNG file")
    return Message("a file that begins with {name}", name=quoted_value(data[:8]))


def _refusal(value: str) -> InvalidRequest:
    return InvalidRequest(Problem("image", value, _ALLOWED))
