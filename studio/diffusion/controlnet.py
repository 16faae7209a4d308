"""ControlNets (Zhang et al. 2023): what they add to the U-Net's skip connections, for the lanes of one call together.

Knows no files and no pictures: studio.checkpoints reads the modules, studio.picture.control_maps makes the maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from studio.asked.requests import Control
from studio.diffusion.components import Components

if TYPE_CHECKING:
    from studio.diffusion.lane import UnetCall


@dataclass(frozen=True, eq=False)
class AppliedControl:
    """A ControlNet at work in one lane, between two shares of its run."""

    net: Any  # diffusers' ControlNetModel
    condition: torch.Tensor  # (1, 3, H, W), the map in [0, 1], in the components' dtype
    scale: float
    start: float
    end: float

    def acts(self, index: int, total: int) -> bool:
        """Whether it has a say in this evaluation of so many: diffusers' rule (controlnet_keep). At scale 0 it adds
        nothing, so it need not be asked."""
        return self.scale > 0 and index / total >= self.start and (index + 1) / total <= self.end


def applied_control(components: Components, net: Any, control: Control, picture: Image.Image) -> AppliedControl:
    """A request's control with its module and its map (RGB, as large as what is made)."""
    pixels = torch.from_numpy(np.asarray(picture).astype(np.float32) / 255).permute(2, 0, 1)[None]
    condition = pixels.to(components.device, components.dtype)
    return AppliedControl(net, condition, control.scale, control.start, control.end)


@dataclass(frozen=True)
class Residuals:
    """What is added to the U-Net's skip connections and to its middle block, a row per row of the call."""

    down: tuple[torch.Tensor, ...]
    mid: torch.Tensor


def residuals(calls: Sequence[UnetCall], timesteps: torch.Tensor) -> Residuals | None:
    """What the ControlNets of these calls add, each ControlNet asked once for all lanes that have it; None where there
    are none. `timesteps` has one number per row of all the calls. Lanes without a ControlNet get zeros."""
    if not any(call.controls for call in calls):
        return None
    ends = np.cumsum([len(call.sample) for call in calls])
    steps = [timesteps[end - len(call.sample) : end] for call, end in zip(calls, ends)]
    answers: dict[tuple[int, int], list[torch.Tensor]] = {}  # by call and control: the down residuals, then the middle
    nets = {id(control.net): control.net for call in calls for control in call.controls}
    for net in nets.values():
        asked = [(n, k) for n, call in enumerate(calls) for k, c in enumerate(call.controls) if c.net is net]
        answer = _asked(net, [(calls[n], calls[n].controls[k], steps[n]) for n, k in asked])
        rows = [len(calls[n].sample) for n, _ in asked]
        parts = zip(*(tensor.split(rows) for tensor in answer))
        for (n, k), part in zip(asked, parts):
            answers[n, k] = [tensor * calls[n].controls[k].scale for tensor in part]
    shapes = [tensor.shape[1:] for tensor in next(iter(answers.values()))]
    columns = []
    for n, call in enumerate(calls):
        added = answers.get((n, 0)) or [call.sample.new_zeros((len(call.sample), *shape)) for shape in shapes]
        for k in range(1, len(call.controls)):
            added = [one + other for one, other in zip(added, answers[n, k])]
        columns.append(added)
    *down, mid = (torch.cat(tensors) if len(calls) > 1 else tensors[0] for tensors in zip(*columns))
    return Residuals(tuple(down), mid)


def _asked(net: Any, rows: Sequence[tuple[UnetCall, AppliedControl, torch.Tensor]]) -> list[torch.Tensor]:
    """One call of a ControlNet, unscaled: its down residuals and, last, its middle one."""
    channels = net.config.in_channels  # an inpainting U-Net is given more than the latents, its ControlNet is not
    added = {name: torch.cat([call.added[name] for call, _, _ in rows]) for name in rows[0][0].added}
    down, mid = net(
        torch.cat([call.sample[:, :channels] for call, _, _ in rows]),
        torch.cat([steps for _, _, steps in rows]),
        encoder_hidden_states=torch.cat([call.prompt_embeds for call, _, _ in rows]),
        controlnet_cond=torch.cat([c.condition.expand(len(call.sample), -1, -1, -1) for call, c, _ in rows]),
        added_cond_kwargs=added or None,
        return_dict=False,
    )
    return [*down, mid]
