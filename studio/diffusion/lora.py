"""Low-rank adapters (LoRA, LoCon) added to a checkpoint's modules for the length of a `with` block.

The weights stay as they are: a hook on each adapted module adds its share to the module's answer and is gone with the
block, so an adapter is taken off without a trace and changed between two calls. Knows no files.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as functional

from studio.diffusion.families import Components, FamilyName

PARTS = ("unet", "text_encoder", "text_encoder_2")


@dataclass(frozen=True)
class Factors:
    """What one module gets: up @ down, times alpha / rank (Hu et al. 2021, section 4.1). Convolutions have their kernel
    in `down` (LoCon), or in `mid` between two 1x1 convolutions."""

    down: torch.Tensor  # (rank, in[, k, k])
    up: torch.Tensor  # (out, rank[, 1, 1])
    alpha: float
    mid: torch.Tensor | None = None  # (rank, rank, k, k)

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])


@dataclass(frozen=True, eq=False)
class Adapter:
    """One adapter, on the device of the components it was made for: factors by part and module name."""

    name: str
    family: FamilyName
    factors: Mapping[str, Mapping[str, Factors]]  # "unet", "text_encoder", "text_encoder_2"
    notes: tuple[str, ...] = field(default=())
    identity: Hashable = None  # of the file it was read from, for caches that outlive it


@dataclass(frozen=True)
class Applied:
    """An adapter and how much of it: 0 is nothing, 1 as trained, less than 0 the opposite."""

    adapter: Adapter
    unet_scale: float = 1.0
    text_scale: float = 1.0

    def scale(self, part: str) -> float:
        return self.unet_scale if part == "unet" else self.text_scale


@contextmanager
def applied(components: Components, adapters: Sequence[Applied], parts: Sequence[str] = PARTS) -> Iterator[None]:
    """The components' modules with these adapters added, until the block ends."""
    with ExitStack() as stack:
        for part in parts:
            module = getattr(components, part)
            shares: dict[str, list[tuple[Factors, float]]] = {}
            for one in adapters:
                scale = one.scale(part)
                for name, factors in one.adapter.factors.get(part, {}).items() if scale else ():
                    shares.setdefault(name, []).append((factors, scale * factors.alpha / factors.rank))
            for name, added in shares.items():
                handle = module.get_submodule(name).register_forward_hook(_hook(added))
                stack.callback(handle.remove)
        yield


def _hook(added: Sequence[tuple[Factors, float]]) -> Any:
    def add(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        for factors, scale in added:
            output = output + _share(module, inputs[0].to(factors.down.dtype), factors) * scale
        return output

    return add


def _share(module: Any, x: torch.Tensor, factors: Factors) -> torch.Tensor:
    if factors.down.ndim == 2:
        return functional.linear(functional.linear(x, factors.down), factors.up)
    if factors.mid is not None:
        x = functional.conv2d(functional.conv2d(x, factors.down), factors.mid, None, module.stride, module.padding)
    else:
        x = functional.conv2d(x, factors.down, None, module.stride, module.padding, module.dilation)
    return functional.conv2d(x, factors.up)
