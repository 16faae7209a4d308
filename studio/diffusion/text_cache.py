"""The U-Net's keys and values of the text are the same at every step, so they are computed once.

Cross-attention takes K = W_K tau(y) and V = W_V tau(y) (Rombach et al. 2022, section 3.3). Neither depends on z_t or t,
so between two calls with the same text and the same LoRAs they stay, bit for bit; only the queries are new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from studio.diffusion.attention_edits import CallEdit
from studio.diffusion.lora import AppliedAdapter


class TextCache(CallEdit):
    """Keys and values of the last text that a U-Net was called with. Not safe across threads: only the executor uses
    it."""

    def __init__(self) -> None:
        self._parts: tuple[torch.Tensor, ...] = ()  # held, so that no other tensor gets their address
        self._adapters: tuple[AppliedAdapter, ...] = ()
        self._threads = 0  # matrix products by another number of them may round differently
        self._text: torch.Tensor | None = None
        self._projections: dict[torch.nn.Module, torch.Tensor] = {}  # by the layer that projects the text

    def join(self, parts: Sequence[torch.Tensor], adapters: tuple[AppliedAdapter, ...] = ()) -> torch.Tensor:
        """The texts of several calls (branches, tokens, dim) as one, the same tensor while they are the same ones.
        `adapters`: the LoRAs of the call that comes next, which have their share in keys and values."""
        same = len(parts) == len(self._parts) and all(a is b for a, b in zip(parts, self._parts))
        same = same and self._threads == torch.get_num_threads()
        if self._text is None or not same or adapters != self._adapters:
            self.forget()
            self._parts, self._adapters, self._threads = tuple(parts), adapters, torch.get_num_threads()
            self._text = parts[0] if len(parts) == 1 else torch.cat(list(parts))
        return self._text

    def forget(self) -> None:
        """Free the memory: the texts have changed, or no lane runs."""
        self._parts, self._adapters, self._text = (), (), None
        self._projections.clear()

    def project(self, projection: torch.nn.Module, *inputs: Any) -> torch.Tensor:
        """See `CallEdit.project`."""
        if inputs[0] is not self._text or (projection._forward_hooks and not self._adapters):
            return projection(*inputs)  # another text, or somebody else than a LoRA looks at this layer
        text_projection = self._projections.get(projection)
        if text_projection is None:
            text_projection = self._projections[projection] = projection(*inputs)
        return text_projection
