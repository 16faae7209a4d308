"""A LoRA file or one of its LyCORIS kin => `Adapter`: the names of every trainer, resolved to the modules at hand.

An adapter of another family is refused by name; what a file holds that no module wants is said, never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch

from studio.asked.messages import Message
from studio.checkpoints.adapter_changes import change_of
from studio.checkpoints.adapter_header import lora_family
from studio.checkpoints.adapter_scale import adapter_scales
from studio.checkpoints.identify import of_header
from studio.checkpoints.inspect import BadCheckpoint, Header, TensorEntry, read_whole_header
from studio.checkpoints.lora_names import MODULE, UNET, AdapterKey, parse_key
from studio.checkpoints.reader import WeightsFile, finite
from studio.diffusion.components import VAE, Components
from studio.diffusion.lora import Adapter, Change
from studio.families.layout import unet_name
from studio.families.registry import FAMILIES, label_of


def load_adapter(path: Path, components: Components, identity: Hashable = None) -> Adapter:
    """Read an adapter for these components, to their device and precision.

    Raises BadCheckpoint, naming the file: no LoRA, another family's, or weights that do not fit the modules.
    """
    header = read_whole_header(path)
    facts = of_header(header, path.stem)
    if facts.kind != "lora":
        raise BadCheckpoint(Message("{file} is no LoRA.", file=path.name))
    family = lora_family(header.tensors, header.metadata)
    if facts.reason and (family is not None or not facts.parts):  # without parts: of a form that is not run
        raise BadCheckpoint(Message("{file}: {reason}", file=path.name, reason=facts.reason))
    here = FAMILIES[components.family.name]
    if family is not None and not here.runs_adapter_of(family) and not _narrow(components):
        made_for, is_here = label_of(family), here.label
        raise BadCheckpoint(
            Message(
                "{file} is a LoRA for {made_for}; {components} is {is_here}.",
                file=path.name,
                made_for=made_for,
                components=components.name,
                is_here=is_here,
            )
        )
    by_module, unknown_names = _by_module(header, components)
    if not by_module:
        raise BadCheckpoint(
            Message(
                "{file} does not fit {components}, which is {here}: none of its {count} tensors belongs to it.",
                file=path.name,
                components=components.name,
                here=here.label,
                count=len(unknown_names),
            )
        )
    alpha_of = adapter_scales(path, header)
    changes: dict[str, dict[str, Change]] = {}
    with WeightsFile(path) as file:

        def read(entry: TensorEntry) -> torch.Tensor:
            tensor = file.read(entry, device=components.device, dtype=components.dtype)
            return finite(path, tensor)

        for (part, name), entries in by_module.items():
            module = components.part(part).get_submodule(name)
            rank = entries["down"].shape[0] if "down" in entries else None
            change = change_of(path, name, entries, module, alpha_of(part, name, rank), read)
            if change is None:
                unknown_names.append(name)
            else:
                changes.setdefault(part, {})[name] = change
    notes: tuple[str, ...] = ()
    if unknown_names:
        examples = ", ".join(name[:60] for name in sorted(unknown_names)[:3])
        notes = (
            Message(
                "{count} tensors of the LoRA {file} fit nothing in the model ({examples}).",
                count=len(unknown_names),
                file=path.name,
                examples=examples,
            ),
        )
    return Adapter(path.stem, here.name, changes, notes, identity)


def _narrow(components: Components) -> bool:
    """A model of other widths than its family's (the built-in one, tests): shapes alone say what fits."""
    return bool(components.unet.config.cross_attention_dim != FAMILIES[components.family.name].context_width)


def _by_module(
    header: Header, components: Components
) -> tuple[dict[tuple[str, str], dict[str, TensorEntry]], list[str]]:
    """The tensors of each module by (part, module name) and factor, and the names of those that fit nothing."""
    modules = {part: _modules(module) for part, module in components.parts.items() if part != VAE}
    family = FAMILIES[components.family.name]
    parts_by_prefix: dict[str, tuple[str, ...]] = {
        name: (one.part,) for one in family.text_encoders for name in one.adapter_names
    }
    parts_by_prefix |= {UNET: (UNET,), MODULE: (UNET, _unnamed_text_encoder(header, components))}
    by_module: dict[tuple[str, str], dict[str, TensorEntry]] = {}
    unknown_names: list[str] = []
    for key, entry in header.tensors.items():
        parts_of_key = parse_key(key)
        place = _place(parts_of_key, modules, parts_by_prefix) if parts_of_key is not None else None
        entries = by_module.setdefault(place, {}) if place is not None else {}
        if parts_of_key is None or place is None or parts_of_key.factor in entries:  # a second adapter in the same file
            unknown_names.append(key)
        else:
            entries[parts_of_key.factor] = entry
    return {place: entries for place, entries in by_module.items() if entries}, unknown_names


def _modules(module: Any) -> dict[str, str]:
    """Names of a part's modules that have weights, by the name without dots that kohya's files use."""
    names = [n for n, m in module.named_modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))]
    return {name.removeprefix("text_model.").replace(".", "_"): name for name in names}


def _place(
    key: AdapterKey, modules: Mapping[str, Mapping[str, str]], parts_by_prefix: Mapping[str, tuple[str, ...]]
) -> tuple[str, str] | None:
    """(part, module name) of a tensor; None for an unknown name. `parts_by_prefix`: the parts that a beginning may
    mean."""
    for part in parts_by_prefix.get(key.part, ()):
        for name in _module_names(key.module):
            if name in modules.get(part, {}):
                return part, modules[part][name]
    return None


def _unnamed_text_encoder(header: Header, components: Components) -> str:
    """Which text encoder is meant where names do not say it: the one that is as wide as the adapter's inputs."""
    width = next(
        (e.shape[1] for k, e in header.tensors.items() if "self_attn" in k and ".lora_A" in k and len(e.shape) == 2), 0
    )
    encoders = {one.part: one.module.config.hidden_size for one in components.text_encoders}
    return next((part for part, its_width in encoders.items() if its_width == width), next(iter(encoders), ""))


def _module_names(flat: str) -> tuple[str, ...]:
    """What a module of the U-Net or of a text encoder may be called, without dots. That is its name in diffusers'
    layout, the same as the layer in a list of its own (to_out.0), or its name in the original layout."""
    return flat, f"{flat}_0", _todays(flat)


def _todays(flat: str) -> str:
    """input_blocks_4_1_... => down_blocks_1_attentions_0_...; "" for an unknown name."""
    block_path = re.sub(r"^(input_blocks|output_blocks|middle_block)_(\d+)_(?:(\d)_)?", _dots, flat)
    block_path = re.sub(r"(in_layers|out_layers|emb_layers|time_embed|label_emb|^out)_(\d)", r"\1.\2", block_path)
    block_path = re.sub(r"(label_emb\.\d)_(\d)", r"\1.\2", block_path)
    return (unet_name(block_path) or "").replace(".", "_")


def _dots(match: re.Match[str]) -> str:
    return ".".join(group for group in match.groups() if group is not None) + "."
