"""The other forms of adapters (LyCORIS, Yeh et al. 2023; DoRA, Liu et al. 2024), each a `studio.diffusion.lora.Delta`.

Their changes of a weight are put together from small factors at each call, so an adapter stays as small as its file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional

from studio.diffusion.lora import Delta

Pair = tuple[torch.Tensor, torch.Tensor]


def tucker(core: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(rank, rank, k, k), (rank, out), (rank, in) => (out, in, k, k)."""
    return torch.einsum("ijkl,jr,ip->prkl", core, b, a)


@dataclass(frozen=True)
class Product:
    """LoHa: the element-wise product of two low-rank weights, (a1 @ b1) * (a2 @ b2), times `scale`; with `cores` each
    of them by Tucker's decomposition of a convolution."""

    first: Pair  # (out, rank) and (rank, in [k k]); with cores (rank, out) and (rank, in)
    second: Pair
    scale: float  # alpha / rank
    shape: tuple[int, ...]  # of the module's weight
    cores: Pair | None = None  # (rank, rank, k, k)

    def dense(self) -> torch.Tensor:
        """See `Delta.dense`."""
        if self.cores is not None:
            return tucker(self.cores[0], *self.first) * tucker(self.cores[1], *self.second) * self.scale
        return ((self.first[0] @ self.first[1]) * (self.second[0] @ self.second[1]) * self.scale).reshape(self.shape)

    def share(self, module: Any, x: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        """See `Delta.share`."""
        return _answer(module, x.to(self.first[0].dtype), self.dense())


@dataclass(frozen=True)
class Kronecker:
    """LoKr: the Kronecker product of two weights, each whole or of low rank, times `scale`."""

    left: torch.Tensor | Pair  # (a, b), or (a, rank) and (rank, b)
    right: torch.Tensor | Pair  # (c, d[, k, k]), or (c, rank) and (rank, d [k k]); with a core (rank, c) and (rank, d)
    scale: float  # alpha / rank; 1 where both are whole
    shape: tuple[int, ...]  # of the module's weight: (a c, b d[, k, k])
    core: torch.Tensor | None = None  # (rank, rank, k, k)

    def dense(self) -> torch.Tensor:
        """See `Delta.dense`."""
        left_factor = self.left if isinstance(self.left, torch.Tensor) else self.left[0] @ self.left[1]
        if isinstance(self.right, torch.Tensor):
            right = self.right
        else:
            right = tucker(self.core, *self.right) if self.core is not None else self.right[0] @ self.right[1]
        # Contiguous, since kron refuses what lies across memory.
        return (torch.kron(left_factor.contiguous(), right.flatten(1).contiguous()) * self.scale).reshape(self.shape)

    def share(self, module: Any, x: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        """See `Delta.share`."""
        dense = self.dense()
        return _answer(module, x.to(dense.dtype), dense)


@dataclass(frozen=True)
class WeightDecomposition:
    """DoRA: weight and change together are brought to learned lengths, by row (output) or, in older files, by column
    (input). `ratio` is the learned length over that of weight and change: (out,) or (in,). Less than full strength
    goes that part of the way, as ComfyUI does."""

    inner: Delta
    ratio: torch.Tensor
    by_row: bool

    @classmethod
    @torch.no_grad()
    def of(cls, inner: Delta, weight: torch.Tensor, lengths: torch.Tensor, *, by_row: bool) -> WeightDecomposition:
        """For a module of this weight and these learned lengths, (out,) or (in,)."""
        dense = inner.dense()
        whole = weight.to(dense.device).float() + dense.float()
        vectors = whole.flatten(1) if by_row else whole.transpose(0, 1).flatten(1)
        ratio = lengths.float() / vectors.norm(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
        return cls(inner, ratio.to(dense.dtype), by_row)

    def dense(self) -> torch.Tensor:
        """Only of the change inside it: its own depends on the module's weight."""
        return self.inner.dense()

    def share(self, module: Any, x: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        """See `Delta.share`."""
        x = x.to(self.ratio.dtype)
        if self.by_row:
            own = answer if module.bias is None else answer - _along(module.bias.to(answer.dtype), module)
            ratio = _along(self.ratio, module)
            return (ratio - 1) * own + ratio * self.inner.share(module, x, answer)
        scaled = x * _along(self.ratio, module)
        return _answer(module, scaled - x, module.weight.to(x.dtype)) + self.inner.share(module, scaled, answer)


@dataclass(frozen=True)
class Rotation:
    """OFT (Qiu et al. 2023) and BOFT (Liu et al. 2024): the module's answer is rotated, W' = R W, and each of its
    channels times `rescale`. One stage of blocks along the diagonal, or several whose blocks take turns as in a
    butterfly. Less than full strength goes that part of the way, as A1111 does."""

    rotations: torch.Tensor  # (stages, blocks, size, size) float32
    butterfly: bool
    rescale: torch.Tensor | None = None  # (out,)

    @classmethod
    @torch.no_grad()
    def of(cls, blocks: torch.Tensor, constraint: float = 0.0, rescale: torch.Tensor | None = None) -> Rotation:
        """Of learned blocks, (blocks, size, size) for OFT or with stages before them for BOFT, by Cayley's transform
        (I + Q)(I - Q)^-1 of their skew-symmetric part Q, whose norm is at most `constraint` (0: any)."""
        skew = blocks.float() - blocks.float().transpose(-1, -2)
        norm = skew.norm() + 1e-8
        if 0 < constraint < norm:
            skew = skew * (constraint / norm)
        one = torch.eye(skew.shape[-1], device=skew.device)
        rotations = (one + skew) @ torch.linalg.inv(one - skew)
        if blocks.ndim == 4:
            return cls(rotations, True, rescale)
        return cls(rotations.transpose(-1, -2)[None], False, rescale)  # OFT's files turn the other way round

    @classmethod
    def whole(cls, rotations: torch.Tensor) -> Rotation:
        """Of rotations (blocks, size, size) that a file holds as they are: OFT of the first LyCORIS."""
        return cls(rotations.float().transpose(-1, -2)[None], False)

    @property
    def channels(self) -> int:
        return int(self.rotations.shape[1] * self.rotations.shape[2])

    def share(self, module: Any, x: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        """See `Delta.share`."""
        own = answer if module.bias is None else answer - _along(module.bias.to(answer.dtype), module)
        channels_last = own if module.weight.ndim == 2 else own.movedim(1, -1)
        rotation = self._rotate(channels_last.float())
        if self.rescale is not None:
            rotation = rotation * self.rescale.float()
        change = rotation - channels_last.float()
        return (change if module.weight.ndim == 2 else change.movedim(-1, 1)).to(answer.dtype)

    def _rotate(self, y: torch.Tensor) -> torch.Tensor:
        """R y along the last dimension."""
        _, blocks, size, _ = self.rotations.shape
        for stage, rotation in enumerate(self.rotations):
            stride = 2**stage * (size // 2)  # in a butterfly the two halves that a block mixes lie so far apart
            if self.butterfly:
                y = y.unflatten(-1, (-1, 2, stride)).transpose(-2, -1).flatten(-3)
            y = torch.einsum("bij,...bj->...bi", rotation, y.unflatten(-1, (blocks, size))).flatten(-2)
            if self.butterfly:
                y = y.unflatten(-1, (-1, stride, 2)).transpose(-2, -1).flatten(-3)
        return y


@dataclass(frozen=True)
class Difference:
    """The whole change of a module's weight, and of its bias."""

    weight: torch.Tensor | None  # (out, in[, k, k])
    bias: torch.Tensor | None = None  # (out,)

    def dense(self) -> torch.Tensor:
        """See `Delta.dense`. Zero where only the bias changes."""
        assert self.weight is not None
        return self.weight

    def share(self, module: Any, x: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        """See `Delta.share`."""
        bias = _along(self.bias.to(answer.dtype), module) if self.bias is not None else torch.zeros_like(answer[:1])
        if self.weight is None:
            return bias.expand_as(answer)
        return _answer(module, x.to(self.weight.dtype), self.weight) + bias


def _answer(module: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The module's answer to x with another weight and no bias."""
    if weight.ndim == 2:
        return functional.linear(x, weight)
    return functional.conv2d(x, weight, None, module.stride, module.padding, module.dilation)


def _along(values: torch.Tensor, module: Any) -> torch.Tensor:
    """One value per channel, as the module's inputs and answers have their channels: last, or of a picture second."""
    return values if module.weight.ndim == 2 else values[:, None, None]
