"""A ControlNet's file or folder => diffusers' ControlNetModel, by the loader's own rules: safetensors only, every name
and shape compared before anything is read.

Original files (`control_model.*`, or the same without the prefix) and diffusers' layout, SD 1, SD 2 and SDXL. A single
file's config is read from its shapes (which levels have attention and how deep, how wide everything is) and, for what
these do not say, from the U-Net that it is to steer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.asked.messages import Message
from studio.checkpoints.details import read_json, weights_files
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint, read_header
from studio.checkpoints.other_headers import CONTROLNET_PREFIX
from studio.checkpoints.part_plan import Plan, TensorSource
from studio.checkpoints.plans import empty_module, fill
from studio.diffusion.components import Components
from studio.families.controlnet import controlnet_config, controlnet_name, last_hint
from studio.families.registry import FAMILIES, label_of

PART, LABEL, CLASS_NAME = "controlnet", "ControlNet", "ControlNetModel"


def load_controlnet(path: Path, components: Components) -> Any:
    """Read a ControlNet for these components, to their device and precision. Raises BadCheckpoint, naming the file, for
    a file that is no ControlNet, or one of another family or whose shapes do not fit the U-Net."""
    facts = identify(path)
    if facts.kind != "controlnet" or facts.reason:
        raise BadCheckpoint(
            Message("{file}: {reason}", file=path.name, reason=facts.reason)
            if facts.reason
            else Message("{file} is no ControlNet.", file=path.name)
        )
    if facts.family is not None and not FAMILIES[components.family.name].runs_adapter_of(facts.family):
        made_for, is_here = label_of(facts.family), label_of(components.family.name)
        raise BadCheckpoint(
            Message(
                "{file} is a ControlNet for {made_for}; {components} is {is_here}.",
                file=path.name,
                made_for=made_for,
                components=components.name,
                is_here=is_here,
            )
        )
    plan = _folder_plan(path) if path.is_dir() else _file_plan(path, components.unet.config)
    module = empty_module(plan)
    _check_fit(path, module, components.unet)
    fill(module, plan, components.device, components.dtype)
    return module


def _file_plan(path: Path, unet: Mapping[str, Any]) -> Plan:
    tensors = read_header(path)
    prefix = CONTROLNET_PREFIX if any(key.startswith(CONTROLNET_PREFIX) for key in tensors) else ""
    names = {key.removeprefix(prefix): key for key in tensors if key.startswith(prefix)}
    if "time_embed.0.weight" in names:
        last = last_hint(names)
        targets = {name: controlnet_name(name, last) for name in names}
    else:
        targets = {name: name for name in names}
    sources = {
        target: TensorSource(path, tensors[names[name]]) for name, target in targets.items() if target is not None
    }
    unknown_names = tuple(names[name] for name, target in targets.items() if target is None)
    try:
        config = controlnet_config({name: source.shape for name, source in sources.items()}, unet)
    except (KeyError, IndexError, ValueError, StopIteration) as error:
        raise BadCheckpoint(
            Message(
                "{file} is no ControlNet that is whole: tensors are missing ({error}).", file=path.name, error=error
            )
        ) from error
    return Plan(PART, LABEL, CLASS_NAME, config, sources, unknown_names)


def _folder_plan(folder: Path) -> Plan:
    config = read_json(folder / "config.json")
    files = weights_files(folder)
    if config is None or not files:
        raise BadCheckpoint(
            Message(
                "The ControlNet folder {folder} has no readable config.json or no .safetensors file.",
                folder=folder.name,
            )
        )
    sources = {name: TensorSource(file, entry) for file in files for name, entry in read_header(file).items()}
    return Plan(PART, LABEL, CLASS_NAME, config, sources)


def _check_fit(path: Path, module: Any, unet: Any) -> None:
    """Another width or another embedding would fail in the middle of a run: say it here. Its weights are read after."""
    for what, ours, theirs in (
        ("levels", tuple(module.config.block_out_channels), tuple(unet.config.block_out_channels)),
        ("embeddings", module.config.cross_attention_dim, unet.config.cross_attention_dim),
        (Message("layers a level"), module.config.layers_per_block, unet.config.layers_per_block),
        (
            Message("extra numbers"),
            module.config.projection_class_embeddings_input_dim,
            unet.config.projection_class_embeddings_input_dim,
        ),
    ):
        if ours != theirs:
            raise BadCheckpoint(
                Message(
                    "{file} does not fit this model: its {what} are {ours}, the U-Net's {theirs}.",
                    file=path.name,
                    what=what,
                    ours=ours,
                    theirs=theirs,
                )
            )
    if module.config.conditioning_channels != 3:
        raise BadCheckpoint(
            Message(
                "{file} wants maps of {channels} channels, not pictures.",
                file=path.name,
                channels=module.config.conditioning_channels,
            )
        )
