"""Recordings that do not fit in memory: their numbers in a temporary folder, until somebody reads them or they end.

One safetensors file each, readable by this user alone; the folder goes when the studio ends. Bounded, and it leaves
the disk some room: what has none there is not kept. NumPy only; knows nothing of what the numbers mean.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

MAX_DISK_BYTES = 4 * 2**30
LEFT_FREE = 2**30  # bytes of the disk that are never taken

Array = np.ndarray[Any, np.dtype[Any]]

logger = logging.getLogger(__name__)


class Overflow:
    """Arrays on disk by a number. Calls come one at a time: the recorder holds its lock."""

    def __init__(self, max_bytes: int = MAX_DISK_BYTES, left_free: int = LEFT_FREE) -> None:
        self._max_bytes = max_bytes
        self._left_free = left_free
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # made when it is needed first
        self._files: dict[int, int] = {}  # bytes by number
        self._next = 0

    @property
    def bytes(self) -> int:
        """What is on disk now."""
        return sum(self._files.values())

    def fits(self, size: int) -> bool:
        """Whether so many bytes more would be within the bound. What is older may be dropped to make room."""
        return self.bytes + size <= self._max_bytes

    def put(self, arrays: Mapping[str, Array]) -> int | None:
        """Write arrays; answers their number. None where the disk has no room for them or cannot be written."""
        from safetensors.numpy import save_file  # imports no torch; here because the start should not wait for it

        size = sum(array.nbytes for array in arrays.values())
        try:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="latent-studio-", ignore_cleanup_errors=True)
            if not self.fits(size) or shutil.disk_usage(self._folder.name).free < size + self._left_free:
                return None
            self._next += 1
            save_file(dict(arrays), self._path(self._next))
        except OSError as error:
            logger.warning("A recording could not be put on disk: %s", error)
            self.drop(self._next)
            return None
        self._files[self._next] = size
        return self._next

    def get(self, number: int) -> dict[str, Array] | None:
        """The arrays of a number; None when somebody has taken the file away, or it cannot be read."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return dict(load_file(self._path(number)))
        except (OSError, SafetensorError) as error:
            logger.warning("A recording could not be read from disk: %s", error)
            return None

    def drop(self, number: int) -> None:
        """Delete a file. One that is not there is no error."""
        self._files.pop(number, None)
        if self._folder is not None:
            self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Delete everything. The end of the process does the same."""
        self._files.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _path(self, number: int) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / f"{number}.safetensors"
