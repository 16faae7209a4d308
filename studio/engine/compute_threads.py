"""The number of threads that the engine's thread computes with: fewer while other programs use the cores."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Hashable

import torch

from studio.engine.cpu_use import CpuUse
from studio.engine.device import Device
from studio.engine.thread_controller import ThreadController

logger = logging.getLogger(__name__)


class ComputeThreads:
    """Used from the engine's thread alone, between calls: torch keeps the number for each thread that computes.

    The same call with another number of threads may differ in the last bits (1e-6 of a U-Net's answer), so what has
    to be bit-equal always has all of them.
    """

    def __init__(self, most: int, use: CpuUse | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`most`: the threads on a machine that nobody else uses; with one there is nothing to decide."""
        self._controller = ThreadController(most)
        self._use = use or CpuUse()
        self._clock = clock
        self.number = most

    @classmethod
    def of(cls, device: Device) -> ComputeThreads:
        """For a device. A GPU needs no more than it has, and a number that was asked for by OMP_NUM_THREADS stays."""
        adapts = device.is_cpu and "OMP_NUM_THREADS" not in os.environ
        return cls(torch.get_num_threads() if adapts else 1)

    def settle(self, *, exact: bool = False) -> None:
        """Take the number of threads that suits now; all of them for what has to be bit-equal."""
        if self._controller.most == 1:
            return
        reading = self._use.read()
        if reading is not None:
            before = self._controller.threads
            self._controller.heed(reading, self._clock())
            if self._controller.threads != before:
                logger.debug(
                    "Computing with %d of %d threads: other programs use %.1f of %d cores.",
                    self._controller.threads, self._controller.most, reading.others, reading.cores,
                )  # fmt: skip
        self._take(self._controller.most if exact else self._controller.threads)

    def record(self, key: Hashable, rows: int, seconds: float) -> None:
        """The time of a U-Net call; `key` tells calls of another kind apart."""
        if self._controller.most > 1 and self.number == self._controller.threads:
            before = self._controller.threads
            self._controller.record(key, rows, seconds, self._clock())
            if self._controller.threads != before:
                logger.debug(
                    "Computing with %d of %d threads: a call of %d rows has taken %.2f s.",
                    self._controller.threads, self._controller.most, rows, seconds,
                )  # fmt: skip

    def _take(self, number: int) -> None:
        if number != self.number:
            self.number = number
            torch.set_num_threads(number)
