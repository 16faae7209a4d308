"""A whole checkpoint before it is read: for every part its config and where each parameter comes from, all headers
checked. What is said here of a file is said by the listing too: there is one judgement."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTokenizer

from studio.checkpoints.details import read_json, weights_files
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry, read_header
from studio.checkpoints.model_facts import ModelFacts
from studio.checkpoints.plans import IGNORED_KEYS, Plan, TensorSource
from studio.checkpoints.reader import WeightsFile
from studio.families import configs, edm
from studio.families.base import Family, TextEncoderSpec
from studio.families.folders import family_of_folder, scheduler_problem
from studio.families.layout import Move, has_encoder, todays_name, translate, vae_levels, vae_name
from studio.families.registry import FAMILIES
from studio.families.storage import scales_of, with_names
from studio.families.training import few_step_settings, scheduler_settings

logger = logging.getLogger(__name__)

_TOKENIZERS = frozenset({"CLIPTokenizer", "CLIPTokenizerFast"})
_KINDS = {
    "lora": "a LoRA",
    "vae": "a VAE",
    "embedding": "an embedding",
    "taesd": "a small VAE for previews",
    "controlnet": "a ControlNet",
}


class MissingVae(BadCheckpoint):
    """A checkpoint without a VAE: it can be loaded with another one."""


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


@dataclass(frozen=True)
class PartKind:
    """What a part of a family is: what people call it, and the classes that a folder's index may name for it."""

    label: str
    classes: frozenset[str]

    @property
    def class_name(self) -> str:
        """The one class of a part that holds weights."""
        return next(iter(self.classes))


def part_kinds(family: Family) -> dict[str, PartKind]:
    """Every part of a family by its folder's name, in the order in which they are loaded."""
    kinds: dict[str, PartKind] = {}
    for one in family.text_encoders:
        encoder = "CLIPTextModelWithProjection" if one.projects else "CLIPTextModel"
        kinds[one.part] = PartKind(one.label, frozenset({encoder}))
        kinds[one.tokenizer] = PartKind(one.label.replace("text encoder", "tokenizer"), _TOKENIZERS)
    kinds["vae"] = PartKind("VAE", frozenset({"AutoencoderKL"}))
    kinds["unet"] = PartKind("U-Net", frozenset({"UNet2DConditionModel"}))
    return kinds


def weighted_parts(family: Family) -> dict[str, PartKind]:
    """Those of them that hold weights."""
    return {part: kind for part, kind in part_kinds(family).items() if kind.classes is not _TOKENIZERS}


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
        blueprint = replace(blueprint, plans=plans, notes=(*blueprint.notes, f"The VAE is {vae.name}."))
    return blueprint


# ----------------------------------------------------------------------------------------------------- single files


def _of_file(path: Path, facts: ModelFacts, *, own_vae: bool) -> Blueprint:
    if facts.kind != "checkpoint" or facts.family is None:
        other = _KINDS.get(facts.kind)
        if other is not None:
            raise BadCheckpoint(f"{path.name} is {other}, not a checkpoint.")
        raise BadCheckpoint(_about(path, facts.reason))
    if facts.reason:
        raise BadCheckpoint(_about(path, facts.reason))
    family = FAMILIES[facts.family]
    tensors = with_names(read_header(path))
    translation = translate((name for name in tensors if name not in edm.NUMBERS), family)
    if own_vae and not any(move.target.startswith("decoder.") for move in translation.moves["vae"]):
        raise MissingVae(f"There is no VAE in {path.name}. Choose one for it, such as the one made for {family.label}.")
    numbers = _numbers(path, tensors)
    plans = {}
    for part, kind in weighted_parts(family).items():
        if part == "vae" and not own_vae:
            plans[part] = Plan(part, kind.label, kind.class_name, {}, {})
            continue
        sources = _sources(translation.moves.get(part, ()), tensors, path)
        if not sources:
            raise BadCheckpoint(f"There is no {kind.label} in {path.name}.")
        shapes = {name: source.shape for name, source in sources.items()}
        try:
            config = configs.part_config(family, part, shapes, native_width=facts.native_width)
        except (KeyError, IndexError, ValueError, StopIteration) as error:
            raise BadCheckpoint(f"These are no weights of this {kind.label}: tensors are missing ({error}).") from error
        config |= edm.vae_config(numbers) if part == "vae" else {}
        unknown_names = tuple(translation.unknown_names.get(part, ()))
        plan = Plan(part, kind.label, kind.class_name, config, sources, unknown_names)
        plans[part] = _as_far_as_it_goes(plan) if part == "vae" else plan
    if family.is_size_conditioned:
        plans["unet"] = _with_size_embedding(family, plans)
    notes = []
    if translation.unused:
        examples = ", ".join(n[:60] for n in translation.unused[:3])
        notes.append(f"{len(translation.unused)} tensors of {path.name} were not used ({examples}).")

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
        edm.vae_config(numbers),
    )


def _with_size_embedding(family: Family, plans: Mapping[str, Plan]) -> Plan:
    """The U-Net's plan with how wide each number of the picture's size is embedded."""
    unet = dict(plans["unet"].config)
    pooled = next(plans[one.part].config["projection_dim"] for one in family.text_encoders if one.projects)
    unet["addition_time_embed_dim"] = configs.size_embedding_width(unet, pooled, len(family.size_fields))
    return replace(plans["unet"], config=unet)


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
                    raise BadCheckpoint(f"{path.name}: {name} is not a few finite numbers.")
                numbers[name] = tuple(value.tolist())
    return numbers


def _about(path: Path, reason: str) -> str:
    return reason if path.name in reason else f"{path.name}: {reason}"


def _sources(moves: Iterable[Move], tensors: Mapping[str, TensorEntry], path: Path) -> dict[str, TensorSource]:
    scales = scales_of(tensors)
    return {
        move.target: TensorSource(
            path,
            tensors[move.source],
            move.third,
            move.transposed,
            tensors[scales[move.source]] if move.source in scales else None,
        )
        for move in moves
        if not move.target.endswith(IGNORED_KEYS)
    }


# ---------------------------------------------------------------------------------------------------------- folders


def _of_folder(folder: Path, facts: ModelFacts, *, own_vae: bool) -> Blueprint:
    index = read_json(folder / "model_index.json")
    if index is None:
        raise BadCheckpoint("This folder has no readable model_index.json, so it is no diffusers checkpoint.")
    if facts.reason:
        raise BadCheckpoint(facts.reason)
    family = (
        FAMILIES[facts.family]
        if facts.family
        else family_of_folder(read_json(folder / "unet" / "config.json") or {}, index)
    )
    kinds = part_kinds(family)
    for part, kind in kinds.items():
        _check_class(index, part, kind, required=part != "vae" or own_vae)
    config = _config(folder, "scheduler", "scheduler", "scheduler_config.json")
    if problem := scheduler_problem(config):
        raise BadCheckpoint(problem)
    if facts.prediction_source == "user" and facts.prediction_type is not None:
        config = scheduler_settings(facts.prediction_type, config)
    config |= few_step_settings(facts.distillation, zero_terminal_snr=facts.zero_terminal_snr)
    plans = {
        part: Plan(part, kind.label, kind.class_name, {}, {})
        if part == "vae" and not own_vae
        else _folder_plan(folder / part, part, kind)
        for part, kind in weighted_parts(family).items()
    }
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


def _check_class(index: Mapping[str, Any], part: str, kind: PartKind, *, required: bool) -> None:
    """Every part that model_index.json names is of a class from the list: a folder cannot bring its own code."""
    entry = index.get(part)
    if not (isinstance(entry, list) and len(entry) == 2 and entry[1] is not None):
        if not required:
            return
        raise (MissingVae if part == "vae" else BadCheckpoint)(f"There is no {kind.label} in this folder.")
    if entry[1] not in kind.classes or entry[0] not in ("diffusers", "transformers"):
        class_name = f"{entry[0]!s:.60}.{entry[1]!s:.60}"
        classes_text = " or ".join(sorted(kind.classes))
        raise BadCheckpoint(f"The {kind.label} is of the class {class_name}; only {classes_text} is loaded.")


def _config(folder: Path, part: str, label: str, file: str) -> dict[str, Any]:
    if not (folder / part).is_dir():
        raise (MissingVae if part == "vae" else BadCheckpoint)(f"There is no {label} in this folder.")
    config = read_json(folder / part / file)
    if config is None:
        raise BadCheckpoint(f"The {label} has no readable {file}.")
    if "auto_map" in config:
        raise BadCheckpoint(f"The {label} wants to run code of its own (auto_map), which is refused.")
    return config


def _folder_plan(folder: Path, part: str, kind: PartKind) -> Plan:
    """The plan of one part of a diffusers folder, its files' headers checked."""
    label = kind.label
    config = _config(folder.parent, part, label, "config.json")
    files = weights_files(folder)
    if not files:
        pickles = any(folder.glob("*.bin"))
        reason = "only a pickle, which could run code and is not loaded" if pickles else "no .safetensors file"
        raise BadCheckpoint(f"The {label} cannot be loaded: there is {reason}.")
    sources: dict[str, TensorSource] = {}
    for file in files:
        try:
            tensors = read_header(file)
        except BadCheckpoint as error:
            raise BadCheckpoint(f"The {label} cannot be loaded: {error}") from error
        for name, entry in tensors.items():
            if not name.endswith(IGNORED_KEYS):
                sources[_module_name(name, kind)] = TensorSource(file, entry)
    return Plan(part, label, kind.class_name, config, sources)


def _module_name(name: str, kind: PartKind) -> str:
    """A folder's parameter by the name its class has for it today."""
    if kind.class_name == "CLIPTextModel":  # transformers 5.6 took a level out of it
        return name.removeprefix("text_model.")
    return todays_name(name)


def _tokenizer(folder: Path, part: str, kinds: Mapping[str, PartKind]) -> Any:
    label = kinds[part].label
    if not (folder / part).is_dir():
        raise BadCheckpoint(f"There is no {label} in this folder.")
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / part, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception for damaged files
        logger.warning("Loading the %s failed", label, exc_info=True)
        raise BadCheckpoint(f"The {label}'s files cannot be read.") from error
    return tokenizer


# ------------------------------------------------------------------------------------------------------ another VAE

_VAE = PartKind("VAE", frozenset({"AutoencoderKL"}))


def vae_plan(path: Path, family: Family) -> Plan:
    """The plan of a VAE on its own: a diffusers folder, or a single file in the original or in diffusers' layout."""
    if path.is_dir():
        if (path / "model_index.json").is_file():  # a whole checkpoint
            return _folder_plan(path / "vae", "vae", _VAE)
        return _folder_plan(path, "vae", _VAE) if path.name == "vae" else _lone_vae_folder(path)
    facts = identify(path)
    if facts.kind not in ("vae", "checkpoint") or "vae" not in facts.parts or (facts.kind == "vae" and facts.reason):
        raise BadCheckpoint(_about(path, facts.reason) if facts.reason else f"{path.name} is no VAE.")
    tensors = read_header(path)
    starts = ("first_stage_model.", "vae.")
    prefix = next((p for p in starts if any(k.startswith(p) for k in tensors)), "")
    names = {k.removeprefix(prefix): k for k in tensors if k.startswith(prefix)}
    names = {k: v for k, v in names.items() if not k.startswith(("loss.", "model_ema.")) and v not in edm.NUMBERS}
    original = any(".mid.block_1." in name for name in names)
    levels = vae_levels(names)
    sources, unknown_names = {}, []
    for name, key in names.items():
        target = vae_name(name, levels) if original else todays_name(name)
        if target is None:
            unknown_names.append(key)
        else:
            sources[target] = TensorSource(path, tensors[key])
    config = configs.family_config(family, "vae")
    try:
        config |= configs.vae_widths({k: s.shape for k, s in sources.items()})
    except (KeyError, IndexError, ValueError) as error:
        raise BadCheckpoint(f"{path.name} is no VAE that the studio knows: tensors are missing ({error}).") from error
    return _as_far_as_it_goes(Plan("vae", _VAE.label, _VAE.class_name, config, sources, tuple(unknown_names)))


_ENCODES = ("encoder", "quant_conv")  # what a VAE has for its way from pictures to latents


def _as_far_as_it_goes(plan: Plan) -> Plan:
    """A VAE's plan; one of its decoder alone where the file holds no encoder."""
    if has_encoder(plan.sources):
        return plan
    sources = {name: source for name, source in plan.sources.items() if name.partition(".")[0] not in _ENCODES}
    return replace(plan, sources=sources, lacks=_ENCODES)


def _lone_vae_folder(folder: Path) -> Plan:
    config = read_json(folder / "config.json")
    if config is None or config.get("_class_name") != "AutoencoderKL":
        raise BadCheckpoint(f"The folder {folder.name} is no VAE: its config.json does not name AutoencoderKL.")
    sources: dict[str, TensorSource] = {}
    for file in weights_files(folder):
        sources |= {todays_name(name): TensorSource(file, entry) for name, entry in read_header(file).items()}
    if not sources:
        raise BadCheckpoint(f"There is no .safetensors file in the VAE folder {folder.name}.")
    return Plan("vae", _VAE.label, _VAE.class_name, config, sources)
