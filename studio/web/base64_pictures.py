"""Pictures as programs write them into JSON: base64, with or without `data:image/png;base64,` before it.

Nothing is decoded here but the base64, and nothing is opened: an address is refused.
"""

from __future__ import annotations

import base64
import binascii
import re

from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest, Problem, quoted_value

_DATA = re.compile(r"data:image/[a-z0-9.+-]{1,20};base64,", re.IGNORECASE)
_MOST = f"at most {MAX_IMAGE_BYTES // 2**20} MiB"
_ALLOWED = f"a picture's file in base64, {_MOST}, with or without data:image/...;base64, before it"


def read(field: str, text: object) -> bytes:
    """The bytes of the file that the text holds. Raises InvalidRequest."""
    if not isinstance(text, str) or not text:
        raise InvalidRequest(Problem(field, quoted_value(text), _ALLOWED))
    start = _DATA.match(text)
    try:
        data = base64.b64decode("".join((text[start.end() :] if start else text).split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(Problem(field, quoted_value(text), _ALLOWED)) from None
    if not data or len(data) > MAX_IMAGE_BYTES:
        raise InvalidRequest(Problem(field, f"a file of {len(data) / 2**20:.1f} MiB", _ALLOWED))
    return data


def encode(data: bytes) -> str:
    """A file as text."""
    return base64.b64encode(data).decode("ascii")
