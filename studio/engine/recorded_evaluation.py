"""One recorded evaluation: what the U-Net was given and what it answered, as plain NumPy arrays. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class RecordedAttention:
    """Where the U-Net looked: `groups` (rows, h, w) float16 by tensor name, of the prompt's text number `text`;
    `layers` are the shapes of its cross-attention layers."""

    groups: Mapping[str, Array]
    text: int
    layers: tuple[Mapping[str, object], ...]


@dataclass(frozen=True)
class RecordedEvaluation:
    """One evaluation as the lane had it. `latents` (C, h, w) float32 in the scheduler's scale, `scale` times the
    model's input; `outputs` (branches, C, h, w), the negative prompt's first, float32 or float16.

    `guided` is the model output that the scheduler was given, where it is not u + w (c - u). `seconds` is the time of
    the U-Net call, which `rows` rows shared. `is_forecast`: there was no call, `outputs` are forecast (float32).
    """

    index: int
    stage: int
    step: int
    timestep: float
    sigma: float
    a: float
    s: float
    scale: float
    prediction_type: str
    guidance_scale: float
    latents: Array
    outputs: Array
    guided: Array | None = None
    seconds: float = 0.0
    rows: int = 1
    is_forecast: bool = False
    attention: RecordedAttention | None = None

    @property
    def nbytes(self) -> int:
        arrays = [self.latents, self.outputs, *([self.guided] if self.guided is not None else [])]
        return sum(array.nbytes for array in (*arrays, *(self.attention.groups.values() if self.attention else ())))
