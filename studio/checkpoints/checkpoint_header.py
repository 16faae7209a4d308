"""A checkpoint as its header shows it: which family, which parts, how it was trained. No tensor is read."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.answered.model_facts import CHECKPOINT_PARTS, VAE, ModelFacts
from studio.asked.messages import Message
from studio.checkpoints.details import precision
from studio.checkpoints.inspect import Header, TensorEntry
from studio.checkpoints.other_headers import DECODES_ONLY
from studio.checkpoints.part_plan import Plan
from studio.checkpoints.part_plans import file_plans, judge_plans, vae_left_out
from studio.families import edm, flow
from studio.families.base import UNET_PREFIX, VAE_PREFIX, Family, UnetShape, unet_shape
from studio.families.layout import has_encoder, translate
from studio.families.registry import FAMILIES, recognise
from studio.families.storage import is_stray, type_problem, with_names
from studio.families.training import training_of

UNUSABLE_CHANNELS = {
    5: Message("a depth-guided model, which needs a depth map"),
    7: Message("a latent upscaler"),
    8: Message("an InstructPix2Pix model, which needs a second picture"),
}
_THIS_FILE = Path("this file")  # a judgement by structure names no file: others of the same structure share it
_DIFFUSERS_UNET = {"down_blocks.0.resnets.0.norm1.weight", "mid_block.resnets.0.norm1.weight", "conv_in.weight"}


def unusable_channels(channels: int) -> str:
    """Why a U-Net with so many input channels is not run; "" for one that is."""
    if channels in (4, 9):
        return ""
    what = UNUSABLE_CHANNELS.get(channels) or Message(
        "of another kind: its U-Net takes {channels} channels", channels=channels
    )
    return Message("This is {what}; the studio cannot run it.", what=what)


def _unknown_structure(unet: UnetShape) -> str:
    if not unet.size_conditioned:
        return Message("Its U-Net has blocks of none of the families SD 1, SD 2 and SDXL.")
    if unet.depths[:1] != (0,) or not any(unet.depths):
        return Message("This is an unCLIP model, which needs a picture; the studio cannot run it.")
    return Message("This is an SDXL of another depth than those that are known; it is not run.")


def as_checkpoint(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    """The facts of a checkpoint, or of a U-Net alone; None for what has no U-Net."""
    if not header.tensors:
        return None
    dtypes, shapes, _ = zip(*header.tensors.values())
    values = _by_structure(tuple(header.tensors), dtypes, shapes)
    if values is None:
        return None
    facts = replace(facts, **values)
    family = FAMILIES.get(facts.family or "")
    return _with_training(facts, family, with_names(header.tensors), header.metadata, name) if family else facts


@functools.lru_cache(maxsize=8)  # most files of a family are of one structure, and the judgement is the longer part
def _by_structure(
    names: tuple[str, ...], dtypes: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]
) -> Mapping[str, Any] | None:
    """The fields of ModelFacts that names, types and shapes alone show, with a family where one is recognised; None for
    what has no U-Net. Without the file's name or metadata, so that files of one structure are judged once."""
    tensors = with_names({key: TensorEntry(dtype, shape) for key, dtype, shape in zip(names, dtypes, shapes)})
    prefix = UNET_PREFIX if f"{UNET_PREFIX}input_blocks.0.0.weight" in tensors else ""
    unet = unet_shape(tensors, prefix)
    if any(".time_stack." in key for key in tensors):  # of a video: called by its name
        return None
    if unet is None:
        if tensors.keys() >= _DIFFUSERS_UNET:
            alone = Message("This is a U-Net alone in diffusers' layout: put it into the unet folder of a checkpoint.")
            return {"kind": None, "parts": ("unet",), "reason": alone}
        return None
    reason = unusable_channels(unet.in_channels)
    family = recognise(unet)
    if reason or family is None:
        return {"kind": None, "in_channels": unet.in_channels, "reason": reason or _unknown_structure(unet)}
    parts = _parts(tensors, family)
    if any(one.part not in parts for one in family.text_encoders):
        reason = Message("This file holds no text encoder: it is a U-Net alone, and cannot be run on its own.")
    if not prefix:
        reason = Message("This file holds a U-Net alone, and cannot be run on its own.")
    notes: tuple[str, ...] = ()
    if not reason:
        reason, vae_problem, notes = _weights(tensors, family)
        if vae_problem:  # it runs with another one
            parts.discard(VAE)
            notes = (*notes, vae_left_out(vae_problem))
    encodes = VAE not in parts or has_encoder(k.removeprefix(VAE_PREFIX) for k in tensors if k.startswith(VAE_PREFIX))
    return {
        "kind": "checkpoint",
        "family": family.name,
        "in_channels": unet.in_channels,
        "encoder_layers": _encoder_layers(tensors, family),
        "vae_has_encoder": encodes,
        "precision": precision(e for k, e in tensors.items() if k.startswith(prefix)),
        "parts": tuple(part for part in CHECKPOINT_PARTS if part in parts),
        "reason": reason,
        "notes": notes if encodes else (*notes, DECODES_ONLY),
    }


def _weights(tensors: Mapping[str, TensorEntry], family: Family) -> tuple[str, str, tuple[str, ...]]:
    """Why the file's weights cannot be loaded, why its VAE alone cannot, and what is worth saying of them: the loader's
    own judgement."""
    translation = translate((name for name in tensors if name not in edm.NUMBERS), family)
    labels = {"unet": "U-Net", "vae": "VAE"} | {one.part: one.label for one in family.text_encoders}
    for part, names in translation.unknown_names.items():
        if names:
            examples = ", ".join(name[:80] for name in names[:3])
            label = labels[part]
            foreign = Message(
                "These are no weights of this {label}: {count} tensors do not belong there ({examples}).",
                label=label,
                count=len(names),
                examples=examples,
            )
            return foreign, "", ()
    weights = {move.source for moves in translation.moves.values() for move in moves}
    problem, vae_problem = type_problem(tensors, weights), ""
    if not problem:
        has_vae = any(move.target.startswith("decoder.") for move in translation.moves[VAE])

        def plans(own_vae: bool) -> Mapping[str, Plan]:
            return file_plans(_THIS_FILE, tensors, family, translation, own_vae=own_vae and has_vae)

        problem, vae_problem = judge_plans(plans)
    strays = sum(map(is_stray, translation.unused))
    if not strays or problem:
        return problem, vae_problem, ()
    return problem, vae_problem, (Message("{count} tensors of a LoRA in it are not used.", count=strays),)


def _parts(tensors: Mapping[str, TensorEntry], family: Family) -> set[str]:
    parts = {one.part for one in family.text_encoders if any(key.startswith(one.prefix) for key in tensors)}
    parts |= {"vae"} if any(key.startswith(VAE_PREFIX + "decoder.") for key in tensors) else set()
    return parts | {"unet"}


def _encoder_layers(tensors: Mapping[str, TensorEntry], family: Family) -> int | None:
    """Layers of its text encoder, of the shallowest where there are several, without one that is not listened to."""
    counts = []
    for one in family.text_encoders:
        numbers = [
            int(match[1])
            for key in tensors
            if key.startswith(one.prefix) and (match := re.search(r"\.(?:layers|resblocks)\.(\d{1,3})\.", key))
        ]
        if numbers:
            count = 1 + max(numbers)
            counts.append(count - 1 if count == one.full_layers else count)
    return min(counts, default=None)


def _with_training(
    facts: ModelFacts, family: Family, tensors: Mapping[str, TensorEntry], metadata: Mapping[str, str], name: str
) -> ModelFacts:
    training = training_of(family, tensors.keys(), metadata, name)
    side = _resolution(metadata)
    native = family.native(training.prediction)
    if side is None and native is not None:
        side = (native, native)
    notes = list(facts.notes)
    if training.prediction is None:
        notes.append(
            Message("The file does not say whether it predicts noise or v; that is measured when it is loaded.")
        )
    return replace(
        facts,
        prediction_type=training.prediction,
        prediction_source=training.prediction_source,
        shift=flow.SHIFT if training.prediction == "flow_prediction" else None,
        zero_terminal_snr=training.zero_terminal_snr,
        distillation=training.distillation,
        distillation_source=training.distillation_source,
        guidance_embedded=training.guidance_embedded,
        native_width=side[0] if side else None,
        native_height=side[1] if side else None,
        notes=tuple(notes),
    )


def _resolution(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    match = re.fullmatch(
        r"\s*(\d{2,4})\s*[x,]\s*(\d{2,4})\s*|\s*(\d{2,4})\s*", metadata.get("modelspec.resolution", "")
    )
    if match is None:
        return None
    width, height = int(match[1] or match[3]), int(match[2] or match[3])
    return (width, height) if min(width, height) >= 64 and max(width, height) <= 2048 else None
