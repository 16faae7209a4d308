"""Brings a new lane to the evaluation at which its job leaves a recorded run. docs/viewer.md has it in words."""

from __future__ import annotations

import numpy as np
import torch

from studio.diffusion.components import Components
from studio.diffusion.lane import Lane
from studio.diffusion.rewind import PastEvaluation, renoise, rewind
from studio.diffusion.scheduler_switch import at_level, switch_at
from studio.engine.forks import Fork
from studio.engine.viewer.measures import denoised


def leave(lane: Lane, fork: Fork, components: Components) -> None:
    """Bring a new lane to the fork, change its noise where that is asked for, and give it another scheduler."""
    past = [
        PastEvaluation(torch.tensor(e.latents), torch.tensor(e.outputs), e.guidance_scale, e.is_forecast)
        for e in fork.past
    ]
    seeds, switches = dict(fork.recipe.noise_seeds), fork.switches
    rewind(lane, past, seeds, fork.recipe.painted_evaluations, switches)
    here, seed = fork.branch.evaluation, fork.branch.noise_seed
    x0 = denoised(fork.evaluation)
    if here in switches:
        lane.switch_scheduler(switches[here])
        lane.latents = torch.tensor(fork.evaluation.latents)[None].to(lane.latents.device)
    if seed is not None and here > 0:
        renoise(lane, seed, torch.tensor(x0) if x0 is not None else torch.zeros_like(lane.latents[0]))
    elif here in seeds:  # the parent's own noise began here
        lane.take_noise(seeds[here], torch.tensor(fork.evaluation.latents)[None].to(lane.latents.device))
    elif here in fork.recipe.painted_evaluations:
        lane.latents = torch.tensor(fork.evaluation.latents)[None].to(lane.latents.device)
    if fork.branch.poke is not None:
        poke = np.frombuffer(fork.branch.poke, "<f4").astype(np.float32).reshape(fork.evaluation.latents.shape)
        lane.latents = lane.latents + fork.evaluation.scale * torch.from_numpy(poke)[None].to(lane.latents.device)
    if fork.branch.switches_scheduler:
        before, spacing = lane.schedule, fork.branch.noise_schedule
        name = fork.branch.scheduler or fork.recipe.scheduling(here)[0]
        lane.switch_scheduler(switch_at(before, here, name, spacing, components.scheduler_config, components.family))
        if x0 is not None:
            scale, x0_here = lane.schedule.scale(here), torch.tensor(x0)[None].to(lane.latents.device)
            lane.latents = scale * at_level(lane.latents / scale, x0_here, before, lane.schedule, here)
    lane.plan_forecasts(fork.forecast_begin)
