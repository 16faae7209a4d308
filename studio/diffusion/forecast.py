"""Forecast of a model's output from its last ones: the line through two predicted x0.

As Spectrum (2603.01623) forecasts a network's features by polynomials in time, here its answer is forecast: predicted
x0 of each row, a polynomial of degree 1 in log(a / s), half the log of the signal-to-noise ratio. Predicted x0 and not
predicted noise, since a scheduler may add fresh noise, which is in x_t, and which the output that leads from x_t to the
forecast x0 then takes away. That is what DPM-Solver++(2M) assumes of x0 between two evaluations (Lu et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from studio.asked.forecast import POINTS, Asked, ForecastName, forecast_evaluations
from studio.diffusion.levels import Level
from studio.diffusion.quantities import x0_terms


def place_of(level: Level, prediction_type: str) -> float | None:
    """log(a / s) of a noise level; None where it is not finite, or the output does not say x0 there, nor x0 it."""
    terms = x0_terms(level.a, level.s, prediction_type)
    if terms is None or terms.of_output == 0 or level.a <= 0 or level.s <= 0:
        return None
    return math.log(level.a / level.s)


class Forecast:
    """The forecasts of one lane. `evaluations` are those that are forecast, by 0-based index, from `begin` on."""

    def __init__(self, forecast: ForecastName, prediction_type: str) -> None:
        self.is_on = forecast != "off"
        self.begin = 0
        self.evaluations: frozenset[int] = frozenset()
        self._forecast = forecast
        self._prediction_type = prediction_type
        self._points: list[tuple[float, torch.Tensor]] = []  # of the last computed ones: place, x0 (rows, C, h, w)

    def __len__(self) -> int:
        return len(self.evaluations)

    def plan(self, asked: Sequence[Asked], begin: int, *, forget: bool) -> None:
        """Decide anew which evaluations from `begin` on are forecast, from those computed from there on. `forget`: what
        was computed so far."""
        self.begin = begin
        self.evaluations = forecast_evaluations(self._forecast, asked, begin)
        self._points = [] if forget else self._points

    def add(self, level: Level, x_t: torch.Tensor, outputs: torch.Tensor) -> None:
        """Take a computed evaluation: what the model was given, (1, C, h, w), and its rows (rows, C, h, w) float32."""
        place, terms = place_of(level, self._prediction_type), x0_terms(level.a, level.s, self._prediction_type)
        if self.is_on and place is not None and terms is not None:
            x0 = terms.of_input * x_t + terms.of_output * outputs
            self._points = [*self._points, (place, x0)][-POINTS:]

    def outputs(self, level: Level, x_t: torch.Tensor) -> torch.Tensor:
        """The forecast rows (rows, C, h, w) float32 at a noise level, for what the model would be given there. Raises
        ValueError before two evaluations of as many rows, or where x0 does not say the output."""
        place, terms = place_of(level, self._prediction_type), x0_terms(level.a, level.s, self._prediction_type)
        if place is None or terms is None or len(self._points) < POINTS:
            raise ValueError("an evaluation was to be forecast without two computed ones before it")
        (before, first), (last, second) = self._points
        share = (place - last) / (last - before)
        x0 = second + share * (second - first)
        return (x0 - terms.of_input * x_t) / terms.of_output
