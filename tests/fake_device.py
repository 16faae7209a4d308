"""A small accelerator that is not there: the CPU, with a memory of 4 GB that is counted and can run out on demand.

Weights "on the device" are the modules that were loaded to it or moved to it and have not left; every move is counted.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch

from studio.engine.device import Device

GIB = 2**30


class FakeDevice(Device):
    """4 GB of device memory beside `ram` bytes of RAM; `is_cpu` is False, though all of it is the CPU's."""

    def __init__(self, name: str = "cpu", dtype: str = "auto", *, capacity: int = 4 * GIB, ram: int = 64 * GIB) -> None:
        super().__init__("cpu", dtype)
        torch.set_num_threads(1)
        self.capacity, self.ram = capacity, ram
        self.copies: list[str] = []  # "device" or "ram", one per module moved
        self.fail_next = 0  # so many allocations from now on run out of memory
        self._there: dict[int, weakref.ref[Any]] = {}

    @property
    def is_cpu(self) -> bool:
        return False

    @property
    def label(self) -> str:
        return "Fake 4 GB"

    def used_bytes(self) -> int:
        modules = [module for ref in self._there.values() if (module := ref()) is not None]
        return sum(t.numel() * t.element_size() for m in modules for t in m.state_dict().values())

    def free_bytes(self) -> int | None:
        return self.capacity - self.used_bytes()

    def total_bytes(self) -> int | None:
        return self.capacity

    def free_ram_bytes(self) -> int | None:
        return self.ram

    def allocate(self, modules: Iterable[Any]) -> None:
        """The modules take their place, or torch's own error is raised."""
        modules = list(modules)
        size = sum(t.numel() * t.element_size() for m in modules for t in m.state_dict().values())
        if self.fail_next or size > self.capacity - self.used_bytes():
            self.fail_next = max(0, self.fail_next - 1)
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes")
        self._there |= {id(module): weakref.ref(module) for module in modules}

    def to_device(self, modules: Iterable[Any]) -> None:
        for module in modules:
            self.allocate([module])
            self.copies.append("device")

    def to_ram(self, modules: Iterable[Any]) -> None:
        for module in modules:
            if self._there.pop(id(module), None) is not None:
                self.copies.append("ram")
