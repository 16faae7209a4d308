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

from studio.checkpoints.identify import Family, ModelFacts

DATA = Path(__file__).parent / "data"
CLIP_HEAD_WIDTH = 64  # of one attention head, in every family but SD 1's U-Net, which has 8 heads at any width

Shapes = Mapping[str, tuple[int, ...]]  # of the translated names


def family_config(family: Family, part: str) -> dict[str, Any]:
    """The config.json (or scheduler_config.json) of a family's part, as published."""
    file = "scheduler_config.json" if part == "scheduler" else "config.json"
    return dict(json.loads((DATA / family / part / file).read_text(encoding="utf-8")))


def pipeline_index(family: Family) -> dict[str, Any]:
    """The family's model_index.json."""
    return dict(json.loads((DATA / family / "model_index.json").read_text(encoding="utf-8")))


def part_config(family: Family, part: str, shapes: Shapes, facts: ModelFacts) -> dict[str, Any]:
    """The config of a part whose tensors have these shapes. Raises KeyError or IndexError where one that is needed to
    say so is missing."""
    config = family_config(family, part)
    if part == "unet":
        return config | _unet(config, shapes, facts)
    if part == "vae":
        return config | vae_widths(shapes)
    return config | _text_encoder(shapes)


def scheduler_config(facts: ModelFacts) -> dict[str, Any]:
    """The family's scheduler config with what is known of the model's training."""
    config = family_config(facts.family or "sd1", "scheduler")
    if facts.prediction_type is not None:
        config["prediction_type"] = facts.prediction_type
    return config | few_step_settings(facts)


def few_step_settings(facts: ModelFacts) -> dict[str, Any]:
    """What few-step and zero-terminal-SNR models need: timesteps that begin at pure noise."""
    found: dict[str, Any] = {}
    if facts.zero_terminal_snr:
        found |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    if facts.distillation is not None:
        found |= {"timestep_spacing": "trailing"}
    return found


def _unet(config: dict[str, Any], shapes: Shapes, facts: ModelFacts) -> dict[str, Any]:
    levels = len(config["block_out_channels"])
    widths = [shapes[f"down_blocks.{level}.resnets.0.conv2.weight"][0] for level in range(levels)]
    found: dict[str, Any] = {
        "block_out_channels": widths,
        "in_channels": shapes["conv_in.weight"][1],
        "cross_attention_dim": next(s[1] for name, s in shapes.items() if name.endswith(".attn2.to_k.weight")),
    }
    if isinstance(config["attention_head_dim"], list):
        found["attention_head_dim"] = [max(1, width // CLIP_HEAD_WIDTH) for width in widths]
    if facts.native_width:
        found["sample_size"] = facts.native_width // 8
    added = shapes.get("add_embedding.linear_1.weight")
    if added is not None:
        found["projection_class_embeddings_input_dim"] = added[1]
    told = shapes.get("time_embedding.cond_proj.weight")
    if told is not None:  # the U-Net is told the guidance scale
        found["time_cond_proj_dim"] = told[1]
    return found


def size_embedding_width(unet: Mapping[str, Any], pooled: int, numbers: int) -> int:
    """addition_time_embed_dim: what is left of the U-Net's extra input beside the pooled embedding, per number."""
    return (int(unet["projection_class_embeddings_input_dim"]) - pooled) // numbers


def vae_widths(shapes: Shapes) -> dict[str, Any]:
    levels = 1 + max(int(m[1]) for name in shapes if (m := re.match(r"encoder\.down_blocks\.(\d+)\.", name)))
    layers = [
        m for name in shapes if (m := re.fullmatch(r"encoder\.down_blocks\.0\.resnets\.(\d+)\.conv1\.weight", name))
    ]
    return {
        "block_out_channels": [shapes[f"encoder.down_blocks.{k}.resnets.0.conv1.weight"][0] for k in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": len(layers),
        "latent_channels": shapes["decoder.conv_in.weight"][1],
    }


def _text_encoder(shapes: Shapes) -> dict[str, Any]:
    names = {name.removeprefix("text_model."): shape for name, shape in shapes.items()}
    vocabulary, width = names["embeddings.token_embedding.weight"]
    found = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": names["encoder.layers.0.mlp.fc1.weight"][0],
        "num_attention_heads": max(1, width // CLIP_HEAD_WIDTH),
        "num_hidden_layers": 1 + max(int(m[1]) for n in names if (m := re.match(r"encoder\.layers\.(\d+)\.", n))),
        "max_position_embeddings": names["embeddings.position_embedding.weight"][0],
    }
    if "text_projection.weight" in names:
        found["projection_dim"] = names["text_projection.weight"][0]
    return found


def clip_tokenizer(pad_token: str) -> Any:
    """A CLIPTokenizer of OpenAI's 49,408 entries, which SD 1, SD 2 and both of SDXL's encoders share."""
    from transformers import CLIPTokenizer

    folder = DATA / "clip_tokenizer"
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:]
    merges = [tuple(line.split()) for line in lines if line]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad_token, model_max_length=77)


# As in the published folders. Where "!" pads, transformers reads every "!" of a prompt as padding; SDXL's prompts are
# cut into tokens by its first tokenizer alone, as its authors' code does, so there this quirk has no effect.
PAD_TOKENS: Mapping[tuple[Family, str], str] = {
    ("sd1", "tokenizer"): "<|endoftext|>",
    ("sd2", "tokenizer"): "!",
    ("sdxl", "tokenizer"): "<|endoftext|>",
    ("sdxl", "tokenizer_2"): "!",
    ("sdxl_refiner", "tokenizer_2"): "!",
}
