"""The noise of DPM++ SDE, from a Brownian tree."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler


def brownian_noise(sigmas: torch.Tensor, latents: torch.Tensor, seed: int) -> Callable[[Any, Any], torch.Tensor]:
    """The noise of DPM++ SDE between any two sigmas, as its class makes it, but on the CPU and by the image's seed: the
    same on every device."""
    # torchsde warns of float32's last bit at the ends of its interval, at every new value: that is expected here.
    warnings.filterwarnings("ignore", message="Should have t[ab]", module="torchsde")
    sampler = BrownianTreeNoiseSampler(latents.cpu(), sigmas[sigmas > 0].min().item(), sigmas.max().item(), seed)
    return lambda sigma, sigma_next: sampler(sigma, sigma_next).to(latents.device)
