"""Which word of a prompt may get no place in the picture: Attend-and-Excite's measure (Chefer et al. 2023), read from
the recorded attention. No gradient, no call of the model. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studio.engine.recorded_evaluation import Array, RecordedAttention

MOST_PLACES = 16 * 16  # of the grid that is read; the paper reads the one of 16 x 16 places
LOST_ABOVE = 0.8  # a word whose measure is above it is at risk, of up to ten words
DEVIATION = 0.5  # of the Gaussian over 3 x 3 places that smooths a map, as in the paper


def lost_measures(
    attention: RecordedAttention, rows: Sequence[Mapping[str, Any]], chunks: Sequence[Mapping[str, Any]]
) -> list[float] | None:
    """1 - max over the places of the smoothed share of each word, in the order of the words; from 0 (one place looks at
    nothing else among the words) to 1 (no place looks at it). None where a prompt has fewer than two words or no grid
    that is coarse enough was recorded.

    `rows` and `chunks` are the header's `attention_rows` and `tokens` of the text. A word's map is the sum over its
    tokens, its share that of what all words get at a place.
    """
    maps = coarse_maps(attention)
    words: dict[tuple[int, int], Array] = {}
    for number, row in enumerate(rows):
        position, chunk = row["position"], row["chunk"]
        word = chunks[chunk]["words"][position] if position is not None and chunk < len(chunks) else None
        if word is not None and maps is not None:
            key = chunk, word
            words[key] = words[key] + maps[number] if key in words else maps[number]
    if len(words) < 2:
        return None
    stack = np.stack(list(words.values()))
    shares = stack / np.maximum(stack.sum(axis=0), 1e-12)
    return [round(1 - float(smoothed(share).max()), 4) for share in shares]


def lost_above(words: int) -> float:
    """The measure above which a word is at risk among so many: no place gives it a fifth of its attention to words, or
    twice an even share where there are more than ten."""
    return max(LOST_ABOVE, 1 - 2 / max(1, words))


def coarse_maps(attention: RecordedAttention) -> Array | None:
    """(rows, h, w): the mean over all layers of the finest grid of at most `MOST_PLACES` places."""
    by_grid: dict[tuple[int, int], list[tuple[int, Array]]] = {}
    for name, maps in attention.groups.items():
        grid = maps.shape[1], maps.shape[2]
        if grid[0] * grid[1] > MOST_PLACES:
            continue
        place = name.split(".")[1]
        layers = sum((one["place"], one["height"], one["width"]) == (place, *grid) for one in attention.layers)
        by_grid.setdefault(grid, []).append((max(1, layers), maps.astype(np.float32)))
    if not by_grid:
        return None
    groups = by_grid[max(by_grid, key=lambda grid: grid[0] * grid[1])]
    total = sum(layers for layers, _ in groups)
    return np.asarray(sum(layers / total * maps for layers, maps in groups))


def smoothed(values: Array) -> Array:
    """A map (h, w) through a Gaussian over 3 x 3 places; at its edges it is reflected."""
    weights = np.exp(-(np.arange(-1, 2) ** 2) / (2 * DEVIATION**2))
    weights /= weights.sum()
    height, width = values.shape
    wide = np.pad(values, 1, mode="reflect" if min(height, width) > 1 else "edge")
    across = sum(weight * wide[:, k : k + width] for k, weight in enumerate(weights))
    return np.asarray(sum(weight * across[k : k + height] for k, weight in enumerate(weights)))
