"""What the engine's thread does between two ticks: a slice of a question, a tile of an image, putting away."""

from __future__ import annotations

import time
from collections.abc import Callable

from studio.engine.enlarging import Enlarging
from studio.engine.executor import Executor
from studio.engine.jobs import SWEEP_SECONDS, Job
from studio.engine.outside import Outside
from studio.engine.questions import answer_one_slice


class BetweenTicks:
    """Beside lanes its slices have half of the time: a tile that a large upscaler enlarges may take as long as many
    ticks."""

    def __init__(self, executor: Executor, outside: Outside, fail: Callable[[Job, Exception], None]) -> None:
        """`fail` ends a job with an error that it alone is to hear of."""
        self.enlarging = Enlarging(executor, fail)
        self._executor = executor
        self._outside = outside
        self._swept = 0.0
        self._seconds = 0.0  # of its slices, that ticks have not had since

    def work(self, *, beside_lanes: bool) -> bool:
        """One slice of a question, and one of an image that is enlarged. False when there was none, or it is the
        ticks' turn."""
        if beside_lanes and self._seconds > 0:
            return False
        start = time.perf_counter()
        worked = self.enlarging.work()
        worked |= answer_one_slice(self._outside.inquiries, self._executor, self._outside.tokenizer_lock)
        self._seconds = time.perf_counter() - start if worked and beside_lanes else 0.0
        return worked

    def ticked(self, seconds: float) -> None:
        """A tick has taken so long."""
        self._seconds -= seconds

    def sweep(self) -> None:
        """Now and then: forget jobs and recordings that nobody comes back to."""
        if time.monotonic() - self._swept > SWEEP_SECONDS:
            self._swept = time.monotonic()
            self._outside.book.sweep()
            self._outside.recorder.sweep()
