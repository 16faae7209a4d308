"""Small pictures of the library's pictures, made once and kept beside them."""

from __future__ import annotations

import io
import secrets
import threading
from contextlib import suppress
from pathlib import Path

from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest
from studio.picture.decode import read_picture
from studio.picture.library.database import Row

FOLDER = ".thumbnails"
SIDE = 256  # pixels, the longer side
_MAKING = 2  # at one time


class Thumbnails:
    """The thumbnails of one outputs folder."""

    def __init__(self, outputs_dir: Path) -> None:
        self._outputs_dir = outputs_dir
        self._making = threading.Semaphore(_MAKING)

    def of(self, row: Row) -> bytes | None:
        """A JPEG of at most 256 pixels a side; None for a file that cannot be decoded."""
        stored = _file(self._outputs_dir, row.id)
        with suppress(OSError):
            if stored.stat().st_mtime >= row.saved:
                return stored.read_bytes()
        with self._making:
            try:
                image = read_picture(read_file(row.path))
            except (InvalidRequest, OSError):
                return None
        image.thumbnail((SIDE, SIDE))
        content = io.BytesIO()
        image.save(content, "JPEG", quality=82)
        with suppress(OSError):
            stored.parent.mkdir(parents=True, exist_ok=True)
            part = stored.with_name(f".{secrets.token_hex(8)}.part")
            part.write_bytes(content.getvalue())
            part.replace(stored)
        return content.getvalue()


def forget_thumbnail(outputs_dir: Path, picture_id: str) -> None:
    """Delete the thumbnail of a picture that is deleted for good."""
    with suppress(OSError):
        _file(outputs_dir, picture_id).unlink()


def read_file(path: Path) -> bytes:
    """The bytes of a picture's file, at most one more than a picture may have. Raises OSError."""
    with path.open("rb") as file:
        return file.read(MAX_IMAGE_BYTES + 1)


def _file(outputs_dir: Path, picture_id: str) -> Path:
    return outputs_dir / FOLDER / picture_id[:2] / f"{picture_id}.jpg"
