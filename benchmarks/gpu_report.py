"""What one part of the measurements on a GPU has found, on disk after every figure: a part that is cut leaves the
figures that it had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Report:
    """A JSON document that is written anew at each figure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.figures: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, **figures: Any) -> None:
        """Take figures by name."""
        self.figures |= figures
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(self.figures, indent=1), encoding="utf-8")
        part.replace(self._path)


def ratio(value: float, base: float) -> float | None:
    """`value` to `base`, to three digits behind the point; None where the base is nothing."""
    return round(value / base, 3) if base else None
