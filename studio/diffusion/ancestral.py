"""The ancestral step of Euler a and DPM2 a, corrected where float32 is too coarse for it.

A step from sigma to the next one goes down to sigma_down = next^2 / sigma, and fresh noise of sigma_up brings it back
to the next one: next^2 = sigma_down^2 + sigma_up^2. diffusers takes sigma_down from the difference of the two squares.
Where a step is very long (from 20,000 down to 3, when few steps run over `squaredcos_cap_v2` betas), the two squares
are equal in float32, and the difference is 0 or negative.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

MAX_ERROR = 0.1  # relative, of sigma_down: up to there the steps are diffusers' own, bit for bit


def mend_euler_a(scheduler: Any) -> None:
    """Give Euler a exact ancestral steps where float32 has lost one. Its timesteps must be set."""
    sigmas = scheduler.sigmas
    if _inexact_steps(sigmas[:-1], _down(sigmas[:-1], sigmas[1:])).any():
        scheduler.sigmas = sigmas.double()  # `step` computes in the precision it finds here


def mend_dpm2_a(scheduler: Any) -> None:
    """The same for DPM2 a. Its lists hold the first value once and every later one twice, and end with one more 0."""
    sigmas = torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1:-1:2]])  # of n steps, and 0
    sigma, following = sigmas[:-1].double(), sigmas[1:].double()
    theirs = torch.cat([scheduler.sigmas_down[:1], scheduler.sigmas_down[1:-1:2]])[:-1]
    inexact = _inexact_steps(sigmas[:-1], theirs)
    if not inexact.any():
        return
    down = following**2 / sigma
    up = (following**2 - down**2).clamp(min=0).sqrt()
    middle = (sigma * down).sqrt()
    for step in torch.nonzero(inexact).flatten().tolist():
        places = [0] if step == 0 else [2 * step - 1, 2 * step]
        timestep = scheduler._sigma_to_t(np.array([float(middle[step])]), scheduler.log_sigmas.cpu().numpy())[0]
        for place in places:
            scheduler.sigmas_down[place] = down[step]
            scheduler.sigmas_up[place] = up[step]
            scheduler.sigmas_interpol[place] = middle[step]
        scheduler.timesteps[2 * step + 1] = float(timestep)


def _down(sigma: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """sigma_down as diffusers computes it."""
    up = (following**2 * (sigma**2 - following**2) / sigma**2) ** 0.5
    return (following**2 - up**2) ** 0.5


def _inexact_steps(sigmas: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Which steps have a sigma_down in float32 that is far from the exact one. The last step, to 0, never has."""
    exact = sigmas[1:].double() ** 2 / sigmas[:-1].double()
    near = (down[:-1].double() / exact - 1).abs() <= MAX_ERROR
    return torch.cat([~near, torch.zeros(1, dtype=torch.bool)])
