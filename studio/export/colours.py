"""The page's two colour maps for fields, in NumPy: one for sizes, one for numbers with a sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

# viridis, Smith and van der Walt 2015
SEQUENTIAL = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")
# blue below, amber above, pale at zero
SIGNED = ("12306f", "3a67b5", "93b4dc", "f2f1ec", "edb877", "c26d1f", "6f3307")


def colour(values: Array, colours: Sequence[str] = SEQUENTIAL) -> Array:
    """Values 0 .. 1 (h, w) as colours, uint8 (h, w, 3); what lies outside is brought back."""
    stops = np.array([[int(stop[at : at + 2], 16) for at in (0, 2, 4)] for stop in colours], float)
    along = np.clip(values, 0, 1) * (len(stops) - 1)
    channels = [np.interp(along, np.arange(len(stops)), stops[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
