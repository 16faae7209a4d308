"""One part of a checkpoint before it is read, and how it is made and filled. Every name and shape of its files is
compared with the module's. Then each weight is read straight to the device in the target precision."""

from __future__ import annotations

import inspect as signatures
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from studio.checkpoints.inspect import BadCheckpoint, TensorEntry
from studio.checkpoints.leased_map import leased
from studio.checkpoints.reader import WeightsFile

logger = logging.getLogger(__name__)

# The modules that a plan can be of, by the class that a model_index.json names.
MODULES: Mapping[str, Any] = {
    "CLIPTextModel": CLIPTextModel,
    "CLIPTextModelWithProjection": CLIPTextModelWithProjection,
    "AutoencoderKL": AutoencoderKL,
    "UNet2DConditionModel": UNet2DConditionModel,
    "ControlNetModel": ControlNetModel,
}
# Buffers that older versions saved and newer ones compute; their presence says nothing about the weights.
IGNORED_KEYS = ("position_ids",)
READERS = 4  # threads that read one part: a copy out of the page cache keeps a core busy
MAX_LAYERS = 128  # per list and per number of a config: a module of a billion layers would never be made


@dataclass(frozen=True)
class TensorSource:
    """Where one parameter comes from."""

    file: Path
    entry: TensorEntry
    third: int | None = None
    transposed: bool = False
    scale: TensorEntry | None = None  # one number by which the stored values are multiplied

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.entry.shape
        if self.third is not None and shape:
            shape = (shape[0] // 3, *shape[1:])
        return shape[::-1] if self.transposed else shape


@dataclass(frozen=True)
class Plan:
    """One part before it is read: its config and where every parameter comes from."""

    part: str
    label: str  # what people call it
    class_name: str  # of MODULES
    config: Mapping[str, Any]
    sources: Mapping[str, TensorSource]
    unknown_names: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()  # submodules that it has not: a VAE's decoder alone

    @property
    def size_bytes(self) -> int:
        return sum(s.entry.size_bytes // (3 if s.third is not None else 1) for s in self.sources.values())


def empty_module(plan: Plan) -> Any:
    """The part's module without memory, after every name and shape was compared with what the files hold."""
    label = plan.label
    try:
        _check_counts(plan.config)
        with torch.device("meta"):
            module = _make(plan.class_name, plan.config)
        for name in plan.lacks:
            setattr(module, name, None)
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError) as error:
        logger.warning("The %s could not be made from its config", label, exc_info=True)
        raise BadCheckpoint(f"The {label} cannot be loaded: its weights do not fit its config.json.") from error
    parameters = dict(module.state_dict())
    missing = sorted(set(parameters) - set(plan.sources))
    unknown_names = sorted(set(plan.sources) - set(parameters)) + list(plan.unknown_names)
    for names, what in ((missing, "are missing"), (unknown_names, "do not belong there")):
        if names:
            examples = ", ".join(n[:80] for n in names[:3]) + (" and more" if len(names) > 3 else "")
            raise BadCheckpoint(f"These are no weights of this {label}: {len(names)} tensors {what} ({examples}).")
    wrong = [
        f"{name} is {_by(plan.sources[name].shape)} and should be {_by(tuple(value.shape))}"
        for name, value in parameters.items()
        if not _fits(plan.sources[name].shape, tuple(value.shape))
    ]
    if wrong:
        raise BadCheckpoint(f"The {label} has tensors of the wrong shape: {'; '.join(w[:160] for w in wrong[:3])}.")
    return module.eval().requires_grad_(False)


def _make(class_name: str, config: Mapping[str, Any]) -> Any:
    """The module of a config. Only what the class's own constructor asks for is passed on."""
    kind = MODULES[class_name]
    if class_name.startswith("CLIPText"):
        parameters = signatures.signature(CLIPTextConfig.__init__).parameters
        arguments = {k: v for k, v in config.items() if k in parameters and not k.startswith("_")}
        return kind(CLIPTextConfig(**arguments))
    return kind.from_config({k: v for k, v in config.items() if k != "quantization_config"})


def _check_counts(config: Mapping[str, Any]) -> None:
    for key, value in config.items():
        counts = value if isinstance(value, list) else [value] if "layers" in key else []
        if len(counts) > MAX_LAYERS:
            raise ValueError(f"{key} has {len(counts)} entries")
        if "layers" in key and any(isinstance(n, int) and not 0 <= n <= MAX_LAYERS for n in counts):
            raise ValueError(f"{key} is {str(value)[:60]}")


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Equal, or a 1x1 convolution where a linear layer is meant, as the original VAE's attention is."""
    return shape == target or (len(target) == 2 and shape == (*target, 1, 1))


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape) or "one number"


def fill(module: Any, plan: Plan, device: torch.device, dtype: torch.dtype) -> None:
    """Read the weights into the module, each to its place on the device; several at once where there are cores. Where
    a file's precision is the CPU's already they stay in the file, if it can be held (leased_map.py)."""
    empties = dict([*module.named_parameters(), *module.named_buffers()])
    mappings = {file: leased(file) for file in {source.file for source in plan.sources.values()}}
    local, open_files = threading.local(), ExitStack()

    def read(name: str) -> torch.Tensor | None:
        source = plan.sources.get(name)
        if source is None:
            return None
        if not hasattr(local, "files"):
            local.files = {}
        if source.file not in local.files:
            local.files[source.file] = open_files.enter_context(WeightsFile(source.file, mappings[source.file]))
        target_dtype = dtype if empties[name].is_floating_point() else None
        file = local.files[source.file]
        if source.scale is None:
            tensor = file.read(source.entry, device=device, dtype=target_dtype, third=source.third)
        else:  # the product is rounded once, to the target precision
            exact = file.read(source.entry, device=device, dtype=torch.float32, third=source.third)
            scale = file.read(source.scale, device=device, dtype=torch.float32).reshape(-1)
            factor = scale if len(scale) == 1 else scale.reshape(-1, *[1] * (exact.ndim - 1))
            tensor = (exact * factor).to(target_dtype)
        return (tensor.T.contiguous() if source.transposed else tensor).reshape(empties[name].shape)

    with open_files, ThreadPoolExecutor(max(1, min(READERS, torch.get_num_threads()))) as pool:
        for name, tensor in zip(empties, pool.map(read, empties)):
            owner, leaf = module.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
            if tensor is None:  # a buffer that is not saved
                if leaf != "position_ids":
                    raise BadCheckpoint(f"The {plan.label} needs {name}, which no file holds.")
                owner._buffers[leaf] = torch.arange(empties[name].shape[-1], device=device).expand((1, -1))
            elif leaf in owner._parameters:
                owner._parameters[leaf] = torch.nn.Parameter(tensor, requires_grad=False)
            else:
                owner._buffers[leaf] = tensor
