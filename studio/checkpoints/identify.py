"""What a model file or folder is: kind, family, prediction type, precision, parts, native size. Headers and small JSON
files only: no tensor is read, no torch.

The structure shows the family (which blocks exist, how they are joined), never the file's name. What the weights do
not show (prediction type of SD 2, distillation) comes from metadata, then from a name, and says where it comes from.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from studio.answered.model_facts import ModelFacts
from studio.asked.messages import Message
from studio.checkpoints.adapter_header import as_lora
from studio.checkpoints.checkpoint_header import as_checkpoint
from studio.checkpoints.details import frequent_tags, has_thumbnail, precision, readable_metadata, short
from studio.checkpoints.folder_facts import of_folder
from studio.checkpoints.inspect import BadCheckpoint, Header, PickleFile, read_whole_header
from studio.checkpoints.other_headers import as_controlnet, as_embedding, as_safety_checker, as_taesd, as_vae
from studio.checkpoints.other_models import as_other_model
from studio.checkpoints.upscaler_header import as_upscaler

_RULES = (
    as_lora, as_controlnet, as_checkpoint, as_safety_checker, as_upscaler, as_other_model, as_vae, as_taesd,
    as_embedding,
)  # fmt: skip


def identify(path: Path) -> ModelFacts:
    """What lies at `path`: a weights file or a diffusers folder. Never raises for what a file holds: a file that
    cannot be told is of no kind, with the reason."""
    if path.is_dir():
        return of_folder(path)
    try:
        header = read_whole_header(path)
    except PickleFile as error:
        return ModelFacts(form="pickle", refused=True, reason=str(error))
    except BadCheckpoint as error:
        return ModelFacts(refused=True, reason=str(error))
    return of_header(header, path.stem)


def of_header(header: Header, name: str) -> ModelFacts:
    """What a single file of this header is; `name` without its ending gives hints, labelled as such."""
    facts = ModelFacts(
        precision=precision(header.tensors.values()),
        title=short(header.metadata.get("modelspec.title") or header.metadata.get("ss_output_name") or ""),
        trigger=short(header.metadata.get("modelspec.trigger_phrase") or ""),
        metadata=readable_metadata(header.metadata),
        has_picture=has_thumbnail(header.metadata),
    )
    for rule in _RULES:
        answer = rule(facts, header, name)
        if answer is not None:
            return _with_alias(answer, header)
    return replace(facts, reason=Message("Its tensors belong to no kind of model that the studio knows."))


def _with_alias(facts: ModelFacts, header: Header) -> ModelFacts:
    """The facts with what a LoRA's trainer called it, and the tags that it was trained with."""
    if facts.kind != "lora":
        return facts
    alias = header.metadata.get("ss_output_name", "")[:200]
    return replace(facts, alias=alias, tags=frequent_tags(header.metadata.get("ss_tag_frequency", "")))
