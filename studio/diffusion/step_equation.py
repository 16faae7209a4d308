"""What a scheduler's step did, as an equation: x_{t-1} = c0 x_t + c1 x0 + c2 x0' + c3 x0'' + what is left.

Found by least squares from the latents themselves, so it holds for every scheduler and knows none of them; x0' and x0''
are the predicted x0 of the one and two evaluations before. NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

NAMES = ("x_t", "x0", "x0_prev", "x0_prev2")
EXACT = 1e-5  # residual / RMS of x_{t-1} up to which the equation is the step itself and not an approximation
_CHANCE = 20.0  # a term must take away this many times what one taken at random would


@dataclass(frozen=True)
class StepEquation:
    """`coefficients` of NAMES in order, as many as the step needs; `residual` is the RMS of what they leave over.

    All in the scheduler's own scale (that of a lane's latents), where predicted x0 has the same scale everywhere.
    """

    coefficients: tuple[float, ...]
    residual: float
    relative_residual: float  # residual / RMS of x_{t-1}

    @property
    def exact(self) -> bool:
        return self.relative_residual < EXACT


def step_equation(after: Array, operands: Sequence[Array]) -> StepEquation:
    """The equation of one step: `after` is x_{t-1}, `operands` are x_t, x0 and as many predicted x0 before as there are
    (at most two), all of one shape.

    A term of the history is included only when it explains more than chance: a step without history has two terms, and
    fresh noise is not explained by accident.
    """
    size = after.size
    columns = np.stack([operand.reshape(-1) for operand in operands], axis=1).astype(np.float64)
    target = after.reshape(-1).astype(np.float64)
    equation = _fit(columns[:, :2], target)
    for terms in range(3, columns.shape[1] + 1):
        if equation.exact:
            break
        better = _fit(columns[:, :terms], target)
        threshold = _CHANCE * (terms - len(equation.coefficients)) / size
        if better.residual**2 < equation.residual**2 * (1 - min(threshold, 0.5)):
            equation = better
    return equation


def _fit(columns: Array, target: Array) -> StepEquation:
    """Least squares through the normal equations of columns of length one, in double precision."""
    lengths = np.linalg.norm(columns, axis=0)
    lengths[lengths == 0] = 1.0
    unit = columns / lengths
    solution = np.linalg.lstsq(unit.T @ unit, unit.T @ target, rcond=1e-14)[0]
    rest = target - unit @ solution
    residual = float(np.sqrt(np.mean(rest**2)))
    size = float(np.sqrt(np.mean(target**2)))
    return StepEquation(tuple((solution / lengths).tolist()), residual, residual / size if size else 0.0)
