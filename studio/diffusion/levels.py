"""Noise levels, and what a model's answer says at one: predicted x0 and predicted noise, as tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from studio.diffusion.quantities import Terms, noise_terms, x0_terms


@dataclass(frozen=True)
class Level:
    """Noise level of one evaluation in model-input coordinates: model input = a * x0 + s * noise."""

    sigma: float  # s / a
    a: float
    s: float


def preserving_level(sigma: float) -> Level:
    """The level of a noise-to-signal ratio on a path that preserves variance: a^2 + s^2 = 1."""
    if math.isinf(sigma):
        return Level(sigma, 0.0, 1.0)
    a = 1 / math.sqrt(1 + sigma * sigma)
    return Level(sigma, a, a * sigma)


def edm_level(sigma: float, sigma_data: float) -> Level:
    """The level of a noise-to-signal ratio on EDM's path: a^2 sigma_data^2 + s^2 = 1 (Karras et al. 2022, c_in)."""
    a = 1 / math.sqrt(sigma * sigma + sigma_data * sigma_data)
    return Level(sigma, a, a * sigma)


def flow_level(time: float) -> Level:
    """The level of a time 0 (clean) to 1 (noise) on the straight path of a rectified flow: a + s = 1."""
    return Level(time / (1 - time) if time < 1 else math.inf, 1 - time, time)


def level_of(abar: float) -> Level:
    """The level of an alpha-bar."""
    return preserving_level(math.sqrt((1 - abar) / abar) if abar > 0 else math.inf)


def predicted_x0(x_t: torch.Tensor, model_output: torch.Tensor, level: Level, prediction_type: str) -> torch.Tensor:
    """Predicted x0 from the model's input and output, both float32; linear in the model output.

    With zero-terminal-SNR the first level has a = 0, where a prediction of noise says nothing about x0: zeros.
    """
    if prediction_type == "epsilon" and level.a != 0:  # divided once: the rounding that previews have always had
        return (x_t - level.s * model_output) / level.a
    terms = x0_terms(level.a, level.s, prediction_type)
    return torch.zeros_like(x_t) if terms is None else _apply(terms, x_t, model_output)


def predicted_noise(x_t: torch.Tensor, model_output: torch.Tensor, level: Level, prediction_type: str) -> torch.Tensor:
    """Predicted noise from the model's input and output, so that a * x0 + s * noise is the input again."""
    if prediction_type == "sample":
        return (x_t - level.a * model_output) / level.s
    terms = noise_terms(level.a, level.s, prediction_type)
    assert terms is not None
    return _apply(terms, x_t, model_output)


def _apply(terms: Terms, x_t: torch.Tensor, model_output: torch.Tensor) -> torch.Tensor:
    if terms.of_input == 0:
        return model_output if terms.of_output == 1 else terms.of_output * model_output
    return terms.of_input * x_t + terms.of_output * model_output
