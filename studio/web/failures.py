"""Wrong passwords, counted by who sends them: a wrong one slows its own sender, and all strangers together get few."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SECONDS = 60.0
FAILURES_PER_SENDER = 5  # within the window
FAILURES_OF_UNKNOWN = 15  # within the window, from all addresses together


@dataclass(frozen=True)
class Sender:
    """Who tries a password. `is_known`: a browser that the owner has entered with before, or one on this machine; what
    strangers do does not hold it up."""

    name: str
    is_known: bool = False


class Failures:
    """Counts within a sliding window. `clock` in seconds, never going back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all: deque[tuple[float, Sender]] = deque()

    def wait(self, sender: Sender) -> int:
        """Whole seconds until this sender may try again, 0 for now."""
        now = self._clock()
        while self._all and self._all[0][0] <= now - WINDOW_SECONDS:
            self._all.popleft()
        waits = [0.0]
        times = [when for when, earlier in self._all if earlier == sender]
        if len(times) >= FAILURES_PER_SENDER:
            waits.append(times[-FAILURES_PER_SENDER] + WINDOW_SECONDS - now)
        times = [when for when, earlier in self._all if not earlier.is_known]
        if not sender.is_known and len(times) >= FAILURES_OF_UNKNOWN:
            waits.append(times[-FAILURES_OF_UNKNOWN] + WINDOW_SECONDS - now)
        return math.ceil(max(waits))

    def add(self, sender: Sender) -> None:
        """One more wrong password."""
        self._all.append((self._clock(), sender))
