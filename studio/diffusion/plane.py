"""Points of a plane on their way from noise to data by the studio's own schedulers.

The data are a mixture of round Gaussians, for which the best prediction is known exactly: what a run shows is the
scheduler and the path of noise, and nothing that a model has learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from studio.asked.schedulers import SchedulerName
from studio.diffusion.latents import image_generator
from studio.diffusion.levels import Level
from studio.diffusion.predictions import prediction_of
from studio.diffusion.schedule import make_schedule

# The paths of noise as a scheduler_config.json has them: Stable Diffusion's, and a rectified flow's straight line.
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "diffusion": {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    },
    "flow": {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000},
}
MANY_STEPS = 100  # of DPM++ 2M: close to the exact way


@dataclass(frozen=True)
class Mixture:
    """Round Gaussians of equal weight and size: `means` (K, 2), `deviation` of each in both directions."""

    means: torch.Tensor
    deviation: float

    def x0(self, x_t: torch.Tensor, level: Level) -> torch.Tensor:
        """The mean of all data that x_t (N, 2) = a x0 + s noise may come from, (N, 2).

        It is x0 = (x_t + s^2 score) / a (Tweedie's formula) with the score of the mixture after noising.
        """
        variance = (level.a * self.deviation) ** 2 + level.s**2
        offsets = x_t[:, None] - level.a * self.means  # (N, K, 2)
        shares = (-offsets.square().sum(-1) / (2 * variance)).softmax(-1)
        inside = self.means + level.a * self.deviation**2 / variance * offsets
        return (shares[..., None] * inside).sum(1)


def ring(count: int = 6, radius: float = 1.4, deviation: float = 0.12) -> Mixture:
    """`count` clouds on a circle around the origin; their spread is about 1 in each direction, as that of latents."""
    angles = torch.arange(count) * (2 * math.pi / count) + math.pi / 2
    return Mixture(radius * torch.stack([angles.cos(), angles.sin()], dim=1), deviation)


@torch.inference_mode()
def walk(
    mixture: Mixture, scheduler: SchedulerName, steps: int, config: Mapping[str, Any], noise: torch.Tensor
) -> list[torch.Tensor]:
    """Where points are at the beginning of each step and at the end, steps + 1 of (N, 2) as x_t = a x0 + s noise.

    `noise` (N, 2) is where they begin. `config`: the scheduler_config.json of the path. Raises InvalidRequest for a
    scheduler that cannot run that path, ValueError for too many steps.
    """
    prediction = prediction_of(config)
    schedule = make_schedule(scheduler, "automatic", steps, config, prediction_type=prediction)
    generator = image_generator(0)
    latents = noise.T.reshape(1, 2, 1, -1) * schedule.first_scale  # shaped as latents of two channels
    places = []
    for index, level in enumerate(schedule.levels):
        x_t = schedule.model_input(index, latents)[0, :, 0].T
        if schedule.stages[index] == 1:
            places.append(x_t)
        answer = _answer(mixture.x0(x_t, level), x_t, level, prediction)
        latents = schedule.step(index, answer.T.reshape(1, 2, 1, -1), latents, generator)
    return [*places, latents[0, :, 0].T]


def _answer(x0: torch.Tensor, x_t: torch.Tensor, level: Level, prediction: str) -> torch.Tensor:
    """What a model would answer that knows x0."""
    noise = (x_t - level.a * x0) / level.s
    if prediction == "flow_prediction":
        return noise - x0
    return noise
