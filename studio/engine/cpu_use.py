"""How much of this machine's cores other programs use."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

LEAST_SECONDS = 0.25  # between two readings: the system counts in hundredths of a second
_USED = ("user", "nice", "system", "irq", "softirq", "steal")  # as far as the system tells them apart


@dataclass(frozen=True)
class CpuReading:
    """What was used of `cores` cores in the last `seconds`; `others` in [0, cores] is the share of other programs."""

    seconds: float
    cores: int
    others: float


class CpuUse:
    """Compares the system's count of used seconds with this process's own. A program of low priority counts like any
    other: it too keeps a core from threads that wait for each other."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        times: Callable[[], Sequence[Any]] = lambda: psutil.cpu_times(percpu=True),
        own: Callable[[], float] = time.process_time,
    ) -> None:
        """`times`: the seconds of each core by what they went to, since the start of the machine; `own`: the seconds
        that this process has used of all of them."""
        self._clock, self._times, self._own = clock, times, own
        self._last: tuple[float, float, float] | None = None  # when, used by all, used by this process

    def read(self) -> CpuReading | None:
        """The use since the reading before; None where that is less than LEAST_SECONDS ago, or nobody can say."""
        now = self._clock()
        if self._last is not None and now - self._last[0] < LEAST_SECONDS:
            return None
        try:
            cores = _usable(self._times())
        except (OSError, RuntimeError, NotImplementedError):  # a container without /proc/stat, or another system
            return None
        used, own = sum(getattr(core, name, 0.0) for core in cores for name in _USED), self._own()
        last, self._last = self._last, (now, used, own)
        if last is None:
            return None
        seconds = now - last[0]
        others = ((used - last[1]) - (own - last[2])) / seconds
        return CpuReading(seconds, len(cores), min(max(others, 0.0), float(len(cores))))


def _usable(cores: Sequence[Any]) -> Sequence[Any]:
    """The cores that this process may run on."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    return [cores[n] for n in sorted(allowed)] if allowed and max(allowed) < len(cores) else cores
