"""Draws what the next steps need in processes of its own, so that a GPU does not wait for pictures.

What a step gets depends on the step alone, so a fed run and an unfed one learn from the same data.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType
from typing import Any, Generic, TypeVar

import torch

T = TypeVar("T")

AHEAD = 4  # steps per process that are drawn before they are asked for


class Feed(Generic[T]):
    """`make(*arguments(step))` for one step after the other; a function of the module's top level with plain arguments.

    With `processes` 0 it is called when the step asks, in this process.
    """

    def __init__(self, make: Callable[..., T], arguments: Callable[[int], tuple[Any, ...]], processes: int = 0) -> None:
        self._make = make
        self._arguments = arguments
        self._ahead = AHEAD * processes
        self._waiting: deque[tuple[int, Future[T]]] = deque()
        self._pool = None
        if processes:
            spawn = multiprocessing.get_context("spawn")  # a forked process could not live beside CUDA
            self._pool = ProcessPoolExecutor(processes, spawn, initializer=torch.set_num_threads, initargs=(1,))

    def get(self, step: int) -> T:
        """What step number `step` needs. Steps are asked for in rising order."""
        if self._pool is None:
            return self._make(*self._arguments(step))
        while self._waiting and self._waiting[0][0] < step:
            self._waiting.popleft()[1].cancel()
        following = self._waiting[-1][0] + 1 if self._waiting else step
        for coming in range(following, step + self._ahead + 1):
            self._waiting.append((coming, self._pool.submit(self._make, *self._arguments(coming))))
        return self._waiting.popleft()[1].result()

    def __enter__(self) -> Feed[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
