"""How long an uploaded file lives: as long as a page shows it or a call reads it, and no longer.

Gradio keeps uploads in a folder by their content, so two visitors who give the same picture share one file; it goes
with the last of them. What is uploaded and never used goes with Gradio's own hourly sweep.
"""

from __future__ import annotations

import base64
import binascii
import threading
from dataclasses import dataclass
from pathlib import Path

from gradio.utils import get_upload_folder

from studio.requests import MAX_IMAGE_BYTES

# A program that uploads once may call again with the same file, and two that upload the same at once share it.
SECONDS_AFTER_CALL = 60.0


@dataclass(frozen=True)
class Upload:
    """One file in use. `inode` tells it from a later upload of the same content, which has the same path."""

    path: Path
    inode: int


class Uploads:
    """Which uploads are in use, by whom (a page's session or a call's id) and in which field. Safe for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], Upload] = {}

    def hold(self, user: str, field: str, path: str | Path | None) -> None:
        """This field of this user now has this file, or none. What it had before goes, if nobody else has it."""
        upload = _upload(path)
        with self._lock:
            before = self._held.pop((user, field), None)
            if upload is not None:
                self._held[user, field] = upload
            if before is not None:
                self._delete_unheld(before)

    def leave(self, user: str, *, after: float = 0.0) -> None:
        """This user is gone: what only he had goes, at once or after so many seconds."""
        with self._lock:
            left = [self._held.pop(key) for key in list(self._held) if key[0] == user]
            if not after:
                for upload in left:
                    self._delete_unheld(upload)
        if after and left:
            timer = threading.Timer(after, self._delete_all_unheld, [left])
            timer.daemon = True
            timer.start()

    def _delete_all_unheld(self, uploads: list[Upload]) -> None:
        with self._lock:
            for upload in uploads:
                self._delete_unheld(upload)

    def _delete_unheld(self, upload: Upload) -> None:
        if any(held.path == upload.path for held in self._held.values()):
            return
        try:
            if upload.path.stat().st_ino != upload.inode:  # uploaded anew by somebody who has not used it yet
                return
            upload.path.unlink()
            upload.path.parent.rmdir()  # Gradio's folder of this content
        except OSError:  # gone already, or the folder has another file of the same content
            return


def read_upload(path: object) -> bytes:
    """The bytes of an uploaded file; b"" where none was given. Raises ValueError, saying what is allowed, for any other
    path and for a file that is gone."""
    if path in (None, ""):
        return b""
    upload = _upload(path) if isinstance(path, str) and "\0" not in path else None
    if upload is None:
        raise ValueError("an uploaded PNG, JPEG or WebP file, given less than an hour ago")
    with upload.path.open("rb") as file:
        return file.read(MAX_IMAGE_BYTES + 1)


def painted(text: object) -> bytes:
    """The bytes of a PNG that the page has painted itself and sends in base64. Raises ValueError, saying what is
    allowed."""
    try:
        if isinstance(text, str) and len(text) <= MAX_IMAGE_BYTES:
            return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise ValueError("a PNG file in base64")


def _upload(path: str | Path | None) -> Upload | None:
    """The file as one that may be deleted; None for what does not lie in the folder of uploads."""
    if not path:
        return None
    try:
        found = Path(path).resolve(strict=True)
        inside = found.is_relative_to(Path(get_upload_folder()).resolve()) and found.is_file()
        return Upload(found, found.stat().st_ino) if inside else None
    except OSError:
        return None
