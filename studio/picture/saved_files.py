"""What a saved picture's file says of itself, its thumbnail, and what killed saves leave beside it."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image

from studio.answered.events import Picture
from studio.picture import metadata
from studio.picture.file_formats import A1111_CHUNK, OWN_CHUNK, PILLOW_FORMATS
from studio.picture.gallery_index import Entry

THUMBNAIL_SIDE = 256  # pixels, the longer side
LEFTOVER_AGE = 3600.0  # seconds; no save takes this long, so an older .part belongs to nobody
_SWEPT = 2000  # pictures whose folders are looked at
_CACHED_THUMBNAILS = 256


def digest(owner: str) -> str:
    """How an owner is written on the disk: sha256 of their id."""
    return hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()


def picture_of(entry: Entry, file: Path) -> Picture | None:
    """What the file itself says; None when it is no longer the picture we wrote."""
    try:
        width, height, text = metadata.head(file)
        info = json.loads(text[OWN_CHUNK])
        return Picture(
            id=entry.id,
            file_name=entry.file,
            width=width,
            height=height,
            seed=int(info["seed"]),
            info=info,
            parameters=text[A1111_CHUNK],
        )
    except (OSError, ValueError, SyntaxError, KeyError, TypeError):
        return None


class Thumbnails:
    """JPEGs of at most 256 pixels a side by their picture's id. Safe from any thread."""

    def __init__(self) -> None:
        self._jpegs: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, picture_id: str, file: Path) -> bytes | None:
        """That of the picture in this file; None where it is no picture."""
        with self._lock:
            if picture_id in self._jpegs:
                self._jpegs.move_to_end(picture_id)
                return self._jpegs[picture_id]
        try:
            with Image.open(file, formats=PILLOW_FORMATS) as image:
                small = image.convert("RGB")
        except (OSError, ValueError, SyntaxError):
            return None
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        jpeg_file = io.BytesIO()
        small.save(jpeg_file, "JPEG", quality=85)
        with self._lock:
            self._jpegs[picture_id] = jpeg_file.getvalue()
            while len(self._jpegs) > _CACHED_THUMBNAILS:
                self._jpegs.popitem(last=False)
        return jpeg_file.getvalue()

    def forget(self, picture_id: str) -> None:
        """The picture is gone."""
        with self._lock:
            self._jpegs.pop(picture_id, None)


def sweep_parts(outputs_dir: Path, names: Sequence[str]) -> None:
    """Remove what saves that were killed left behind, in the folders where the newest of these pictures lie."""
    folders = {(outputs_dir / name).parent for name in names[-_SWEPT:]} | set(outputs_dir.glob("????-??-??"))
    for folder in folders:
        for part in folder.glob(".*.part"):
            with suppress(OSError):
                if time.time() - part.lstat().st_mtime > LEFTOVER_AGE:
                    part.unlink()
