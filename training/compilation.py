"""What must be kept from torch.compile on a CPU, where it computes wrong gradients without a word.

Fused with its neighbours, the backward pass of nearest-neighbour upsampling comes out as zeros in torch 2.13's C++
backend: everything below the first upsampler of a U-Net stopped learning, while losses and pictures looked right.
`tests/training/test_compilation.py` compares gradients; two runs were made before it existed (training/README.md).
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.upsampling import Upsample2D
from torch import nn


class _EagerUpsample(Upsample2D):
    """A class and no wrapped method: a copy of the network must not run the original's upsamplers."""

    @torch.compiler.disable
    def forward(self, *arguments: Any, **keywords: Any) -> torch.Tensor:
        return super().forward(*arguments, **keywords)


def compile_in_place(network: nn.Module) -> None:
    """Compiles what `network(...)` runs, in channels-last layout, with its graph broken at every upsampler.

    The weights keep their names. Each shape is compiled for itself: a batch must keep its size.
    """
    # Channels last is what oneDNN's convolutions are fastest in; compiled, the rest keeps up with them.
    network.to(memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, Upsample2D):
            module.__class__ = _EagerUpsample
    network.compile(dynamic=False)
