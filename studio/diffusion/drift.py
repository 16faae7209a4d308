"""How far a scheduler itself strays from the picture on the steps of a run, whatever the model is.

PNDM mixes the model's answers of several steps as predictions of noise. Where the first step begins almost at pure
noise (cosine betas, the last timestep), predicted x0 is the difference of two almost equal numbers, divided by a very
small one. The sum is then far from any picture. diffusers' class does the same.
"""

from __future__ import annotations

import torch

from studio.asked.resolved import Resolved
from studio.diffusion.components import Components
from studio.diffusion.lane import schedule_of
from studio.diffusion.latents import image_generator
from studio.diffusion.schedule import Schedule

MOST = 1.0  # standard deviations of the latents; above it, a run does not end at its picture
FEW_STEPS = 20  # with more the mistakes of the first ones are made good


def drift_of(components: Components, resolved: Resolved) -> float:
    """How far the scheduler of a run strays from the picture; 0 for those that do not."""
    if resolved.scheduler != "pndm" or not 0 < resolved.steps <= FEW_STEPS:
        return 0.0
    return drift(schedule_of(components, resolved), components.prediction_type)


def drift(schedule: Schedule, prediction_type: str) -> float:
    """The distance from the picture at which a run ends by a model that knows the picture, in standard deviations of
    the latents. The schedule is used up. Only for schedulers that preserve variance."""
    generator = image_generator(0)
    clean = torch.ones((1, 1, 8, 8))
    latents = torch.randn(clean.shape, generator=generator) * schedule.first_scale
    for index, level in enumerate(schedule.levels):
        x_t = schedule.model_input(index, latents)
        noise = (x_t - level.a * clean) / level.s if level.s else torch.zeros_like(x_t)
        output = {"epsilon": noise, "sample": clean}.get(prediction_type, level.a * noise - level.s * clean)
        latents = schedule.step(index, output, latents, generator)
    return float((latents - clean).abs().max())
