"""A ControlNet's file or folder => diffusers' ControlNetModel, by the loader's own rules: safetensors only, every name
and shape compared before anything is read.

Original files (`control_model.*`, or the same without the prefix) and diffusers' layout, SD 1, SD 2 and SDXL. A single
file's config is read from its shapes (which levels have attention and how deep, how wide everything is) and, for what
these do not say, from the U-Net that it is to steer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.checkpoints.details import read_json, weights_files
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint, read_header
from studio.checkpoints.other_headers import CONTROLNET_PREFIX
from studio.checkpoints.plans import Plan, TensorSource, empty_module, fill
from studio.diffusion.components import Components
from studio.families.layout import unet_name
from studio.families.registry import FAMILIES, label_of

PART, LABEL, CLASS_NAME = "controlnet", "ControlNet", "ControlNetModel"
# What a ControlNet's config has of the U-Net that it is a copy of, beside what its own shapes say.
_FROM_UNET = (
    "act_fn", "addition_embed_type", "addition_time_embed_dim", "attention_head_dim", "downsample_padding",
    "flip_sin_to_cos", "freq_shift", "layers_per_block", "mid_block_scale_factor", "norm_eps", "norm_num_groups",
    "upcast_attention", "use_linear_projection",
)  # fmt: skip


def load_controlnet(path: Path, components: Components) -> Any:
    """Read a ControlNet for these components, to their device and precision. Raises BadCheckpoint, naming the file, for
    a file that is no ControlNet, or one of another family or whose shapes do not fit the U-Net."""
    facts = identify(path)
    if facts.kind != "controlnet" or facts.reason:
        raise BadCheckpoint(f"{path.name}: {facts.reason}" if facts.reason else f"{path.name} is no ControlNet.")
    if facts.family is not None and not FAMILIES[components.family.name].runs_adapter_of(facts.family):
        made_for, is_here = label_of(facts.family), label_of(components.family.name)
        raise BadCheckpoint(f"{path.name} is a ControlNet for {made_for}; {components.name} is {is_here}.")
    plan = _folder_plan(path) if path.is_dir() else _file_plan(path, components.unet.config)
    module = empty_module(plan)
    _check_fit(path, module, components.unet)
    fill(module, plan, components.device, components.dtype)
    return module


def original_name(name: str, hints: int) -> str | None:
    """diffusers' name of an original ControlNet's parameter (without the prefix); None for a stranger. `hints`: the
    number of the last layer of `input_hint_block`."""
    match = re.fullmatch(r"zero_convs\.(\d+)\.0\.(weight|bias)", name)
    if match:
        return f"controlnet_down_blocks.{match[1]}.{match[2]}"
    match = re.fullmatch(r"middle_block_out\.0\.(weight|bias)", name)
    if match:
        return f"controlnet_mid_block.{match[1]}"
    match = re.fullmatch(r"input_hint_block\.(\d+)\.(weight|bias)", name)
    if match:
        layer = int(match[1])  # every other one is an activation
        where = {0: "conv_in", hints: "conv_out"}.get(layer, f"blocks.{layer // 2 - 1}")
        return f"controlnet_cond_embedding.{where}.{match[2]}"
    return None if name.startswith(("output_blocks.", "out.")) else unet_name(name)


def _file_plan(path: Path, unet: Mapping[str, Any]) -> Plan:
    tensors = read_header(path)
    prefix = CONTROLNET_PREFIX if any(key.startswith(CONTROLNET_PREFIX) for key in tensors) else ""
    names = {key.removeprefix(prefix): key for key in tensors if key.startswith(prefix)}
    if "time_embed.0.weight" in names:
        hints = max((int(m[1]) for n in names if (m := re.match(r"input_hint_block\.(\d+)\.", n))), default=0)
        targets = {name: original_name(name, hints) for name in names}
    else:
        targets = {name: name for name in names}
    sources = {
        target: TensorSource(path, tensors[names[name]]) for name, target in targets.items() if target is not None
    }
    unknown_names = tuple(names[name] for name, target in targets.items() if target is None)
    try:
        config = config_of({name: source.shape for name, source in sources.items()}, unet)
    except (KeyError, IndexError, ValueError, StopIteration) as error:
        raise BadCheckpoint(f"{path.name} is no ControlNet that is whole: tensors are missing ({error}).") from error
    return Plan(PART, LABEL, CLASS_NAME, config, sources, unknown_names)


def _folder_plan(folder: Path) -> Plan:
    config = read_json(folder / "config.json")
    files = weights_files(folder)
    if config is None or not files:
        raise BadCheckpoint(f"The ControlNet folder {folder.name} has no readable config.json or no .safetensors file.")
    sources = {name: TensorSource(file, entry) for file in files for name, entry in read_header(file).items()}
    return Plan(PART, LABEL, CLASS_NAME, config, sources)


def config_of(shapes: Mapping[str, tuple[int, ...]], unet: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a ControlNet whose tensors have these names (diffusers') and shapes, made for a U-Net of this
    config. Raises KeyError, IndexError, ValueError or StopIteration where a tensor that is needed to say is missing."""
    levels = 1 + max(int(m[1]) for name in shapes if (m := re.match(r"down_blocks\.(\d+)\.resnets\.", name)))
    depths = [_depth(shapes, f"down_blocks.{level}.attentions.0") for level in range(levels)]
    middle = _depth(shapes, "mid_block.attentions.0")
    blocks = 1 + max(int(m[1]) for n in shapes if (m := re.match(r"controlnet_cond_embedding\.blocks\.(\d+)\.", n)))
    hint = "controlnet_cond_embedding"
    config: dict[str, Any] = {key: unet[key] for key in _FROM_UNET if key in unet}
    config |= {
        "in_channels": shapes["conv_in.weight"][1],
        "conditioning_channels": shapes[f"{hint}.conv_in.weight"][1],
        "block_out_channels": [shapes[f"down_blocks.{k}.resnets.0.conv2.weight"][0] for k in range(levels)],
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if middle else "UNetMidBlock2D",
        # The middle is as deep as the last level says, whether or not that has attention of its own.
        "transformer_layers_per_block": [*(depth or 1 for depth in depths[:-1]), middle or depths[-1] or 1],
        "cross_attention_dim": next(s[1] for name, s in shapes.items() if name.endswith(".attn2.to_k.weight")),
        "conditioning_embedding_out_channels": [
            shapes[f"{hint}.conv_in.weight"][0],
            *(shapes[f"{hint}.blocks.{k}.weight"][0] for k in range(1, blocks, 2)),
        ],
    }
    vector_weight = shapes.get("add_embedding.linear_1.weight")
    if vector_weight is not None:
        config["projection_class_embeddings_input_dim"] = vector_weight[1]
    return config


def _depth(shapes: Mapping[str, tuple[int, ...]], block: str) -> int:
    depth = 0
    while f"{block}.transformer_blocks.{depth}.attn1.to_q.weight" in shapes:
        depth += 1
    return depth


def _check_fit(path: Path, module: Any, unet: Any) -> None:
    """Another width or another embedding would fail in the middle of a run: say it here. Its weights are read after."""
    for what, ours, theirs in (
        ("levels", tuple(module.config.block_out_channels), tuple(unet.config.block_out_channels)),
        ("embeddings", module.config.cross_attention_dim, unet.config.cross_attention_dim),
        ("layers a level", module.config.layers_per_block, unet.config.layers_per_block),
        (
            "extra numbers",
            module.config.projection_class_embeddings_input_dim,
            unet.config.projection_class_embeddings_input_dim,
        ),
    ):
        if ours != theirs:
            raise BadCheckpoint(f"{path.name} does not fit this model: its {what} are {ours}, the U-Net's {theirs}.")
    if module.config.conditioning_channels != 3:
        raise BadCheckpoint(f"{path.name} wants maps of {module.config.conditioning_channels} channels, not pictures.")
