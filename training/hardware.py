"""Where training computes: float32 on a CPU, bfloat16 autocast on a GPU; weights and optimiser are float32 on both."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

DEVICES = ("auto", "cpu", "cuda")
FEEDERS = 4  # processes that draw for a GPU; a CPU draws between its own steps


@dataclass(frozen=True)
class Hardware:
    """A device and the precision of its matrix products."""

    device: torch.device
    precision: torch.dtype

    def autocast(self) -> AbstractContextManager[object]:
        """Around the forward pass and the loss. Not around a `yield`: autocast belongs to the thread."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)


CPU = Hardware(torch.device("cpu"), torch.float32)


def choose_hardware(name: str) -> Hardware:
    """The hardware for one of DEVICES. Raises ValueError for a GPU that is not there."""
    if name not in DEVICES:
        raise ValueError(f"the device is {name!r}, allowed are {', '.join(DEVICES)}")
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ValueError("the device is cuda, but torch finds no GPU here; allowed are auto and cpu")
    return Hardware(torch.device("cuda"), torch.bfloat16) if has_cuda and name != "cpu" else CPU
