"""Predicted x0 and predicted noise as linear functions of what the model was given and what it answered.

Numbers only, no torch: the recorder and whoever reads a recording use the same two lines as the lane.
"""

from __future__ import annotations

from typing import NamedTuple


class Terms(NamedTuple):
    """A quantity as of_input * x_t + of_output * (model output)."""

    of_input: float
    of_output: float


def x0_terms(a: float, s: float, prediction_type: str) -> Terms | None:
    """Predicted x0; None where it is undefined: a prediction of noise says nothing of x0 when a = 0 (SNR 0)."""
    if prediction_type == "epsilon":
        return None if a == 0 else Terms(1 / a, -s / a)
    if prediction_type == "v_prediction":
        return Terms(a, -s)
    return Terms(0.0, 1.0)


def noise_terms(a: float, s: float, prediction_type: str) -> Terms | None:
    """Predicted noise, so that a * x0 + s * noise is x_t again; None where s = 0."""
    if prediction_type == "epsilon":
        return Terms(0.0, 1.0)
    if prediction_type == "v_prediction":
        return Terms(s, a)
    return None if s == 0 else Terms(1 / s, -a / s)
