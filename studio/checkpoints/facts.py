"""Facts about each file and folder of the models folders: from a file's header, or a folder's small JSON files; and the
settings that suit a model.

Knows what a folder says to visitors; `identify` says what a header means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.answered.model_facts import ModelFacts
from studio.asked.messages import Message
from studio.asked.orders import ModelKind, PredictionName
from studio.asked.requests import RANGES
from studio.checkpoints.details import read_json
from studio.checkpoints.folders import ModelFile
from studio.checkpoints.identify import identify
from studio.checkpoints.palette import palette
from studio.checkpoints.vocabulary import vocabulary
from studio.families.base import EMBEDDED_GUIDANCE, FEW_STEPS, Defaults
from studio.families.registry import FAMILIES
from studio.families.training import defaults_on_path

OUTSIDE = Message(
    "It is a link to outside of the models folders. Name that folder with --models-dir to use what is in it."
)
BUILT_IN_DEFAULTS = (25, 5.0)  # steps and guidance of a folder with a world.json that names none


def read(file: ModelFile) -> ModelFacts:
    """The facts of what the walk has found. Opens its header or its JSON files; never raises for what is in them."""
    if file.outside:
        return ModelFacts(
            kind=file.kind, form="folder" if file.is_folder else "single_file", refused=True, reason=OUTSIDE
        )
    if not file.is_folder:
        return of_file(file.path, file.kind)
    facts = of_folder(file.path, file.kind)
    if not file.owner:
        return facts
    return replace(
        facts, notes=(Message("It came with {owner} and works with that alone.", owner=Path(file.owner).name),)
    )


def of_file(path: Path, kind: ModelKind | None) -> ModelFacts:
    """The facts of a weights file. `kind`: of the folder it lies in, for files whose header does not say."""
    facts = identify(path)
    return replace(facts, kind=facts.kind or kind)


def of_folder(folder: Path, kind: ModelKind | None) -> ModelFacts:
    """The facts of a diffusers folder, and what its own world.json or palette.json says to visitors."""
    facts = identify(folder)
    facts = replace(facts, kind=facts.kind or kind)
    if facts.kind == "controlnet":
        return replace(facts, palette=palette(read_json(folder / "palette.json") or {}))
    world = read_json(folder / "world.json")
    if world is None:
        return facts
    steps, guidance_scale = BUILT_IN_DEFAULTS
    note = _text(world.get("note"))
    return replace(
        facts,
        title=_text(world.get("label"))[:120],
        examples=_texts(world.get("examples")),
        words=_texts(world.get("words")),
        vocabulary=vocabulary(world),
        notes=(*facts.notes, note) if note else facts.notes,
        num_inference_steps=int(_number(world, "num_inference_steps", steps)),
        guidance_scale=_number(world, "guidance_scale", guidance_scale),
    )


def defaults(facts: ModelFacts, prediction_type: PredictionName | None = None) -> Defaults:
    """What suits a model: what its folder says, how it was distilled, how its family was trained. `prediction_type` is
    what its owner says that it predicts."""
    family = FAMILIES.get(facts.family or "") or FAMILIES["sd1"]
    few_steps = FEW_STEPS.get(facts.distillation) if facts.distillation is not None else None
    suits = few_steps or defaults_on_path(family, prediction_type or facts.prediction_type)
    if facts.guidance_embedded:
        suits = suits._replace(guidance_scale=EMBEDDED_GUIDANCE)
    if facts.num_inference_steps is not None:
        suits = suits._replace(num_inference_steps=facts.num_inference_steps)
    if facts.guidance_scale is not None:
        suits = suits._replace(guidance_scale=facts.guidance_scale)
    return suits


def _text(value: object) -> str:
    return value[:2000] if isinstance(value, str) else ""


def _number(world: Mapping[str, Any], name: str, default: float) -> float:
    """What a folder says of a request's field, if a request may ask for it."""
    value = world.get(name, default)
    return float(value) if RANGES[name].holds(value) else default


def _texts(value: object) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str))[:2000] if isinstance(value, list) else ()
