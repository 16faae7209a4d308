"""Tiny random checkpoints of every family, written in the original key layout and as diffusers folders.

The names are written down here a second time, from diffusers' modules to the original layout, on purpose: the loader
goes the other way.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from studio.diffusion.components import TextEncoder
from studio.families import configs
from studio.families.base import Family as FamilyFacts
from studio.families.registry import FAMILIES

Family = str  # a family's name

WIDTHS = {
    "sd1": {"block_out_channels": [32, 32, 64, 64]},
    "sd2": {"block_out_channels": [64, 64, 64, 128], "attention_head_dim": [1, 1, 1, 2]},
    "sdxl": {"block_out_channels": [32, 64, 64], "attention_head_dim": [1, 1, 1]},
    "sdxl_refiner": {"block_out_channels": [32, 64, 64, 64], "attention_head_dim": [1, 1, 1, 1]},
}
TEXT = {  # part -> width, layers
    ("sd1", "text_encoder"): (64, 2),
    ("sd2", "text_encoder"): (64, 23),
    ("sdxl", "text_encoder"): (64, 2),
    ("sdxl", "text_encoder_2"): (128, 2),
    ("sdxl_refiner", "text_encoder_2"): (128, 2),
}
for name in ("ssd_1b", "vega"):
    WIDTHS[name] = WIDTHS["sdxl"]
    TEXT |= {(name, part): TEXT["sdxl", part] for part in ("text_encoder", "text_encoder_2")}
DEPTHS: dict[str, dict[str, Any]] = {  # as published in the folders of SSD-1B and Segmind Vega
    "ssd_1b": {
        "transformer_layers_per_block": [1, [2, 2], [4, 4]],
        "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
        "mid_block_type": "UNetMidBlock2D",
    },
    "vega": {
        "transformer_layers_per_block": [1, [1, 1], [2, 2]],
        "reverse_transformer_layers_per_block": [[2, 2, 2], [1, 1, 1], 1],
        "mid_block_type": "UNetMidBlock2D",
    },
}
TIME_WIDTH = 32
VAE = {"block_out_channels": [32, 32, 32, 64], "layers_per_block": 1}


def part_configs(
    family: Family, *, in_channels: int = 4, guidance_width: int | None = None
) -> dict[str, dict[str, Any]]:
    """The family's configs, narrow."""
    found: dict[str, dict[str, Any]] = {}
    cross = 0
    for (of, part), (width, layers) in TEXT.items():
        if of == family:
            narrow = {"hidden_size": width, "intermediate_size": 2 * width, "num_attention_heads": width // 64,
                      "num_hidden_layers": layers}  # fmt: skip
            if part == "text_encoder_2":
                narrow["projection_dim"] = width
            found[part] = configs.family_config(FAMILIES[family], part) | narrow
            cross += width
    unet = configs.family_config(FAMILIES[family], "unet") | WIDTHS[family] | DEPTHS.get(family, {})
    unet |= {"cross_attention_dim": cross, "in_channels": in_channels, "sample_size": 8}
    unet |= {"time_cond_proj_dim": guidance_width} if guidance_width else {}
    if "projection_class_embeddings_input_dim" in unet:
        numbers = 5 if family == "sdxl_refiner" else 6
        unet |= {
            "addition_time_embed_dim": TIME_WIDTH,
            "projection_class_embeddings_input_dim": 128 + numbers * TIME_WIDTH,
        }
    found["unet"] = unet
    found["vae"] = configs.family_config(FAMILIES[family], "vae") | VAE
    return found


def tiny_family(
    family: Family, *, in_channels: int = 4, seed: int = 0, guidance_width: int | None = None
) -> dict[str, Any]:
    """Random modules by part, float32, in eval mode."""
    given = part_configs(family, in_channels=in_channels, guidance_width=guidance_width)
    kinds = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules = {p: kinds[p](CLIPTextConfig(**given[p])) for p in kinds if p in given}
        modules["unet"] = UNet2DConditionModel.from_config(given["unet"])
        modules["vae"] = AutoencoderKL.from_config(given["vae"])
    return {part: module.eval().requires_grad_(False) for part, module in modules.items()}


def text_encoders(family: FamilyFacts, modules: dict[str, Any]) -> tuple[TextEncoder, ...]:
    """The modules' text encoders with their tokenizers, as `Components` hold them."""
    return tuple(
        TextEncoder(one.part, configs.clip_tokenizer(one.pad_token, 77), modules[one.part])
        for one in family.text_encoders
    )


# ---------------------------------------------------------------------------------------------------------- folders


def save_folder(
    folder: Path, family: Family, modules: dict[str, Any], *, variant: str | None = None, shard: str = "10GB",
    scheduler: dict[str, Any] | None = None,
) -> Path:  # fmt: skip
    """A diffusers folder, as the family's pipeline saves it."""
    for part, module in modules.items():
        if part.startswith("text_encoder"):
            module.save_pretrained(folder / part)
            if variant:
                (folder / part / "model.safetensors").rename(folder / part / f"model.{variant}.safetensors")
            spec = next(one for one in FAMILIES[family].text_encoders if one.part == part)
            configs.clip_tokenizer(spec.pad_token, 77).save_pretrained(folder / spec.tokenizer)
        else:
            module.save_pretrained(folder / part, variant=variant, max_shard_size=shard)
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(
        json.dumps(configs.family_config(FAMILIES[family], "scheduler") | (scheduler or {}))
    )
    (folder / "model_index.json").write_text(json.dumps(configs.pipeline_index(FAMILIES[family])))
    return folder


# ------------------------------------------------------------------------------------------------------ single files


def original_tensors(family: Family, modules: dict[str, Any], *, vae: bool = True) -> dict[str, torch.Tensor]:
    """The same weights under the names of the original files, with the leftovers that these have."""
    found: dict[str, torch.Tensor] = {"alphas_cumprod": torch.ones(1000), "model_ema.decay": torch.zeros(())}
    found |= {f"model.diffusion_model.{k}": v for k, v in unet_to_original(modules["unet"]).items()}
    if vae:
        found |= {f"first_stage_model.{k}": v for k, v in vae_to_original(modules["vae"]).items()}
    if family == "sd1":
        found |= clip_to_original(modules["text_encoder"], "cond_stage_model.transformer.")
    elif family == "sd2":
        prefix = "cond_stage_model.model."
        found |= open_clip_to_original(modules["text_encoder"], prefix)
        width = modules["text_encoder"].config.hidden_size
        last = {k: v for k, v in found.items() if k.startswith(f"{prefix}transformer.resblocks.22.")}
        found |= {k.replace("resblocks.22", "resblocks.23"): v + 1 for k, v in last.items()}
        found |= {f"{prefix}text_projection": torch.ones(width, width), f"{prefix}logit_scale": torch.zeros(())}
    elif family in ("sdxl", "ssd_1b", "vega"):
        found |= clip_to_original(modules["text_encoder"], "conditioner.embedders.0.transformer.")
        found |= open_clip_to_original(modules["text_encoder_2"], "conditioner.embedders.1.model.")
        found["conditioner.embedders.1.model.logit_scale"] = torch.zeros(())
    else:
        found |= open_clip_to_original(modules["text_encoder_2"], "conditioner.embedders.0.model.")
    return found


def save_original(
    path: Path, family: Family, modules: dict[str, Any], *, dtype: torch.dtype = torch.float32,
    metadata: dict[str, str] | None = None, vae: bool = True, extra: dict[str, torch.Tensor] | None = None,
) -> Path:  # fmt: skip
    """A single file in the original key layout."""
    tensors = original_tensors(family, modules, vae=vae) | (extra or {})
    save_file({k: v.to(dtype).contiguous().clone() for k, v in tensors.items()}, path, metadata=metadata)
    return path


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}  # fmt: skip
ENDS = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
        "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
        "time_embedding.cond_proj": "time_embedding.cond_proj"}  # fmt: skip


def unet_to_original(unet: Any) -> dict[str, torch.Tensor]:
    layers = unet.config.layers_per_block
    with_attention = ["CrossAttn" in kind for kind in unet.config.up_block_types]

    def name(key: str) -> str:
        for new, old in ENDS.items():
            if key.startswith(new + "."):
                return old + key[len(new) :]
        match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", key)
        if match:
            side, block, kind, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
            if kind == "downsamplers":
                return f"input_blocks.{(block + 1) * (layers + 1)}.0.op.{rest.removeprefix('conv.')}"
            if kind == "upsamplers":
                return f"output_blocks.{block * (layers + 1) + layers}.{2 if with_attention[block] else 1}.{rest}"
            index = 1 + block * (layers + 1) + layer if side == "down" else block * (layers + 1) + layer
            start = f"{'input' if side == 'down' else 'output'}_blocks.{index}"
            if kind == "attentions":
                return f"{start}.1.{rest}"
            part, _, end = rest.partition(".")
            return f"{start}.0.{RESNET[part]}.{end}"
        match = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", key)
        assert match, key
        if match[1] == "attentions":
            return f"middle_block.1.{match[3]}"
        part, _, end = match[3].partition(".")
        return f"middle_block.{2 * int(match[2])}.{RESNET[part]}.{end}"

    return {name(key): value for key, value in unet.state_dict().items()}


def vae_to_original(vae: Any) -> dict[str, torch.Tensor]:
    levels = len(vae.config.block_out_channels)
    attention = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}

    def name(key: str) -> str:
        key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        match = re.fullmatch(r"(.+)\.mid_block\.(resnets|attentions)\.(\d)\.(.+)\.(weight|bias)", key)
        if match:
            if match[2] == "resnets":
                return f"{match[1]}.mid.block_{int(match[3]) + 1}.{match[4]}.{match[5]}"
            return f"{match[1]}.mid.attn_1.{attention[match[4]]}.{match[5]}"
        match = re.fullmatch(
            r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(.+)", key
        )
        if not match:
            return key
        level = int(match[3]) if match[2] == "down" else levels - 1 - int(match[3])
        start = f"{match[1]}.{match[2]}.{level}"
        if match[4] == "resnets":
            return f"{start}.block.{match[5]}"
        return f"{start}.{match[4].removesuffix('rs')}.{match[5].removeprefix('0.')}"

    return {
        name(key): value[..., None, None] if ".attentions." in key and value.ndim == 2 else value
        for key, value in vae.state_dict().items()
    }


def clip_to_original(encoder: Any, prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}text_model.{key.removeprefix('text_model.')}": v for key, v in encoder.state_dict().items()} | {
        f"{prefix}text_model.embeddings.position_ids": torch.arange(77)[None]
    }


def open_clip_to_original(encoder: Any, prefix: str) -> dict[str, torch.Tensor]:
    state = {key.removeprefix("text_model."): value for key, value in encoder.state_dict().items()}
    found: dict[str, torch.Tensor] = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
    }
    if "text_projection.weight" in state:
        found["text_projection"] = state["text_projection.weight"].T
    renamed = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
               "self_attn.out_proj": "attn.out_proj"}  # fmt: skip
    for layer in range(encoder.config.num_hidden_layers):
        for kind in ("weight", "bias"):
            for new, old in renamed.items():
                found[f"transformer.resblocks.{layer}.{old}.{kind}"] = state[f"encoder.layers.{layer}.{new}.{kind}"]
            joined = [state[f"encoder.layers.{layer}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            found[f"transformer.resblocks.{layer}.attn.in_proj_{kind}"] = torch.cat(joined)
    return {prefix + key: value for key, value in found.items()}


# --------------------------------------------------------------------------------------------------------- full size


def full_meta(family: Family, *, in_channels: int = 4) -> dict[str, Any]:
    """Modules of the family's real size without memory: names and shapes alone."""
    kinds = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    modules: dict[str, Any] = {}
    with torch.device("meta"):
        for part in (part for of, part in TEXT if of == family):
            modules[part] = kinds[part](CLIPTextConfig(**configs.family_config(FAMILIES[family], part)))
        unet = configs.family_config(FAMILIES[family], "unet") | {"in_channels": in_channels}
        modules["unet"] = UNet2DConditionModel.from_config(unet)
        modules["vae"] = AutoencoderKL.from_config(configs.family_config(FAMILIES[family], "vae"))
    return modules


def full_family(family: Family, *, dtype: torch.dtype = torch.float16) -> dict[str, Any]:
    """Modules of the family's real size with random weights, made without a second copy in float32."""
    modules = full_meta(family)
    generator = torch.Generator().manual_seed(0)
    for module in modules.values():
        module.to(dtype).to_empty(device="cpu")
        for name, weight in module.named_parameters():
            if name.endswith("weight") and weight.ndim == 1:
                weight.data.fill_(1)
            else:
                block = torch.randn(min(weight.numel(), 2**20), generator=generator).to(dtype) * 0.02
                flat = weight.data.view(-1)
                for begin in range(0, len(flat), len(block)):
                    flat[begin : begin + len(block)] = block[: len(flat) - begin]
    return {part: module.eval().requires_grad_(False) for part, module in modules.items()}


def save_large(path: Path, family: Family, modules: dict[str, Any]) -> Path:
    """As `save_original`, one tensor behind the other: safetensors' own writer would hold a copy of them all."""
    names = {torch.float16: "F16", torch.float32: "F32", torch.int64: "I64"}
    tensors, entries, position = original_tensors(family, modules), {}, 0
    for key, value in tensors.items():
        end = position + value.numel() * value.element_size()
        entries[key] = {"dtype": names[value.dtype], "shape": list(value.shape), "data_offsets": [position, end]}
        position = end
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for value in tensors.values():
            file.write(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    return path
