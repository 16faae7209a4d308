"""The only file that asks torch.cuda or torch.mps anything: which device, its name, free memory, what its errors mean.

`check_name` is plain Python, so that a wrong --device is told before torch is there; `Device` imports torch when made.
Tests put a device of a few bytes in its place.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAMES = "auto, cpu, cuda, cuda:<number> or mps"
DTYPES = {"auto": None, "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
MAX_CPU_THREADS = 16  # more cost more in waiting for each other than they compute, at these sizes


def check_name(name: str) -> None:
    """Raises ValueError, in one sentence, for what is no device's name. Whether the device exists is asked later."""
    if not isinstance(name, str) or not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise ValueError(f"device: {name!r} is not allowed. Allowed: {NAMES}.")


def check_dtype(dtype: str) -> None:
    """Raises ValueError, in one sentence, for an unknown precision."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype: {dtype!r} is not allowed. Allowed: {', '.join(DTYPES)}.")


class Device:
    """One torch device and what can be asked of it. Raises ValueError when this machine does not have it."""

    def __init__(self, name: str = "auto", dtype: str = "auto") -> None:
        check_name(name)
        check_dtype(dtype)
        import torch  # seconds: only the engine's thread makes a Device

        self._torch = torch
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        if name == "auto":
            name = "cuda" if cuda else "mps" if mps else "cpu"
        if name.startswith("cuda") and not cuda:
            raise ValueError(f"device: {name} is not there: PyTorch finds no NVIDIA GPU. Use --device cpu.")
        if name == "mps" and not mps:
            raise ValueError("device: mps is not there: PyTorch finds no Apple GPU. Use --device cpu.")
        self.torch_device = torch.device(name)
        if self.torch_device.type == "cuda" and (self.torch_device.index or 0) >= torch.cuda.device_count():
            raise ValueError(
                f"device: {name} is not there: this machine has {torch.cuda.device_count()} NVIDIA GPU(s)."
            )
        self.dtype = self._dtype(dtype)
        if self.torch_device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, min(torch.get_num_threads(), usable_cores(), MAX_CPU_THREADS)))

    def _dtype(self, choice: str) -> torch.dtype:
        if choice == "auto":
            choice = "fp32" if self.torch_device.type == "cpu" else "fp16"
        return getattr(self._torch, str(DTYPES[choice]))

    @property
    def is_cpu(self) -> bool:
        return self.torch_device.type == "cpu"

    @property
    def label(self) -> str:
        """The device in words, for the page."""
        if self.torch_device.type == "cuda":
            return str(self._torch.cuda.get_device_name(self.torch_device))
        if self.torch_device.type == "mps":
            return "Apple GPU"
        threads = self._torch.get_num_threads()
        return f"CPU, {threads} thread{'s' if threads > 1 else ''}"

    def free_bytes(self) -> int | None:
        """Memory a new tensor could take now; None where nobody can say."""
        if self.torch_device.type == "cuda":
            free, _ = self._torch.cuda.mem_get_info(self.torch_device)
            reserved = self._torch.cuda.memory_reserved(self.torch_device)
            return int(free + reserved - self._torch.cuda.memory_allocated(self.torch_device))
        if self.torch_device.type == "mps":
            return int(self._torch.mps.recommended_max_memory() - self._torch.mps.driver_allocated_memory())
        return _free_ram_bytes()

    def total_bytes(self) -> int | None:
        """All the memory the device has; None where nobody can say."""
        if self.torch_device.type == "cuda":
            return int(self._torch.cuda.mem_get_info(self.torch_device)[1])
        if self.torch_device.type == "mps":
            return int(self._torch.mps.recommended_max_memory())
        return total_ram_bytes()

    def free_ram_bytes(self) -> int | None:
        """RAM the system would give now; None where nobody can say."""
        return _free_ram_bytes()

    def to_device(self, modules: Iterable[Any]) -> None:
        """Move modules from RAM to the device, in place."""
        for module in modules:
            module.to(self.torch_device)

    def to_ram(self, modules: Iterable[Any]) -> None:
        """Move modules from the device to RAM, in place."""
        for module in modules:
            module.to("cpu")

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether this error means that a tensor did not fit."""
        if isinstance(error, (self._torch.OutOfMemoryError, MemoryError)):
            return True
        text = str(error)
        return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)

    def release(self) -> None:
        """Give back what nobody uses: the collector's cycles, the allocator's cache, and glibc's."""
        gc.collect()
        _trim()
        if self.torch_device.type == "cuda":
            self._torch.cuda.empty_cache()
        elif self.torch_device.type == "mps":
            self._torch.mps.empty_cache()

    def synchronize(self) -> None:
        """Wait until everything asked of the device is done, so that a clock tells the truth."""
        if self.torch_device.type == "cuda":
            self._torch.cuda.synchronize(self.torch_device)
        elif self.torch_device.type == "mps":
            self._torch.mps.synchronize()


def usable_cores() -> int:
    """Cores this process may use: its affinity, and a container's quota, which torch does not look at."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return cores


def total_ram_bytes() -> int | None:
    """RAM of this machine, and not more than a container's limit; None where nobody can say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    except (OSError, ValueError, StopIteration):
        return None
    with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total


def _trim() -> None:
    """glibc keeps what was freed for the next one who asks; after gigabytes of weights the others should have it."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _free_ram_bytes() -> int | None:
    """Memory the system would give: MemAvailable on Linux, and not more than a container's limit leaves."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        free = min(free, limit - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(0, free)
