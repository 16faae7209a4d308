"""The sha256 of every model file, counted in the background and remembered by path, size and time of change.

One thread, one file at a time, what is loaded first; while jobs run it waits with everything else. Blocks nobody.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from studio.checkpoints.catalog import Entry
from studio.checkpoints.memo import Memo

logger = logging.getLogger(__name__)

BLOCK = 8 * 2**20
BUSY_SECONDS = 0.5  # how long it waits before it looks again whether the studio is idle


def weights_files(entry: Entry) -> list[Path]:
    """The files that are hashed for an entry: itself, or a folder's weights in the order of their names."""
    if not entry.found.is_folder:
        return [entry.path]
    return sorted(entry.path.rglob("*.safetensors"), key=lambda f: f.relative_to(entry.path).as_posix())


class Hasher:
    """Hashes what it is given. `busy` says whether jobs run; what was asked for urgently does not wait for them."""

    def __init__(self, memo: Memo, busy: Callable[[], bool] = lambda: False) -> None:
        self._memo = memo
        self._busy = busy
        self._condition = threading.Condition()
        self._waiting: dict[tuple[str, int, int], Entry] = {}
        self._urgent: dict[tuple[str, int, int], Entry] = {}
        self._failed: set[tuple[str, int, int]] = set()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def get(self, entry: Entry) -> str | None:
        """64 hexadecimal digits; None until they are counted."""
        kept = self._memo.get(entry.found.key)
        known = isinstance(kept, list) and kept[:2] == [entry.found.size, entry.found.mtime_ns]
        return str(kept[2]) if known else None

    def want(self, entries: Iterable[Entry], *, urgent: bool = False) -> None:
        """Hash these when there is time; with `urgent` next, even while jobs run."""
        with self._condition:
            for entry in entries:
                key = entry.identity
                if entry.found.outside or not entry.found.size or key in self._failed or self.get(entry) is not None:
                    continue
                (self._urgent if urgent else self._waiting).setdefault(key, entry)
            if (self._urgent or self._waiting) and self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="model-hash", daemon=True)
                self._thread.start()
            self._condition.notify_all()

    def close(self) -> None:
        """Stop at the next block."""
        self._closed.set()
        with self._condition:
            self._condition.notify_all()

    def _run(self) -> None:
        while not self._closed.is_set():
            with self._condition:
                while not self._urgent and not self._waiting and not self._closed.is_set():
                    self._condition.wait()
                queue = self._urgent or self._waiting
                if not queue:
                    return
                key, entry = next(iter(queue.items()))
                urgent = queue is self._urgent
            try:
                digest = self._digest(entry, urgent)
            except _Later:
                continue
            except OSError as error:
                logger.warning("%s could not be hashed: %s", entry.name, error)
                self._failed.add(key)
            else:
                self._memo.update({entry.found.key: [entry.found.size, entry.found.mtime_ns, digest]})
            with self._condition:
                self._urgent.pop(key, None)
                self._waiting.pop(key, None)

    def _digest(self, entry: Entry, urgent: bool) -> str:
        digest = hashlib.sha256()
        for file in weights_files(entry):
            with file.open("rb", buffering=0) as data:
                while block := data.read(BLOCK):
                    digest.update(block)
                    while not urgent and self._busy() and not self._closed.wait(BUSY_SECONDS):
                        if self._urgent:
                            raise _Later
                    if self._closed.is_set():
                        raise _Later
        return digest.hexdigest()


class _Later(Exception):
    """This file is not hashed now; it stays in its queue."""
