"""Shared by the tests of the diffusion layer: the plain loop, and schedulers as diffusers' users make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import torch

from studio.diffusion.components import Components
from studio.diffusion.evaluation import Evaluation
from studio.diffusion.lane import Lane

# The class and settings each of our names stands for, written down a second time on purpose.
REFERENCE: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_2m_sde_heun": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"},
    ),
    "dpmpp_sde": ("DPMSolverSDEScheduler", {}),
    "dpmpp_3m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}


def reference_scheduler(name: str, config: dict[str, Any], seed: int, **settings: Any) -> Any:
    """`Class.from_config(pipe.scheduler.config)`, where the pipeline came with its PNDM scheduler."""
    configured = diffusers.PNDMScheduler.from_config(config)
    class_name, own = REFERENCE[name]
    if name == "dpmpp_sde":
        own = own | {"noise_sampler_seed": seed}
    return getattr(diffusers, class_name).from_config(configured.config, **own, **settings)


@torch.inference_mode()
def ask_unet(components: Components, lane: Lane) -> torch.Tensor:
    """The plain U-Net call of one lane alone."""
    call = lane.call()
    timestep = torch.full((len(call.sample),), call.timestep)
    answer: torch.Tensor = components.unet(call.sample, timestep, call.prompt_embeds, return_dict=False)[0]
    return answer


def run_lane(lane: Lane, answer: Callable[[Lane], torch.Tensor]) -> list[Evaluation]:
    """Drive a lane to its end."""
    evaluations = []
    while not lane.is_finished:
        evaluations.append(lane.forecast() if lane.is_forecast else lane.advance(answer(lane)))
    return evaluations
