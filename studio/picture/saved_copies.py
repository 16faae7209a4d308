"""Copies of saved pictures for people to take away: in another format, or without what the file says of its making."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import get_args

from PIL import Image

from studio.asked.messages import Message, listed
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.picture import chunks, metadata
from studio.picture.file_formats import (
    A1111_CHUNK,
    FILE_FORMATS,
    OWN_CHUNK,
    PILLOW_FORMATS,
    Encoding,
    FormatName,
    Unfit,
    encode,
    media_type,
)
from studio.picture.saving import encoding_problems

FIELDS = ("format", "quality", "lossless", "metadata")  # of a copy that is asked for
_PNG_PICTURE = frozenset((b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"IDAT", b"IEND"))
_FLAGS = {"0": False, "false": False, "1": True, "true": True}


@dataclass(frozen=True, kw_only=True)
class CopyOrder:
    """What is asked for: `how` None is the file's own format; `metadata` is what it says of its making."""

    how: Encoding | None = None
    metadata: bool = True

    @property
    def changes(self) -> bool:
        """Whether it is anything but the file as it lies there."""
        return self.how is not None or not self.metadata

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> CopyOrder:
        """From the texts of an address; other names than FIELDS are not looked at. Raises InvalidRequest."""
        values: dict[str, object] = {}
        problems = []
        for name in FIELDS:
            text = texts.get(name, "")
            if not text:
                continue
            if name == "quality":
                values[name] = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else text
            elif name == "format":
                values[name] = {"jpg": "jpeg"}.get(text.lower(), text.lower())
            elif text.lower() in _FLAGS:
                values[name] = _FLAGS[text.lower()]
            else:
                problems.append(Problem(name, quoted_value(text), listed("01")))
        problems += encoding_problems(values)
        if problems:
            raise InvalidRequest(*problems)
        with_metadata = bool(values.pop("metadata", True))
        if "format" not in values:
            if values:
                name = next(iter(values))
                raise InvalidRequest(Problem(name, quoted_value(texts[name]), Message("a format beside it")))
            return cls(metadata=with_metadata)
        return cls(how=Encoding(**values), metadata=with_metadata)  # type: ignore[arg-type]


@dataclass(frozen=True)
class SavedCopy:
    """A file to be taken away."""

    content: bytes
    name: str
    media_type: str


def saved_copy(path: Path, order: CopyOrder) -> SavedCopy:
    """A copy of one of our pictures. Raises OSError, and InvalidRequest for what the format cannot hold."""
    data = path.read_bytes()
    now = format_of(path)
    if order.how is None or order.how == Encoding(format=now):
        content = data if order.metadata else without_metadata(data)
        return SavedCopy(content, path.name, media_type(path))
    wanted = FILE_FORMATS[order.how.format]
    _, _, texts = metadata.head(path)
    info = json.loads(texts.get(OWN_CHUNK, "{}")) if order.metadata else None
    with Image.open(path, formats=PILLOW_FORMATS) as image:
        picture = image.convert("RGB")
    try:
        content = encode(picture, order.how, info, texts.get(A1111_CHUNK, ""))
    except Unfit as error:
        why = Message("another one, since {reason}", reason=error.args[0])
        raise InvalidRequest(Problem("format", quoted_value(order.how.format), why)) from error
    return SavedCopy(content, path.stem + wanted.ending, wanted.media_type)


def format_of(path: PurePath) -> FormatName:
    """The format of a file of ours, by its ending."""
    names: tuple[FormatName, ...] = get_args(FormatName)
    return next((name for name in names if FILE_FORMATS[name].ending == path.suffix.lower()), "png")


def without_metadata(data: bytes) -> bytes:
    """The same file of ours without its texts; its pixels stay as they are, bit for bit. Raises ValueError for a file
    that is none of the three formats."""
    if data.startswith(chunks.SIGNATURE):
        return chunks.only(data, _PNG_PICTURE)
    if data.startswith(b"\xff\xd8"):
        return _jpeg_without_texts(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp_without_texts(data)
    raise ValueError("it is no PNG, JPEG or WebP file")


def _jpeg_without_texts(data: bytes) -> bytes:
    """Without the segments APP1 (EXIF, XMP), APP13 and comments, which come before the first scan (ISO 10918-1, B)."""
    output, position = bytearray(data[:2]), 2
    while data[position : position + 1] == b"\xff" and (marker := data[position + 1]) != 0xDA:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker not in (0xE1, 0xED, 0xFE):
            output += data[position:end]
        position = end
    return bytes(output + data[position:])


def _webp_without_texts(data: bytes) -> bytes:
    """Without the chunks of EXIF and XMP, and the flags that announce them (RFC 9649, 2.7)."""
    output, position = bytearray(), 12
    while position + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, position)
        end = position + 8 + size + size % 2
        body = bytearray(data[position:end])
        if kind == b"VP8X":
            body[8] &= ~0b1100
        if kind not in (b"EXIF", b"XMP "):
            output += body
        position = end
    return b"RIFF" + struct.pack("<I", len(output) + 4) + b"WEBP" + bytes(output)
