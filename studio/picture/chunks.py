"""A PNG file as its chunks, read without decoding anything, so that hostile ones cost no more than their own length.

Knows the container (PNG specification, sections 5 and 11.3.3) and nothing of pictures or of what the texts mean.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from studio.asked.messages import Message

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
MAX_CHUNKS = 100_000  # a 20 MiB file in Pillow's or a camera's chunks has a few thousand


class BrokenPng(ValueError):
    """The file is not a whole PNG. The text says in plain words what is wrong."""


def chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Yield (type, body, CRC) of every chunk up to IEND, as views of `data`; the CRC is not checked.

    Raises BrokenPng for what is cut off, has no signature or more than MAX_CHUNKS chunks.
    """
    if not data.startswith(SIGNATURE):
        raise BrokenPng(Message("it is not a PNG file"))
    view = memoryview(data)
    position = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if position + 12 > len(data):
            raise BrokenPng(Message("the file is cut off"))
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise BrokenPng(Message("the file is cut off"))
        yield kind, view[position + 8 : end - 4], view[end - 4 : end]
        if kind == b"IEND":
            return
        position = end
    raise BrokenPng(Message("the file has more than {most} parts", most=f"{MAX_CHUNKS:,}"))


def head(file: BinaryIO, *, limit: int) -> tuple[int, int, dict[str, str]]:
    """Width, height and the texts that come before the pixels of a PNG file, which is where this studio and Pillow
    write them; no pixel is read. Texts as in `texts`. Raises BrokenPng, and OSError as the file."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise BrokenPng(Message("it is not a PNG file"))
    size: tuple[int, int] = (0, 0)
    texts: dict[str, str] = {}
    for _ in range(MAX_CHUNKS):
        beginning = file.read(8)
        if len(beginning) < 8:
            raise BrokenPng(Message("the file is cut off"))
        length, kind = struct.unpack(">I4s", beginning)
        if kind in (b"IDAT", b"IEND"):
            return *size, texts
        if kind == b"IHDR" or (kind in _TEXTS and length <= limit + 1000):
            body = file.read(length)
            if len(body) < max(length, 8 if kind == b"IHDR" else 0):
                raise BrokenPng(Message("the file is cut off"))
            if kind == b"IHDR":
                size = struct.unpack_from(">II", body)
            else:
                _take_text(texts, kind, body, limit)
            file.seek(4, 1)
        else:
            file.seek(length + 4, 1)
    raise BrokenPng(Message("the file has more than {most} parts", most=f"{MAX_CHUNKS:,}"))


def only(data: bytes, kinds: frozenset[bytes]) -> bytes:
    """The same file with only the chunks of these kinds. Raises BrokenPng, also for a wrong CRC in them."""
    output = bytearray(SIGNATURE)
    for kind, body, checksum in chunks(data):
        if kind in kinds:
            output += struct.pack(">I4s", len(body), kind) + body + checksum
            if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(checksum, "big"):
                raise BrokenPng(Message("a checksum is wrong"))
    return bytes(output)


def texts(data: bytes, *, limit: int) -> dict[str, str]:
    """The text chunks by keyword: tEXt, zTXt and iTXt; the first of a keyword counts.

    A text longer than `limit` bytes is left out, and compressed ones are never inflated further than that. Raises
    BrokenPng for a file that is cut off.
    """
    texts_by_keyword: dict[str, str] = {}
    for kind, body, _ in chunks(data):
        if kind in _TEXTS and len(body) <= limit + 1000:
            _take_text(texts_by_keyword, kind, bytes(body), limit)
    return texts_by_keyword


def _take_text(texts: dict[str, str], kind: bytes, body: bytes, limit: int) -> None:
    keyword, _, rest = body.partition(b"\0")
    text = _text(kind, rest, limit)
    if text is not None:
        texts.setdefault(keyword.decode("latin-1"), text)


def _text(kind: bytes, rest: bytes, limit: int) -> str | None:
    if kind == b"tEXt":
        return rest.decode("latin-1") if len(rest) <= limit else None
    if kind == b"zTXt":
        raw = _inflate(rest[1:], limit) if rest[:1] == b"\0" else None
        return None if raw is None else raw.decode("latin-1")
    is_compressed, method = rest[:1] == b"\1", rest[1:2]
    _language, _, rest = rest[2:].partition(b"\0")
    _translation, _, rest = rest.partition(b"\0")
    raw = (_inflate(rest, limit) if method == b"\0" else None) if is_compressed else rest
    return None if raw is None or len(raw) > limit else raw.decode("utf-8", "replace")


def _inflate(data: bytes, limit: int) -> bytes | None:
    """Inflated bytes, or None for broken data and for more than `limit` bytes."""
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, limit + 1)
    except zlib.error:
        return None
    return raw if len(raw) <= limit and inflater.eof else None
