"""What the U-Net makes of the text alone is the same at every step: its keys and values are computed once.

Cross-attention takes K = W_K tau(y) and V = W_V tau(y) (Rombach et al. 2022, section 3.3). Neither depends on z_t or t,
so between two calls with the same text they stay, bit for bit; only the queries are new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from weakref import WeakKeyDictionary

import torch
from diffusers.models.attention_processor import Attention

from studio.diffusion.stand_in import is_compiled, standing_in

Answer = Callable[[torch.Tensor], torch.Tensor]


class TextMemory:
    """Keys and values of the last text that a U-Net was called with. Not safe across threads: the worker's own."""

    def __init__(self) -> None:
        self._layers: WeakKeyDictionary[torch.nn.Module, list[torch.nn.Module]] = WeakKeyDictionary()
        self._parts: tuple[torch.Tensor, ...] = ()  # held, so that no other tensor can come to stand in their place
        self._text: torch.Tensor | None = None
        self._kept: dict[torch.nn.Module, torch.Tensor] = {}

    def joined(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """The texts of several calls (branches, tokens, dim) as one, the same tensor while they are the same ones."""
        if self._text is None or len(parts) != len(self._parts) or any(a is not b for a, b in zip(parts, self._parts)):
            self.forget()
            self._parts = tuple(parts)
            self._text = parts[0] if len(parts) == 1 else torch.cat(list(parts))
        return self._text

    def forget(self) -> None:
        """Free what is held: the texts change, or nobody is being served."""
        self._parts, self._text = (), None
        self._kept.clear()

    @contextmanager
    def used(self, unet: torch.nn.Module) -> Iterator[None]:
        """The U-Net answers from memory inside; a compiled one is left alone."""
        layers = self._layers.get(unet)
        if layers is None:
            layers = self._layers[unet] = _text_layers(unet)
            self._kept.clear()
        with standing_in({layer: partial(self._answer, layer, layer.forward) for layer in layers}):
            yield

    def _answer(self, layer: torch.nn.Module, compute: Answer, text: torch.Tensor) -> torch.Tensor:
        if text is not self._text:  # something else is asked of this layer: a model that projects its text anew
            return compute(text)
        kept = self._kept.get(layer)
        if kept is None:
            kept = self._kept[layer] = compute(text)
        return kept


def _text_layers(unet: torch.nn.Module) -> list[torch.nn.Module]:
    """`to_k` and `to_v` of every cross-attention."""
    if is_compiled(unet):
        return []
    found = [m for name, m in unet.named_modules() if isinstance(m, Attention) and name.endswith("attn2")]
    return [layer for attention in found for layer in (attention.to_k, attention.to_v)]
