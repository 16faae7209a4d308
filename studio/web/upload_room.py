"""How much of the disk uploads may take: one visitor's, those of all guests of one invitation, and all together.

A full temporary disk fails every other visitor's call, so all uploads together get half of what is free, and one
visitor a quarter. Safe from any thread.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.ui.text import say
from studio.web.access import Access
from studio.web.limits import NO_COOKIE, NewVisitors, UploadLimits

MEGABYTE = 10**6


class NoRoom(Exception):
    """The upload is not taken. The text is a plain sentence."""


@dataclass(eq=False)
class Place:
    """One upload's bytes, announced or on the disk. `files`: where they lie; empty while they arrive."""

    visitor: str
    group: str
    size: int
    files: tuple[Path, ...] = ()


class UploadRoom:
    """Counts what arrives, and what of it still lies in the folder."""

    def __init__(
        self,
        folder: Path,
        access: Access,
        new_visitors: NewVisitors,
        limits: UploadLimits | None = None,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self._folder = folder
        self._access = access
        self._new_visitors = new_visitors
        self._limits = limits or UploadLimits()
        self._free = free
        self._lock = threading.Lock()
        self._places: list[Place] = []

    def reserve(self, owner: str, size: int) -> Place:
        """A place for an upload of at most `size` bytes. Raises NoRoom."""
        group = self._access.limited_group(owner) or ""
        visitor = NO_COOKIE if owner in self._new_visitors else owner
        with self._lock:
            self._places = [place for place in self._places if not place.files or any(f.exists() for f in place.files)]
            everything = sum(place.size for place in self._places)
            disk = max(0, self._free(self._folder)) + everything
            mine = sum(place.size for place in self._places if place.visitor == visitor)
            ours = sum(place.size for place in self._places if group and place.group == group)
            if mine + size > min(self._limits.visitor, disk // 4):
                raise NoRoom(_sentence("share.disk.visitor", mine, min(self._limits.visitor, disk // 4)))
            if group and ours + size > self._limits.together:
                raise NoRoom(_sentence("share.disk.together", ours, self._limits.together))
            if everything + size > disk // 2:
                raise NoRoom(say("share.disk.machine"))
            place = Place(visitor, group, size)
            self._places.append(place)
            return place

    def settle(self, place: Place, paths: Sequence[str]) -> None:
        """The upload has ended, in these files; in none where it failed."""
        files = tuple(Path(path) for path in paths)
        with self._lock:
            if files:
                place.size = sum(file.stat().st_size for file in files if file.exists())
                place.files = files
            else:
                self._places.remove(place)


def _sentence(key: str, size: int, most: int) -> str:
    return say(key, taken=round(size / MEGABYTE), most=round(most / MEGABYTE))
