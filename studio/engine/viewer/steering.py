"""How the words of a recorded run are weighted when its lane goes on, or is looked at again (docs/viewer.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from studio.asked.word_weights import WordWeights
from studio.diffusion.attention_steering import TokenFactors
from studio.diffusion.lane import Lane
from studio.diffusion.tokens import text_at, words_of


def word_factors(lane: Lane, table: Sequence[Mapping[str, Any]], weights: WordWeights) -> TokenFactors:
    """The edit that weighs the words of a lane. `table` is its prompt's (`studio.diffusion.tokens.token_table`). The
    numbers of words are those of the text that holds at `weights.first`, and the edit acts while that text holds.

    Raises InvalidRequest as `WordWeights.check`.
    """
    steps = lane.schedule.steps
    text = text_at(table, steps[min(weights.first, lane.total - 1)])
    words = words_of(table[text])
    weights.check([word.label for word in words])
    factors = torch.ones(lane.conditioning.chunks * lane.conditioning.positions)
    for word, weight in weights.weights:
        factors[list(words[word].places)] = weight
    evaluations = [k for k in range(lane.total) if weights.holds(k) and text_at(table, steps[k]) == text]
    return TokenFactors(factors, frozenset(evaluations))


def labels_of(table: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """The words of each text of a prompt, with the step up to which it holds."""
    return tuple((entry["until"], tuple(word.label for word in words_of(entry))) for entry in table)
