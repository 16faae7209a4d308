"""One evaluation of a lane, as whoever shows or records it needs it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from studio.diffusion.levels import Level, predicted_noise, predicted_x0


@dataclass(frozen=True)
class Evaluation:
    """One answered U-Net call, or one whose answer was forecast. Tensors are (C, h, w) float32, in model-input
    coordinates x_t = a x0 + s noise."""

    index: int  # 0-based
    total: int
    stage: int  # 1, or 2 for the second evaluation of a step
    timestep: float
    level: Level
    x_t: torch.Tensor
    model_output: torch.Tensor  # guided
    prediction_type: str
    step: int  # 0-based step of the scheduler that it belongs to
    guidance_scale: float  # 1 without guidance
    outputs: torch.Tensor  # (branches, C, h, w) as the U-Net answered, the negative prompt's first, in its dtype
    latents: torch.Tensor  # (C, h, w) before the step, in the scheduler's scale
    scale: float  # latents / x_t
    is_forecast: bool = False  # without a call of the U-Net; `outputs` are then float32

    @property
    def sigma(self) -> float:
        """Noise level sqrt((1 - abar) / abar)."""
        return self.level.sigma

    @property
    def a(self) -> float:
        """Share of x0 in x_t."""
        return self.level.a

    @property
    def s(self) -> float:
        """Share of noise in x_t."""
        return self.level.s

    @cached_property
    def denoised(self) -> torch.Tensor:
        """Predicted x0."""
        return predicted_x0(self.x_t, self.model_output, self.level, self.prediction_type)

    @cached_property
    def noise_pred(self) -> torch.Tensor:
        """Predicted noise, whatever the model predicts."""
        return predicted_noise(self.x_t, self.model_output, self.level, self.prediction_type)
