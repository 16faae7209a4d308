"""The only file that computes with torch.cuda, torch.xpu or torch.mps: which device, its name, its memory, its errors.

`check_name` is plain Python, so that a wrong --device is told before torch is there; `Device` imports torch when made.
Tests put a device of a few bytes in its place.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.asked.messages import Message
from studio.engine import builds

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

NAMES = "auto, cpu, cuda, cuda:<number>, xpu or mps"
DTYPES = {"auto": None, "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
# What PyTorch says where a backend has no such operator: MPS in the first form, XPU in the second.
_NO_OPERATOR = re.compile(r"operator '([\w:.]+)' is not currently (?:implemented|supported)|Could not run '([\w:.]+)'")
MAX_CPU_THREADS = 16  # more cost more in waiting for each other than they compute, at these sizes


def check_name(name: str) -> None:
    """Raises ValueError, in one sentence, for what is no device's name. Whether the device exists is asked later."""
    if not isinstance(name, str) or not re.fullmatch(r"auto|cpu|mps|xpu|cuda(:\d{1,3})?", name):
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
        self.note = ""  # why a GPU of this machine is not used, and what would help
        if name == "auto":
            name = self._best()
            if self.note:
                logger.warning("%s", self.note)
        else:
            self._check_there(name)
        self.torch_device = torch.device(name)
        self.dtype = self._dtype(dtype)
        # Whether a large checkpoint may be taken to bfloat16 where that is measured to be faster.
        self.measures_precision = dtype == "auto" and self.torch_device.type == "cpu"
        if self.torch_device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, min(torch.get_num_threads(), usable_cores(), MAX_CPU_THREADS)))

    def _best(self) -> str:
        """The first accelerator that computes, or the CPU with a note on the one that does not."""
        torch = self._torch
        there = {
            "cuda": torch.cuda.is_available(),
            "xpu": torch.xpu.is_available(),
            "mps": torch.backends.mps.is_available(),
        }
        for name in (name for name, is_there in there.items() if is_there):
            reason = self._why_not(name)
            if reason is None:
                return name
            self.note = Message("{reason} The CPU is used.", reason=reason)
        if not any(there.values()):
            reason = builds.hint_for_unused_gpu(torch, builds.gpu_vendors())
            self.note = Message("{reason} The CPU is used.", reason=reason) if reason else ""
        return "cpu"

    def _check_there(self, name: str) -> None:
        """Raises ValueError, in one sentence, when this machine has no such device or the build cannot run it."""
        kind, _, number = name.partition(":")
        if kind == "cpu":
            return
        torch = self._torch
        there = {"cuda": torch.cuda, "xpu": torch.xpu, "mps": torch.backends.mps}[kind].is_available()
        if not there:
            vendor = {"cuda": "NVIDIA or AMD", "xpu": "Intel", "mps": "Apple"}[kind]
            hint = builds.hint_for_unused_gpu(torch, builds.gpu_vendors()) or "Use --device cpu."
            raise ValueError(f"device: {name} is not there: PyTorch finds no {vendor} GPU. {hint}")
        if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
            raise ValueError(f"device: {name} is not there: this machine has {torch.cuda.device_count()} such GPU(s).")
        reason = self._why_not(name)
        if reason is not None:
            raise ValueError(f"device: {name}: {reason}")

    def _why_not(self, name: str) -> str | None:
        """Why an accelerator that torch sees cannot be used: it is not of this build, or its first sum fails."""
        torch = self._torch
        if name.startswith("cuda"):
            reason = builds.problem(torch, int(name.partition(":")[2] or 0))
            if reason is not None:
                return reason
        try:
            right = float((torch.ones(2, device=name) * 2).sum()) == 4
        except (RuntimeError, AssertionError) as error:
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(". ")
            return Message("The GPU {name} does not compute ({error}).", name=name, error=first_line)
        return None if right else Message("The GPU {name} computes wrongly: two and two are not four.", name=name)

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
        if self.torch_device.type == "xpu":
            return str(self._torch.xpu.get_device_name(self.torch_device))
        threads = self._torch.get_num_threads()
        label = Message("CPU, {count} thread" if threads == 1 else "CPU, {count} threads", count=threads)
        return Message("{device}; the GPU cannot be used, the log says why", device=label) if self.note else label

    def free_bytes(self) -> int | None:
        """Memory a new tensor could take now; None where nobody can say."""
        if self.torch_device.type == "cuda":
            free, _ = self._torch.cuda.mem_get_info(self.torch_device)
            reserved_bytes = self._torch.cuda.memory_reserved(self.torch_device)
            return int(free + reserved_bytes - self._torch.cuda.memory_allocated(self.torch_device))
        if self.torch_device.type == "xpu":
            free, _ = self._torch.xpu.mem_get_info(self.torch_device)
            reserved_bytes = self._torch.xpu.memory_reserved(self.torch_device)
            return int(free + reserved_bytes - self._torch.xpu.memory_allocated(self.torch_device))
        if self.torch_device.type == "mps":
            return int(self._torch.mps.recommended_max_memory() - self._torch.mps.driver_allocated_memory())
        return _free_ram_bytes()

    def total_bytes(self) -> int | None:
        """All the memory the device has; None where nobody can say."""
        if self.torch_device.type == "cuda":
            return int(self._torch.cuda.mem_get_info(self.torch_device)[1])
        if self.torch_device.type == "xpu":
            return int(self._torch.xpu.mem_get_info(self.torch_device)[1])
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

    def lacks(self, error: BaseException) -> str | None:
        """What of this device an error says is missing: an operator or a kind of number; None for any other error."""
        text = str(error)
        operator = _NO_OPERATOR.search(text)
        if operator:
            return Message("the operator {name}", name=operator[1] or operator[2])
        return Message("numbers of 64 bits") if "float64" in text and "MPS" in text else None

    def release(self) -> None:
        """Give back what nobody uses: the collector's cycles, the allocator's cache, and glibc's."""
        gc.collect()
        _trim()
        if self.torch_device.type == "cuda":
            self._torch.cuda.empty_cache()
        elif self.torch_device.type == "xpu":
            self._torch.xpu.empty_cache()
        elif self.torch_device.type == "mps":
            self._torch.mps.empty_cache()

    def synchronize(self) -> None:
        """Wait until everything asked of the device is done, so that a clock tells the truth."""
        if self.torch_device.type == "cuda":
            self._torch.cuda.synchronize(self.torch_device)
        elif self.torch_device.type == "xpu":
            self._torch.xpu.synchronize(self.torch_device)
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
