"""Looking through the folders of the library in the background: what is new is read, what is gone is taken out.

One thread of low priority. While a run goes on it sleeps most of the time, so that the run is as quick as without it.
"""

from __future__ import annotations

import heapq
import logging
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import suppress
from pathlib import Path

from studio.picture.gallery import Gallery
from studio.picture.library import database, reading
from studio.picture.library.database import Row
from studio.picture.naming import COMPARISONS

logger = logging.getLogger(__name__)

BATCH = 100  # pictures that are added together
BUSY_SHARE = 0.03  # of a core, while a run goes on
MAX_DEPTH = 12  # folders in folders
NEWEST = 12  # folders that are looked at each time, those that changed last
WHOLE_SECONDS = 5.0  # between two looks at all folders
SETTLED_SECONDS = 2.0  # a folder that has changed since then is looked through again: its mtime is too coarse to tell
SAVING_SECONDS = 30.0  # after which a picture of ours has its line in index.jsonl


class Scanner:
    """Looks through the outputs folder and the folders of other programs."""

    def __init__(
        self,
        gallery: Gallery,
        others: tuple[Path, ...],
        connection: sqlite3.Connection,
        lock: threading.RLock,
        busy: Callable[[], bool],
    ) -> None:
        self._gallery = gallery
        self._roots = (gallery.outputs_dir, *others)
        self._connection = connection
        self._lock = lock
        self._busy = busy
        self._stopped = threading.Event()
        self._looked_at = float("-inf")  # when all folders were looked at last
        self.changes = 0  # a count that rises with each change of the index

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Let a look end soon."""
        self._stopped.set()

    def forget_others(self) -> None:
        """Take folders out of the index that are no longer of the library."""
        with self._lock:
            names = [row[0] for row in self._connection.execute("SELECT DISTINCT root FROM folders")]
            for name in names:
                if name not in map(str, self._roots):
                    database.remove(self._connection, "root = ?", (name,))
                    self._connection.execute("DELETE FROM folders WHERE root = ?", (name,))

    def look(self) -> None:
        """Look through the folders once, through those that have not changed for long only every few seconds. A folder
        that cannot be read is left out."""
        is_whole = time.monotonic() - self._looked_at > WHOLE_SECONDS
        for root in self._roots:
            with self._lock:
                known = dict(self._connection.execute("SELECT name, mtime FROM folders WHERE root = ?", (str(root),)))
            others = set() if is_whole else self._long_unchanged(known)
            there = set()
            for name, mtime in self._folders(root, known, others):
                there.add(name)
                if self._stopped.is_set():
                    return
                if known.get(name) != mtime:
                    self._look_through(root, name, mtime)
            for name in known.keys() - there:
                with self._lock:
                    database.remove(self._connection, "root = ? AND folder = ?", (str(root), name))
                    self._connection.execute("DELETE FROM folders WHERE root = ? AND name = ?", (str(root), name))
                    self.changes += 1
        if is_whole:
            self._looked_at = time.monotonic()

    def _long_unchanged(self, known: Mapping[str, int]) -> set[str]:
        """The folders of the index but for the newest, and those that are to be looked through again."""
        newest = heapq.nlargest(NEWEST, known, key=known.__getitem__)
        return {name for name, mtime in known.items() if mtime}.difference(newest, [""])

    def _folders(self, root: Path, known: Mapping[str, int], unchanged: Set[str]) -> Iterator[tuple[str, int]]:
        """Name and mtime of each folder, those first that have pictures of today. Links are not followed. `unchanged`
        ones are taken for what the index has."""
        known_below: dict[str, list[str]] = {}
        for one in filter(None, known):
            known_below.setdefault(one.rpartition("/")[0], []).append(one)
        waiting = [""]
        while waiting:
            name = waiting.pop()
            folder = f"{root}/{name}" if name else str(root)
            try:
                if name in unchanged:
                    mtime = known[name]
                else:
                    about = os.lstat(folder)  # no folder above it is a link either: the way leads through all of them
                    if not stat.S_ISDIR(about.st_mode):
                        continue
                    mtime = about.st_mtime_ns
                if known.get(name) == mtime:  # the same folders lie in it
                    below = known_below.get(name, [])
                else:
                    below = [
                        f"{name}/{entry.name}" if name else entry.name
                        for entry in os.scandir(folder)
                        if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                    ]
            except OSError:
                continue
            if name.count("/") < MAX_DEPTH:
                waiting += sorted(below)  # the last one is the newest day, and comes first
            yield name, mtime

    def _look_through(self, root: Path, name: str, mtime: int) -> None:
        """Bring the index of one folder up to date."""
        settled = time.time() - mtime / 1e9 > SETTLED_SECONDS
        with self._lock:
            sql = "SELECT name FROM pictures WHERE root = ? AND folder = ?"
            known = {row[0] for row in self._connection.execute(sql, (str(root), name))}
        there = set()
        new: list[os.DirEntry[str]] = []
        try:
            with os.scandir(root / name) as entries:
                for entry in entries:
                    if entry.name.lower().endswith(reading.ENDINGS) and not entry.name.startswith("."):
                        there.add(entry.name)
                        if entry.name not in known:
                            new.append(entry)
        except OSError:
            return
        for gone in known - there:
            with self._lock:
                values = (str(root), name, gone)
                database.remove(self._connection, "root = ? AND folder = ? AND name = ?", values)
                self.changes += 1
        rows: list[Row] = []
        for entry in sorted(new, key=lambda one: one.name, reverse=True):
            if self._stopped.is_set():
                return
            begin = time.thread_time()
            with suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    row = self._row(root, name, entry)
                    rows += [row] if row is not None else []
                    settled = settled and row is not None
            if len(rows) >= BATCH:
                self._add(rows)
            if self._busy():
                time.sleep(max(0.001, (time.thread_time() - begin) / BUSY_SHARE))
        self._add(rows)
        with self._lock:
            values = (str(root), name, mtime if settled else 0)
            self._connection.execute("INSERT OR REPLACE INTO folders VALUES (?, ?, ?)", values)

    def _add(self, rows: list[Row]) -> None:
        if rows:
            with self._lock:
                database.insert(self._connection, rows)
                self.changes += 1
            rows.clear()

    def _row(self, root: Path, folder: str, entry: os.DirEntry[str]) -> Row | None:
        """A file as a row; None for one that is being saved, whose owner is not known yet."""
        name = f"{folder}/{entry.name}" if folder else entry.name
        saved = entry.stat(follow_symlinks=False).st_mtime
        ours = self._gallery.entry_of(name) if root == self._gallery.outputs_dir else None
        is_announced = root == self._gallery.outputs_dir and self._gallery.is_announced(name)
        if is_announced and ours is None and time.time() - saved < SAVING_SECONDS:
            return None
        facts = reading.facts_of(Path(entry.path))
        return Row(
            id=ours.id if ours is not None else reading.id_of(str(root), name),
            root=str(root),
            folder=folder,
            name=entry.name,
            owner=ours.owner if ours is not None else "",
            cell=bool(root == self._gallery.outputs_dir and name.startswith(f"{COMPARISONS}/")),
            saved=saved,
            width=facts.width,
            height=facts.height,
            prompt=facts.prompt[: reading.MAX_INDEX_CHARACTERS],
            model=facts.model,
            loras=facts.loras,
            program=facts.program,
        )


def low_priority() -> None:
    """Let this thread come after all others, where the system can do that for one thread."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
