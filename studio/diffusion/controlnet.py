"""A ControlNet (Zhang et al. 2023) in one lane, and its map.

Knows no files and no pictures: studio.checkpoints reads the modules, studio.picture.control_maps makes the maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from studio.asked.control import Control
from studio.diffusion.components import Components


@dataclass(frozen=True, eq=False)
class AppliedControl:
    """A ControlNet in one lane, and the part of the run in which it acts."""

    net: Any  # diffusers' ControlNetModel
    condition: torch.Tensor  # (1, 3, H, W), the map in [0, 1], in the components' dtype
    scale: float
    start: float
    end: float

    def acts(self, index: int, total: int) -> bool:
        """Whether it acts in this evaluation of `total`: diffusers' rule (controlnet_keep). At scale 0 it adds nothing
        and is not called."""
        return self.scale > 0 and index / total >= self.start and (index + 1) / total <= self.end


def applied_control(components: Components, net: Any, control: Control, picture: Image.Image) -> AppliedControl:
    """A request's control with its module and its map (RGB, as large as what is made)."""
    pixels = torch.from_numpy(np.asarray(picture).astype(np.float32) / 255).permute(2, 0, 1)[None]
    condition = pixels.to(components.device, components.dtype)
    return AppliedControl(net, condition, control.scale, control.start, control.end)
