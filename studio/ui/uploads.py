"""How long an uploaded file lives: as long as a page shows it or a call reads it, and no longer.

Gradio stores uploads by their content, so two visitors who upload the same picture share one file; it is deleted when
the last of them needs it no more. An upload that is never used stays while its visitor has the page open, and is
deleted some minutes after their last request. A program has the same time between its upload and its call.
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradio.utils import get_upload_folder

from studio.asked.requests import MAX_IMAGE_BYTES

# A program that uploads once may call again with the same file, and two that upload the same at once share it.
SECONDS_AFTER_CALL = 60.0
# For a file that nobody has used: as long as a reloading page, or a phone without reception, may be away.
SECONDS_UNUSED = 300.0
SECONDS_BETWEEN_SWEEPS = 60.0


@dataclass(frozen=True)
class Upload:
    """One file in use. `inode` tells it from a later upload of the same content, which has the same path."""

    path: Path
    inode: int


class Uploads:
    """Which uploads are in use, by whom (a page's session or a call's id) and in which field; and which are not used
    yet, and by which visitor they were sent. Safe for any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], Upload] = {}
        self._unused: dict[tuple[str, Upload], float] = {}  # by visitor and file: when it came
        self._here: set[str] = set()  # visitors who have the page open
        self._left: dict[str, float] = {}  # those with unused files who have closed it, and when
        self._sweeper: threading.Timer | None = None

    def arrived(self, owner: str, paths: Sequence[str]) -> None:
        """A visitor has uploaded these. They stay until they are used, or until `sweep` deletes them."""
        uploads = [upload for upload in map(_upload, paths) if upload is not None]
        with self._lock:
            for upload in uploads:
                self._unused[owner, upload] = self._clock()
            self._sweep_later()

    def visitor(self, owner: str, *, here: bool) -> None:
        """Whether a visitor has the page open."""
        with self._lock:
            if here:
                self._here.add(owner)
                self._left.pop(owner, None)
            else:
                self._here.discard(owner)
                if any(of == owner for of, _ in self._unused):
                    self._left[owner] = self._clock()

    def sweep(self) -> None:
        """Delete what nobody has used and whose visitor has left, or never had a page open, SECONDS_UNUSED ago."""
        with self._lock:
            now = self._clock()
            for (owner, upload), came in list(self._unused.items()):
                if owner not in self._here and now - max(came, self._left.get(owner, came)) >= SECONDS_UNUSED:
                    del self._unused[owner, upload]
                    self._delete_unheld(upload)
            owners = {owner for owner, _ in self._unused}
            self._left = {owner: left for owner, left in self._left.items() if owner in owners}

    def _sweep_later(self) -> None:
        """One timer while there is something to sweep. The lock is held."""
        if self._sweeper is None and self._unused:
            self._sweeper = threading.Timer(SECONDS_BETWEEN_SWEEPS, self._sweep_again)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep_again(self) -> None:
        self.sweep()
        with self._lock:
            self._sweeper = None
            self._sweep_later()

    def hold(self, user: str, field: str, path: str | Path | None) -> None:
        """This field of this user now holds this file, or none. The file it held before is deleted if nobody else holds
        it."""
        upload = _upload(path)
        with self._lock:
            before = self._held.pop((user, field), None)
            if upload is not None:
                self._held[user, field] = upload
                self._unused = {key: came for key, came in self._unused.items() if key[1] != upload}
            if before is not None:
                self._delete_unheld(before)

    def leave(self, user: str, *, after: float = 0.0) -> None:
        """This user is gone: files that only they held are deleted, at once or after so many seconds."""
        with self._lock:
            held = [self._held.pop(key) for key in list(self._held) if key[0] == user]
            if not after:
                for upload in held:
                    self._delete_unheld(upload)
        if after and held:
            timer = threading.Timer(after, self._delete_all_unheld, [held])
            timer.daemon = True
            timer.start()

    def _delete_all_unheld(self, uploads: list[Upload]) -> None:
        with self._lock:
            for upload in uploads:
                self._delete_unheld(upload)

    def _delete_unheld(self, upload: Upload) -> None:
        if any(held.path == upload.path for held in self._held.values()):
            return
        if any(unused == upload for _, unused in self._unused):  # another visitor has just uploaded the same picture
            return
        try:
            if upload.path.stat().st_ino != upload.inode:  # uploaded again by somebody who has not used it yet
                return
            upload.path.unlink()
            upload.path.parent.rmdir()  # Gradio's folder of this content
        except OSError:  # already gone, or the folder holds another file of the same content
            return


def read_upload(path: object) -> bytes:
    """The bytes of an uploaded file; b"" where none was given. Raises ValueError, saying what is allowed, for any other
    path and for a file that is gone."""
    if path in (None, ""):
        return b""
    upload = _upload(path) if isinstance(path, str) and "\0" not in path else None
    if upload is None:
        raise ValueError("an uploaded PNG, JPEG, WebP or GIF file, given a few minutes ago")
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
    """The file, which may be deleted; None for a path outside the folder of uploads."""
    if not path:
        return None
    try:
        file = Path(path).resolve(strict=True)
        inside = file.is_relative_to(Path(get_upload_folder()).resolve()) and file.is_file()
        return Upload(file, file.stat().st_ino) if inside else None
    except OSError:
        return None
