"""The forward process, z_t = a z0 + s noise, and the training loss at any t, on a checkpoint's own curve.

Ho et al. 2020, equations 4 and 14. A checkpoint that predicts v or x0 is asked for its noise first, so that losses of
different checkpoints mean the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from studio.diffusion.schedule import Level, level_of, predicted_noise, training_alphas_cumprod


def training_abar(scheduler_config: Mapping[str, Any]) -> torch.Tensor:
    """alpha-bar of every training timestep, falling from nearly 1, (T,), float32."""
    return training_alphas_cumprod(scheduler_config)


def level_at(abar: torch.Tensor, timestep: int) -> Level:
    """Level of a training timestep."""
    return level_of(float(abar[timestep]))


def noised(z0: torch.Tensor, noise: torch.Tensor, level: Level) -> torch.Tensor:
    """z_t of clean latents and a noise of the same shape."""
    return level.a * z0 + level.s * noise


def error(
    z_t: torch.Tensor, model_output: torch.Tensor, noise: torch.Tensor, level: Level, prediction_type: str
) -> torch.Tensor:
    """noise - predicted noise, float32, of the shape of z_t; the loss is the mean of its square."""
    return noise - predicted_noise(z_t, model_output.float(), level, prediction_type)
