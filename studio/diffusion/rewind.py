"""Return to an evaluation of a recorded run, bit for bit, without calling the U-Net again.

A scheduler's state, the generator and a Brownian tree cannot all be copied, but they can be rebuilt. A new lane of the
same request takes the same answers. Then it stands where the old one stood, with any scheduler.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from studio.diffusion.lane import Lane
from studio.diffusion.scheduler_switch import SchedulerSwitch


@dataclass(frozen=True)
class PastEvaluation:
    """One earlier evaluation: the latents before it (C, h, w) float32 in the scheduler's scale, what the U-Net answered
    (branches, C, h, w), and the guidance scale."""

    latents: torch.Tensor
    outputs: torch.Tensor
    guidance_scale: float
    is_forecast: bool = False  # the answer was forecast


@torch.inference_mode()
def rewind(
    lane: Lane,
    past: Sequence[PastEvaluation],
    noise_seeds: Mapping[int, int],
    painted_evaluations: Collection[int] = frozenset(),
    switches: Mapping[int, SchedulerSwitch] | None = None,
) -> None:
    """Bring a new lane to where `past` ends. `noise_seeds`: seeds, by the evaluation before which the noise was
    replaced. `painted_evaluations`: the evaluations before which the latents were painted on. `switches`: where another
    scheduler took over."""
    device = lane.latents.device
    switches = switches or {}
    for index, evaluation in enumerate(past):
        if index in switches:
            lane.switch_scheduler(switches[index])
        if index in noise_seeds:
            lane.take_noise(noise_seeds[index], evaluation.latents[None].to(device))
        elif index in painted_evaluations or index in switches:
            lane.latents = evaluation.latents[None].to(device)
        lane.replay(evaluation.outputs.to(device), evaluation.guidance_scale, is_forecast=evaluation.is_forecast)


@torch.inference_mode()
def renoise(lane: Lane, seed: int, denoised: torch.Tensor) -> None:
    """Replace the noise of a lane's latents: a x0 + s noise with another noise, x0 (C, h, w) being what the run
    predicted at this evaluation before."""
    noise = lane.take_noise(seed)
    level, scale = lane.schedule.levels[lane.index], lane.schedule.scale(lane.index)
    lane.latents = scale * (level.a * denoised[None].to(noise.device) + level.s * noise)
