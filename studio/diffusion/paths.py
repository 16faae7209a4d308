"""The path of noise a checkpoint was trained on: how x0 and noise are mixed at each of its training timesteps.

A checkpoint's scheduler_config says it all; every other file asks `path_of`. Sigma is a path's own measure of noise:
the noise-to-signal ratio where variance is preserved and on EDM's path, the time from 0 to 1 on a rectified flow's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import diffusers
import numpy as np
import torch

from studio.diffusion.levels import Level, edm_level, flow_level, level_of, preserving_level
from studio.diffusion.noise_schedules import Array, sigma_to_timestep
from studio.diffusion.predictions import PathName, path_name


class NoisePath(ABC):
    """One path of noise."""

    name: ClassVar[PathName]

    @abstractmethod
    def training(self) -> Array:
        """Sigma of every training timestep, rising and finite, (T,)."""

    @abstractmethod
    def level(self, sigma: float) -> Level:
        """The level of a sigma."""

    @abstractmethod
    def model_timesteps(self, sigmas: Array) -> Array:
        """What the model is told of sigmas."""

    def sigma(self, level: Level) -> float:
        """The sigma of a level."""
        return level.sigma

    def training_levels(self) -> list[Level]:
        """Level of every training timestep, pure noise included."""
        return [self.level(float(sigma)) for sigma in self.training()]

    def positions(self, levels: Sequence[Level]) -> list[float]:
        """Where levels lie on the training curve, counted from 0 to T - 1: in a straight line of the logarithm of noise
        between two timesteps."""
        training = [_noise(level) for level in self.training_levels()]
        return [
            float(place) for place in np.interp([_noise(level) for level in levels], training, range(len(training)))
        ]


def _noise(level: Level) -> float:
    """Logarithm of the share of noise, which rises with it and is 0 for pure noise."""
    return math.log(max(level.s / (level.a + level.s), 1e-12))


@dataclass(frozen=True)
class Preserving(NoisePath):
    """Variance is preserved, a^2 + s^2 = 1 (Ho et al. 2020): Stable Diffusion's own path."""

    config: Mapping[str, Any]
    name: ClassVar[PathName] = "preserving"

    def training(self) -> Array:
        """See `NoisePath`; what stands for pure noise (zero-terminal SNR) is left out."""
        sigmas = training_sigmas(training_alphas_cumprod(self.config))
        return sigmas[np.isfinite(sigmas)]

    def training_levels(self) -> list[Level]:
        """See `NoisePath`."""
        return [level_of(float(abar)) for abar in training_alphas_cumprod(self.config)]

    def level(self, sigma: float) -> Level:
        """See `NoisePath`."""
        return preserving_level(sigma)

    def model_timesteps(self, sigmas: Array) -> Array:
        """See `NoisePath`."""
        return sigma_to_timestep(sigmas, self.training())


@dataclass(frozen=True)
class Edm(NoisePath):
    """EDM's path (Karras et al. 2022): noise is added to x0, and the model is told log sigma / 4. The thousand training
    timesteps are ours, evenly spaced in log sigma; training drew sigma from a continuous distribution."""

    sigma_min: float
    sigma_max: float
    sigma_data: float
    count: int = 1000
    name: ClassVar[PathName] = "edm"

    def training(self) -> Array:
        """See `NoisePath`."""
        return np.exp(np.linspace(math.log(self.sigma_min), math.log(self.sigma_max), self.count))

    def level(self, sigma: float) -> Level:
        """See `NoisePath`."""
        return edm_level(sigma, self.sigma_data)

    def model_timesteps(self, sigmas: Array) -> Array:
        """See `NoisePath`."""
        return 0.25 * np.log(sigmas)


@dataclass(frozen=True)
class Flow(NoisePath):
    """A rectified flow (Liu et al. 2022): a straight line from x0 to noise, a = 1 - s. `shift` moves the times of a run
    towards noise (Esser et al. 2024, equation 23)."""

    shift: float = 1.0
    count: int = 1000
    name: ClassVar[PathName] = "flow"

    def shift_times(self, times: Array) -> Array:
        """Times 0..1 moved by the shift."""
        return self.shift * times / (1 + (self.shift - 1) * times)

    def training(self) -> Array:
        """See `NoisePath`."""
        return self.shift_times(np.arange(1, self.count + 1) / self.count)

    def level(self, sigma: float) -> Level:
        """See `NoisePath`."""
        return flow_level(sigma)

    def sigma(self, level: Level) -> float:
        """See `NoisePath`."""
        return level.s

    def model_timesteps(self, sigmas: Array) -> Array:
        """See `NoisePath`."""
        return sigmas * self.count


def path_of(scheduler_config: Mapping[str, Any]) -> NoisePath:
    """The path that a checkpoint's scheduler_config.json describes."""
    name = path_name(scheduler_config)
    count = int(scheduler_config.get("num_train_timesteps", 1000))
    if name == "edm":
        config = {**EDM_DEFAULTS, **scheduler_config}
        return Edm(float(config["sigma_min"]), float(config["sigma_max"]), float(config["sigma_data"]), count)
    if name == "flow":
        return Flow(flow_shift(scheduler_config), count)
    return Preserving(dict(scheduler_config))


EDM_DEFAULTS: Mapping[str, Any] = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}  # diffusers'


def flow_shift(scheduler_config: Mapping[str, Any]) -> float:
    """A flow's shift: diffusers calls it `flow_shift` in some schedulers and `shift` in others."""
    return float(scheduler_config.get("flow_shift", scheduler_config.get("shift", 1.0)))


def training_sigmas(alphas_cumprod: torch.Tensor) -> Array:
    """sigma(t) = sqrt((1 - abar) / abar) for every training timestep, rising, (num_train_timesteps,).

    In float32 as diffusers' classes compute it, so that curves between its ends are theirs to the last bit.
    """
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt().double().cpu().numpy()


_BETAS = (
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr",
)  # fmt: skip


def training_alphas_cumprod(scheduler_config: Mapping[str, Any]) -> torch.Tensor:
    """alpha-bar of every training timestep of a checkpoint that preserves variance, (T,), float32."""
    keys = (
        "num_train_timesteps",
        "beta_start",
        "beta_end",
        "beta_schedule",
        "trained_betas",
        "rescale_betas_zero_snr",
    )
    settings = {key: scheduler_config[key] for key in keys if key in scheduler_config}
    abar: torch.Tensor = diffusers.DDIMScheduler(**settings).alphas_cumprod
    return abar
