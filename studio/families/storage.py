"""How weights are stored in single files, beside their layout: an average alone, scaled 8-bit numbers, strays.

Names and types alone. The listing and the loader both ask here, so that what one calls usable the other can load.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from studio.asked.messages import Message
from studio.families.base import UNET_PREFIX

EMA = "model_ema.diffusion_model"  # Lightning's average: the U-Net's names without their dots
SCALE_ENDS = (".scale_weight", ".weight_scale")  # of ComfyUI's scaled fp8, in its two forms
# What goes with scaled weights and is not needed to read them: marker, settings, scales of the layers' inputs.
_COMPANION_ENDS = ("scaled_fp8", "comfy_quant", "scale_input", "input_scale")
_COMPANIONS = re.compile(rf"(^|\.)({'|'.join(_COMPANION_ENDS)})$")
_STRAYS = (".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".lora_B.weight", ".alpha")
READABLE = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})  # of weights
_INT8 = frozenset({"I8", "U8"})

E = TypeVar("E")


class HasDtype(Protocol):
    """A tensor as a header describes it."""

    @property
    def dtype(self) -> str: ...


def with_names(tensors: Mapping[str, E]) -> dict[str, E]:
    """The tensors under the names of the original layout: where a file holds only the average that training kept of its
    U-Net (model_ema), that stands for the U-Net."""
    if f"{UNET_PREFIX}input_blocks.0.0.weight" in tensors or f"{EMA}input_blocks00weight" not in tensors:
        return dict(tensors)
    result: dict[str, E] = {}
    for name, entry in tensors.items():
        module_name = dotted_name(name.removeprefix(EMA)) if name.startswith(EMA) else None
        result[UNET_PREFIX + module_name if module_name else name] = entry
    return result


_BLOCK = re.compile(r"(input_blocks|output_blocks)(\d+)(\d)(\D.*)|(middle_block)(\d)(\D.*)")
_ENDS = re.compile(r"(time_embed|out|in_layers|out_layers|emb_layers)(\d)(weight|bias)")
_INNER = re.compile(r"transformer_blocks(\d+)(attn[12]|ff|norm\d)(.*?)(weight|bias)")


def dotted_name(flat: str) -> str | None:
    """A U-Net's name in the original layout whose dots were taken out; None for any other name."""
    match = _BLOCK.fullmatch(flat)
    if match is not None:
        start = [match[1], match[2], match[3]] if match[1] else [match[5], match[6]]
        inner = _dotted_inner(match[4] or match[7])
        return ".".join([*start, inner]) if inner else None
    match = re.fullmatch(r"label_emb0(\d)(weight|bias)", flat)
    if match is not None:
        return f"label_emb.0.{match[1]}.{match[2]}"
    return _dotted_inner(flat)


def _dotted_inner(flat: str) -> str | None:
    if flat in ("weight", "bias"):
        return flat
    match = _ENDS.fullmatch(flat)
    if match is not None:
        return ".".join(match.groups())
    match = re.fullmatch(r"(skip_connection|norm|proj_in|proj_out|op|conv)(weight|bias)", flat)
    if match is not None:
        return ".".join(match.groups())
    match = _INNER.fullmatch(flat)
    if match is None:
        return None
    between = {"net0proj": "net.0.proj", "net2": "net.2", "to_out0": "to_out.0"}.get(match[3], match[3])
    return ".".join(["transformer_blocks", match[1], match[2], *([between] if between else []), match[4]])


def scales_of(names: Iterable[str]) -> dict[str, str]:
    """Of every weight that is stored divided by a scale: the name of that scale."""
    scales: dict[str, str] = {}
    for name in names:
        if name.endswith(SCALE_ENDS):
            scales[name.rpartition(".")[0] + ".weight"] = name
    return scales


def is_companion(name: str) -> bool:
    """Whether a tensor only goes with a scaled one."""
    return name.endswith(SCALE_ENDS) or (name.endswith(_COMPANION_ENDS) and _COMPANIONS.search(name) is not None)


def is_stray(name: str) -> bool:
    """Whether a tensor of a checkpoint is a rest of a LoRA that was meant to be merged."""
    return name.endswith(_STRAYS)


def type_problem(tensors: Mapping[str, HasDtype], weights: Iterable[str]) -> str:
    """Why weights of these names cannot be read as they are stored, one sentence; "" where they can."""
    scaled = scales_of(tensors)
    types: dict[str, str] = {}
    for name in weights:
        types.setdefault(tensors[name].dtype, name)
    for dtype, name in types.items():
        if dtype in READABLE:
            continue
        if dtype in _INT8:
            has_scales = any(one in scaled for one in tensors if tensors[one].dtype == dtype)
            if has_scales or any(one.endswith("comfy_quant") for one in tensors):
                return Message("Its weights are stored as int8 with scales, which the studio does not run yet.")
            return Message(
                "Its weights are stored as int8 without scales ({name}), so nobody can tell their values.",
                name=name[:80],
            )
        if not dtype.startswith(("I", "U", "BOOL")):
            return Message("Its weights are stored as {dtype}, which the studio does not read.", dtype=dtype)
    return ""
