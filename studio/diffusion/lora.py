"""Low-rank adapters (LoRA and its LyCORIS kin) added to a checkpoint's modules for the length of a `with` block.

The weights stay as they are: a hook on each adapted module adds the adapter's share to the module's answer. The hooks
end with the block, so that an adapter leaves no trace and can change between two calls. Knows no files.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as functional

from studio.diffusion.components import Components


class Change(Protocol):
    """What an adapter adds to one module, a linear layer or a convolution."""

    def share(self, module: Any, x: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        """What it adds to the module's own `answer` to x, at full strength."""
        ...


class Delta(Change, Protocol):
    """A change that does not depend on the module's weight."""

    def dense(self) -> torch.Tensor:
        """The same as a change of the module's weight, (out, in[, k, k])."""
        ...


@dataclass(frozen=True)
class Factors:
    """LoRA: up @ down, times alpha / rank (Hu et al. 2021, section 4.1). Convolutions have their kernel in `down`
    (LoCon), or in `mid` between two 1x1 convolutions."""

    down: torch.Tensor  # (rank, in[, k, k])
    up: torch.Tensor  # (out, rank[, 1, 1])
    alpha: float
    mid: torch.Tensor | None = None  # (rank, rank, k, k)

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    def dense(self) -> torch.Tensor:
        """See `Delta.dense`."""
        up = self.up.flatten(1)
        if self.mid is not None:
            return torch.einsum("or,rskl,si->oikl", up, self.mid, self.down.flatten(1)) * (self.alpha / self.rank)
        return torch.tensordot(up, self.down, dims=1) * (self.alpha / self.rank)

    def share(self, module: Any, x: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        """See `Delta.share`."""
        x, scale = x.to(self.down.dtype), self.alpha / self.rank
        if self.down.ndim == 2:
            return functional.linear(functional.linear(x, self.down), self.up) * scale
        if self.mid is not None:
            x = functional.conv2d(functional.conv2d(x, self.down), self.mid, None, module.stride, module.padding)
        else:
            x = functional.conv2d(x, self.down, None, module.stride, module.padding, module.dilation)
        return functional.conv2d(x, self.up) * scale


@dataclass(frozen=True, eq=False)
class Adapter:
    """One adapter, on the device of the components it was made for: factors by part and module name."""

    name: str
    family: str  # its name
    factors: Mapping[str, Mapping[str, Change]]  # "unet", "text_encoder", "text_encoder_2"
    notes: tuple[str, ...] = field(default=())
    identity: Hashable = None  # of the file it was read from, for caches that outlive it
    sha256: str = ""  # of that file, 64 hexadecimal digits
    short_hash: str = ""  # of that file as A1111 writes it, 12 hexadecimal digits


@dataclass(frozen=True)
class AppliedAdapter:
    """An adapter and its strength: 0 is nothing, 1 is as trained, a negative one the opposite."""

    adapter: Adapter
    unet_scale: float = 1.0
    text_scale: float = 1.0
    name: str = ""  # as the prompt calls it

    def scale(self, part: str) -> float:
        return self.unet_scale if part == "unet" else self.text_scale


@contextmanager
def apply_adapters(
    components: Components, adapters: Sequence[AppliedAdapter], parts: Sequence[str] | None = None
) -> Iterator[None]:
    """The components' modules with these adapters added, until the block ends; all of them, or those of `parts`."""
    with ExitStack() as stack:
        for part, module in components.parts.items():
            if parts is not None and part not in parts:
                continue
            shares: dict[str, list[tuple[Change, float]]] = {}
            for one in adapters:
                scale = one.scale(part)
                for name, change in one.adapter.factors.get(part, {}).items() if scale else ():
                    shares.setdefault(name, []).append((change, scale))
            for name, changes in shares.items():
                handle = module.get_submodule(name).register_forward_hook(_hook(changes))
                stack.callback(handle.remove)
        yield


def _hook(changes: Sequence[tuple[Change, float]]) -> Any:
    def add(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        total = output
        for change, scale in changes:
            total = total + change.share(module, inputs[0], output) * scale
        return total

    return add
