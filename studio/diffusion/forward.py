"""The forward process, z_t = a z0 + s noise, and the training loss at any t, on a checkpoint's own curve.

Ho et al. 2020, equations 4 and 14. For a checkpoint that predicts v, x0 or a flow, the predicted noise is computed
first, so that the losses of different checkpoints are comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from studio.diffusion.levels import Level, predicted_noise
from studio.diffusion.paths import path_of


@dataclass(frozen=True)
class TrainingCurve:
    """A checkpoint's training timesteps, T of them from nearly clean to noise: the level of each, and the timestep that
    the model is given."""

    levels: list[Level]
    timesteps: list[float]

    def __len__(self) -> int:
        return len(self.levels)


def training_curve(scheduler_config: Mapping[str, Any]) -> TrainingCurve:
    """The curve that a checkpoint's scheduler_config.json describes."""
    path = path_of(scheduler_config)
    levels = path.training_levels()
    if path.name == "preserving":
        return TrainingCurve(levels, [float(t) for t in range(len(levels))])
    return TrainingCurve(levels, path.model_timesteps(np.array([path.sigma(level) for level in levels])).tolist())


def add_noise(z0: torch.Tensor, noise: torch.Tensor, level: Level) -> torch.Tensor:
    """z_t of clean latents and a noise of the same shape."""
    return level.a * z0 + level.s * noise


def error(
    z_t: torch.Tensor, model_output: torch.Tensor, noise: torch.Tensor, level: Level, prediction_type: str
) -> torch.Tensor:
    """noise - predicted noise, float32, of the shape of z_t; the loss is the mean of its square."""
    return noise - predicted_noise(z_t, model_output.float(), level, prediction_type)
