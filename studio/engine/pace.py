"""How fast each checkpoint has been at each size; the cost of a comparison is estimated from it before it starts.

Running means of what the worker measures anyway; safe from any thread, no torch. Unlike a batch curve it outlives the
checkpoint's stay on the device.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from studio.answered.engine import Pace
from studio.engine.batching import BUCKETS

_MEMORY = 0.8  # of a running mean
_MAX_SIZES = 256


@dataclass
class _Measurements:
    seconds_per_row: dict[int, float] = field(default_factory=dict)
    sizes: set[int] = field(default_factory=set)
    seconds_per_picture: float = 0.0


class Paces:
    """Seconds by checkpoint and picture size."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._measurements: dict[tuple[str, int, int], _Measurements] = {}  # by checkpoint, width, height

    def record_call(self, checkpoint: str, width: int, height: int, rows: int, seconds: float) -> None:
        """A shared U-Net call. The first of each size pays for set-up and is not counted."""
        bucket = max(b for b in BUCKETS if b <= max(1, min(rows, BUCKETS[-1])))
        with self._lock:
            pace = self._of(checkpoint, width, height)
            if bucket in pace.sizes:
                old = pace.seconds_per_row.get(bucket, seconds / rows)
                pace.seconds_per_row[bucket] = _MEMORY * old + (1 - _MEMORY) * seconds / rows
            pace.sizes.add(bucket)

    def record_picture(self, checkpoint: str, width: int, height: int, seconds: float) -> None:
        """Decoding and saving one picture."""
        with self._lock:
            pace = self._of(checkpoint, width, height)
            old = pace.seconds_per_picture or seconds
            pace.seconds_per_picture = _MEMORY * old + (1 - _MEMORY) * seconds

    def of(self, checkpoint: str, width: int | None, height: int | None) -> Pace | None:
        """The pace at this size, else at the one of the checkpoint that was used most lately; None before any run."""
        with self._lock:
            sizes = [
                (w, h) for (name, w, h), m in self._measurements.items() if name == checkpoint and m.seconds_per_row
            ]
            if not sizes:
                return None
            size = (
                (width, height) if width is not None and height is not None and (width, height) in sizes else sizes[-1]
            )
            pace = self._measurements[checkpoint, *size]
            return Pace(
                width=size[0],
                height=size[1],
                seconds_per_row=dict(pace.seconds_per_row),
                seconds_per_picture=pace.seconds_per_picture,
            )

    def _of(self, checkpoint: str, width: int, height: int) -> _Measurements:
        key = (checkpoint, width, height)
        pace = self._measurements.pop(key, None) or _Measurements()
        self._measurements[key] = pace  # the newest stands last
        while len(self._measurements) > _MAX_SIZES:
            del self._measurements[next(iter(self._measurements))]
        return pace
