"""The picture that comes with a model, in its header (modelspec) or beside it; decoded as any picture from outside."""

from __future__ import annotations

import base64
import binascii
import io
import logging

from PIL import Image

from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest
from studio.checkpoints.catalog import Entry
from studio.checkpoints.inspect import MAX_HEADER_BYTES
from studio.picture.decode import read_picture

logger = logging.getLogger(__name__)

SIDE = 512  # pixels, the longer side
QUALITY = 85
KEY = b'"modelspec.thumbnail"'


def of(entry: Entry) -> bytes | None:
    """A JPEG of at most SIDE pixels a side; None where there is none that can be shown."""
    if entry.file.outside:
        return None
    try:
        data = _neighbouring_picture(entry) or _embedded_picture(entry)
        picture = read_picture(data) if data else None
    except (OSError, InvalidRequest) as error:
        logger.warning("The picture of %s cannot be shown: %s", entry.name, error)
        return None
    if picture is None:
        return None
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=QUALITY)
    return jpeg.getvalue()


def _neighbouring_picture(entry: Entry) -> bytes | None:
    if not entry.file.picture:
        return None
    with (entry.path.parent / entry.file.picture).open("rb") as file:
        return file.read(MAX_IMAGE_BYTES + 1)


def _embedded_picture(entry: Entry) -> bytes | None:
    """The modelspec's data URI, cut out of the header without taking the rest of it apart."""
    if entry.file.is_folder:
        return None
    with entry.path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= MAX_HEADER_BYTES else b""
    _, _, after = header.partition(KEY)
    value = after.lstrip(b' :\t\n"')
    text, quote, _ = value[: value.find(b'"') + 1].partition(b'"')
    kind, comma, text = text.partition(b",")
    if not quote or not comma or not kind.startswith(b"data:image/"):
        return None
    try:
        return base64.b64decode(text.replace(b"\\/", b"/"), validate=True)
    except binascii.Error:
        return None
