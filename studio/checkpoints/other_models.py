"""Recognises models of other architectures by parts of their tensors' names, so that the page can name them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from studio.answered.model_facts import ModelFacts
from studio.asked.messages import Message
from studio.checkpoints.inspect import Header
from studio.families.base import UNET_PREFIX

RUNS = "the studio runs the Stable Diffusion families with a U-Net"

# What it is, and patterns that must all be found in names of its tensors; the first that fits is it, so the more
# particular come first. The keys are those by which diffusers' single-file loader tells them.
_MODELS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("a Flux.3 model", (r"early_stream_modulations\.image\.lin\.weight",)),
    ("a Flux.2 model", (r"single_stream_modulation\.lin\.weight|double_stream_modulation_img\.lin",)),
    ("a Chroma model", (r"distilled_guidance_layer\.",)),
    ("a HunyuanVideo or HunyuanImage model", (r"double_blocks\.0\.img_attn_qkv\.|txt_in\.individual_token_refiner",)),
    ("a HunyuanImage model", (r"double_blocks\.", r"byt5_in\.|vision_in\.|txt_in\.c_embedder")),
    ("a Stable Diffusion 3.5 model", (r"joint_blocks\.\d+\.(x_block\.attn2|context_block\.attn\.ln_k)",)),
    ("a Stable Diffusion 3 model", (r"joint_blocks\.",)),
    ("a Krea 2 model", (r"txtfusion\.projector\.",)),
    ("a Qwen-Image 2.1 model", (r"txt_in\.text_norm\.",)),
    ("a Qwen-Image model", (r"transformer_blocks\.\d+\.(img_mod|txt_mod)\.", r"txt_norm\.weight")),
    ("an Anima model", (r"llm_adapter\.", r"blocks\.0\.(self_attn|adaln)")),
    ("a Cosmos model", (r"blocks\.0\.self_attn\.q_proj\.weight", r"pos_embedder\.dim_spatial_range")),
    ("a Cosmos model", (r"net\.blocks\.0\.self_attn\.q_proj\.weight",)),
    ("a Wan video model", (r"blocks\.\d+\.self_attn\.norm_q\.weight", r"(head\.modulation|time_projection\.1)")),
    ("an LTX video model", (r"transformer_blocks\.\d+\.scale_shift_table", r"(patchify_proj|adaln_single)\.")),
    ("a Z-Image model", (r"layers\.0\.adaLN_modulation\.0\.weight",)),
    ("a Lumina 2 model", (r"cap_embedder\.",)),
    ("a Flux model", (r"double_blocks\.|single_transformer_blocks\.",)),
    ("a Stable Cascade model", (r"clip_txt_mapper\.",)),
    ("a PixArt or Sana model", (r"caption_projection\.|y_embedder\.y_proj\.",)),
    ("an AuraFlow model", (r"double_layers\.",)),
    ("a Stable Video Diffusion model", (r"(time_stack|temporal_transformer_blocks)\.", r"(input|down)_blocks\.")),
    ("an IP-Adapter", (r"^(image_proj|ip_adapter)\.",)),
    ("a T2I-Adapter", (r"^(adapter\.)?body\.\d+\.(block1|resnets|in_conv|down_opt)|^body\.\d+\.in_conv",)),
    ("a picture upscaler", (r"^conv_first\.weight|^layers\.0\.residual_group\.",)),
    ("a text encoder on its own", (r"text_model\.encoder\.layers\.|^encoder\.block\.0\.layer\.",)),
    ("a text encoder on its own", (r"^model\.layers\.0\.self_attn\.q_proj",)),
    ("a CLIP model", (r"visual\.|^vision_model\.",)),
)  # fmt: skip


def as_other_model(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    """The facts of a model of another architecture, whatever else is in its file; None for what is none of them."""
    names = "\n".join(header.tensors)
    if f"{UNET_PREFIX}input_blocks.0.0.weight" in header.tensors and "time_stack." not in names:
        return None
    for what, patterns in _MODELS:
        if all(re.search(pattern, names, re.MULTILINE) for pattern in patterns):
            return replace(facts, kind=None, reason=Message("This is {what}; {runs}.", what=what, runs=RUNS))
    return None
