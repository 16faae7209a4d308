"""Settings hidden in the lowest bits of a picture's transparency, as NovelAI and an extension of A1111 write them.

Column by column, one bit a pixel: a signature, the number of the bits that follow, and the text, plain or gzipped.
"""

from __future__ import annotations

import json
import zlib

from PIL import Image

from studio.asked.problems import InvalidRequest
from studio.picture.decode import read_layer

_SIGNATURES = {b"stealth_pngcomp": True, b"stealth_pnginfo": False}  # => whether the text is compressed
_START = (15 + 4) * 8  # bits before the text
_LONGEST = 64 * 2**10  # bytes of a text


def texts(png: bytes) -> dict[str, str]:
    """The texts in a PNG's transparency by keyword; empty where there are none."""
    if not _has_transparency(png):
        return {}
    try:
        # Turned, a row of the picture is a column.
        alpha = read_layer(png).getchannel("A").transpose(Image.Transpose.TRANSPOSE).tobytes()
    except InvalidRequest:
        return {}
    head = _bytes(alpha[:_START])
    is_compressed = _SIGNATURES.get(head[:15])
    length = int.from_bytes(head[15:19], "big")
    if is_compressed is None or not 0 < length <= min(8 * _LONGEST, len(alpha) - _START):
        return {}
    data = _bytes(alpha[_START : _START + length])
    if is_compressed:
        inflater = zlib.decompressobj(wbits=31)
        try:
            data = inflater.decompress(data, _LONGEST)
        except zlib.error:
            return {}
    return _keywords(data.decode("utf-8", "replace"))


def _has_transparency(png: bytes) -> bool:
    """By the colour type in the header (PNG specification, 11.2.2), so that other files are not decoded."""
    return png[12:16] == b"IHDR" and png[25:26] in (b"\x04", b"\x06")


def _bytes(alpha: bytes) -> bytes:
    bits = "".join("1" if value & 1 else "0" for value in alpha[: len(alpha) // 8 * 8])
    return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")


def _keywords(text: str) -> dict[str, str]:
    """NovelAI writes the texts that its PNG files have, as one JSON object; the extension an infotext."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {"parameters": text}
    if not isinstance(value, dict):
        return {}
    return {str(key): one if isinstance(one, str) else json.dumps(one) for key, one in value.items()}
