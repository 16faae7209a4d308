"""The files that pictures are saved as: PNG, JPEG or WebP, each with AUTOMATIC1111's text and our own record in it.

| | `parameters`, the text | `latent-studio`, the record |
|---|---|---|
| PNG | a text chunk | a text chunk |
| JPEG, WebP | EXIF UserComment, "UNICODE" and UTF-16, big-endian, as AUTOMATIC1111 and Forge write it by piexif | XMP |

A JPEG file has one segment of 64 KiB for each of the two. What a format cannot hold is never cut: `encode` refuses it.
"""

from __future__ import annotations

import html
import io
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, get_args

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.asked.messages import Message

FormatName = Literal["png", "jpeg", "webp"]
FORMAT_NAMES: tuple[FormatName, ...] = get_args(FormatName)

# On a 512x512 picture with a camera's grain this takes 0.6 of the time of Pillow's default 6, for a file 14 % larger.
COMPRESS_LEVEL = 1  # of zlib; the next picture waits for this write

EXIF_IFD, USER_COMMENT = 0x8769, 0x9286  # tags of EXIF 2.3
_LONG, _UNDEFINED = 4, 7  # types of TIFF
OWN_CHUNK = "latent-studio"
A1111_CHUNK = "parameters"

MAX_QUALITY = 100
_MAX_SEGMENT = 65_533  # bytes of a JPEG segment (ISO 10918-1, B.1.1.4)
_XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"  # what begins the segment of an XMP
_MAX_SIDES: Mapping[FormatName, int] = {"png": 2**31 - 1, "jpeg": 65_500, "webp": 16_383}  # pixels
_TRANSPARENT_MODES = ("RGBA", "LA", "PA", "RGBa", "La")


@dataclass(frozen=True)
class FileFormat:
    """A kind of file, as Pillow, people, file names and browsers call it."""

    pillow: str
    label: str
    ending: str
    media_type: str


FILE_FORMATS: Mapping[FormatName, FileFormat] = {
    "png": FileFormat("PNG", "PNG", ".png", "image/png"),
    "jpeg": FileFormat("JPEG", "JPEG", ".jpg", "image/jpeg"),
    "webp": FileFormat("WEBP", "WebP", ".webp", "image/webp"),
}
PILLOW_FORMATS = tuple(one.pillow for one in FILE_FORMATS.values())
ENDINGS = tuple(one.ending for one in FILE_FORMATS.values())
_TYPES = {one.ending: one.media_type for one in FILE_FORMATS.values()}


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a picture becomes a file. `quality`, 1 to 100, is of JPEG and of WebP that is not `lossless`."""

    format: FormatName = "png"
    quality: int = 90
    lossless: bool = False


PNG = Encoding()


class Unfit(ValueError):
    """A format cannot hold a picture or its texts. The text says what, in a sentence."""


def media_type(path: PurePath) -> str:
    """What a browser calls a file of ours, by its ending."""
    return _TYPES.get(path.suffix.lower(), "application/octet-stream")


def encode(image: Image.Image, how: Encoding, info: Mapping[str, object] | None, parameters: str) -> bytes:
    """A picture as a file, with its record and its text, or without both where `info` is None. Nothing else goes into
    the file: `image.info`, which Pillow would write again, is emptied.

    Raises Unfit for what the format cannot hold, and ValueError for an info that is not JSON or holds NaN.
    """
    most = _MAX_SIDES[how.format]
    if max(image.size) > most:
        label = FILE_FORMATS[how.format].label
        raise Unfit(Message("a {format} file has at most {most} pixels a side", format=label, most=f"{most:,}"))
    if how.format == "jpeg" and (image.mode in _TRANSPARENT_MODES or "transparency" in image.info):
        raise Unfit(Message("a JPEG file holds no transparency"))
    content = io.BytesIO()
    record = None if info is None else json.dumps(info, allow_nan=False)
    image.info = {}
    if how.format == "png":
        texts = _png_texts(record, parameters)
        image.save(content, "PNG", pnginfo=texts, compress_level=COMPRESS_LEVEL)
        return content.getvalue()
    more = {} if record is None else {"exif": _exif(parameters), "xmp": _xmp(record)}
    if how.format == "jpeg":
        _check_segments(more)
        image.save(content, "JPEG", quality=how.quality, **more)
    else:
        image.save(content, "WEBP", quality=how.quality, lossless=how.lossless, **more)
    return content.getvalue()


def encode_or_png(
    image: Image.Image, how: Encoding, info: Mapping[str, object], parameters: str
) -> tuple[bytes, FormatName, Mapping[str, object]]:
    """The file, its format, and the info that it holds: as PNG, and with a `file_note` that says why, where the wanted
    format cannot hold the picture with its texts."""
    try:
        return encode(image, how, info, parameters), how.format, info
    except Unfit as error:
        label = FILE_FORMATS[how.format].label
        note = Message("Saved as PNG, not as {format}: {reason}.", format=label, reason=error.args[0])
        info = {**info, "file_note": note}
        return encode(image, PNG, info, parameters), "png", info


def png_info(info: Mapping[str, object], parameters: str) -> PngInfo:
    """The text chunks of a saved picture: `parameters` for every studio, `latent-studio` (JSON) for ours.

    Raises ValueError for an info that is not JSON or holds NaN.
    """
    texts = _png_texts(json.dumps(info, allow_nan=False), parameters)
    assert texts is not None
    return texts


def _png_texts(record: str | None, parameters: str) -> PngInfo | None:
    if record is None:
        return None
    texts = PngInfo()
    texts.add_text(A1111_CHUNK, parameters)  # tEXt when it fits Latin-1, else iTXt, as A1111 itself
    texts.add_text(OWN_CHUNK, record)
    return texts


def _exif(parameters: str) -> bytes:
    """An EXIF block with a UserComment alone (EXIF 2.32, 4.6; TIFF 6.0). Pillow would give it the type BYTE, and
    piexif, by which AUTOMATIC1111 reads it, takes UNDEFINED alone."""
    comment = b"UNICODE\0" + parameters.encode("utf-16-be", "surrogatepass")
    ifd = struct.pack(">2sHIHHHIII", b"MM", 42, 8, 1, EXIF_IFD, _LONG, 1, 26, 0)
    exif_ifd = struct.pack(">HHHIII", 1, USER_COMMENT, _UNDEFINED, len(comment), 44, 0)
    return b"Exif\0\0" + ifd + exif_ifd + comment


_XMP_HEAD = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:studio="urn:latent-studio:1">'
)
_XMP_TAIL = '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
# Searched for, not parsed: a document of an unknown writer may be anything.
_RECORD = re.compile(r"<studio:record>([^<]*)</studio:record>")


def _xmp(record: str) -> bytes:
    return f"{_XMP_HEAD}<studio:record>{html.escape(record, quote=False)}</studio:record>{_XMP_TAIL}".encode()


def record_of_xmp(xmp: str) -> str:
    """Our own record in the XMP of a file; empty where there is none."""
    record = _RECORD.search(xmp)
    return html.unescape(record[1]) if record else ""


def _check_segments(texts: Mapping[str, bytes]) -> None:
    """Raises Unfit for texts that are too long for the segments of a JPEG file."""
    kinds = {"exif": Message("the prompts and settings as a text"), "xmp": Message("the settings")}
    for name, kind in kinds.items():
        size = len(texts.get(name, b"")) + (len(_XMP_NAME) if name == "xmp" else 0)
        if size > _MAX_SEGMENT:
            kibibytes = -(-size // 1024)
            raise Unfit(Message("{kind} take {size} KiB, and a JPEG file holds 64 KiB", kind=kind, size=kibibytes))
