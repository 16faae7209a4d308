"""Makes one part of a checkpoint and fills it: every name and shape of its files is compared with those of its module,
then each weight is read straight to the device in the target precision."""

from __future__ import annotations

import inspect as signatures
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from studio.asked.messages import Message
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.leased_map import map_under_lease
from studio.checkpoints.part_plan import Plan, check_counts, mismatch
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
READERS = 4  # threads that read one part: a copy out of the page cache keeps a core busy


def empty_module(plan: Plan) -> Any:
    """The part's module without memory, after every name and shape was compared with what the files hold."""
    label = plan.label
    try:
        check_counts(plan.config)
        with torch.device("meta"):
            module = _make(plan.class_name, plan.config)
        for name in plan.lacks:
            setattr(module, name, None)
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError) as error:
        logger.warning("The %s could not be made from its config", label, exc_info=True)
        raise BadCheckpoint(
            Message("The {label} cannot be loaded: its weights do not fit its config.json.", label=label)
        ) from error
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if problem := mismatch(plan, shapes):
        raise BadCheckpoint(problem)
    return module.eval().requires_grad_(False)


def _make(class_name: str, config: Mapping[str, Any]) -> Any:
    """The module of a config. Only what the class's own constructor asks for is passed on."""
    kind = MODULES[class_name]
    if class_name.startswith("CLIPText"):
        parameters = signatures.signature(CLIPTextConfig.__init__).parameters
        arguments = {k: v for k, v in config.items() if k in parameters and not k.startswith("_")}
        return kind(CLIPTextConfig(**arguments))
    return kind.from_config({k: v for k, v in config.items() if k != "quantization_config"})


def fill(module: Any, plan: Plan, device: torch.device, dtype: torch.dtype) -> None:
    """Read the weights into the module, each to its place on the device; several at once where there are cores. Where
    a file's precision is the CPU's already they stay in the file, if it can be held (leased_map.py)."""
    empties = dict([*module.named_parameters(), *module.named_buffers()])
    mappings = {file: map_under_lease(file) for file in {source.file for source in plan.sources.values()}}
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
                    raise BadCheckpoint(
                        Message("The {plan} needs {name}, which no file holds.", plan=plan.label, name=name)
                    )
                owner._buffers[leaf] = torch.arange(empties[name].shape[-1], device=device).expand((1, -1))
            elif leaf in owner._parameters:
                owner._parameters[leaf] = torch.nn.Parameter(tensor, requires_grad=False)
            else:
                owner._buffers[leaf] = tensor
