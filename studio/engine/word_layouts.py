"""What a run with a swapped word keeps of the run that it leaves: plain data, no torch."""

from __future__ import annotations

from dataclasses import dataclass

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.word_swap import WordSwap
from studio.engine.recorded_evaluation import Array


@dataclass(frozen=True, eq=False)
class WordLayout:
    """The run of the former word: its prompt, and x_t (C, h, w) float32 as its U-Net was given it, at evaluations
    `swap.first` to `swap.until` - 1. Its cross-attention maps are made of them again."""

    swap: WordSwap
    prompt: str
    x_t: tuple[Array, ...]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.x_t)

    @property
    def facts(self) -> dict[str, object]:
        """The swap as a picture says it, JSON-able."""
        swap = self.swap
        return {"word": swap.word, "replacement": swap.replacement, "first": swap.first, "until": swap.until}


def check_change(layout: WordLayout | None, evaluation: int, name: str, value: object) -> None:
    """Raises InvalidRequest for a change at an evaluation (0-based) of a run that keeps another run's layout there."""
    if layout is not None and evaluation < layout.swap.until:
        expectation = Message(
            "from evaluation {until} on (counted from 0): before it the layout of another run is kept",
            until=layout.swap.until,
        )
        raise InvalidRequest(Problem(name, quoted_value(value), expectation))
