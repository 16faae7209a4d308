"""The process around the server: its temporary folder, the signals that end it, and its end."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from filelock import FileLock, Timeout

PREFIX = "latent-studio-"
LOCK = "in-use.lock"
DAY = 24 * 3600.0
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # those that this system has


class TemporaryFolder:
    """A folder of this process for uploads and other short-lived files. Folders that a killed studio has left are
    deleted."""

    def __init__(self, parent: Path | None = None) -> None:
        """Creates the folder in `parent`, or in the system's temporary folder."""
        parent = parent or Path(tempfile.gettempdir())
        for old in parent.glob(f"{PREFIX}*"):
            _sweep(old)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            self._lock = FileLock(self.path / LOCK)
            try:
                self._lock.acquire(timeout=0)
                return
            except Timeout:  # another studio is deleting it at this moment
                continue

    def remove(self) -> None:
        """Delete the folder and its files."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Delete a folder whose process is gone. One without a lock, from an older studio, is deleted after a day."""
    with contextlib.suppress(OSError):
        if not folder.is_dir() or folder.is_symlink():
            return
        if not (folder / LOCK).exists():
            if time.time() - folder.stat().st_mtime > DAY:
                shutil.rmtree(folder, ignore_errors=True)
            return
        with contextlib.suppress(Timeout), FileLock(folder / LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)


class Ending:
    """Ctrl+C and similar signals: the first asks the studio to end, the second ends the process at once."""

    def __init__(self) -> None:
        """Handles signals from now on. Until `wait` is called, the first one also raises KeyboardInterrupt, since
        nothing needs an orderly end yet."""
        self._end_signal = threading.Event()
        self._waiting = False
        for name in SIGNALS:
            number = getattr(signal, name, None)
            # A signal that was ignored when the process started stays ignored, as nohup does with SIGHUP.
            if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, self._on_signal)

    def wait(self) -> None:
        """Returns when a signal has asked for the end."""
        self._waiting = True
        while not self._end_signal.wait(0.5):  # in slices, so that Ctrl+C is heard on Windows too
            pass

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._end_signal.is_set():
            os._exit(128 + number)
        self._end_signal.set()
        if not self._waiting:
            raise KeyboardInterrupt


def leave(code: int = 0) -> NoReturn:
    """End the process now. Threads in the middle of a long calculation are not waited for, and torch does not take
    itself apart under them, which aborts."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
