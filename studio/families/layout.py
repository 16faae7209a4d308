"""The original key layout of Stable Diffusion's single files => the names of diffusers' and transformers' modules.

Names alone: no tensor, no torch. Every name is either translated, or known to be of no use, or unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from studio.families.base import UNET_PREFIX, VAE_PREFIX, Family, TextEncoderSpec
from studio.families.storage import is_companion, is_stray

# What training leaves in a file and a picture needs nothing of.
_LEFTOVERS = re.compile(
    r"model_ema\.|alphas_cumprod|betas$|sqrt_|log_one_minus|posterior_|logvar$|denoiser\.|loss\.|global_step"
    r"|first_stage_model\.(loss|model_ema)\.|embedding_manager\.|v_pred$|ztsnr$|.*position_ids$|.*logit_scale$"
    r"|.*attn_mask$|noise_augmentor\.|scale_factor$|cond_stage_model\.model\.(visual|text_projection)"
)


@dataclass(frozen=True)
class Move:
    """Where one tensor of a file goes, or the first, second or last `third` of its rows (joined q, k, v)."""

    source: str
    target: str
    third: int | None = None
    transposed: bool = False


@dataclass(frozen=True)
class Translation:
    """A single file's names, sorted: by part what goes where, and what belongs to no part."""

    moves: dict[str, list[Move]]
    unknown_names: dict[str, list[str]]  # by part: names that begin like the part's but are none of its
    unused: list[str]  # of no part and no known leftover


def translate(keys: Iterable[str], family: Family, *, layers_per_block: int = 2) -> Translation:
    """Sort every name of a single-file checkpoint."""
    names = list(keys)
    encoders = {one.part: one for one in family.text_encoders}
    prefixes = [(UNET_PREFIX, "unet"), (VAE_PREFIX, "vae"), *((one.prefix, one.part) for one in family.text_encoders)]
    moves: dict[str, list[Move]] = {part: [] for _, part in prefixes}
    unknown_names: dict[str, list[str]] = {part: [] for _, part in prefixes}
    unused: list[str] = []
    levels = vae_levels(name.removeprefix(VAE_PREFIX) for name in names if name.startswith(VAE_PREFIX))
    last_layers = {part: _dropped_layer(names, one) for part, one in encoders.items()}
    for name in names:
        if _LEFTOVERS.match(name) or is_companion(name):
            continue
        if is_stray(name):
            unused.append(name)
            continue
        prefix, part = next(((p, part) for p, part in prefixes if name.startswith(p)), ("", ""))
        rest = name[len(prefix) :]
        if not part:
            unused.append(name)
            continue
        if part == "unet":
            target = unet_name(rest, layers_per_block)
            moves_of_name = [Move(name, target)] if target else []
        elif part == "vae":
            target = vae_name(rest, levels)
            moves_of_name = [Move(name, target)] if target else []
        else:
            start = last_layers[part]
            if start is not None and rest.startswith(start):
                continue  # the model listens to the last layer but one, so diffusers leaves the last one out
            moves_of_name = text_encoder_moves(name, rest, encoders[part])
            if not moves_of_name and _is_projection(rest) and not encoders[part].projects:
                continue  # CLIP's way out of its text encoder, which no family takes from this one
        (moves[part].extend(moves_of_name) if moves_of_name else unknown_names[part].append(name))
    return Translation(moves, unknown_names, unused)


# ----------------------------------------------------------------------------------------------------------- U-Net

_UNET_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    # LCM's guidance embedding, younger than the layout: diffusers' own converter leaves its name as it is.
    "time_embedding.cond_proj": "time_embedding.cond_proj",
    "time_embed.cond_proj": "time_embedding.cond_proj",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


def unet_name(name: str, layers_per_block: int = 2) -> str | None:
    """diffusers' name of a U-Net's parameter or module (without the prefix); None for an unknown name."""
    for old, new in _UNET_ENDS.items():
        if name == old or name.startswith(old + "."):
            return new + name[len(old) :]
    match = re.fullmatch(r"middle_block\.([012])\.(.+)", name)
    if match:
        if match[1] == "1":
            return f"mid_block.attentions.0.{match[2]}"
        inner = _new_name(match[2], _RESNET)
        return f"mid_block.resnets.{int(match[1]) // 2}.{inner}" if inner else None
    match = re.fullmatch(r"(input|output)_blocks\.(\d+)\.(\d)\.(.+)", name)
    if not match:
        return None
    going_down, index, place, rest = match[1] == "input", int(match[2]), match[3], match[4]
    block, layer = divmod(index - 1 if going_down else index, layers_per_block + 1)
    side = f"{'down' if going_down else 'up'}_blocks.{block}"
    if going_down and place == "0" and re.match(r"op(\.|$)", rest):
        return f"{side}.downsamplers.0.conv{rest[2:]}"
    if not going_down and place in "12" and re.match(r"conv(\.|$)", rest):
        return f"{side}.upsamplers.0.{rest}"
    if place == "0":
        inner = _new_name(rest, _RESNET)
        return f"{side}.resnets.{layer}.{inner}" if inner else None
    return f"{side}.attentions.{layer}.{rest}" if place == "1" else None


def _new_name(name: str, table: dict[str, str]) -> str | None:
    for old, new in table.items():
        if name == old or name.startswith(old + "."):
            return new + name[len(old) :]
    return None


# ------------------------------------------------------------------------------------------------------------- VAE

_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
# The same as earlier versions of diffusers called it.
_EARLIER_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def vae_levels(names: Iterable[str]) -> int:
    """How many levels a VAE, or its decoder alone, has by its names in the original layout."""
    level_numbers = [int(m[1]) for name in names if (m := re.match(r"(?:encoder\.down|decoder\.up)\.(\d+)\.", name))]
    return max(level_numbers, default=3) + 1


def has_encoder(names: Iterable[str]) -> bool:
    """Whether a VAE of these names (without the prefix, in either layout) makes latents of pictures: many files hold
    its decoder alone."""
    return any(name.startswith("encoder.") for name in names)


def vae_name(name: str, levels: int = 4) -> str | None:
    """diffusers' name of a VAE's parameter (without the prefix); None for an unknown name."""
    if name.startswith(("quant_conv.", "post_quant_conv.")):
        return name
    match = re.fullmatch(r"(encoder|decoder)\.(conv_in|conv_out|norm_out)\.(weight|bias)", name)
    if match:
        return f"{match[1]}.{'conv_norm_out' if match[2] == 'norm_out' else match[2]}.{match[3]}"
    match = re.fullmatch(r"(encoder|decoder)\.mid\.block_([12])\.(.+)", name)
    if match:
        return f"{match[1]}.mid_block.resnets.{int(match[2]) - 1}.{match[3].replace('nin_shortcut', 'conv_shortcut')}"
    match = re.fullmatch(r"(encoder|decoder)\.mid\.attn_1\.(norm|q|k|v|proj_out)\.(weight|bias)", name)
    if match:
        return f"{match[1]}.mid_block.attentions.0.{_VAE_ATTENTION[match[2]]}.{match[3]}"
    match = re.fullmatch(r"(encoder\.down|decoder\.up)\.(\d+)\.(block\.(\d+)|downsample|upsample)\.(.+)", name)
    if not match:
        return None
    going_down, level = match[1] == "encoder.down", int(match[2])
    side = f"encoder.down_blocks.{level}" if going_down else f"decoder.up_blocks.{levels - 1 - level}"
    if match[4] is not None:
        return f"{side}.resnets.{match[4]}.{match[5].replace('nin_shortcut', 'conv_shortcut')}"
    return f"{side}.{'downsamplers' if going_down else 'upsamplers'}.0.{match[5]}"


def todays_name(name: str) -> str:
    """A parameter of a diffusers folder by the name that diffusers gives it today."""
    match = re.fullmatch(r"(.*\.attentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)", name)
    return f"{match[1]}.{_EARLIER_ATTENTION[match[2]]}.{match[3]}" if match else name


# --------------------------------------------------------------------------------------------------- text encoders

_OPEN_CLIP = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
              "attn.out_proj": "self_attn.out_proj"}  # fmt: skip
_OPEN_CLIP_STARTS = ("transformer.", "token_embedding", "positional_embedding", "ln_final", "text_projection")
_OPEN_CLIP_ENDS = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}


def open_clip_moves(source: str, name: str, *, with_projection: bool) -> list[Move]:
    """Where a tensor of an OpenCLIP text encoder goes; empty for an unknown name. `name`: `source` less its prefix."""
    start = "text_model." if with_projection else ""
    if name in _OPEN_CLIP_ENDS:
        return [Move(source, start + _OPEN_CLIP_ENDS[name])]
    if name == "text_projection":
        return [Move(source, "text_projection.weight", transposed=True)] if with_projection else []
    match = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", name)
    if not match:
        return []
    layer, rest = f"{start}encoder.layers.{match[1]}", match[2]
    projection_match = re.fullmatch(r"attn\.in_proj_(weight|bias)", rest)
    if projection_match:
        return [
            Move(source, f"{layer}.self_attn.{letter}_proj.{projection_match[1]}", third=third)
            for third, letter in enumerate("qkv")
        ]
    inner = _new_name(rest, _OPEN_CLIP)
    return [Move(source, f"{layer}.{inner}")] if inner else []


def text_encoder_moves(source: str, name: str, encoder: TextEncoderSpec) -> list[Move]:
    """Where a tensor of a text encoder goes; empty for an unknown name. `name`: `source` without its prefix. Files that
    were converted have transformers' names where their family has OpenCLIP's."""
    if name.removeprefix("text_model.") == "text_projection.weight":  # as a linear layer has it, untransposed
        return [Move(source, "text_projection.weight")] if encoder.projects else []
    if name.startswith(_OPEN_CLIP_STARTS):
        return open_clip_moves(source, name, with_projection=encoder.projects)
    return [] if _is_projection(name) else [Move(source, name.removeprefix("text_model."))]


def _is_projection(name: str) -> bool:
    return name.removeprefix("text_model.") in ("text_projection", "text_projection.weight")


def _dropped_layer(names: Iterable[str], encoder: TextEncoderSpec) -> str | None:
    """How the names of the layer begin that is left out; None where the file has left it out already."""
    if encoder.full_layers is None:
        return None
    start = f"transformer.resblocks.{encoder.full_layers - 1}."
    return start if any(name.startswith(encoder.prefix + start) for name in names) else None
