"""What is in memory: checkpoints, and the ControlNets that run beside one, and how much their weights take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from studio.answered.model_facts import CHECKPOINT_PARTS
from studio.answered.models import ModelPlace
from studio.checkpoints.catalog import Entry
from studio.checkpoints.details import weights_files
from studio.checkpoints.inspect import BadCheckpoint, read_header
from studio.diffusion.components import Components


@dataclass
class CheckpointInMemory:
    """A loaded checkpoint: where its weights are, how many bytes, and when it was last used."""

    entry: Entry
    components: Components
    place: ModelPlace
    device_bytes: int  # while it is on the device
    ram_bytes: int  # while it is in RAM; with offload its parts wait there even when it is in use
    last_use: int = field(default=0)
    sha256: str | None = None  # of its file as it was loaded, once it is counted
    owner_says: dict[str, object] = field(default_factory=dict)  # of what it predicts and its shift, as it was loaded


@dataclass(frozen=True)
class ModuleInMemory:
    """A module that runs beside the loaded checkpoint: a ControlNet, or a VAE that a run has named."""

    entry: Entry
    module: Any
    bytes: int


def where_and_how_much(
    checkpoints: Sequence[CheckpointInMemory], beside: Iterable[ModuleInMemory], offload: bool, is_cpu: bool
) -> tuple[dict[str, ModelPlace], int, int]:
    """Where what is in memory is, by id; bytes of weights on the device, and in RAM. A CPU has one memory."""
    modules = list(beside)
    places = {one.entry.id: one.place for one in checkpoints}
    places |= {one.entry.id: "device" for one in modules}
    bytes_beside = sum(one.bytes for one in modules)
    in_ram = sum(one.ram_bytes for one in checkpoints if one.place == "ram" or offload or is_cpu)
    if is_cpu:
        return places, 0, in_ram + bytes_beside
    return places, sum(one.device_bytes for one in checkpoints if one.place == "device") + bytes_beside, in_ram


def owner_says(prediction_type: str | None, shift: float | None, components: Components) -> dict[str, object]:
    """What a picture says of what the owner chose for its checkpoint: nothing where it is as the file says."""
    says: dict[str, object] = {"prediction_type": prediction_type} if prediction_type is not None else {}
    flows = components.prediction_type == "flow_prediction"
    return says | ({"flow_shift": shift} if flows and shift is not None else {})


def modules(components: Components) -> list[Any]:
    """The modules of a checkpoint that hold weights."""
    return [part for part in (*components.parts.values(), components.tiny_vae) if part is not None]


def weights_bytes(entry: Entry, dtype: torch.dtype) -> int:
    """What the weights of an entry take in this precision, by its headers; its size where they cannot be read."""
    try:
        parts = [entry.path / part for part in CHECKPOINT_PARTS if (entry.path / part).is_dir()] or [entry.path]
        files = [f for part in parts for f in weights_files(part)] if entry.file.is_folder else [entry.path]
        headers = [read_header(file) for file in files]
    except (BadCheckpoint, OSError):
        return entry.file.size
    return sum(math.prod(tensor.shape) for header in headers for tensor in header.values()) * dtype.itemsize


def module_bytes(module: Any) -> int:
    tensors = {id(t): t for t in [*module.parameters(), *module.buffers()]}
    return sum(t.numel() * t.element_size() for t in tensors.values())
