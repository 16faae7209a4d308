"""A LoRA over every convolution and linear layer of a U-Net (Hu et al. 2021), trained as it will be shipped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.func import functional_call


class LoraWeights(nn.Module):
    """W + up down for each weight W of the network, which stays as it is; at first nothing is changed (up = 0).

    A weight of a convolution (out, in, k, k) counts as the matrix (out, in k k). No factor has more rows than the
    matrix has rank, so the change of a narrow layer is a whole one.
    """

    def __init__(self, network: nn.Module, rank: int, seed: int) -> None:
        """Raises ValueError for a rank below 1."""
        super().__init__()
        if rank < 1:
            raise ValueError(f"the rank is {rank}, allowed is at least 1")
        object.__setattr__(self, "_network", network.requires_grad_(False).eval())  # no part of the state
        generator = torch.Generator().manual_seed(seed)
        self._shapes = {
            name: module.weight.shape
            for name, module in network.named_modules()
            if isinstance(module, (nn.Conv2d, nn.Linear))
        }
        self.down, self.up = nn.ParameterDict(), nn.ParameterDict()
        for name, shape in self._shapes.items():
            rows, columns = shape[0], math.prod(shape[1:])
            width = min(rank, rows, columns)
            first = torch.randn(width, columns, generator=generator) / math.sqrt(columns)
            self.down[_flat(name)] = nn.Parameter(first)
            self.up[_flat(name)] = nn.Parameter(torch.zeros(rows, width))

    def merged(self) -> dict[str, Tensor]:
        """The changed weights by their names in the network, attached to the factors."""
        weights = dict(self._network.named_parameters())  # type: ignore[attr-defined]
        return {
            f"{name}.weight": weights[f"{name}.weight"] + (self.up[_flat(name)] @ self.down[_flat(name)]).view(shape)
            for name, shape in self._shapes.items()
        }

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor) -> Tensor:
        """What the changed network predicts: (B, C, H, W), (B,), (B, tokens, dim) => (B, C, H, W)."""
        network: nn.Module = self._network  # type: ignore[assignment]
        arguments = (noisy_latents, timesteps, prompt_embeds)
        (prediction,) = functional_call(network, self.merged(), arguments, {"return_dict": False})
        return prediction

    def to_file(self, path: Path, factors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Writes `factors`, a state of this module (an average of it), as kohya's files name them, in float16."""
        tensors = {}
        for name, shape in self._shapes.items():
            flat = _flat(name)
            down, up = factors[f"down.{flat}"], factors[f"up.{flat}"]
            tail = (1, 1) if len(shape) == 4 else ()
            tensors[f"lora_unet_{flat}.lora_down.weight"] = down.view(-1, *shape[1:]).half().contiguous()
            tensors[f"lora_unet_{flat}.lora_up.weight"] = up.view(*up.shape, *tail).half().contiguous()
        partial = path.with_suffix(".partial")
        partial.write_bytes(save(tensors, dict(metadata)))  # `save_file` lets nobody else read what it writes
        partial.replace(path)


def _flat(name: str) -> str:
    """A module's name without dots, which neither a ParameterDict nor kohya's files allow."""
    return name.replace(".", "_")
