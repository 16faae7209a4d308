"""Schedulers that diffusers does not have: a run as a plan of steps, each down to a lower sigma and, with fresh noise,
up to where the next one begins. DPM++ 2S a and Restart are such plans.

Latents are x0 + sigma * noise. All formulas are those of k-diffusion's samplers and of the papers named below.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteSchedulerOutput
from diffusers.utils.torch_utils import randn_tensor

from studio.diffusion.noise_schedules import Array, sigma_to_timestep

# What a step does with its second evaluation; Euler has none.
Solver = Literal["euler", "heun", "midpoint", "2s"]


@dataclass(frozen=True)
class PlannedStep:
    """From `sigma` down to `down`; then fresh noise of standard deviation `noise` is added."""

    sigma: float
    down: float
    noise: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Steps, and the noise that is added to the first latents before them."""

    steps: list[PlannedStep]
    first_noise: float = 0.0


Planner = Callable[[Sequence[float]], Plan]  # takes falling sigmas without the closing 0


def ancestral_plan(sigmas: Sequence[float], eta: float = 1.0, s_noise: float = 1.0) -> Plan:
    """Ancestral steps: each goes further down than the next sigma, and fresh noise brings it back up to that.

    `eta` is the share of fresh noise: 0 adds none, 1 as much as the posterior has (Song et al. 2021, equation 16).
    """
    steps = []
    for sigma, following in zip(sigmas, [*sigmas[1:], 0.0]):
        share = eta**2 * (1 - following**2 / sigma**2)  # of the next variance, fresh
        steps.append(PlannedStep(sigma, following * math.sqrt(1 - share), s_noise * following * math.sqrt(share)))
    return Plan(steps)


def churn_plan(
    sigmas: Sequence[float], churn: float, t_min: float = 0.0, t_max: float = 0.0, s_noise: float = 1.0
) -> Plan:
    """Churn (Karras et al. 2022, algorithm 2): before each step at a sigma from `t_min` to `t_max` (0: no end), noise
    is added up to sigma (1 + gamma), from where the step begins."""
    gamma = min(churn / max(len(sigmas), 1), math.sqrt(2) - 1)
    raised = [sigma * (1 + gamma) if t_min <= sigma <= (t_max or math.inf) else sigma for sigma in sigmas]
    noises = [s_noise * math.sqrt(high**2 - sigma**2) for high, sigma in zip(raised, sigmas)]
    following = zip([*sigmas[1:], 0.0], [*noises[1:], 0.0])
    steps = [PlannedStep(high, down, noise) for high, (down, noise) in zip(raised, following)]
    return Plan(steps, noises[0] if noises else 0.0)


RESTART_FROM, RESTART_TO = 0.1, 2.0  # sigmas: a restart begins near the first and goes up to near the second


def restart_plan(sigmas: Sequence[float], s_noise: float = 1.0) -> Plan:
    """Restart (Xu et al. 2023): near the end, noise is added again and the way down is gone a second time.

    The numbers are AUTOMATIC1111's: from 20 steps on, 9 of them are spent on a restart; from 36 on, two restarts of a
    quarter each. The other steps follow the same curve with fewer points.
    """
    n = len(sigmas)
    length, times = (0, 0) if n < 20 else (9, 1) if n < 36 else (n // 4, 2)
    curve = _resampled(sigmas, n - length * times)
    pairs = list(zip(curve, [*curve[1:], 0.0]))
    if times:
        ends = np.array([*curve, 0.0])
        low, high = int(np.abs(ends - RESTART_FROM).argmin()), int(np.abs(ends - RESTART_TO).argmin())
        if high < low and ends[low] > 0:
            again = _resampled([ends[high], ends[low]], length + 1)
            pairs[low:low] = list(itertools.pairwise(again)) * times
    steps = []
    for (sigma, down), (following, _) in zip(pairs, [*pairs[1:], (0.0, 0.0)]):
        steps.append(PlannedStep(sigma, down, s_noise * math.sqrt(max(following**2 - down**2, 0.0))))
    return Plan(steps)


def _resampled(sigmas: Sequence[float], count: int) -> list[float]:
    """The same falling curve with another number of points, evenly spaced in sigma^(1/7): of a curve of Karras et al.
    it makes that curve between the same ends."""
    if count == len(sigmas):
        return list(map(float, sigmas))
    places = np.linspace(0, len(sigmas) - 1, count)
    roots = np.interp(places, np.arange(len(sigmas)), np.asarray(sigmas, dtype=np.float64) ** (1 / 7))
    resampled: Array = roots**7
    resampled[0], resampled[-1] = sigmas[0], sigmas[-1]
    return [float(sigma) for sigma in resampled]


class PlannedScheduler(EulerDiscreteScheduler):
    """A plan of steps over the sigmas of diffusers' Euler. After `follow` its `sigmas` and `timesteps` have an entry
    for each evaluation, `stages` says which evaluation of its step each one is, `steps` the number of that step."""

    sigmas: torch.Tensor
    timesteps: torch.Tensor
    stages: list[int]
    steps: list[int]
    first_noise: float  # standard deviation of what is added to the first latents of pure noise

    def follow(self, planner: Planner, solver: Solver, begin: int) -> None:
        """Plan the steps from `begin` on. The timesteps must be set."""
        curve = self.sigmas[:-1].double().tolist()
        timestep_of = dict(zip(curve, self.timesteps.double().tolist()))
        self._scale_of_noise = float(EulerDiscreteScheduler.init_noise_sigma.fget(self))
        self._solver = solver
        self._plan: list[tuple[PlannedStep, int]] = []  # of each evaluation: its step, and which one of it it is
        self.steps, sigmas = [], list[float]()
        plan = planner(curve[begin:])
        self.first_noise = plan.first_noise
        for number, step in enumerate(plan.steps):
            seconds = () if solver == "euler" or step.down == 0 else (self._second(step),)
            for stage, sigma in enumerate((step.sigma, *seconds), start=1):
                self._plan.append((step, stage))
                # As with diffusers' schedulers of two evaluations a step, the second one counts as the next step's.
                self.steps.append(number + stage - 1)
                sigmas.append(sigma)
        self.stages = [stage for _, stage in self._plan]
        training = ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt().double().cpu().numpy()
        timesteps = [
            timestep_of[sigma] if sigma in timestep_of else float(sigma_to_timestep(np.array([sigma]), training)[0])
            for sigma in sigmas
        ]
        self.sigmas = torch.tensor([*sigmas, 0.0], dtype=torch.float32)
        self.timesteps = torch.tensor(timesteps, dtype=torch.float32)
        self.set_begin_index(0)

    def _second(self, step: PlannedStep) -> float:
        return step.down if self._solver == "heun" else math.sqrt(step.sigma * step.down)

    @property
    def init_noise_sigma(self) -> float:
        """Standard deviation of the first latents: of the curve, as Euler has it."""
        own = getattr(self, "_scale_of_noise", None)
        return own if own is not None else float(super().init_noise_sigma)

    def step(
        self,
        model_output: torch.Tensor,
        timestep: float | torch.Tensor,
        sample: torch.Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> Any:
        """As the schedulers of diffusers: the latents (B, C, h, w) after an evaluation, and its predicted x0."""
        if self.step_index is None:
            self._init_step_index(timestep)
        step, stage = self._plan[self.step_index]
        sample = sample.to(torch.float32)
        if stage == 1:
            x0 = self._x0(model_output, sample, step.sigma)
            self._begin, self._first_x0 = sample, x0
            has_second = self.step_index + 1 < len(self._plan) and self._plan[self.step_index + 1][1] == 2
            after = _towards(sample, x0, step.sigma, self._second(step) if has_second else step.down)
        else:
            has_second = False
            sigma = self._second(step)
            x0 = self._x0(model_output, sample, sigma)
            after = self._finished(step, sample, x0, sigma)
        if step.noise and not has_second:
            noise = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
            after = after + step.noise * noise
        self._step_index += 1
        if not return_dict:
            return after, x0
        return EulerDiscreteSchedulerOutput(prev_sample=after, pred_original_sample=x0)

    def _finished(self, step: PlannedStep, second: torch.Tensor, x0: torch.Tensor, sigma: float) -> torch.Tensor:
        """The end of a step after its second evaluation at `sigma`."""
        if self._solver == "2s":  # Lu et al. 2022, DPM-Solver++(2S) with r = 1/2
            return _towards(self._begin, x0, step.sigma, step.down)
        slope = (second - x0) / sigma
        if self._solver == "heun":
            slope = ((self._begin - self._first_x0) / step.sigma + slope) / 2
        return self._begin + (step.down - step.sigma) * slope

    def _x0(self, model_output: torch.Tensor, sample: torch.Tensor, sigma: float) -> torch.Tensor:
        kind = self.config.prediction_type
        if kind == "epsilon":
            return sample - sigma * model_output
        if kind == "v_prediction":
            return sample / (sigma**2 + 1) - model_output * (sigma / math.sqrt(sigma**2 + 1))
        if kind == "sample":
            return model_output
        raise ValueError(f"prediction_type: {kind}; a planned scheduler can run epsilon, v_prediction, sample")


def _towards(sample: torch.Tensor, x0: torch.Tensor, sigma: float, to: float) -> torch.Tensor:
    """Along the straight line to the predicted x0, from one sigma to a lower one."""
    return (to / sigma) * sample + (1 - to / sigma) * x0


def with_first_noise(scheduler: Any, latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """First latents (1, C, h, w) of pure noise as the first evaluation has them: churn adds noise before it."""
    share = float(getattr(scheduler, "first_noise", 0.0))
    return latents + share * torch.randn(latents.shape, generator=generator).to(latents.device) if share else latents
