"""Predicted x0 and predicted noise as linear functions of what the model was given and what it answered.

Numbers only, no torch: the recorder and whoever reads a recording use the same two lines as the lane. A model's input
is x_t = a x0 + s noise; a, s and the kind of prediction say everything:

- epsilon: the noise. v_prediction: a noise - s x0. sample: x0. flow_prediction: noise - x0 (Lipman et al. 2023).
- edm_v_prediction, edm_epsilon: v and -v of latents whose standard deviation is the checkpoint's sigma_data and not 1
  (Karras et al. 2022, table 1; diffusers' EDM schedulers). There a^2 sigma_data^2 + s^2 = 1.
"""

from __future__ import annotations

import math
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
    if prediction_type == "flow_prediction":
        return Terms(1 / (a + s), -s / (a + s))
    if prediction_type in _EDM_SIGNS:
        data = _data_share(s)
        return Terms(data * data / a, _EDM_SIGNS[prediction_type] * s * data / a)
    return Terms(0.0, 1.0)


def noise_terms(a: float, s: float, prediction_type: str) -> Terms | None:
    """Predicted noise, so that a * x0 + s * noise is x_t again; None where s = 0."""
    if prediction_type == "epsilon":
        return Terms(0.0, 1.0)
    if prediction_type == "v_prediction":
        return Terms(s, a)
    if prediction_type == "flow_prediction":
        return Terms(1 / (a + s), a / (a + s))
    if prediction_type in _EDM_SIGNS:
        return Terms(s, -_EDM_SIGNS[prediction_type] * _data_share(s))
    return None if s == 0 else Terms(1 / s, -a / s)


_EDM_SIGNS = {"edm_epsilon": 1.0, "edm_v_prediction": -1.0}  # of the model's output in predicted x0


def _data_share(s: float) -> float:
    """a * sigma_data: the standard deviation that the data has in x_t, whose own is 1."""
    return math.sqrt(max(0.0, 1 - s * s))
