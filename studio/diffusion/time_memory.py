"""What the U-Net makes of a timestep alone is the same in every picture: it is computed once for each timestep.

The embedding of t and each block's projection of it depend on t and the weights (Ho et al. 2020, appendix B), not on
z_t, and in Stable Diffusion 1 and 2 not on the text. The next picture of as many steps asks for the same timesteps.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch

from studio.diffusion.stand_in import is_compiled, standing_in

CALLS = 128  # remembered: some 10 KB each for the built-in model, 80 KB for Stable Diffusion 1.5

_Kept = dict[torch.nn.Module, torch.Tensor]


class TimeMemory:
    """Embeddings of the timesteps that a U-Net was called with. Not safe across threads: the worker's own."""

    def __init__(self) -> None:
        self._layers: WeakKeyDictionary[torch.nn.Module, list[torch.nn.Module]] = WeakKeyDictionary()
        self._kept: OrderedDict[tuple[float, int], _Kept] = OrderedDict()

    def forget(self) -> None:
        """Free what is held."""
        self._kept.clear()

    @contextmanager
    def used(self, unet: torch.nn.Module, timestep: float, rows: int) -> Iterator[None]:
        """A call of so many rows, all of them at this timestep, answers from memory inside, bit for bit: so a call of
        another number of rows, whose matrix products may round differently, has a memory of its own.

        Nothing but the timestep may have a say in the embedding: no LoRA, no guidance scale, no size of a picture. A
        U-Net that is always told more, and a compiled one, are left alone.
        """
        layers = self._layers.get(unet)
        if layers is None:
            layers = self._layers[unet] = _time_layers(unet)
            self._kept.clear()
        key = (timestep, rows)
        kept = self._kept.setdefault(key, {})
        self._kept.move_to_end(key)
        while len(self._kept) > CALLS:
            self._kept.popitem(last=False)
        with standing_in({layer: partial(_answer, kept, layer, layer.forward) for layer in layers}):
            yield


def _answer(kept: _Kept, layer: torch.nn.Module, compute: Callable[..., torch.Tensor], *given: Any) -> torch.Tensor:
    found = kept.get(layer)
    if found is None:
        found = kept[layer] = compute(*given)
    return found


def _time_layers(unet: torch.nn.Module) -> list[torch.nn.Module]:
    """The sines of t, what embeds them, and every block's projection of that."""
    more = ("class_embedding", "add_embedding")  # SDXL's sizes and pooled text
    if is_compiled(unet) or any(getattr(unet, name, None) is not None for name in more):
        return []
    found = [getattr(unet, name) for name in ("time_proj", "time_embedding")]
    return found + [m for name, m in unet.named_modules() if name.endswith("time_emb_proj")]
