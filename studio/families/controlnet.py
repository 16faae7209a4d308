"""ControlNets of Stable Diffusion's families: the original key layout => diffusers' names, and the config that the
shapes show. A ControlNet is a copy of a U-Net's way down, so both are the U-Net's own, with what is added."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from studio.families.base import transformer_depth
from studio.families.layout import unet_name

# What a ControlNet's config has of the U-Net that it is a copy of, beside what its own shapes say.
_FROM_UNET = (
    "act_fn", "addition_embed_type", "addition_time_embed_dim", "attention_head_dim", "downsample_padding",
    "flip_sin_to_cos", "freq_shift", "layers_per_block", "mid_block_scale_factor", "norm_eps", "norm_num_groups",
    "upcast_attention", "use_linear_projection",
)  # fmt: skip


def last_hint(names: Iterable[str]) -> int:
    """The number of the last layer of `input_hint_block`."""
    return max((int(m[1]) for n in names if (m := re.match(r"input_hint_block\.(\d+)\.", n))), default=0)


def controlnet_name(name: str, last: int) -> str | None:
    """diffusers' name of an original ControlNet's parameter (without the prefix); None for an unknown name. `last`: see
    `last_hint`."""
    match = re.fullmatch(r"zero_convs\.(\d+)\.0\.(weight|bias)", name)
    if match:
        return f"controlnet_down_blocks.{match[1]}.{match[2]}"
    match = re.fullmatch(r"middle_block_out\.0\.(weight|bias)", name)
    if match:
        return f"controlnet_mid_block.{match[1]}"
    match = re.fullmatch(r"input_hint_block\.(\d+)\.(weight|bias)", name)
    if match:
        layer = int(match[1])  # every other one is an activation
        where = {0: "conv_in", last: "conv_out"}.get(layer, f"blocks.{layer // 2 - 1}")
        return f"controlnet_cond_embedding.{where}.{match[2]}"
    return None if name.startswith(("output_blocks.", "out.")) else unet_name(name)


def controlnet_config(shapes: Mapping[str, tuple[int, ...]], unet: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a ControlNet whose tensors have these names (diffusers') and shapes, made for a U-Net of this
    config. Raises KeyError, IndexError, ValueError or StopIteration where a tensor that is needed to say is missing."""
    levels = 1 + max(int(m[1]) for name in shapes if (m := re.match(r"down_blocks\.(\d+)\.resnets\.", name)))
    depths = [transformer_depth(shapes, f"down_blocks.{level}.attentions.0") for level in range(levels)]
    middle = transformer_depth(shapes, "mid_block.attentions.0")
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
