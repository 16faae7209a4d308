"""A whole checkpoint before it is read: for every part its config and where each parameter comes from, all headers
checked. What is said here of a file is said by the listing too: there is one judgement."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTokenizer

from studio.answered.model_facts import ModelFacts
from studio.asked.messages import Message
from studio.checkpoints.details import read_json
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry, read_header
from studio.checkpoints.part_plan import Plan
from studio.checkpoints.part_plans import (
    PartKind,
    check_classes,
    file_plans,
    folder_plans,
    part_json,
    part_kinds,
    vae_file_plan,
    vae_folder_plan,
)
from studio.checkpoints.reader import WeightsFile
from studio.families import configs, edm
from studio.families.base import Family, TextEncoderSpec
from studio.families.folders import family_of_folder, scheduler_problem
from studio.families.layout import translate
from studio.families.registry import FAMILIES
from studio.families.storage import with_names
from studio.families.training import few_step_settings, scheduler_settings

logger = logging.getLogger(__name__)

_KINDS = {
    "lora": "a LoRA",
    "vae": "a VAE",
    "embedding": Message("an embedding"),
    "preview_decoder": Message("a small VAE for previews"),
    "controlnet": Message("a ControlNet"),
    "safety_checker": Message("a safety checker"),
    "upscaler": Message("an upscaler"),
}


@dataclass(frozen=True)
class Blueprint:
    """A whole checkpoint before it is read."""

    facts: ModelFacts
    family: Family
    plans: Mapping[str, Plan]
    scheduler_config: dict[str, Any]
    tokenizers: Callable[[TextEncoderSpec], Any]
    index: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    latents: Mapping[str, Any] = field(default_factory=dict)  # of a VAE's config: what the U-Net was trained on


def blueprint_of(path: Path, facts: ModelFacts, *, vae: Path | None = None) -> Blueprint:
    """What would be loaded from `path`, every header checked and no tensor read. Raises BadCheckpoint."""
    if facts.form == "folder" or path.is_dir():
        blueprint = _of_folder(path, facts, own_vae=vae is None)
    else:
        blueprint = _of_file(path, facts, own_vae=vae is None)
    if vae is not None:
        plan = vae_plan(vae, blueprint.family)
        plan = replace(plan, config=_with_latents(plan.config, blueprint))
        plans = {part: plan if part == "vae" else own for part, own in blueprint.plans.items()}
        blueprint = replace(
            blueprint, plans=plans, notes=(*blueprint.notes, Message("The VAE is {vae}.", vae=vae.name))
        )
    return blueprint


# ----------------------------------------------------------------------------------------------------- single files


def _of_file(path: Path, facts: ModelFacts, *, own_vae: bool) -> Blueprint:
    if facts.kind != "checkpoint" or facts.family is None:
        other = _KINDS.get(facts.kind or "")
        if other is not None:
            raise BadCheckpoint(Message("{file} is {other}, not a checkpoint.", file=path.name, other=other))
        raise BadCheckpoint(_about(path, facts.reason))
    if facts.reason:
        raise BadCheckpoint(_about(path, facts.reason))
    family = FAMILIES[facts.family]
    tensors = with_names(read_header(path))
    translation = translate((name for name in tensors if name not in edm.NUMBERS), family)
    numbers = _numbers(path, tensors)
    plans = file_plans(path, tensors, family, translation, native_width=facts.native_width, own_vae=own_vae)
    vae_config = edm.vae_config(numbers)
    plans["vae"] = replace(plans["vae"], config={**plans["vae"].config, **vae_config})
    notes = []
    if translation.unused:
        examples = ", ".join(n[:60] for n in translation.unused[:3])
        notes.append(
            Message(
                "{count} tensors of {file} were not used ({examples}).",
                count=len(translation.unused),
                file=path.name,
                examples=examples,
            )
        )

    def tokenizer(encoder: TextEncoderSpec) -> Any:
        return configs.clip_tokenizer(encoder.pad_token, plans[encoder.part].config["max_position_embeddings"])

    return Blueprint(
        facts,
        family,
        plans,
        scheduler_config(facts, family, numbers),
        tokenizer,
        configs.pipeline_index(family),
        tuple(notes),
        vae_config,
    )


def scheduler_config(
    facts: ModelFacts, family: Family, numbers: Mapping[str, tuple[float, ...]] | None = None
) -> dict[str, Any]:
    """The family's scheduler config with what is known of the model's training. `numbers` are a file's small tensors
    that say how (studio.families.edm)."""
    config = scheduler_settings(facts.prediction_type, configs.family_config(family, "scheduler"), numbers)
    return config | few_step_settings(facts.distillation, zero_terminal_snr=facts.zero_terminal_snr)


def _numbers(path: Path, tensors: Mapping[str, TensorEntry]) -> dict[str, tuple[float, ...]]:
    """The values of the few small tensors that say how a model was trained. Raises BadCheckpoint for odd ones."""
    numbers: dict[str, tuple[float, ...]] = {}
    with WeightsFile(path) as file:
        for name in edm.NUMBERS:
            if name in tensors:
                value = file.read(tensors[name], device=torch.device("cpu"), dtype=torch.float32).flatten()
                if not 1 <= len(value) <= 64 or not bool(torch.isfinite(value).all()):
                    raise BadCheckpoint(
                        Message("{file}: {name} is not a few finite numbers.", file=path.name, name=name)
                    )
                numbers[name] = tuple(value.tolist())
    return numbers


def _about(path: Path, reason: str) -> str:
    return reason if path.name in reason else Message("{file}: {reason}", file=path.name, reason=reason)


# ---------------------------------------------------------------------------------------------------------- folders


def _of_folder(folder: Path, facts: ModelFacts, *, own_vae: bool) -> Blueprint:
    index = read_json(folder / "model_index.json")
    if index is None:
        raise BadCheckpoint(Message("This folder has no readable model_index.json, so it is no diffusers checkpoint."))
    if facts.reason:
        raise BadCheckpoint(facts.reason)
    family = (
        FAMILIES[facts.family]
        if facts.family
        else family_of_folder(read_json(folder / "unet" / "config.json") or {}, index)
    )
    check_classes(index, family, own_vae=own_vae)
    kinds = part_kinds(family)
    config = part_json(folder, "scheduler", "scheduler", "scheduler_config.json")
    if problem := scheduler_problem(config):
        raise BadCheckpoint(problem)
    if facts.prediction_source == "user" and facts.prediction_type is not None:
        config = scheduler_settings(facts.prediction_type, config)
    config |= few_step_settings(facts.distillation, zero_terminal_snr=facts.zero_terminal_snr)
    plans = folder_plans(folder, family, own_vae=own_vae)
    return Blueprint(
        facts,
        family,
        plans,
        config,
        lambda encoder: _tokenizer(folder, encoder.tokenizer, kinds),
        index,
        latents=_latents_of(folder),
    )


def _with_latents(config: Mapping[str, Any], blueprint: Blueprint) -> dict[str, Any]:
    """A chosen VAE's config with the latents that the U-Net was trained on: their scale is the checkpoint's own."""
    if blueprint.latents or config.get("latents_mean") is None:
        return {**config, **blueprint.latents}
    return {**config, "latents_mean": None, "latents_std": None, "scaling_factor": blueprint.family.latents.scale}


_LATENTS = ("latents_mean", "latents_std", "scaling_factor")


def _latents_of(folder: Path) -> dict[str, Any]:
    """What a checkpoint's own VAE says of the latents' mean and standard deviation, which hold for its U-Net whatever
    VAE is chosen for it; nothing where it says nothing."""
    config = read_json(folder / "vae" / "config.json") or {}
    has_statistics = all(config.get(name) is not None for name in _LATENTS[:2])
    return {name: config[name] for name in _LATENTS if name in config} if has_statistics else {}


def _tokenizer(folder: Path, part: str, kinds: Mapping[str, PartKind]) -> Any:
    label = kinds[part].label
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / part, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception for damaged files
        logger.warning("Loading the %s failed", label, exc_info=True)
        raise BadCheckpoint(Message("The {label}'s files cannot be read.", label=label)) from error
    return tokenizer


# ------------------------------------------------------------------------------------------------------ another VAE


def vae_plan(path: Path, family: Family) -> Plan:
    """The plan of a VAE on its own: a diffusers folder, or a single file in the original or in diffusers' layout."""
    if path.is_dir():
        return vae_folder_plan(path / "vae" if (path / "model_index.json").is_file() else path)
    facts = identify(path)
    if facts.kind not in ("vae", "checkpoint") or "vae" not in facts.parts or (facts.kind == "vae" and facts.reason):
        raise BadCheckpoint(
            _about(path, facts.reason) if facts.reason else Message("{file} is no VAE.", file=path.name)
        )
    tensors = read_header(path)
    return vae_file_plan(path, tensors, family)
