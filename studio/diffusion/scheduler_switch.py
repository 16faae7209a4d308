"""Another scheduler from an evaluation on: the steps that are left, and a schedule over them.

A scheduler's history is of no use to another one, so the new one starts fresh at the level where it takes over (a warm
restart): its first step has no earlier ones and is of order one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from studio.asked.schedulers import NoiseScheduleName, SchedulerName
from studio.diffusion.noise_schedules import HasAys, noise_schedule_sigmas, noise_schedule_timesteps
from studio.diffusion.paths import path_of
from studio.diffusion.schedule import Schedule, schedule_over

SAME_LEVEL = 1e-5  # relative difference of two sigmas that are one


@dataclass(frozen=True)
class SchedulerSwitch:
    """From an evaluation on, `scheduler` continues over steps at falling `sigmas` of the checkpoint's path (the first
    is where it takes over; the closing 0 is left out) and the model's `timesteps`. `noise_schedule` is how they were
    spaced, None: as the run had them."""

    scheduler: SchedulerName
    noise_schedule: NoiseScheduleName | None
    sigmas: tuple[float, ...]
    timesteps: tuple[float, ...]


def switch_at(
    schedule: Schedule,
    index: int,
    scheduler: SchedulerName,
    noise_schedule: NoiseScheduleName | None,
    scheduler_config: Mapping[str, Any],
    family: HasAys,
) -> SchedulerSwitch:
    """A switch at evaluation `index` of a run: as many steps as were left to it, at the levels that it had, or at those
    of a noise schedule that begins there.

    The second evaluation of a step is somewhere within it: from there the rest of the step is a step of its own.
    """
    remaining = [index]
    for k in range(index + 1, schedule.total):
        if schedule.stages[k] == 1 and schedule.levels[k].sigma < schedule.levels[remaining[-1]].sigma:
            remaining.append(k)
    path = path_of(scheduler_config)
    sigmas = np.array([path.sigma(schedule.levels[k]) for k in remaining])
    timesteps = np.array([float(schedule.timesteps[k]) for k in remaining])
    if noise_schedule is not None:
        training = path.training()
        begins = min(sigmas[0], training[-1])
        # Where the model is told training timesteps themselves, those that the schedule is defined by are kept as
        # they are.
        by_timestep = path.name == "preserving"
        remaining_timesteps = (
            noise_schedule_timesteps(noise_schedule, len(remaining), timesteps[0]) if by_timestep else None
        )
        sigmas = noise_schedule_sigmas(noise_schedule, len(remaining), training, family.ays_sigmas, begins)
        remaining_timesteps = path.model_timesteps(sigmas) if remaining_timesteps is None else remaining_timesteps
        # The formulas begin at the given level up to rounding; this begins exactly where the run is.
        sigmas[0], remaining_timesteps[0] = path.sigma(schedule.levels[index]), timesteps[0]
        timesteps = remaining_timesteps
    return SchedulerSwitch(scheduler, noise_schedule, tuple(map(float, sigmas)), tuple(map(float, timesteps)))


def switched_schedule(
    schedule: Schedule, index: int, switch: SchedulerSwitch, scheduler_config: Mapping[str, Any], prediction_type: str
) -> Schedule:
    """A run's schedule up to evaluation `index`, and the switch's from there. Raises ValueError for a scheduler that
    cannot run what the checkpoint predicts."""
    rest = schedule_over(
        switch.scheduler,
        np.array(switch.sigmas),
        np.array(switch.timesteps),
        scheduler_config,
        seed=schedule.seed,
        prediction_type=prediction_type,
    )
    first = _step_at(schedule, index)
    strides = None if rest.strides is None else [0] * index + rest.strides  # earlier ones are not used any more
    return replace(
        rest,
        timesteps=torch.cat([schedule.timesteps[:index].to(rest.timesteps), rest.timesteps]),
        levels=schedule.levels[:index] + rest.levels,
        stages=schedule.stages[:index] + rest.stages,
        steps=schedule.steps[:index] + [first + step for step in rest.steps],
        strides=strides,
        complete=schedule.complete,
        begins=index,
    )


def _step_at(schedule: Schedule, index: int) -> int:
    """The step that a switch at an evaluation begins with. A second evaluation within a step begins in it; one at the
    next step's level is that step."""
    for k in range(index + 1, schedule.total):
        if schedule.stages[index] == 2 and schedule.stages[k] == 1:
            later = schedule.levels[k].sigma < schedule.levels[index].sigma * (1 - SAME_LEVEL)
            return schedule.steps[k] - later
    return schedule.steps[index]


def at_level(
    latents: torch.Tensor, denoised: torch.Tensor, before: Schedule, after: Schedule, index: int
) -> torch.Tensor:
    """x_t (1, C, h, w), in model-input coordinates, moved from the level that `before` gives evaluation `index` to that
    of `after`, with the same predicted x0 (1, C, h, w): one small step along the noise.

    Only schedulers of whole timesteps, which cannot begin between two of them, are at another level at all.
    """
    old, new = before.levels[index], after.levels[index]
    if _same(old.sigma, new.sigma) or old.s == 0:
        return latents
    return new.a * denoised + new.s / old.s * (latents - old.a * denoised)


def _same(one: float, other: float) -> bool:
    return one == other or math.isclose(one, other, rel_tol=SAME_LEVEL)
