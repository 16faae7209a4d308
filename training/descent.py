"""What every run does alike: the rate of each step, the step down the gradient, the clock, and the state on disk."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from training.budget import Budget
from training.state import FigureLog, load_state, save_config, save_state
from training.workers import Workers


class HasState(Protocol):
    """What a run's state holds: a module, an average."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Any) -> object: ...


class StepSettings(Protocol):
    """What of a run's configuration decides over its steps."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def clip(self) -> float: ...


class Descent:
    """AdamW over `parameters` until the budget is spent, from the state in `folder` if there is one.

    for step in descent.steps():
        value, = descent.down(loss, loss.detach())

    The state is saved at the end; `is_due_to_save` says when to save on the way.
    """

    def __init__(
        self,
        workers: Workers,
        config: StepSettings,
        budget: Budget,
        folder: Path,
        parameters: Iterable[nn.Parameter],
        parts: Mapping[str, HasState],
        save_every: int,
        weight_decay: float = 0.0,
    ) -> None:
        """`parts`: by their names in the state; the parameters are theirs, on their devices. config: a dataclass."""
        self._workers = workers
        self._budget = budget
        self._file = folder / "state.pt"
        self._parameters = list(parameters)
        self._clip = config.clip
        self._save_every = save_every
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True
        )
        self._parts: dict[str, HasState] = {**parts, "optimizer": self._optimizer}
        self.step, self.seconds, self.rate = 0, 0.0, 0.0
        self._then = 0.0
        state = load_state(self._file)
        if state is not None:
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
            self.step, self.seconds = state["step"], state["seconds"]
        self._log = None
        if workers.is_first:
            save_config(folder / "config.json", config)
            self._log = FigureLog(folder / "figures.jsonl", self.step)

    def steps(self) -> Iterator[int]:
        """The number of each step, 0-based, while the budget lasts."""
        self._then = time.monotonic()
        while not self._budget.is_spent(self.step, self.seconds):
            self.rate = self._budget.rate(self.step, self.seconds)
            for group in self._optimizer.param_groups:
                group["lr"] = self.rate
            yield self.step
        if self._workers.is_first:
            self.save()

    def down(self, loss: Tensor, *numbers: float | Tensor) -> list[Any]:
        """One step down the loss's gradient, which all processes share, as they do the averages of `numbers`."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # The clock goes round with the gradients, so that all processes stop at the same step.
        now = time.monotonic()
        seconds, *averages = self._workers.average(self._parameters, now - self._then, *numbers)
        self._then = now
        torch.nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._optimizer.step()
        self.step += 1
        self.seconds += float(seconds)
        return averages

    def log(self, every: int = 20, **figures: float | Tensor) -> None:
        """Writes figures of this step into the run's log, if its number is one of `every`; by one process alone."""
        if self._log is not None and self.step % every == 0:
            values = {name: float(value) for name, value in figures.items()}
            self._log.write(self.step, **values, rate=self.rate, seconds=self.seconds)

    @property
    def is_due_to_save(self) -> bool:
        """Whether it is this process's turn to say how it goes, and to save."""
        return self._workers.is_first and self.step % self._save_every == 0

    def tell(self, figures: str) -> None:
        """Prints the figures with the speed and the time to go, and saves."""
        minutes = self._budget.eta(self.step, self.seconds) / 60
        print(
            f"step {self.step}  {figures}  {self.seconds / self.step:.2f} s/step  ETA {minutes:.0f} min",
            flush=True,
        )
        self.save()

    def save(self) -> None:
        """Replaces the state on disk."""
        state = {name: part.state_dict() for name, part in self._parts.items()}
        save_state(self._file, state | {"step": self.step, "seconds": self.seconds})
