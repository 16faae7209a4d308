"""The plans of a checkpoint's parts by headers and small JSON files: of a single file, of a diffusers folder, of a VAE
on its own. The listing judges a model by them, and the loader reads what they say. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.answered.model_facts import UNET, VAE
from studio.asked.messages import Message, sentences
from studio.checkpoints.details import read_json, weights_files
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry, read_header
from studio.checkpoints.part_plan import IGNORED_KEYS, Plan, TensorSource, check_headers
from studio.families import configs, edm
from studio.families.base import Family
from studio.families.layout import Move, Translation, has_encoder, todays_name, vae_levels, vae_name
from studio.families.storage import scales_of

_TOKENIZERS = frozenset({"CLIPTokenizer", "CLIPTokenizerFast"})


def vae_left_out(problem: str) -> str:
    """What is said of a checkpoint whose own VAE has a problem."""
    return Message("Its own VAE cannot be used. {problem}", problem=problem)


class MissingVae(BadCheckpoint):
    """A checkpoint without a VAE: it can be loaded with another one."""


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
        kinds[one.tokenizer] = PartKind(one.label.replace(Message("text encoder"), "tokenizer"), _TOKENIZERS)
    kinds["vae"] = PartKind("VAE", frozenset({"AutoencoderKL"}))
    kinds["unet"] = PartKind("U-Net", frozenset({"UNet2DConditionModel"}))
    return kinds


def parts_problem(plans: Mapping[str, Plan]) -> str:
    """Why parts of these plans cannot be loaded, by their headers alone: tensors that are missing or of the wrong
    shape, parts that do not work together; "" where they can. A part without a plan of its own is passed over."""
    try:
        for plan in plans.values():
            if plan.sources:
                check_headers(plan)
    except BadCheckpoint as error:
        return str(error)
    return part_fit_problem({part: plan.config for part, plan in plans.items()})


def judge_plans(plans: Callable[[bool], Mapping[str, Plan]]) -> tuple[str, str]:
    """Why a checkpoint cannot be loaded, and why its own VAE alone cannot, so that it runs with another one: one
    sentence each, "" for none. `plans` makes those of its parts, with its own VAE or without."""
    problems: list[str] = []
    for own_vae in (True, False):
        try:
            problem = parts_problem(plans(own_vae))
        except BadCheckpoint as error:
            problem = str(error)
        if not problem:
            return "", sentences(problems)
        problems.append(problem)
    return problems[0], ""


def part_fit_problem(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Why parts of these configs do not work together, one sentence; "" where they do, or where a config is silent."""
    unet, vae = parts.get(UNET, {}), parts.get(VAE, {})
    channels, latents = unet.get("in_channels"), vae.get("latent_channels")
    if channels is not None and latents is not None and channels not in (latents, 2 * latents + 1):
        return Message(
            "The U-Net does not fit the VAE: it takes {channels} channels, the VAE makes {latents}.",
            channels=channels,
            latents=latents,
        )
    widths = [config.get("hidden_size") for part, config in parts.items() if part.startswith("text_encoder")]
    context = unet.get("cross_attention_dim")
    if context is not None and None not in widths and context != sum(widths):  # type: ignore[arg-type]
        embeddings = Message("{context} wide, the text encoder's are {widths}", context=context, widths=sum(widths))  # type: ignore[arg-type]
        return Message(
            "The U-Net does not fit the text encoder: it takes embeddings {embeddings}.", embeddings=embeddings
        )
    for name in ("latents_mean", "latents_std"):
        values = vae.get(name)
        if values is not None and latents is not None and len(values) != latents:
            return Message(
                "The VAE's {name} has {count} numbers for {latents} channels.",
                name=name,
                count=len(values),
                latents=latents,
            )
    return ""


def weighted_parts(family: Family) -> dict[str, PartKind]:
    """Those of them that hold weights."""
    return {part: kind for part, kind in part_kinds(family).items() if kind.classes is not _TOKENIZERS}


# ----------------------------------------------------------------------------------------------------- single files


def file_plans(
    path: Path,
    tensors: Mapping[str, TensorEntry],
    family: Family,
    translation: Translation,
    *,
    native_width: int | None = None,
    own_vae: bool = True,
) -> dict[str, Plan]:
    """The plan of every part of a single file, whose `tensors` have the original layout's names. Raises MissingVae or
    BadCheckpoint where a part is not there, or lacks the tensors that show how wide it is."""
    if own_vae and not any(move.target.startswith("decoder.") for move in translation.moves[VAE]):
        raise MissingVae(
            Message(
                "There is no VAE in {file}. Choose one for it, such as the one made for {family}.",
                file=path.name,
                family=family.label,
            )
        )
    plans = {}
    for part, kind in weighted_parts(family).items():
        if part == VAE and not own_vae:
            plans[part] = Plan(part, kind.label, kind.class_name, {}, {})
            continue
        sources = _sources(translation.moves.get(part, ()), tensors, path)
        if not sources:
            raise BadCheckpoint(Message("There is no {kind} in {file}.", kind=kind.label, file=path.name))
        shapes = {name: source.shape for name, source in sources.items()}
        try:
            config = configs.part_config(family, part, shapes, native_width=native_width)
        except (KeyError, IndexError, ValueError, StopIteration) as error:
            raise BadCheckpoint(
                Message(
                    "These are no weights of this {kind}: tensors are missing ({error}).", kind=kind.label, error=error
                )
            ) from error
        unknown_names = tuple(translation.unknown_names.get(part, ()))
        plan = Plan(part, kind.label, kind.class_name, config, sources, unknown_names)
        plans[part] = _as_far_as_it_goes(plan) if part == VAE else plan
    if family.is_size_conditioned:
        plans[UNET] = _with_size_embedding(family, plans)
    return plans


def _with_size_embedding(family: Family, plans: Mapping[str, Plan]) -> Plan:
    """The U-Net's plan with how wide each number of the picture's size is embedded."""
    unet = dict(plans[UNET].config)
    pooled = next(plans[one.part].config["projection_dim"] for one in family.text_encoders if one.projects)
    unet["addition_time_embed_dim"] = configs.size_embedding_width(unet, pooled, len(family.size_fields))
    return replace(plans[UNET], config=unet)


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


def check_classes(index: Mapping[str, Any], family: Family, *, own_vae: bool = True) -> None:
    """Raises BadCheckpoint for a part of a folder that is not of a class from the list, and MissingVae."""
    for part, kind in part_kinds(family).items():
        _check_class(index, part, kind, required=part != VAE or own_vae)


def folder_plans(folder: Path, family: Family, *, own_vae: bool = True) -> dict[str, Plan]:
    """The plan of every part of a diffusers folder, all headers checked. Raises MissingVae or BadCheckpoint."""
    kinds = part_kinds(family)
    for one in family.text_encoders:
        if not (folder / one.tokenizer).is_dir():
            raise BadCheckpoint(Message("There is no {label} in this folder.", label=kinds[one.tokenizer].label))
    return {
        part: Plan(part, kind.label, kind.class_name, {}, {})
        if part == VAE and not own_vae
        else _folder_plan(folder / part, part, kind)
        for part, kind in weighted_parts(family).items()
    }


def _check_class(index: Mapping[str, Any], part: str, kind: PartKind, *, required: bool) -> None:
    """Every part that model_index.json names is of a class from the list: a folder cannot bring its own code."""
    entry = index.get(part)
    if not (isinstance(entry, list) and len(entry) == 2 and entry[1] is not None):
        if not required:
            return
        raise (MissingVae if part == "vae" else BadCheckpoint)(
            Message("There is no {kind} in this folder.", kind=kind.label)
        )
    if entry[1] not in kind.classes or entry[0] not in ("diffusers", "transformers"):
        class_name = f"{entry[0]!s:.60}.{entry[1]!s:.60}"
        classes_text = " or ".join(sorted(kind.classes))
        raise BadCheckpoint(
            Message(
                "The {kind} is of the class {class_name}; only {classes_text} is loaded.",
                kind=kind.label,
                class_name=class_name,
                classes_text=classes_text,
            )
        )


def part_json(folder: Path, part: str, label: str, file: str) -> dict[str, Any]:
    """A small JSON file of a part. Raises BadCheckpoint where it is not there or cannot be obeyed."""
    if not (folder / part).is_dir():
        raise (MissingVae if part == "vae" else BadCheckpoint)(
            Message("There is no {label} in this folder.", label=label)
        )
    config = read_json(folder / part / file)
    if config is None:
        raise BadCheckpoint(Message("The {label} has no readable {file}.", label=label, file=file))
    if "auto_map" in config:
        raise BadCheckpoint(
            Message("The {label} wants to run code of its own (auto_map), which is refused.", label=label)
        )
    return config


def _folder_plan(folder: Path, part: str, kind: PartKind) -> Plan:
    """The plan of one part of a diffusers folder, its files' headers checked."""
    label = kind.label
    config = part_json(folder.parent, part, label, "config.json")
    files = weights_files(folder)
    if not files:
        pickles = any(folder.glob("*.bin"))
        reason = (
            Message("only a pickle, which could run code and is not loaded")
            if pickles
            else Message("no .safetensors file")
        )
        raise BadCheckpoint(Message("The {label} cannot be loaded: there is {reason}.", label=label, reason=reason))
    sources: dict[str, TensorSource] = {}
    for file in files:
        try:
            tensors = read_header(file)
        except BadCheckpoint as error:
            raise BadCheckpoint(Message("The {label} cannot be loaded: {error}", label=label, error=error)) from error
        for name, entry in tensors.items():
            if not name.endswith(IGNORED_KEYS):
                sources[_module_name(name, kind)] = TensorSource(file, entry)
    plan = Plan(part, label, kind.class_name, config, sources)
    return _as_far_as_it_goes(plan) if part == VAE else plan


def _module_name(name: str, kind: PartKind) -> str:
    """A folder's parameter by the name its class has for it today."""
    if kind.class_name == "CLIPTextModel":  # transformers 5.6 took a level out of it
        return name.removeprefix("text_model.")
    return todays_name(name)


# -------------------------------------------------------------------------------------------------- VAEs on their own

_VAE = PartKind("VAE", frozenset({"AutoencoderKL"}))


def vae_file_plan(path: Path, tensors: Mapping[str, TensorEntry], family: Family) -> Plan:
    """The plan of the VAE in a single file, in the original or in diffusers' layout. Raises BadCheckpoint."""
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
        raise BadCheckpoint(
            Message(
                "{file} is no VAE that the studio knows: tensors are missing ({error}).", file=path.name, error=error
            )
        ) from error
    return _as_far_as_it_goes(Plan(VAE, _VAE.label, _VAE.class_name, config, sources, tuple(unknown_names)))


def vae_folder_plan(folder: Path) -> Plan:
    """The plan of a VAE's own folder, within a checkpoint or alone. Raises BadCheckpoint."""
    return _folder_plan(folder, VAE, _VAE) if folder.name == VAE else _lone_vae_folder(folder)


def _lone_vae_folder(folder: Path) -> Plan:
    config = read_json(folder / "config.json")
    if config is None or config.get("_class_name") != "AutoencoderKL":
        raise BadCheckpoint(
            Message("The folder {folder} is no VAE: its config.json does not name AutoencoderKL.", folder=folder.name)
        )
    sources: dict[str, TensorSource] = {}
    for file in weights_files(folder):
        sources |= {todays_name(name): TensorSource(file, entry) for name, entry in read_header(file).items()}
    if not sources:
        raise BadCheckpoint(Message("There is no .safetensors file in the VAE folder {folder}.", folder=folder.name))
    return _as_far_as_it_goes(Plan(VAE, _VAE.label, _VAE.class_name, config, sources))


_ENCODES = ("encoder", "quant_conv")  # what a VAE has for its way from pictures to latents


def _as_far_as_it_goes(plan: Plan) -> Plan:
    """A VAE's plan; one of its decoder alone where the file holds no encoder."""
    if has_encoder(plan.sources):
        return plan
    sources = {name: source for name, source in plan.sources.items() if name.partition(".")[0] not in _ENCODES}
    return replace(plan, sources=sources, lacks=_ENCODES)
