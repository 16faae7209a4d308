"""What one file or diffusers folder is, in plain values that can be kept in a cache: read from headers and small JSON.

Knows the form of a listing's line and what suits a kind of model; `identify` says what a header means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from studio.answered.models import ModelState
from studio.asked.orders import ModelKind, PredictionName
from studio.asked.requests import RANGES
from studio.checkpoints.details import read_json
from studio.checkpoints.folders import ModelFile
from studio.checkpoints.identify import identify, of_header
from studio.checkpoints.inspect import BadCheckpoint, PickleFile, read_whole_header
from studio.checkpoints.model_facts import ModelFacts
from studio.checkpoints.palette import Row, palette
from studio.checkpoints.vocabulary import vocabulary
from studio.families.base import EMBEDDED_GUIDANCE, FEW_STEPS, Defaults
from studio.families.registry import FAMILIES
from studio.families.training import defaults_on_path

OWNED = "It came with {owner} and works with that alone."
OUTSIDE = "It is a link to outside of the models folders. Name that folder with --models-dir to use what is in it."
KINDS_IN_LISTING: Mapping[str, ModelKind | None] = {
    "checkpoint": "checkpoint",
    "vae": "vae",
    "lora": "lora",
    "embedding": "embedding",
    "taesd": "preview_decoder",
    "controlnet": "controlnet",
}
PART_LABELS = {
    "unet": "U-Net",
    "vae": "VAE",
    "text_encoder": "text encoder",
    "text_encoder_2": "second text encoder",
    "controlnet": "ControlNet",
}
FORM_LABELS = {"single_file": "safetensors", "folder": "diffusers folder", "pickle": "pickle"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One line of the listing, but for what changes without the file: hash, note, place."""

    kind: ModelKind | None = None
    state: ModelState = "usable"
    reason: str = ""
    label: str = ""
    family: str = ""
    form: str = ""
    precision: str = ""
    parts: tuple[str, ...] = ()
    prediction_type: PredictionName | None = None
    native_width: int | None = None
    native_height: int | None = None
    num_inference_steps: int = 25
    guidance_scale: float = 5.0
    scheduler: str = "dpmpp_2m"
    noise_schedule: str = "automatic"
    metadata: tuple[tuple[str, str], ...] = ()
    has_picture: bool = False
    convertible: bool = False
    needs_vae: bool = False  # a checkpoint without one: it runs with another's
    needs_encoder: bool = False  # a checkpoint whose U-Net is shown a picture in every run
    vae_has_encoder: bool = True  # without one its VAE only decodes
    examples: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    vocabulary: tuple[tuple[str, ...], ...] = ()
    palette: tuple[Row, ...] = ()  # of a ControlNet whose maps can be painted
    note: str = ""
    alias: str = ""  # another name of a LoRA: what its trainer called it

    def as_json(self) -> dict[str, Any]:
        """Only what differs from the defaults."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Facts:
        """The inverse of `as_json`. Raises TypeError for what it never wrote."""
        tuples = {"parts", "examples", "words"} & values.keys()
        pairs = tuple((str(a), str(b)) for a, b in values.get("metadata", ()))
        rows = tuple(tuple(str(word) for word in row) for row in values.get("vocabulary", ()))
        colors = tuple((str(a), str(b)) for a, b in values.get("palette", ()))
        lists = {name: tuple(values[name]) for name in tuples}
        lists |= {"metadata": pairs, "vocabulary": rows, "palette": colors}
        return cls(**{**values, **lists})


def read(file: ModelFile) -> Facts:
    """The facts of what the walk has found. Opens its header or its JSON files; never raises for what is in them."""
    if file.outside:
        return Facts(kind=file.kind, state="refused", reason=OUTSIDE)
    if file.is_folder:
        facts = of_folder(file.path, file.kind)
        return replace(facts, note=OWNED.format(owner=Path(file.owner).name)) if file.owner else facts
    return of_file(file.path, file.kind)


def of_file(path: Path, kind: ModelKind | None) -> Facts:
    """The facts of a weights file. `kind`: of the folder it lies in, for files whose header does not say."""
    try:
        header = read_whole_header(path)
    except PickleFile as error:
        return Facts(kind=kind, state="refused", reason=str(error), form=FORM_LABELS["pickle"], convertible=True)
    except BadCheckpoint as error:
        return Facts(kind=kind, state="refused", reason=str(error))
    facts = _line(of_header(header, path.stem), kind)
    return replace(facts, alias=header.metadata.get("ss_output_name", "")[:200]) if facts.kind == "lora" else facts


def of_folder(folder: Path, kind: ModelKind | None) -> Facts:
    """The facts of a diffusers folder, and what its own world.json or palette.json says to visitors."""
    facts = _line(identify(folder), kind)
    if facts.kind == "controlnet":
        return replace(facts, palette=palette(read_json(folder / "palette.json") or {}))
    world = read_json(folder / "world.json")
    if world is None:
        return facts
    return replace(
        facts,
        label=_text(world.get("label")),
        examples=_texts(world.get("examples")),
        words=_texts(world.get("words")),
        vocabulary=vocabulary(world),
        note=_text(world.get("note")),
        num_inference_steps=int(_number(world, "num_inference_steps", 25)),
        guidance_scale=_number(world, "guidance_scale", 5.0),
    )


def _line(model_facts: ModelFacts, folder_kind: ModelKind | None) -> Facts:
    kind = KINDS_IN_LISTING.get(model_facts.kind)
    reason = model_facts.reason
    steps, guidance_scale, scheduler, noise_schedule = defaults(model_facts)
    label = model_facts.title if model_facts.form == "single_file" and kind == "checkpoint" else ""
    extra: tuple[tuple[str, str], ...] = (("distilled", model_facts.distillation),) if model_facts.distillation else ()
    extra += (("trigger words", model_facts.trigger),) if model_facts.trigger else ()
    extra += (("made for", "inpainting"),) if model_facts.inpainting else ()
    return Facts(
        kind=kind or folder_kind,
        state="unknown" if kind is None or reason else "usable",
        reason=reason or ("Its header does not say what it is." if kind is None else ""),
        label=label[:120],
        family=model_facts.family_label,
        form=FORM_LABELS[model_facts.form],
        precision=model_facts.precision,
        parts=tuple(PART_LABELS.get(part, part) for part in model_facts.parts),
        prediction_type=model_facts.prediction_type,
        native_width=model_facts.native_width,
        native_height=model_facts.native_height,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        scheduler=scheduler,
        noise_schedule=noise_schedule,
        metadata=extra + model_facts.metadata,
        has_picture=bool(model_facts.thumbnail),
        note=" ".join(model_facts.notes),
        needs_vae=model_facts.kind == "checkpoint" and "vae" not in model_facts.parts,
        needs_encoder=model_facts.kind == "checkpoint" and model_facts.inpainting,
        vae_has_encoder=model_facts.vae_has_encoder,
    )


def defaults(model_facts: ModelFacts) -> Defaults:
    """What suits a model: how its family was trained, and how it was distilled."""
    family = FAMILIES.get(model_facts.family or "") or FAMILIES["sd1"]
    few_steps = FEW_STEPS.get(model_facts.distillation) if model_facts.distillation is not None else None
    file = few_steps or defaults_on_path(family, model_facts.prediction_type)
    return file._replace(guidance_scale=EMBEDDED_GUIDANCE) if model_facts.guidance_embedded else file


def _text(value: object) -> str:
    return value[:2000] if isinstance(value, str) else ""


def _number(world: Mapping[str, Any], name: str, default: float) -> float:
    """What a folder says of a request's field, if a request may ask for it."""
    value = world.get(name, default)
    return float(value) if RANGES[name].holds(value) else default


def _texts(value: object) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str))[:2000] if isinstance(value, list) else ()
