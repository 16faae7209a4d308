"""The hashes of every model file, counted in the background and remembered by path, size and time of change.

One thread, one file at a time, what is loaded first. While jobs run it takes a small share of one core for what is
loaded, whose pictures name its hash, and waits with everything else. Blocks nobody but who calls `now`.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import NamedTuple

from studio.checkpoints.catalog import Entry
from studio.checkpoints.folders import OWN_UPSCALERS
from studio.checkpoints.inspect import BadCheckpoint, read_whole_header
from studio.checkpoints.memo import Memo

logger = logging.getLogger(__name__)

BLOCK = 8 * 2**20
BUSY_SECONDS = 0.5  # how long it waits before it looks again whether the studio is idle
REST = 9.0  # while jobs run, what is urgent rests so many times as long as a block has taken: a tenth of a core
SHORT_DIGITS = 12  # of the hashes that A1111 writes of LoRAs and embeddings


class FileHashes(NamedTuple):
    """What tells a file from others of its name."""

    sha256: str  # of the whole file, 64 hexadecimal digits
    short: str  # as A1111 writes it of a LoRA or an embedding, 12 hexadecimal digits; "" of other kinds


def weights_files(entry: Entry) -> list[Path]:
    """The files that are hashed for an entry: itself, or a folder's weights in the order of their names."""
    if not entry.file.is_folder:
        return [entry.path]
    files = {f.relative_to(entry.path).as_posix(): f for f in entry.path.rglob("*.safetensors")}
    # An upscaler comes after the picture: with or without it this is the same checkpoint.
    return [files[name] for name in sorted(files) if not name.startswith(f"{OWN_UPSCALERS}/")]


class Hasher:
    """Hashes the files of entries. `busy` says whether jobs run; what was asked for urgently goes on beside them, but
    slowly."""

    def __init__(
        self,
        memo: Memo,
        busy: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """`wait` waits so many seconds, or less when the hasher is closed, and then says True."""
        self._memo = memo
        self._busy = busy
        self._clock = clock
        self._condition = threading.Condition()
        self._waiting: dict[Hashable, Entry] = {}
        self._urgent: dict[Hashable, Entry] = {}
        self._failures: set[Hashable] = set()
        self._close = threading.Event()
        self._wait = wait or self._close.wait
        self._thread: threading.Thread | None = None

    def get(self, entry: Entry) -> str | None:
        """The sha256, 64 hexadecimal digits; None until it is counted."""
        hashes = self.both(entry)
        return hashes.sha256 if hashes is not None else None

    def both(self, entry: Entry) -> FileHashes | None:
        """The sha256 and A1111's short hash; None until they are counted."""
        values = self._memo.get(entry.file.key)
        if not isinstance(values, list) or values[:2] != [entry.file.size, entry.file.mtime_ns]:
            return None
        sha256, *more = [str(value) for value in values[2:]]
        short, version = (more + ["", ""])[:2]  # an earlier studio wrote neither
        if version not in ("", str(entry.file.changed_ns)) or (entry.facts.kind == "lora" and not short):
            return None
        return FileHashes(sha256, short or (sha256[:SHORT_DIGITS] if entry.facts.kind == "embedding" else ""))

    def now(self, entry: Entry) -> FileHashes | None:
        """The hashes, counted on the caller's thread where they are not known; None for a file that cannot be read or
        changes meanwhile."""
        hashes = self.both(entry)
        if hashes is None:
            try:
                self._remember(entry, pause=lambda seconds: None)
            except (_Later, OSError, BadCheckpoint) as error:
                logger.warning("%s could not be hashed: %s", entry.name, error)
            hashes = self.both(entry)
        return hashes

    def want(self, entries: Iterable[Entry], *, urgent: bool = False) -> None:
        """Hash these when there is time; with `urgent` next, even while jobs run, a block now and then."""
        with self._condition:
            for entry in entries:
                key = entry.identity
                if entry.file.outside or not entry.file.size or key in self._failures or self.both(entry) is not None:
                    continue
                (self._urgent if urgent else self._waiting).setdefault(key, entry)
            if (self._urgent or self._waiting) and self._thread is None and not self._close.is_set():
                self._thread = threading.Thread(target=self._run, name="model-hash", daemon=True)
                self._thread.start()
            self._condition.notify_all()

    def close(self) -> None:
        """Stop at the next block."""
        self._close.set()
        with self._condition:
            self._condition.notify_all()

    def _run(self) -> None:
        while not self._close.is_set():
            with self._condition:
                while not self._urgent and not self._waiting and not self._close.is_set():
                    self._condition.wait()
                queue = self._urgent or self._waiting
                if not queue:
                    return
                key, entry = next(iter(queue.items()))
                pause = self._rest if queue is self._urgent else self._wait_for_the_jobs
            try:
                self._remember(entry, pause)
            except _Later:
                continue
            except (OSError, BadCheckpoint) as error:
                logger.warning("%s could not be hashed: %s", entry.name, error)
                self._failures.add(key)
            with self._condition:
                self._urgent.pop(key, None)
                self._waiting.pop(key, None)

    def _wait_for_the_jobs(self, seconds: float) -> None:
        """Until no job runs. Raises _Later where something urgent has come."""
        while self._busy() and not self._wait(BUSY_SECONDS):
            if self._urgent:
                raise _Later

    def _rest(self, seconds: float) -> None:
        """Leave the cores to the jobs that run, after a block that has taken so long."""
        if self._busy():
            self._wait(REST * seconds)

    def _remember(self, entry: Entry, pause: Callable[[float], None]) -> None:
        """Hash a file and remember it. `pause` is called after each block, with the seconds that it has taken. Raises
        OSError for one that is replaced meanwhile."""
        hashes = self._digest(entry, pause)
        if not _is_as_listed(entry):
            raise OSError("it has been replaced meanwhile")
        self._memo.update({entry.file.key: [entry.file.size, entry.file.mtime_ns, *hashes, entry.file.changed_ns]})

    def _digest(self, entry: Entry, pause: Callable[[float], None]) -> FileHashes:
        whole, behind_header = hashlib.sha256(), hashlib.sha256()
        lora = entry.facts.kind == "lora" and not entry.file.is_folder
        metadata_hash = read_whole_header(entry.path).metadata.get("sshs_model_hash", "") if lora else ""
        for file in weights_files(entry):
            with file.open("rb", buffering=0) as data:
                header_bytes = 8 + int.from_bytes(data.read(8), "little") if lora else 0
                data.seek(0)
                start = self._clock()
                while block := data.read(BLOCK):
                    whole.update(block)
                    if lora:
                        behind_header.update(memoryview(block)[header_bytes:])
                        header_bytes = max(0, header_bytes - len(block))
                    pause(self._clock() - start)
                    start = self._clock()
                    if self._close.is_set():
                        raise _Later
        short = (metadata_hash or behind_header.hexdigest())[:SHORT_DIGITS] if lora else ""
        return FileHashes(whole.hexdigest(), short)


def _is_as_listed(entry: Entry) -> bool:
    """Whether the files are those of the listing: none has been replaced or written to since."""
    file, stats = entry.file, [file.stat() for file in weights_files(entry)]
    if file.is_folder:  # whose time is that of its newest file, a config's perhaps
        return all(stat.st_mtime_ns <= file.mtime_ns and stat.st_ctime_ns <= file.changed_ns for stat in stats)
    return [(s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats] == [(file.size, file.mtime_ns, file.changed_ns)]


class _Later(Exception):
    """This file is not hashed now; it stays in its queue."""
