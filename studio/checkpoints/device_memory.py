"""The memory that models may take: what is asked of the device, how much there is for them, and what is too large."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch

from studio.asked.messages import Message, listed
from studio.checkpoints.catalog import Entry
from studio.checkpoints.options import ModelOptions

# Of the device's free memory at the start, what stays free for pictures: this share, and never less than this.
WORK_SHARE = 0.3
WORK_BYTES = 1536 * 2**20
RAM_SHARE = 0.5  # of the free RAM at the start, what models may keep


class DoesNotFit(MemoryError):
    """A checkpoint that does not fit into the memory there is. The text says what to change."""


class Device(Protocol):
    """What the manager asks of `studio.engine.device.Device`."""

    torch_device: torch.device
    dtype: torch.dtype
    measures_precision: bool

    @property
    def is_cpu(self) -> bool: ...
    @property
    def label(self) -> str: ...
    def free_bytes(self) -> int | None: ...
    def free_ram_bytes(self) -> int | None: ...
    def is_out_of_memory(self, error: BaseException) -> bool: ...
    def release(self) -> None: ...
    def to_device(self, modules: Iterable[Any]) -> None: ...
    def to_ram(self, modules: Iterable[Any]) -> None: ...


def memory_limits(device: Device, options: ModelOptions) -> tuple[int | None, int | None]:
    """What models may keep on the device, and in RAM, in bytes."""
    on_device, in_ram = options.device_limit, options.ram_limit
    free, free_ram = device.free_bytes(), device.free_ram_bytes()
    if on_device is None and free is not None:
        on_device = max(0, free - max(WORK_BYTES, int(free * WORK_SHARE)))
    if in_ram is None and free_ram is not None:
        in_ram = int(free_ram * RAM_SHARE)
    return on_device, in_ram


def too_large(entry: Entry, needed_bytes: int, device: Device, options: ModelOptions) -> DoesNotFit:
    """For an entry that needs so many bytes: what it is too large for, and what to change."""
    where = Message("the free memory of this device ({device})", device=device.label)
    half = Message("with --dtype fp16 or bf16") if device.dtype == torch.float32 else Message("with --fp8")
    advice = (Message("with --offload"),) if not device.is_cpu and not options.offload else ()
    kind = "ControlNet" if entry.facts.kind == "controlnet" else "checkpoint"
    return DoesNotFit(
        Message(
            "The {kind} {entry} needs about {needed} GiB, more than fits into {where}. "
            "Start the studio {options}, choose a smaller {kind}, or close other programs "
            "that use the memory.",
            kind=kind,
            entry=entry.name[:80],
            needed=f"{needed_bytes / 2**30:.1f}",
            where=where,
            options=listed((*advice, half)),
        )
    )
