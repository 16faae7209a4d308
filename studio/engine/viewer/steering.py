"""How the words of a recorded run are weighted or swapped when its lane goes on, or is looked at again
(docs/viewer.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.resolved import Resolved
from studio.asked.word_weights import WordWeights
from studio.diffusion.attention_steering import TokenFactors
from studio.diffusion.components import Components
from studio.diffusion.lane import Lane
from studio.diffusion.lora import AppliedAdapter
from studio.diffusion.tokens import text_at, words_of
from studio.diffusion.word_layout import LayoutMaps, RecordedRow, alignment_of
from studio.engine.conditioning import Conditioner
from studio.engine.forks import Fork
from studio.engine.word_layouts import WordLayout


def steer(
    lane: Lane,
    fork: Fork,
    conditioner: Conditioner,
    components: Components,
    resolved: Resolved,
    adapters: Sequence[AppliedAdapter],
) -> None:
    """Weigh the words of a lane that goes on from a fork, and keep the layout of another run, as the fork says. Raises
    InvalidRequest."""
    if fork.word_weights is not None:
        table = conditioner.token_table(components, lane.conditioning, resolved.steps)
        lane.add_edits(word_factors(lane, table, fork.word_weights))
    if fork.layout is not None:
        models = fork.recipe.models
        lane.recorded_row = recorded_row(lane, fork.layout, conditioner, components, resolved, adapters, models)
        lane.plan_forecasts(fork.forecast_begin)


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


def recorded_row(
    lane: Lane,
    layout: WordLayout,
    conditioner: Conditioner,
    components: Components,
    resolved: Resolved,
    adapters: Sequence[AppliedAdapter],
    models: Sequence[str] | None,
) -> RecordedRow:
    """The row of the run of the former word in a lane of `resolved`, whose prompt has other words in its place.
    `models`: as in `Conditioner.encode`.

    Raises InvalidRequest where the two prompts are of other chunks.
    """
    former_run = replace(resolved, request=replace(resolved.request, prompt=layout.prompt))
    former = conditioner.encode(components, former_run, adapters, models)
    old, new = (conditioner.token_table(components, one, resolved.steps)[0] for one in (former, lane.conditioning))
    size = lane.conditioning.chunks * lane.conditioning.positions
    alignment = alignment_of(old, new, layout.swap.label, size)
    if alignment is None or former.chunks != lane.conditioning.chunks:
        expectation = Message("words that leave the others in the chunks of tokens in which they are")
        raise InvalidRequest(Problem("swap", quoted_value(str(layout.swap)), expectation))
    x_t = {layout.swap.first + k: torch.tensor(one, device=components.device) for k, one in enumerate(layout.x_t)}
    return RecordedRow(x_t, former, LayoutMaps(alignment.to(components.device)))
