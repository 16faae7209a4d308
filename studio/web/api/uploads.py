"""Pictures that a program sends before it asks for something: each its sender's alone, for some minutes.

They lie in the process's temporary folder and count with all other uploads (studio.web.upload_room).
"""

from __future__ import annotations

import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from studio.web.upload_room import Place, UploadRoom

SECONDS_UNUSED = 600.0  # since it came, or was used last

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class _Upload:
    owner: str
    path: Path
    used: float


class PictureUploads:
    """The uploads of this process. Safe from any thread; its calls touch the disk. `clock` in seconds."""

    def __init__(self, room: UploadRoom | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.room = room
        self._clock = clock
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._all: dict[str, _Upload] = {}

    def reserve(self, owner: str, size: int) -> Place | None:
        """Room for so many bytes of this visitor's, to be given to `keep` or `free`. Raises NoRoom."""
        self._sweep()
        return self.room.reserve(owner, size) if self.room is not None else None

    def free(self, place: Place | None) -> None:
        """The room is needed no more."""
        if self.room is not None and place is not None:
            self.room.settle(place, [])

    def keep(self, owner: str, data: bytes, place: Place | None) -> str:
        """Write a picture's file into its room; returns its id."""
        name = secrets.token_hex(16)
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="pictures-of-programs-"))
            path = self._folder / name
        try:
            path.write_bytes(data)
        except OSError:
            path.unlink(missing_ok=True)
            self.free(place)
            raise
        if self.room is not None and place is not None:
            self.room.settle(place, [str(path)])
        with self._lock:
            self._all[name] = _Upload(owner, path, self._clock())
        return name

    def read(self, owner: str, name: object) -> bytes | None:
        """The bytes of one of this visitor's; None for any other."""
        self._sweep()
        with self._lock:
            upload = self._all.get(name) if isinstance(name, str) and _ID.fullmatch(name) else None
            if upload is None or upload.owner != owner:
                return None
            self._all[str(name)] = replace(upload, used=self._clock())
        try:
            return upload.path.read_bytes()
        except OSError:
            return None

    def _sweep(self) -> None:
        oldest = self._clock() - SECONDS_UNUSED
        with self._lock:
            over = [name for name, upload in self._all.items() if upload.used < oldest]
            paths = [self._all.pop(name).path for name in over]
        for path in paths:
            path.unlink(missing_ok=True)
