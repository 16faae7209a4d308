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
        """The U-Net answers from memory inside. Hooks on its layers (a LoRA, the attention's observer) run as ever,
        since only the layers' own `forward` is stood in for; a compiled U-Net is left alone."""
        layers = self._layers.get(unet)
        if layers is None:
            layers = self._layers[unet] = _text_layers(unet)
            self._kept.clear()
        replaced = {layer: layer.__dict__.get("forward") for layer in layers}  # set by whoever moves or casts weights
        for layer in layers:
            layer.forward = partial(self._answer, layer, layer.forward)
        try:
            yield
        finally:
            for layer, before in replaced.items():
                del layer.forward
                if before is not None:
                    layer.forward = before

    def _answer(self, layer: torch.nn.Module, compute: Answer, text: torch.Tensor) -> torch.Tensor:
        if text is not self._text:  # something else is asked of this layer: a model that projects its text anew
            return compute(text)
        kept = self._kept.get(layer)
        if kept is None:
            kept = self._kept[layer] = compute(text)
        return kept


def _text_layers(unet: torch.nn.Module) -> list[torch.nn.Module]:
    """`to_k` and `to_v` of every cross-attention."""
    if hasattr(unet, "_orig_mod"):
        return []
    found = [m for name, m in unet.named_modules() if isinstance(m, Attention) and name.endswith("attn2")]
    return [layer for attention in found for layer in (attention.to_k, attention.to_v)]
