"""The layout of a recorded run for other words: the recorded x_t and prompt are one more row of a lane's call, by whose
cross-attention maps the prompt's row attends (Prompt-to-Prompt, Hertz et al. 2022, section 3.2, word swap)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from studio.diffusion.attention import attention_weights
from studio.diffusion.attention_edits import AttentionEdit, AttentionLayer
from studio.diffusion.prompt import Conditioning


class LayoutMaps(AttentionEdit):
    """The prompt's row, its lane's last one, attends by the maps of the lane's first: (softmax(q k^T / sqrt(d)) A) v
    with q and k of the first row, v of its own. `alignment` A (tokens, tokens): see `alignment_of`."""

    def __init__(self, alignment: torch.Tensor) -> None:
        self._alignment = alignment

    def row_maps(
        self, layer: AttentionLayer, queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """See `AttentionEdit.row_maps`. Raises ValueError for another number of tokens than the alignment's."""
        if keys.shape[1] != len(self._alignment):
            raise ValueError(f"an alignment of {len(self._alignment)} tokens is not one of {keys.shape[1]}")
        first_mask = None if mask is None else mask[0]
        maps = attention_weights(queries[0], keys[0], layer.module.heads, layer.module.scale, first_mask)
        return (maps @ self._alignment.to(maps))[None]


class RecordedRow:
    """A row that a recorded run had, as the first one of a lane's calls. It has no share in the lane's step."""

    def __init__(self, x_t: Mapping[int, torch.Tensor], conditioning: Conditioning, maps: LayoutMaps) -> None:
        """`x_t` (C, h, w) float32 as the U-Net was given it, by evaluation: those in which there is the row.
        `conditioning`: that of the recorded prompt, and in as many chunks as the lane's."""
        self.maps = maps
        self._x_t = dict(x_t)
        self._conditioning = conditioning
        self._joined: tuple[torch.Tensor, torch.Tensor] | None = None  # the lane's embeddings, and with the row

    def acts(self, evaluation: int) -> bool:
        """Whether the lane has the row in this evaluation, counted from 0."""
        return evaluation in self._x_t

    def sample(self, evaluation: int, own: torch.Tensor, rows: int) -> torch.Tensor:
        """Its x_t before `rows` rows of the lane's `own` (1, C, h, w), in the same dtype."""
        recorded = self._x_t[evaluation][None].to(own)
        return torch.cat([recorded, own.expand(rows, -1, -1, -1)])

    def condition(
        self, step: int, embeds: torch.Tensor, conditions: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """The lane's embeddings and added conditions at a 0-based step with the row's before them. The same tensor of
        embeddings again for the same ones."""
        former, own = self._conditioning.at(step)
        if self._joined is None or self._joined[0] is not embeds:
            self._joined = embeds, torch.cat([former[-1:], embeds])
        added = {name: torch.cat([own.get(name, value)[-1:], value]) for name, value in conditions.items()}
        return self._joined[1], added


@dataclass(frozen=True)
class _Span:
    """A word of a chunk: its text, its tokens' ids and their positions."""

    label: str
    ids: tuple[int, ...]
    positions: tuple[int, ...]


def alignment_of(former: Mapping[str, Any], entry: Mapping[str, Any], label: str, size: int) -> torch.Tensor | None:
    """A (size, size) from the tokens of a `former` text to those of one that has other words in place of the word
    `label`, both as entries of a `token_table`: token i's share of the attention goes to token j by A[i, j].

    Tokens of other words go to themselves, those of the word one to one to as many tokens, else each in equal parts to
    all. Rows add up to 1, so that each place's shares do: padding that has no place any more goes to the last token.
    None where the texts are not so alike: other chunks, other words beside it, or no such word.
    """
    chunks = list(zip(former["chunks"], entry["chunks"]))
    spans = [(_spans(one), _spans(other)) for one, other in chunks]
    occurrences = sum(span.label.lower() == label for before, _ in spans for span in before)
    more = sum(len(after) - len(before) for before, after in spans)
    if len(former["chunks"]) != len(entry["chunks"]) or not occurrences or more < 0 or more % occurrences:
        return None
    count = 1 + more // occurrences  # words in place of the one
    alignment = torch.eye(size)
    for c, ((one, other), (before, after)) in enumerate(zip(chunks, spans)):
        pairs = _pairs(before, after, label, count)
        if pairs is None:
            return None
        length = len(one["kinds"])
        end, new_end = one["kinds"].index("end"), other["kinds"].index("end")
        pairs += [((end + k,), (min(new_end + k, length - 1),)) for k in range(length - end)]
        begin = c * length
        alignment[begin + 1 : begin + length] = 0
        for sources, targets in pairs:
            share = torch.eye(len(sources))
            if len(sources) != len(targets):
                share = torch.full((len(sources), len(targets)), 1 / len(targets))
            rows = torch.tensor(sources)[:, None] + begin
            alignment[rows, torch.tensor(targets)[None] + begin] = share
    return alignment


def _spans(chunk: Mapping[str, Any]) -> list[_Span]:
    positions: dict[int, list[int]] = {}
    for position, word in enumerate(chunk["words"]):
        if word is not None:
            positions.setdefault(word, []).append(position)
    return [
        _Span("".join(chunk["text"][k] for k in own), tuple(chunk["ids"][k] for k in own), tuple(own))
        for own in positions.values()
    ]


def _pairs(
    before: Sequence[_Span], after: Sequence[_Span], label: str, count: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]] | None:
    """The positions of each word, and of the `count` words or the same one that it became; None for another text."""
    pairs, next_word = [], 0
    for span in before:
        swapped = span.label.lower() == label
        own = after[next_word : next_word + (count if swapped else 1)]
        next_word += len(own)
        if not own or (not swapped and own[0].ids != span.ids) or (swapped and len(own) < count):
            return None
        pairs.append((span.positions, tuple(position for one in own for position in one.positions)))
    return pairs if next_word == len(after) else None
