"""The field's noise schedules: which noise levels a run of n steps visits. NumPy and formulas, no torch.

docs/schedulers.md has the definitions in words.

A checkpoint's training curve is its sigma by training timestep, rising. On a path that preserves variance sigma is the
noise-to-signal ratio; a rectified flow's is its time, from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from studio.asked.schedulers import NoiseScheduleName

Array = np.ndarray[Any, np.dtype[np.float64]]

# Align Your Steps (Sabour et al. 2024): the sigmas of the ten best steps, as in diffusers' AysSchedules, without the
# closing 0.
AYS_SD = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152)
AYS_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113)


class HasAys(Protocol):
    """A model family, as far as its Align-Your-Steps table goes."""

    @property
    def ays_sigmas(self) -> Sequence[float]: ...


def sigma_to_timestep(sigmas: Array, training: Array) -> Array:
    """Timesteps of noise levels, interpolated in log sigma between the training timesteps."""
    return np.interp(np.log(sigmas), np.log(training), np.arange(len(training), dtype=np.float64))


def noise_schedule_timesteps(noise_schedule: NoiseScheduleName, num_inference_steps: int, last: float) -> Array | None:
    """Falling timesteps, first to last step, of the schedules that are defined by timesteps; None for the others.

    `last` is where the run begins: the last training timestep, 999, or any other when it goes on from mid-schedule.
    Beta may give fewer steps than asked for: duplicates are dropped.
    """
    n = num_inference_steps
    if noise_schedule == "normal":
        return np.linspace(last, 0, n)
    if noise_schedule == "sgm_uniform":
        return np.linspace(last, 0, n + 1)[:-1]
    if noise_schedule == "simple":
        return np.array([last - int(i * (last + 1) / n) for i in range(n)], dtype=np.float64)
    if noise_schedule == "turbo":  # evenly spaced from the last one on, as Forge's
        return np.round((n - np.arange(n)) * (last + 1) / n) - 1
    if noise_schedule == "beta":
        from scipy.stats import beta  # slow to import and needed by this schedule alone

        quantiles = 1 - np.linspace(0, 1, n, endpoint=False)
        return np.unique(np.round(beta.ppf(quantiles, 0.6, 0.6) * last))[::-1]
    return None


def noise_schedule_sigmas(
    noise_schedule: NoiseScheduleName,
    num_inference_steps: int,
    training: Array,
    ays_sigmas: Sequence[float],
    begins: float | None = None,
) -> Array:
    """Falling sigmas, first to last step and without the closing 0, of every noise schedule but "as configured".

    `training` is the checkpoint's own sigma(t), `ays_sigmas` its family's table. `begins` is the sigma at which a run
    goes on from mid-schedule; without it begins where training ends.
    """
    n = num_inference_steps
    last = len(training) - 1.0 if begins is None else float(sigma_to_timestep(np.array([begins]), training)[0])
    timesteps = noise_schedule_timesteps(noise_schedule, n, last)
    if timesteps is not None:
        return np.interp(timesteps, np.arange(len(training)), training)
    sigma_min, sigma_max = training[0], training[-1] if begins is None else begins
    ramp = np.linspace(0, 1, n)
    if noise_schedule == "karras":  # Karras et al. 2022, equation 5, rho = 7
        return (sigma_max ** (1 / 7) + ramp * (sigma_min ** (1 / 7) - sigma_max ** (1 / 7))) ** 7
    # Polyexponential at its usual power, 1, is the exponential curve.
    if noise_schedule in ("exponential", "polyexponential"):
        return np.exp(np.linspace(math.log(sigma_max), math.log(sigma_min), n))
    if noise_schedule == "kl_optimal":  # Sabour et al. 2024: evenly spaced in the arc tangent
        return np.tan((1 - ramp) * math.atan(sigma_max) + ramp * math.atan(sigma_min))
    if noise_schedule == "ays":  # Sabour et al. 2024: ten optimal steps, log-linear between them
        table = np.array([*ays_sigmas, sigma_min])
        places = np.linspace(0, 1, len(table))
        first = 0.0 if begins is None else float(np.interp(-math.log(begins), -np.log(table), places))
        positions = np.linspace(first, 1, n + 1)[:-1]
        return np.exp(np.interp(positions, places, np.log(table)))
    raise ValueError(f"noise_schedule: {noise_schedule} has no formula of its own")
