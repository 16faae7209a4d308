"""A scheduler's row where a run wants another amount of fresh noise than the scheduler adds by itself.

What diffusers' classes cannot do, or do at another place than k-diffusion (their Euler adds churn's noise behind the
model's call), a plan of steps does. With the usual values a row stays what it is, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from studio.asked.messages import Message
from studio.asked.noise_settings import NOISE_FIELDS, NoiseSettings
from studio.asked.problems import InvalidRequest, Problem
from studio.asked.schedulers import SchedulerName
from studio.diffusion.planned import Planner, Solver, ancestral_plan, churn_plan, restart_plan
from studio.diffusion.schedulers import SchedulerRow, kind_of_checkpoint, planned

_CHURNS: Mapping[str, Solver] = {"euler": "euler", "heun": "heun", "dpm2": "midpoint"}
_ANCESTRAL: Mapping[str, Solver] = {"euler_a": "euler", "dpm2_a": "midpoint", "dpmpp_2s_a": "2s"}


def with_noise(name: SchedulerName, row: SchedulerRow, noise: NoiseSettings, prediction_type: str) -> SchedulerRow:
    """The row of a run with these settings. Raises InvalidRequest on a path of noise whose classes have none."""
    if noise.is_plain:
        return row
    if row.scale in ("edm", "flow"):
        own = next(field for field in NOISE_FIELDS if not noise.is_usual(field))
        allowed = Message("for {kind} nothing but its usual value", kind=kind_of_checkpoint(prediction_type))
        raise InvalidRequest(Problem(own, f"{getattr(noise, own):g}", allowed))
    planner: Planner
    if name in _CHURNS:
        if noise.s_churn == 0:  # nothing to scale
            return row
        planner = partial(
            churn_plan, churn=noise.s_churn, t_min=noise.s_tmin, t_max=noise.s_tmax, s_noise=noise.s_noise
        )
        return planned(planner, _CHURNS[name])
    if name in _ANCESTRAL:
        eta = 1.0 if noise.eta is None else noise.eta
        return planned(partial(ancestral_plan, eta=eta, s_noise=noise.s_noise), _ANCESTRAL[name])
    if name == "restart":
        return planned(partial(restart_plan, s_noise=noise.s_noise), "heun")
    return replace(row, eta=noise.eta) if noise.eta is not None else row


def step_arguments(
    row: SchedulerRow, noise: NoiseSettings, latents: torch.Tensor, generator: torch.Generator
) -> dict[str, Any]:
    """What diffusers' stochastic multistep classes are told, where their noise is scaled."""
    if row.planner is not None or noise.s_noise == 1:
        return {}
    if row.brownian:
        return {"s_noise": noise.s_noise}
    fresh = torch.randn(latents.shape, generator=generator).to(latents.device)
    return {"variance_noise": noise.s_noise * fresh}
