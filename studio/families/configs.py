"""The component configs and the CLIP vocabulary that ship with the project, so that a lone file loads with no network.

The configs are the families' own (data/<family>/, in diffusers' layout); widths are read from the file's header, so a
narrower model of the same structure loads as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.families.base import Family, transformer_depth

DATA = Path(__file__).parent / "data"
CLIP_HEAD_WIDTH = 64  # of one attention head, in every family but SD 1's U-Net, which has 8 heads at any width

Shapes = Mapping[str, tuple[int, ...]]  # of the translated names


def family_config(family: Family, part: str) -> dict[str, Any]:
    """The config.json (or scheduler_config.json) of a family's part, as published."""
    file = "scheduler_config.json" if part == "scheduler" else "config.json"
    return dict(json.loads((DATA / _folder(family) / part / file).read_text(encoding="utf-8")))


def pipeline_index(family: Family) -> dict[str, Any]:
    """The family's model_index.json."""
    return dict(json.loads((DATA / _folder(family) / "model_index.json").read_text(encoding="utf-8")))


def _folder(family: Family) -> str:
    return family.configs or family.name


def part_config(family: Family, part: str, shapes: Shapes, *, native_width: int | None = None) -> dict[str, Any]:
    """The config of a part whose tensors have these shapes. Raises KeyError or IndexError where one that is needed to
    say so is missing."""
    config = family_config(family, part)
    if part == "unet":
        return config | _unet(family, config, shapes, native_width)
    if part == "vae":
        return config | vae_widths(shapes)
    return config | _text_encoder(shapes)


def _unet(family: Family, config: dict[str, Any], shapes: Shapes, native_width: int | None) -> dict[str, Any]:
    levels = len(config["block_out_channels"])
    widths = [shapes[f"down_blocks.{level}.resnets.0.conv2.weight"][0] for level in range(levels)]
    unet_config: dict[str, Any] = {
        "block_out_channels": widths,
        "in_channels": shapes["conv_in.weight"][1],
        "cross_attention_dim": next(s[1] for name, s in shapes.items() if name.endswith(".attn2.to_k.weight")),
    }
    if isinstance(config["attention_head_dim"], list):
        unet_config["attention_head_dim"] = [max(1, width // CLIP_HEAD_WIDTH) for width in widths]
    if native_width:
        unet_config["sample_size"] = native_width // 8
    if family.configs:  # another depth than that of the family whose configs it has
        unet_config |= _depths(config, shapes)
    vector_weight = shapes.get("add_embedding.linear_1.weight")
    if vector_weight is not None:
        unet_config["projection_class_embeddings_input_dim"] = vector_weight[1]
    guidance_weight = shapes.get("time_embedding.cond_proj.weight")
    if guidance_weight is not None:  # the U-Net is told the guidance scale
        unet_config["time_cond_proj_dim"] = guidance_weight[1]
    return unet_config


def _depths(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """Transformer layers of every block, where a U-Net is not as deep on its way up as on its way down."""
    levels, layers = len(config["block_out_channels"]), int(config["layers_per_block"])
    down = [
        [transformer_depth(shapes, f"down_blocks.{k}.attentions.{i}") for i in range(layers)] for k in range(levels)
    ]
    up = [
        [transformer_depth(shapes, f"up_blocks.{k}.attentions.{i}") for i in range(layers + 1)] for k in range(levels)
    ]
    middle = transformer_depth(shapes, "mid_block.attentions.0")
    return {
        "transformer_layers_per_block": [depths if any(depths) else 1 for depths in down],
        "reverse_transformer_layers_per_block": [depths if any(depths) else 1 for depths in up],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if middle else "UNetMidBlock2D",
    }


def size_embedding_width(unet: Mapping[str, Any], pooled: int, numbers: int) -> int:
    """addition_time_embed_dim: what is left of the U-Net's extra input beside the pooled embedding, per number."""
    return (int(unet["projection_class_embeddings_input_dim"]) - pooled) // numbers


def vae_widths(shapes: Shapes) -> dict[str, Any]:
    """Widths and depth of a VAE, read from its decoder, which has one ResNet block more per level than the encoder."""
    levels = 1 + max(int(m[1]) for name in shapes if (m := re.match(r"decoder\.up_blocks\.(\d+)\.", name)))
    layers = [
        m for name in shapes if (m := re.fullmatch(r"decoder\.up_blocks\.0\.resnets\.(\d+)\.conv1\.weight", name))
    ]
    upwards = [shapes[f"decoder.up_blocks.{k}.resnets.0.conv1.weight"][0] for k in range(levels)]
    return {
        "block_out_channels": upwards[::-1],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": len(layers) - 1,
        "latent_channels": shapes["decoder.conv_in.weight"][1],
    }


def _text_encoder(shapes: Shapes) -> dict[str, Any]:
    names = {name.removeprefix("text_model."): shape for name, shape in shapes.items()}
    vocabulary, width = names["embeddings.token_embedding.weight"]
    config = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": names["encoder.layers.0.mlp.fc1.weight"][0],
        "num_attention_heads": max(1, width // CLIP_HEAD_WIDTH),
        "num_hidden_layers": 1 + max(int(m[1]) for n in names if (m := re.match(r"encoder\.layers\.(\d+)\.", n))),
        "max_position_embeddings": names["embeddings.position_embedding.weight"][0],
    }
    if "text_projection.weight" in names:
        config["projection_dim"] = names["text_projection.weight"][0]
    return config


def clip_tokenizer(pad_token: str, positions: int) -> Any:
    """A CLIPTokenizer of OpenAI's 49,408 entries, which SD 1, SD 2 and both of SDXL's encoders share, for a text
    encoder that reads so many tokens."""
    from transformers import CLIPTokenizer

    folder = DATA / "clip_tokenizer"
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:]
    merges = [tuple(line.split()) for line in lines if line]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad_token, model_max_length=positions)
