"""Weights of words in cross-attention, for some evaluations of a run. Plain data: no torch, no page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value

MAX_WEIGHT = 2.0
MOST_WORDS = 100  # that one text of weights may name


@dataclass(frozen=True, kw_only=True)
class WordWeights:
    """Weights by the number of the word in the prompt, counted from 0; a word that is not named has weight 1. They hold
    from evaluation `first` (0-based) up to and not with evaluation `until` (None: to the end)."""

    weights: tuple[tuple[int, float], ...]
    first: int = 0
    until: int | None = None

    def __str__(self) -> str:
        return ",".join(f"{word}:{weight:g}" for word, weight in self.weights)

    def holds(self, evaluation: int) -> bool:
        """Whether they hold at an evaluation."""
        return self.first <= evaluation and (self.until is None or evaluation < self.until)

    def check(self, labels: Sequence[str]) -> None:
        """Raises InvalidRequest for a word that a prompt of these words has not, and where no word would be left."""
        problems = [
            Problem(
                "word_weights",
                Message("word {number}", number=word),
                Message("numbers of words from 0 to {last}", last=len(labels) - 1),
            )
            for word, _ in self.weights
            if word >= len(labels)
        ]
        if not problems and len(labels) == sum(weight == 0 for _, weight in self.weights):
            problems.append(Problem("word_weights", Message("0 for every word"), Message("a word that is left")))
        if problems:
            raise InvalidRequest(*problems)


def read_weights(text: str) -> tuple[tuple[int, float], ...]:
    """Weights of words as text, "3:1.5,5:0": word number 3 weighs 1.5, number 5 nothing. Sorted by word. Raises
    InvalidRequest for anything else, for a weight outside of 0 to 2, and for a word that is named twice."""
    weights: dict[int, float] = {}
    entries = text.split(",")
    expectation = Message(
        "at most {most} pairs word:weight, such as 3:1.5,5:0; weights from 0 to {high}",
        most=MOST_WORDS,
        high=f"{MAX_WEIGHT:g}",
    )
    for entry in entries[: MOST_WORDS + 1]:
        word, _, number = entry.strip().partition(":")
        try:
            weight = float(number) if len(number) <= 30 else math.nan
        except ValueError:
            weight = math.nan
        is_word = word.isascii() and word.isdigit() and len(word) <= 6
        if not is_word or not 0 <= weight <= MAX_WEIGHT or int(word) in weights or len(entries) > MOST_WORDS:
            raise InvalidRequest(Problem("word_weights", quoted_value(text), expectation))
        weights[int(word)] = weight
    return tuple(sorted(weights.items()))
