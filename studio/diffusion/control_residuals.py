"""What ControlNets (Zhang et al. 2023) add to the U-Net's skip connections, for the lanes of one call together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from studio.diffusion.conditions import of_lanes
from studio.diffusion.controlnet import AppliedControl
from studio.diffusion.unet_call import UnetCall


@dataclass(frozen=True)
class Residuals:
    """What is added to the U-Net's skip connections and to its middle block, one row for each row of the call."""

    down: tuple[torch.Tensor, ...]
    mid: torch.Tensor


def residuals(calls: Sequence[UnetCall], timesteps: torch.Tensor) -> Residuals | None:
    """What the ControlNets of these calls add; None where there are none. Each ControlNet is called once for all lanes
    that use it. `timesteps` has one number per row of all the calls. Lanes without a ControlNet get zeros."""
    if not any(call.controls for call in calls):
        return None
    ends = np.cumsum([len(call.sample) for call in calls])
    steps = [timesteps[end - len(call.sample) : end] for call, end in zip(calls, ends)]
    answers: dict[tuple[int, int], list[torch.Tensor]] = {}  # by call and control: the down residuals, then the middle
    nets = {id(control.net): control.net for call in calls for control in call.controls}
    for net in nets.values():
        pairs = [(n, k) for n, call in enumerate(calls) for k, c in enumerate(call.controls) if c.net is net]
        answer = _net_outputs(net, [(calls[n], calls[n].controls[k], steps[n]) for n, k in pairs])
        rows = [len(calls[n].sample) for n, _ in pairs]
        parts = zip(*(tensor.split(rows) for tensor in answer))
        for (n, k), part in zip(pairs, parts):
            answers[n, k] = [tensor * calls[n].controls[k].scale for tensor in part]
    shapes = [tensor.shape[1:] for tensor in next(iter(answers.values()))]
    columns = []
    for n, call in enumerate(calls):
        levels = answers.get((n, 0)) or [call.sample.new_zeros((len(call.sample), *shape)) for shape in shapes]
        for k in range(1, len(call.controls)):
            levels = [one + other for one, other in zip(levels, answers[n, k])]
        columns.append(levels)
    *down, mid = (torch.cat(tensors) if len(calls) > 1 else tensors[0] for tensors in zip(*columns))
    return Residuals(tuple(down), mid)


def _net_outputs(net: Any, rows: Sequence[tuple[UnetCall, AppliedControl, torch.Tensor]]) -> list[torch.Tensor]:
    """One call of a ControlNet, unscaled: its down residuals and, last, its middle one."""
    channels = net.config.in_channels  # an inpainting U-Net is given more than the latents, its ControlNet is not
    conditions = of_lanes([call.added_conditions for call, _, _ in rows])
    down, mid = net(
        torch.cat([call.sample[:, :channels] for call, _, _ in rows]),
        torch.cat([steps for _, _, steps in rows]),
        encoder_hidden_states=torch.cat([call.prompt_embeds for call, _, _ in rows]),
        controlnet_cond=torch.cat([c.condition.expand(len(call.sample), -1, -1, -1) for call, c, _ in rows]),
        added_cond_kwargs=conditions or None,
        return_dict=False,
    )
    return [*down, mid]
