"""How long a run lasts and what the learning rate is on the way: by steps (same curve on any machine) or by hours.

A run by hours decays its learning rate with the hours spent, which the state on disk remembers; it is for shared
machines whose speed nobody knows. A run by steps is the reproducible one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Exactly one of `steps` and `hours`; the rate warms up over `warmup` steps and decays as half a cosine."""

    learning_rate: float
    warmup: int
    steps: int | None = None
    hours: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.hours is None):
            raise ValueError(f"give either steps or hours, got steps={self.steps}, hours={self.hours}")

    def fraction(self, step: int, seconds: float) -> float:
        """Share of the run that is behind us, in [0, 1]."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.hours is not None
        return min(1.0, seconds / (self.hours * 3600))

    def rate(self, step: int, seconds: float) -> float:
        """Learning rate of step number `step` (0-based)."""
        decay = 0.5 * (1 + math.cos(math.pi * self.fraction(step, seconds)))
        return self.learning_rate * min(1.0, (step + 1) / self.warmup) * decay

    def is_spent(self, step: int, seconds: float) -> bool:
        return self.fraction(step, seconds) >= 1.0

    def eta(self, step: int, seconds: float) -> float:
        """Seconds still to go at the speed so far; infinite before the first step."""
        fraction = self.fraction(step, seconds)
        return seconds * (1 - fraction) / fraction if fraction > 0 else math.inf
