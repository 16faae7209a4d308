"""A scheduler by name x a noise schedule: which evaluations one image needs and at which noise level each of them is.

The scheduler objects are diffusers'; where a noise schedule is not one of theirs, its curve is written into the object
after `set_timesteps`. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from studio.asked.messages import Message
from studio.asked.noise_settings import USUAL, NoiseSettings
from studio.asked.problems import InvalidRequest, Problem
from studio.asked.schedulers import SCHEDULERS, NoiseScheduleName, SchedulerName, resolve_noise_schedule, steps_run
from studio.diffusion.brownian import brownian_noise
from studio.diffusion.levels import Level, level_of
from studio.diffusion.noise_rows import step_arguments, with_noise
from studio.diffusion.noise_schedules import (
    AYS_SD,
    Array,
    HasAys,
    noise_schedule_sigmas,
    noise_schedule_timesteps,
    sigma_to_timestep,
)
from studio.diffusion.paths import Flow, NoisePath, path_of, training_sigmas
from studio.diffusion.predictions import prediction_of
from studio.diffusion.schedulers import SchedulerRow, kind_of_checkpoint, new_scheduler, row_of

NEARLY_NOISE = 1 - 1e-6  # time of a flow at which multistep classes begin: at 1 their log-SNR is infinite


@dataclass
class Schedule:
    """Everything one image needs to be denoised: the scheduler object, and each evaluation's timestep and level."""

    scheduler: Any
    name: SchedulerName
    row: SchedulerRow
    timesteps: torch.Tensor  # (total,), on the CPU, as the scheduler's `step` wants them
    levels: list[Level]
    stages: list[int]  # 1, or 2 for the second evaluation of a step
    steps: list[int]  # 0-based step each evaluation belongs to, counted from where the run begins
    seed: int  # the image's
    strides: list[int] | None = None  # timesteps to the next evaluation, where the class would guess them evenly
    complete: bool = True  # whether it begins at the schedule's first step, at pure noise
    noise: NoiseSettings = USUAL
    begins: int = 0  # the first evaluation of `scheduler`, where another one made those before

    @property
    def total(self) -> int:
        """U-Net evaluations."""
        return len(self.levels)

    @property
    def first_scale(self) -> float:
        """Standard deviation of the latents of pure noise."""
        return float(getattr(self.scheduler, "init_noise_sigma", 1.0))  # a flow's is 1, and its class does not say so

    def scale(self, index: int) -> float:
        """The latents of evaluation `index` are the model's input times this: 1 / a where the scheduler holds
        x0 + sigma * noise, else 1."""
        return 1 / self.levels[index].a if self.row.scale in ("scaled", "edm") else 1.0

    def model_input(self, index: int, latents: torch.Tensor) -> torch.Tensor:
        """x_t of evaluation `index`, as the model is given it."""
        if self.row.scale == "flow":
            return latents
        scaled: torch.Tensor = self.scheduler.scale_model_input(latents, self.timesteps[index])
        return scaled

    def reseed(self, seed: int) -> None:
        """From the next step on, take Brownian noise (DPM++ SDE) from another seed's tree."""
        self.seed = seed
        if self.row.brownian:
            self.scheduler.noise_sampler = None

    def step(
        self, index: int, model_output: torch.Tensor, latents: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """x_t => x_{t-1} by the guided model output of evaluation `index`; evaluations come in order."""
        row = self.row
        arguments: dict[str, Any] = {}
        if row.takes_generator:
            arguments["generator"] = generator
        if row.eta is not None:
            arguments["eta"] = row.eta
        if self.noise.s_noise != 1:
            arguments |= step_arguments(row, self.noise, latents, generator)
        if row.growing_order is not None:
            # It grows with the position in the whole schedule, as if there were derivatives of evaluations before a run
            # that begins in mid-schedule.
            arguments["order"] = min(index - self.begins + 1, row.growing_order)
        if row.brownian and self.scheduler.noise_sampler is None:
            self.scheduler.noise_sampler = brownian_noise(self.scheduler.sigmas, latents, self.seed)
        if self.strides is not None:
            # DDIM and PNDM step by num_train_timesteps // num_inference_steps; this makes it the distance we want.
            train = self.scheduler.config.num_train_timesteps
            self.scheduler.num_inference_steps = Fraction(train, self.strides[index])
        result: torch.Tensor = self.scheduler.step(
            model_output, self.timesteps[index], latents, return_dict=False, **arguments
        )[0]
        return result

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, index: int) -> torch.Tensor:
        """Clean latents => latents in the scheduler's scale at the level of evaluation `index`; behind the last one
        they are clean.

        What the classes' `add_noise` computes, to the last bit; but they take a second evaluation of DPM2 and
        DPM++ SDE, which lies between two sigmas, for one at the next sigma.
        """
        if index >= self.total:
            return latents
        if self.row.scale == "timesteps":
            result: torch.Tensor = self.scheduler.add_noise(latents, noise, self.timesteps[index : index + 1])
            return result
        level = self.levels[index]
        sigma = torch.tensor(
            level.s if self.row.scale == "flow" else level.sigma, dtype=latents.dtype, device=latents.device
        )
        if self.row.scale in ("scaled", "edm"):
            return latents + noise * sigma
        if self.row.scale == "flow":
            return (1 - sigma) * latents + sigma * noise
        alpha, sigma = self.scheduler._sigma_to_alpha_sigma_t(sigma)
        return alpha * latents + sigma * noise


def make_schedule(
    name: SchedulerName,
    noise_schedule: NoiseScheduleName,
    num_inference_steps: int,
    scheduler_config: Mapping[str, Any],
    *,
    strength: float = 1.0,
    seed: int = 0,
    prediction_type: str | None = None,
    family: HasAys | None = None,
    noise: NoiseSettings = USUAL,
) -> Schedule:
    """Set a scheduler up for one image.

    `scheduler_config` is the checkpoint's scheduler_config.json. `strength` < 1 runs int(n * strength) steps, the last
    ones. `seed` is the image's: DPM++ SDE takes its noise from a Brownian tree with it. Raises ValueError for a
    combination that requests.SCHEDULERS does not list, InvalidRequest for what cannot run what the checkpoint predicts.
    """
    prediction = prediction_type or prediction_of(scheduler_config)
    noise_schedule = resolve_noise_schedule(name, noise_schedule, prediction)
    facts = SCHEDULERS[name]
    if noise_schedule not in facts.noise_schedules:
        raise ValueError(f"noise_schedule: {noise_schedule}; {name} can run {', '.join(facts.noise_schedules)}")
    if not 1 <= num_inference_steps <= facts.max_steps:
        raise ValueError(f"num_inference_steps: {num_inference_steps}; {name} can run 1 to {facts.max_steps}")
    row = with_noise(name, row_of(name, prediction), noise, prediction)
    if noise_schedule == "ays" and row.scale in ("edm", "flow"):
        raise InvalidRequest(
            Problem(
                "noise_schedule",
                "AYS",
                Message("for {kind} any other", kind=kind_of_checkpoint(prediction)),
            )
        )
    scheduler = new_scheduler(row, noise_schedule, scheduler_config, prediction_type)
    path = path_of(scheduler_config)
    ays_sigmas = family.ays_sigmas if family is not None else AYS_SD
    whole = None
    if noise_schedule == "as_configured":
        _set_as_configured(scheduler, row, num_inference_steps, path)
    elif row.writing == "timesteps":
        whole = _write_timesteps(scheduler, noise_schedule, num_inference_steps, ays_sigmas)
    else:
        training = _training(scheduler, row, path)
        sigmas = noise_schedule_sigmas(noise_schedule, num_inference_steps, training, ays_sigmas)
        timesteps = noise_schedule_timesteps(noise_schedule, num_inference_steps, len(training) - 1)
        _write_curve(scheduler, row, path, noise_schedule, sigmas, timesteps)
    schedule = _schedule_of(scheduler, name, row, num_inference_steps, strength, seed, own_strides=whole is not None)
    schedule.noise = noise
    return schedule


def schedule_over(
    name: SchedulerName,
    sigmas: Array,
    timesteps: Array,
    scheduler_config: Mapping[str, Any],
    *,
    seed: int,
    prediction_type: str,
) -> Schedule:
    """A scheduler that begins in the middle, over these steps: falling sigmas of the checkpoint's path without the
    closing 0, and the model's timesteps, whole or not. A scheduler that works on whole timesteps takes the nearest
    ones. Raises ValueError for one that cannot run what the checkpoint predicts."""
    row = row_of(name, prediction_type)
    # Any curve does: it is written over.
    scheduler = new_scheduler(row, "karras", scheduler_config, prediction_type)
    if row.asks_twice:
        whole = _write_whole_timesteps(scheduler, timesteps)
        run = torch.from_numpy(whole.astype(np.int64))
        return _twice_over(scheduler, name, row, run, _strides(run), seed, complete=False)
    if row.writing == "timesteps":
        _write_whole_timesteps(scheduler, timesteps)
    else:
        path = path_of(scheduler_config)
        # Pure noise has no finite sigma: with zero-terminal SNR these classes begin at a large one.
        sigmas = np.minimum(sigmas, _training(scheduler, row, path)[-1])
        _write_curve(scheduler, row, path, "karras", sigmas, timesteps)
    schedule = _schedule_of(scheduler, name, row, len(sigmas), 1.0, seed, own_strides=row.writing == "timesteps")
    schedule.complete = False
    return schedule


def _training(scheduler: Any, row: SchedulerRow, path: NoisePath) -> Array:
    """Sigma of every training timestep as the scheduler has it: classes differ in the last one of zero-terminal SNR."""
    return path.training() if row.scale in ("edm", "flow") else training_sigmas(scheduler.alphas_cumprod)


def _set_as_configured(scheduler: Any, row: SchedulerRow, num_inference_steps: int, path: NoisePath) -> None:
    """The checkpoint's own noise schedule: the class's. A flow's Euler has even times from 1 on, shifted."""
    if isinstance(path, Flow) and row.writing == "argument":
        scheduler.set_timesteps(
            sigmas=path.shift_times(1 - np.arange(num_inference_steps) / num_inference_steps).tolist()
        )
    else:
        scheduler.set_timesteps(num_inference_steps)


def _write_timesteps(
    scheduler: Any, noise_schedule: NoiseScheduleName, num_inference_steps: int, ays_sigmas: Sequence[float]
) -> Array:
    """Write a noise schedule into a scheduler that works on integer timesteps; they must differ from each other."""
    training = training_sigmas(scheduler.alphas_cumprod)
    timesteps = noise_schedule_timesteps(noise_schedule, num_inference_steps, len(training) - 1)
    if timesteps is None:
        sigmas = noise_schedule_sigmas(noise_schedule, num_inference_steps, training, ays_sigmas)
        timesteps = sigma_to_timestep(sigmas, training)
    return _write_whole_timesteps(scheduler, timesteps)


def _write_whole_timesteps(scheduler: Any, timesteps: Array) -> Array:
    """Write timesteps into a scheduler that takes only whole ones; equal ones are merged."""
    timesteps = np.unique(timesteps.round())[::-1].copy()
    scheduler.set_timesteps(len(timesteps))
    scheduler.timesteps = torch.from_numpy(timesteps.astype(np.int64))
    return timesteps


def _write_curve(
    scheduler: Any,
    row: SchedulerRow,
    path: NoisePath,
    noise_schedule: NoiseScheduleName,
    sigmas: Array,
    timesteps: Array | None,
) -> None:
    """Write falling sigmas, without the closing 0; their timesteps follow from them where they are not given.

    Where a class converts curves itself, its conversion is replaced for one call, so that everything it derives from
    the sigmas (doubled lists, midpoints, ancestral parts) is derived by its own code.
    """
    if row.writing == "argument":
        scheduler.set_timesteps(sigmas=sigmas.tolist())
    elif row.writing == "edm":
        scheduler._compute_karras_sigmas = lambda *_, **__: torch.from_numpy(sigmas)
        scheduler.set_timesteps(len(sigmas))
        del scheduler._compute_karras_sigmas
    elif row.writing == "sigmas":
        scheduler.set_timesteps(len(sigmas))
        if row.scale == "flow":
            sigmas = np.minimum(sigmas, NEARLY_NOISE)
            timesteps = path.model_timesteps(sigmas)
        elif timesteps is None:
            timesteps = sigma_to_timestep(sigmas, training_sigmas(scheduler.alphas_cumprod))
        scheduler.sigmas = torch.from_numpy(np.append(sigmas, 0).astype(np.float32))
        scheduler.timesteps = torch.from_numpy(timesteps.astype(np.float32))
    else:
        _write_by_conversion(scheduler, row, noise_schedule, sigmas, timesteps)


def _write_by_conversion(
    scheduler: Any, row: SchedulerRow, noise_schedule: NoiseScheduleName, sigmas: Array, timesteps: Array | None
) -> None:
    curve = "_convert_to_exponential" if noise_schedule == "exponential" else "_convert_to_karras"
    setattr(scheduler, curve, lambda **_: sigmas)
    scheduler.set_timesteps(len(sigmas))
    delattr(scheduler, curve)
    if row.ends_at_first:  # its curves end at their last sigma twice
        scheduler.sigmas[-1] = float(training_sigmas(scheduler.alphas_cumprod)[0])
    if timesteps is not None:
        exact_timesteps = scheduler.timesteps.double()
        exact_timesteps[:: row.order] = torch.from_numpy(timesteps.copy())
        if row.second_at_next:
            exact_timesteps[1::2] = torch.from_numpy(timesteps[1:].copy())
        scheduler.timesteps = exact_timesteps.float()


def _schedule_of(
    scheduler: Any,
    name: SchedulerName,
    row: SchedulerRow,
    num_inference_steps: int,
    strength: float,
    seed: int,
    *,
    own_strides: bool,
) -> Schedule:
    """The schedule of a scheduler whose timesteps are set. `own_strides`: they are not those its class would set."""
    if row.asks_twice:
        return _twice(scheduler, name, row, num_inference_steps, strength, seed)
    if row.planner is not None:
        return _planned(scheduler, name, row, strength, seed)
    if row.mend is not None:
        row.mend(scheduler)
    order = row.order
    steps = (len(scheduler.timesteps) + order - 1) // order
    begin = (steps - steps_run(steps, strength)) * order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    indices = range(begin, len(scheduler.timesteps))
    timesteps = scheduler.timesteps[begin:]
    return Schedule(
        scheduler=scheduler,
        name=name,
        row=row,
        timesteps=timesteps,
        levels=[row.level(scheduler, index) for index in indices],
        stages=[1 + (order == 2 and i % 2 == 1) for i in range(len(indices))],
        steps=[(i + order - 1) // order for i in range(len(indices))],
        seed=seed,
        strides=_strides(timesteps) if row.strides and own_strides else None,
        complete=begin == 0,
    )


def _planned(scheduler: Any, name: SchedulerName, row: SchedulerRow, strength: float, seed: int) -> Schedule:
    """The schedule of a plan: it is made of the steps that run, so that they are as many as were asked for."""
    assert row.planner is not None
    steps = len(scheduler.timesteps)
    begin = steps - steps_run(steps, strength)
    scheduler.follow(row.planner, row.solver, begin)
    timesteps, stages, numbers = scheduler.timesteps, scheduler.stages, scheduler.steps
    levels = [row.level(scheduler, index) for index in range(len(timesteps))]
    return Schedule(scheduler, name, row, timesteps, levels, stages, numbers, seed, complete=begin == 0)


def _twice(
    scheduler: Any, name: SchedulerName, row: SchedulerRow, num_inference_steps: int, strength: float, seed: int
) -> Schedule:
    """PNDM evaluates its second timestep twice, also when it begins in mid-schedule (diffusers' img2img forgets the
    second time and then is one step off)."""
    timesteps = torch.unique(scheduler.timesteps).flip(0)
    stride = scheduler.config.num_train_timesteps // num_inference_steps
    steps = len(timesteps)
    run = timesteps[steps - steps_run(steps, strength) :]
    distances = _strides(run) if scheduler.config.timestep_spacing != "leading" else [stride] * len(run)
    return _twice_over(scheduler, name, row, run, distances, seed, complete=len(run) == steps)


def _twice_over(
    scheduler: Any,
    name: SchedulerName,
    row: SchedulerRow,
    run: torch.Tensor,
    distances: list[int],
    seed: int,
    *,
    complete: bool,
) -> Schedule:
    """PNDM over falling timesteps, with two evaluations at the second one."""
    indices = list(range(len(run)))
    if len(run) > 1:
        indices = [0, 1, *range(1, len(run))]
        distances = [distances[0], distances[0], *distances[1:]]
    timesteps = run[indices]
    return Schedule(
        scheduler=scheduler,
        name=name,
        row=row,
        timesteps=timesteps,
        levels=[level_of(float(scheduler.alphas_cumprod[int(t)])) for t in timesteps],
        stages=[1 + (i == 1) for i in range(len(timesteps))],
        steps=[max(i - 1, 0) for i in range(len(timesteps))],
        seed=seed,
        strides=distances,
        complete=complete,
    )


def _strides(timesteps: torch.Tensor) -> list[int]:
    """Distance from each timestep to the next; from the last one to -1, which stands for the clean picture."""
    following = [*timesteps[1:].tolist(), -1]
    return [int(a - b) for a, b in zip(timesteps.tolist(), following)]
