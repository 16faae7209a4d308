"""How long a file in Gradio's folder lives: an upload as long as a page shows it or a call reads it, a result of a call
for some minutes, and no longer.

Gradio stores uploads by their content, so two visitors who upload the same picture share one file; it is deleted when
the last of them needs it no more. An upload that is never used stays while its visitor has the page open, and is
deleted some minutes after their last request. A program has the same time between its upload and its call, and for
fetching the copies of its pictures after the call: they are read from this folder by callers without a cookie.
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradio.processing_utils import save_bytes_to_cache, save_file_to_cache
from gradio.utils import get_upload_folder

from studio.asked.messages import Message
from studio.asked.problems import MAX_IMAGE_BYTES

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
    yet, and whose they are. Safe for any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._in_use: dict[tuple[str, str], Upload] = {}
        self._arrivals: dict[tuple[str, Upload], float] = {}  # by visitor and file: when it came, unless used
        self._here: set[str] = set()  # visitors who have the page open
        self._departures: dict[str, float] = {}  # those with unused files who have closed it, and when
        self._owners: dict[Path, set[str]] = {}  # the visitors who sent a file, or got it as a result
        self._leaving: dict[Upload, float] = {}  # files that a call needs no more, and when they go
        self._sweeper: threading.Timer | None = None

    def announce(self, owner: str, paths: Sequence[str]) -> None:
        """These are the visitor's, though the files may come after their paths."""
        with self._lock:
            for path in paths:
                self._owners.setdefault(Path(path).resolve(), set()).add(owner)

    def accept(self, owner: str, paths: Sequence[str]) -> None:
        """A visitor has uploaded these. They stay until they are used, or until `sweep` deletes them."""
        uploads = [upload for upload in map(_upload, paths) if upload is not None]
        with self._lock:
            for upload in uploads:
                self._owners.setdefault(upload.path, set()).add(owner)
                self._arrivals[owner, upload] = self._clock()
            self._sweep_later()

    def visitor(self, owner: str, *, here: bool) -> None:
        """Whether a visitor has the page open."""
        with self._lock:
            if here:
                self._here.add(owner)
                self._departures.pop(owner, None)
            else:
                self._here.discard(owner)
                if any(of == owner for of, _ in self._arrivals):
                    self._departures[owner] = self._clock()

    def sweep(self) -> None:
        """Delete what nobody has used and whose visitor has left, or never had a page open, SECONDS_UNUSED ago."""
        with self._lock:
            now = self._clock()
            for (owner, upload), arrival in list(self._arrivals.items()):
                if (
                    owner not in self._here
                    and now - max(arrival, self._departures.get(owner, arrival)) >= SECONDS_UNUSED
                ):
                    del self._arrivals[owner, upload]
                    self._delete_unless_in_use(upload)
            for upload in [upload for upload, until in self._leaving.items() if now >= until]:
                del self._leaving[upload]
                self._delete_unless_in_use(upload)
            for path in [path for path in self._owners if not path.exists()]:  # Gradio's own sweep deletes too
                del self._owners[path]
            owners = {owner for owner, _ in self._arrivals}
            self._departures = {owner: left_at for owner, left_at in self._departures.items() if owner in owners}

    def _sweep_later(self) -> None:
        """One timer while there is something to sweep. The lock is held."""
        if self._sweeper is None and (self._arrivals or self._leaving):
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
            before = self._in_use.pop((user, field), None)
            if upload is not None:
                self._in_use[user, field] = upload
                self._arrivals = {key: arrival for key, arrival in self._arrivals.items() if key[1] != upload}
            if before is not None:
                self._delete_unless_in_use(before)

    def leave(self, user: str, *, after: float = 0.0) -> None:
        """This user is gone: files that only they held are deleted, at once or by the first sweep after so many
        seconds."""
        with self._lock:
            for upload in [self._in_use.pop(key) for key in list(self._in_use) if key[0] == user]:
                if after:
                    self._leave_later(upload, after)
                else:
                    self._delete_unless_in_use(upload)

    def owners(self, path: str) -> frozenset[str] | None:
        """The visitors who sent this file or got it as a result; None for a path outside the folder of uploads, and for
        one where there is no file."""
        upload = _upload(path) if "\0" not in path else None
        if upload is None:
            return None
        with self._lock:
            return frozenset(self._owners.get(upload.path, ()))

    def result(self, content: Path | bytes, name: str, owner: str) -> str:
        """Copy a file, or write these bytes, to where Gradio serves it, for this visitor; returns its path. It goes
        SECONDS_UNUSED later."""
        with self._lock:  # so that no sweep deletes the file of an earlier result that is the same
            folder = get_upload_folder()
            if isinstance(content, bytes):
                copy = save_bytes_to_cache(content, name, folder)
            else:
                copy = save_file_to_cache(content, folder)
            upload = _upload(copy)
            if upload is not None:
                self._owners.setdefault(upload.path, set()).add(owner)
                self._leave_later(upload, SECONDS_UNUSED)
        return copy

    def _leave_later(self, upload: Upload, seconds: float) -> None:
        """The lock is held."""
        self._leaving[upload] = max(self._clock() + seconds, self._leaving.get(upload, 0.0))
        self._sweep_later()

    def _delete_unless_in_use(self, upload: Upload) -> None:
        if any(other.path == upload.path for other in self._in_use.values()) or upload in self._leaving:
            return
        if any(other == upload for _, other in self._arrivals):  # another visitor has just uploaded the same picture
            return
        try:
            if upload.path.stat().st_ino != upload.inode:  # uploaded again by somebody who has not used it yet
                return
            upload.path.unlink()
            self._owners.pop(upload.path, None)
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
        raise ValueError(Message("an uploaded PNG, JPEG, WebP or GIF file, given a few minutes ago"))
    with upload.path.open("rb") as file:
        return file.read(MAX_IMAGE_BYTES + 1)


def painted_png(text: object) -> bytes:
    """The bytes of a PNG that the page has painted itself and sends in base64. Raises ValueError, saying what is
    allowed."""
    try:
        if isinstance(text, str) and len(text) <= MAX_IMAGE_BYTES:
            return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise ValueError(Message("a PNG file in base64"))


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
