"""What is neither checkpoint nor LoRA, as its header shows it: ControlNet, VAE, small VAE for previews, embedding."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from studio.answered.model_facts import VAE, ModelFacts
from studio.asked.messages import Message
from studio.checkpoints.details import short
from studio.checkpoints.inspect import BadCheckpoint, Header
from studio.checkpoints.part_plans import parts_problem, vae_file_plan
from studio.families.base import VAE_PREFIX, words_of
from studio.families.layout import has_encoder
from studio.families.registry import FAMILIES

LATENTS_OF = "latents_of"  # metadata of a tiny decoder that knows one checkpoint's latents and no family's
DECODES_ONLY = Message("The VAE in it has no encoder: it makes pictures from text, and cannot begin with a picture.")
CONTROLNET_PREFIX = "control_model."
_CONTROLNET_MARKS = (CONTROLNET_PREFIX, "controlnet_cond_embedding.", "input_hint_block.", "controlnet_down_blocks.")


def as_controlnet(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    """A ControlNet, in the original key layout or in diffusers'; its family by how its copy of the U-Net is built."""
    if not any(key.startswith(_CONTROLNET_MARKS) for key in header.tensors):
        return None
    facts = replace(facts, kind="controlnet", parts=("controlnet",))
    keys = {key.removeprefix(CONTROLNET_PREFIX): entry for key, entry in header.tensors.items()}
    if any(key.startswith(("task_embedding", "control_add_embedding.", "transformer_layes.")) for key in keys):
        return replace(
            facts, reason=Message("This is a ControlNet of several kinds at once (Union), which is not run.")
        )
    if "lora_controlnet" in keys or any(key.endswith((".up", ".down")) for key in keys):
        return replace(facts, reason=Message("This is a Control-LoRA, which is not run; take the whole ControlNet."))
    if any(key.startswith(("output_blocks.", "model.diffusion_model.")) for key in keys):
        return replace(
            facts, reason=Message("This holds a whole checkpoint beside a ControlNet; take the ControlNet alone.")
        )
    vector_keys = {"label_emb.0.0.weight", "add_embedding.linear_1.weight"} & keys.keys()
    joins = [e for key, e in keys.items() if re.search(r"(input_blocks|down_blocks)\..*\.proj_in\.weight$", key)]
    if not joins or not {"conv_in.weight", "input_blocks.0.0.weight"} & keys.keys():
        return replace(facts, reason=Message("This ControlNet is for another family than SD 1, SD 2 and SDXL."))
    family: str = "sdxl" if vector_keys else "sd1" if len(joins[0].shape) == 4 else "sd2"
    return replace(facts, family=family)


def as_vae(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    tensors = header.tensors
    for prefix in ("", VAE_PREFIX, "vae."):
        conv_in = tensors.get(f"{prefix}decoder.conv_in.weight")
        if conv_in is None or len(conv_in.shape) != 4:
            continue
        if not any(
            f"{prefix}decoder.{k}" in tensors for k in ("mid.block_1.norm1.weight", "mid_block.resnets.0.norm1.weight")
        ):
            continue  # fmt: skip
        encodes = has_encoder(key.removeprefix(prefix) for key in tensors if key.startswith(prefix))
        facts = replace(facts, vae_has_encoder=encodes, notes=facts.notes if encodes else (*facts.notes, DECODES_ONLY))
        if conv_in.shape[1] != 4:
            what = Message(
                "This VAE makes latents of {shape} channels, those of Stable Diffusion have 4.", shape=conv_in.shape[1]
            )
            return replace(facts, kind="vae", reason=what, parts=("vae",))
        spec = header.metadata.get("modelspec.architecture", "").lower()
        family: str | None = "sdxl" if "xl" in spec else "sd1" if "v1" in spec else "sd2" if "v2" in spec else None
        try:
            problem = parts_problem({VAE: vae_file_plan(Path(name), tensors, FAMILIES[family or "sd1"])})
        except BadCheckpoint as error:
            problem = str(error)
        return replace(facts, kind="vae", family=family, parts=("vae",), reason=problem)
    return None


def as_taesd(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    """The small VAE for previews: diffusers' AutoencoderTiny, or the original encoder or decoder on its own."""
    keys = list(header.tensors)
    if not keys:
        return None
    tiny = all(
        re.fullmatch(r"(taesd_)?((de|en)coder\.)?(layers\.)?\d+\.(conv\.\d+\.|skip\.)?(weight|bias)", k) for k in keys
    )
    if not tiny or not any(".conv." in k for k in keys):
        return None
    if whose := header.metadata.get(LATENTS_OF):
        return replace(facts, kind="preview_decoder", reason=of_one_checkpoint(whose))
    own = {k: e for k, e in header.tensors.items() if "encoder." not in k}
    first = [e for k, e in own.items() if re.search(r"(^|decoder\.(layers\.)?)[01]\.weight$", k) and len(e.shape) == 4]
    if not own or {e.shape[1] for e in first} == {3}:  # what begins with three colours makes latents
        reason = Message("This is the encoder of a small VAE; previews are made by a decoder.")
        return replace(facts, kind="preview_decoder", family=taesd_family(name), reason=reason)
    if first and all(e.shape[1] not in (3, 4) for e in first):
        return replace(
            facts,
            kind="preview_decoder",
            reason=Message("This small VAE is for latents of another kind than Stable Diffusion's."),
        )
    return replace(facts, kind="preview_decoder", family=taesd_family(name), parts=("vae",))


# What a safety checker has beside CLIP's picture encoder.
SAFETY_CHECKER = (
    "concept_embeds",
    "concept_embeds_weights",
    "special_care_embeds",
    "special_care_embeds_weights",
    "visual_projection.weight",
)


def as_safety_checker(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    """Stable Diffusion's safety checker, on its own."""
    return replace(facts, kind="safety_checker") if set(SAFETY_CHECKER) <= header.tensors.keys() else None


def vision_name(key: str) -> str | None:
    """What CLIP's picture encoder calls a tensor of a safety checker; None for what is none of its weights."""
    name = re.sub(r"^(vision_model\.){1,2}", "", key)
    return None if name == key or name.endswith("position_ids") else name


def taesd_family(name: str) -> str:
    """Only the name tells the small VAE of SDXL from that of the others."""
    return "sdxl" if any("xl" in word for word in words_of(name)) else "sd1"


def of_one_checkpoint(name: str) -> str:
    return Message("This small VAE knows the latents of {name} only.", name=short(name)[:60])


def as_embedding(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    """Textual inversion: A1111's `emb_params`, SDXL's `clip_l` and `clip_g`, or diffusers' one tensor by its word."""
    tensors = header.tensors
    if "clip_l" in tensors and "clip_g" in tensors:
        return replace(facts, kind="embedding", family="sdxl", trigger=facts.trigger or name)
    if not 1 <= len(tensors) <= 3:
        return None
    key = "emb_params" if "emb_params" in tensors else next(iter(tensors))
    entry = tensors[key]
    if len(entry.shape) not in (1, 2) or ("." in key.strip(".") and not key.startswith("<")):
        return None
    family = {768: "sd1", 1024: "sd2"}.get(entry.shape[-1])
    if family is None:
        if entry.shape[-1] == 1280:
            return replace(
                facts,
                kind="embedding",
                family="sdxl",
                reason=Message("Only one of SDXL's two embeddings is in this file."),
            )
        return None
    word = name if key == "emb_params" else key
    return replace(facts, kind="embedding", family=family, trigger=facts.trigger or word)
