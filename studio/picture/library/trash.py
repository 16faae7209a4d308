"""Deleted pictures: they lie in a folder of the outputs folder until a week is over, by the day of their deletion.

outputs/.trash/2026-11-29/2026-11-22/00001-814512.png
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path

FOLDER = ".trash"
DAYS = 7  # that a picture can be restored for, at least


class Trash:
    """The trash of one outputs folder. `name`s are paths below that folder."""

    def __init__(self, outputs_dir: Path) -> None:
        self._outputs_dir = outputs_dir
        self._folder = outputs_dir / FOLDER

    def put(self, name: str) -> None:
        """Move a picture into the trash. Raises OSError; then it stays where it was."""
        place = self._folder / _today().isoformat() / name
        place.parent.mkdir(parents=True, exist_ok=True)
        (self._outputs_dir / name).replace(place)

    def restore(self, name: str) -> bool:
        """Move a picture back; False where it is not in the trash, or another file has its name. Raises OSError."""
        place = self._find(name)
        target = self._outputs_dir / name
        if place is None or target.exists():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        place.rename(target)
        return True

    def files(self) -> list[tuple[str, Path]]:
        """Name and place of all that lies here."""
        found = [(day, place) for day in self._days() for place in day.rglob("*")]
        return [(place.relative_to(day).as_posix(), place) for day, place in found if place.is_file()]

    def remove(self, name: str) -> bool:
        """Delete a picture from the trash for good."""
        place = self._find(name)
        with suppress(OSError):
            if place is not None:
                place.unlink()
                return True
        return False

    def _find(self, name: str) -> Path | None:
        for day in sorted(self._days(), reverse=True):
            place = day / name
            with suppress(OSError):
                if place.resolve() == place and place.is_file():
                    return place
        return None

    def sweep(self) -> None:
        """Delete for good what was put here more than DAYS days ago."""
        for day in self._days():
            with suppress(ValueError, OSError):
                if date.fromisoformat(day.name) < _today() - timedelta(days=DAYS):
                    shutil.rmtree(day)

    def _days(self) -> list[Path]:
        try:
            days = [day for day in self._folder.iterdir() if day.is_dir() and not day.is_symlink()]
            return days if self._folder.resolve() == self._folder else []
        except OSError:
            return []


def _today() -> date:
    return datetime.now().astimezone().date()
