"""What the U-Net makes of a timestep alone is the same in every picture, so it is computed once for each timestep.

The embedding of t and each block's projection of it depend on t and the weights (Ho et al. 2020, appendix B), not on
z_t, and in Stable Diffusion 1 and 2 not on the text. The next picture of as many steps asks for the same timesteps.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch

from studio.diffusion.attention_edits import CallEdit
from studio.diffusion.unet_call import UnetCall

TIMESTEPS = 128  # remembered: some 10 KB each for the built-in model, 80 KB for Stable Diffusion 1.5

Projections = dict[torch.nn.Module, torch.Tensor]  # by the layer that projects the timestep


class TimeCache(CallEdit):
    """Embeddings of the timesteps that one U-Net was called with. Not safe across threads: only the executor uses
    it."""

    def __init__(self) -> None:
        self._by_timestep: OrderedDict[tuple[float, int, int], Projections] = OrderedDict()
        self._projections: Projections = {}  # of the call that is made

    def covers(self, calls: Sequence[UnetCall]) -> bool:
        """Whether nothing but one timestep has a say in the embeddings of the call that comes next: it is one lane's,
        without a LoRA, a guidance scale or the numbers of SDXL. Then that call may be made with this edit.

        A call of another number of rows or threads, whose matrix products may round differently, has embeddings of its
        own.
        """
        first = calls[0]
        if len(calls) > 1 or first.adapters or first.added_conditions or first.guidance is not None:
            return False
        key = first.timestep, len(first.sample), torch.get_num_threads()
        self._projections = self._by_timestep.setdefault(key, {})
        self._by_timestep.move_to_end(key)
        while len(self._by_timestep) > TIMESTEPS:
            self._by_timestep.popitem(last=False)
        return True

    def forget(self) -> None:
        """Free the memory: another checkpoint comes, or memory is short."""
        self._by_timestep.clear()
        self._projections = {}

    def project(self, projection: torch.nn.Module, *inputs: Any) -> torch.Tensor:
        """See `CallEdit.project`."""
        if projection._forward_hooks or projection._forward_pre_hooks:
            return projection(*inputs)  # somebody looks at this layer
        output = self._projections.get(projection)
        if output is None:
            output = self._projections[projection] = projection(*inputs)
        return output
