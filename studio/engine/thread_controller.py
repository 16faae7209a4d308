"""How many threads one U-Net call should have on a machine that others use too.

Threads of OpenMP wait for each other at the end of every operation, hundreds of times in one call. Where one of them
has no core to itself all wait for it, and a call takes up to fifty times as long. So there are as many threads as
there are free cores, and fewer where calls are slow for a reason that nobody sees. Arithmetic only: no torch, no clock.
"""

from __future__ import annotations

import statistics
from collections import OrderedDict, deque
from collections.abc import Hashable

from studio.engine.cpu_use import CpuReading

SHARED = 0.5  # of a core: a thread goes where others use more of its core
FREE = 0.2  # of a core: a thread comes back where others use at most so much of its core
CALM_SECONDS = 0.5  # for which that has to last
LONGEST_CALM = 30.0  # it has to last twice as long, up to this, where a thread that came back had to go again
SOON = 10.0  # seconds: a thread that goes so soon after it came back should not have come

SLOW = 2.0  # a call is slow that takes so many times as long as the fastest of its kind
VERY_SLOW = 8.0
STRIKES = 3  # slow calls in a row, or one that is very slow, after which fewer threads are tried
TRIAL = 3  # calls by which the trial is judged
BETTER = 0.9  # fewer threads stay where calls take at most so much of the time
HOLD_SECONDS = 10.0  # before all threads are tried again; twice as long each time that they were slow again
LONGEST_HOLD = 300.0
_KINDS = 64
_WINDOW = 20

Kind = tuple[Hashable, int, int]  # of a call: its batch key, its rows, its threads


class ThreadController:
    """Decides between calls. `threads` is the number for the next call, from 1 to `most`."""

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.threads = self.most
        self._calm = 0.0  # seconds for which there has been room for another thread
        self._calm_needed = CALM_SECONDS
        self._came_back = float("-inf")  # when a thread came back
        self._seconds: OrderedDict[Kind, deque[float]] = OrderedDict()
        self._slow: list[float] = []  # seconds of the slow calls in a row
        self._strikes = 0
        self._trial: _Trial | None = None
        self._hold = HOLD_SECONDS
        self._held_until = float("-inf")  # no thread comes back before
        self._sees_others = False  # whether anything tells what other programs use
        self._no_trial_before = float("-inf")

    def heed(self, reading: CpuReading, now: float) -> None:
        """Take what other programs use of the cores. `now` in seconds, on any clock that only rises."""
        self._sees_others = True
        free = reading.cores - reading.others
        lower, upper = self._within(free + SHARED), self._within(free + FREE)
        if lower < self.threads:
            is_soon = now - self._came_back < SOON
            self._calm_needed = min(2 * self._calm_needed, LONGEST_CALM) if is_soon else CALM_SECONDS
            self._calm, self._trial = 0.0, None
            self._set(lower)
        elif upper > self.threads:
            self._calm += reading.seconds
            if self._calm >= self._calm_needed and now >= self._held_until and self._trial is None:
                self._calm, self._came_back = 0.0, now
                self._set(upper)
        else:
            self._calm = 0.0

    def record(self, key: Hashable, rows: int, seconds: float, now: float) -> None:
        """Take the time of a call that was made with `threads`; `key` tells calls of another kind apart."""
        kind = (key, rows, self.threads)
        if self._trial is not None:
            self._judge(kind, seconds, now)
            return
        if not self._sees_others and self.threads < self.most and now >= self._held_until:
            self._set(self.most)
            return
        fastest = min(self._seconds.get(kind, ()), default=None)
        self._remember(kind, seconds)
        if fastest is None or seconds <= SLOW * fastest:
            self._slow, self._strikes = [], 0
            return
        self._slow.append(seconds)
        self._strikes += STRIKES if seconds > VERY_SLOW * fastest else 1
        if self._strikes >= STRIKES and self.threads > 1 and now >= self._no_trial_before:
            if now - self._held_until > LONGEST_HOLD:
                self._hold = HOLD_SECONDS
            self._trial = _Trial((key, rows), self.threads, statistics.median(self._slow), [])
            self._set(self.threads // 2)
            self._held_until = now + self._hold

    def _judge(self, kind: Kind, seconds: float, now: float) -> None:
        """Fewer threads are tried: they stay where they are faster, else all come back."""
        trial = self._trial
        assert trial is not None
        if kind[:2] != trial.kind:
            if now >= self._held_until:  # such a call did not come again
                self._trial = None
            return
        trial.seconds.append(seconds)
        if len(trial.seconds) < TRIAL:
            return
        self._trial = None
        if statistics.median(trial.seconds) <= BETTER * trial.slow_seconds:
            self._held_until = now + self._hold
            self._hold = min(2 * self._hold, LONGEST_HOLD)
        else:  # the machine is slower with any number of threads
            self._held_until = now
            self._no_trial_before = now + LONGEST_HOLD
            self._seconds.clear()
            self._set(trial.threads)

    def _remember(self, kind: Kind, seconds: float) -> None:
        self._seconds.setdefault(kind, deque(maxlen=_WINDOW)).append(seconds)
        self._seconds.move_to_end(kind)
        while len(self._seconds) > _KINDS:
            self._seconds.popitem(last=False)

    def _within(self, cores: float) -> int:
        return max(1, min(self.most, int(cores)))

    def _set(self, threads: int) -> None:
        self.threads = threads
        self._slow, self._strikes = [], 0


class _Trial:
    """Fewer threads than calls of one kind had when they were slow, and what calls of that kind take with them."""

    def __init__(self, kind: tuple[Hashable, int], threads: int, slow_seconds: float, seconds: list[float]) -> None:
        self.kind, self.threads, self.slow_seconds, self.seconds = kind, threads, slow_seconds, seconds
