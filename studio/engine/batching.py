"""How many rows one U-Net call should have: what fits, what pays, and how long everybody may wait for it.

Arithmetic only: no torch, no job, no event.
"""

from __future__ import annotations

from collections import deque

MAX_ROWS = 64  # of one U-Net call, whatever the memory
FIRST_CALL_ROWS = 2  # while nothing is known of a model's speed: one guided lane
TICK_SECONDS = 2.0  # a call is not made larger than this: who asks, and who stops, waits for one tick
BUCKETS = (1, 2, 4, 8, 16, 32, 64)
# A larger call pays until a row of it costs this much more than one of a smaller call. An even row is no loss: as many
# rows are done, and everybody sees their picture move. The tenth is for clocks on a busy machine.
PAYS = 1.1
_TRIES = 3  # measurements before a call size is judged
_WINDOW = 15
_FORGET_AFTER = 200  # measurements after which a size that did not pay is tried again: the machine may be idle now


class Curve:
    """Seconds of a U-Net call by its number of rows, measured while working; one per checkpoint and batch key."""

    def __init__(self) -> None:
        self._seconds_per_row: dict[int, deque[float]] = {}
        self._calls_by_size: dict[int, int] = {}
        self._measurements = 0
        self._last: float | None = None
        self._rows_that_fit = MAX_ROWS  # lowered when a call ran out of memory
        self._rows_in_memory = MAX_ROWS  # by the free memory of now

    def record(self, rows: int, seconds: float) -> None:
        """Take a measurement. The first of each size is not judged: it pays for set-up that later ones do not need."""
        bucket = _bucket(rows)
        self._last = seconds / rows
        self._calls_by_size[bucket] = self._calls_by_size.get(bucket, 0) + 1
        if self._calls_by_size[bucket] > 1:
            self._seconds_per_row.setdefault(bucket, deque(maxlen=_WINDOW)).append(seconds / rows)
        self._measurements += 1
        if self._measurements % _FORGET_AFTER == 0:
            paying = self.paying_rows()
            for larger in [b for b in self._seconds_per_row if b > paying]:
                del self._seconds_per_row[larger]

    def seconds_per_row(self, bucket: int) -> float | None:
        """The least of the last measurements, None while there are too few: what else the machine does only adds."""
        measurements = self._seconds_per_row.get(bucket, ())
        return min(measurements) if len(measurements) >= _TRIES else None

    def paying_rows(self) -> int:
        """The most rows one call should have: what fits, pays and does not make everybody wait for the tick.

        A size not yet measured is tried. One that did not pay ends the search: kernels change with size, so a larger
        one may pay again, but each try costs everybody.
        """
        if self._last is None:
            return FIRST_CALL_ROWS
        most_rows = min(self._rows_that_fit, self._rows_in_memory, TICK_SECONDS / self._last)
        best, smaller = 1, None
        for bucket in BUCKETS:
            here = self.seconds_per_row(bucket)
            if bucket > most_rows or (here is not None and smaller is not None and here > PAYS * smaller):
                break
            best = bucket
            smaller = here if here is not None else smaller
        return best

    def fit(self, rows: int | None) -> None:
        """Take what the free memory is good for; None: unknown."""
        self._rows_in_memory = MAX_ROWS if rows is None else rows

    def ran_out_of_memory(self, rows: int) -> None:
        """Remember that a call of so many rows did not fit."""
        self._rows_that_fit = max(1, min(self._rows_that_fit, rows // 2))


def _bucket(rows: int) -> int:
    return max(b for b in BUCKETS if b <= max(1, min(rows, MAX_ROWS)))
