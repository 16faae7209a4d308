"""Which models are in memory, where and in which precision, and what they take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from studio.answered.models import MemoryUse, Model, ModelPlace
from studio.engine.device import Device, total_ram_bytes

if TYPE_CHECKING:
    from studio.checkpoints.manager import ModelManager


def places_and_precisions(manager: ModelManager) -> tuple[dict[str, ModelPlace], dict[str, tuple[str, str]]]:
    """Where what is in memory is, by id, and the precision of its checkpoints: `Model.dtype`, `Model.computed_in`."""
    from studio.checkpoints.cpu_precision import computed_in, dtypes_of

    in_memory = [(one.entry.id, one.components) for one in manager.in_memory]
    precisions = {model_id: (dtypes_of(parts)["unet"], computed_in(parts)) for model_id, parts in in_memory}
    return manager.snapshot()[0], precisions


def with_precision(model: Model, dtype: str = "", computed_in: str = "") -> Model:
    """The model with what `places_and_precisions` says of it."""
    return replace(model, dtype=dtype, computed_in=computed_in)


def memory_of(device: Device, manager: ModelManager) -> MemoryUse:
    """What the loaded models take and what is free."""
    _, on_device, in_ram = manager.snapshot()
    ram = MemoryUse(
        device_label=device.label,
        ram_models=in_ram,
        ram_limit=manager.ram_limit,
        ram_free=device.free_ram_bytes(),
        ram_total=total_ram_bytes(),
    )
    if device.is_cpu:
        return ram
    return replace(
        ram,
        device_models=on_device,
        device_limit=manager.device_limit,
        device_free=device.free_bytes(),
        device_total=device.total_bytes(),
    )
