"""A diffusers folder as its small JSON files and its files' headers show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.answered.model_facts import CHECKPOINT_PARTS, VAE, Distillation, FactSource, ModelFacts
from studio.asked.messages import Message
from studio.checkpoints.checkpoint_header import unusable_channels
from studio.checkpoints.details import bytes_by_dtype, precision, precision_label, read_json, weights_files
from studio.checkpoints.inspect import BadCheckpoint, Header, read_whole_header
from studio.checkpoints.other_headers import DECODES_ONLY, LATENTS_OF, as_controlnet, of_one_checkpoint, taesd_family
from studio.checkpoints.part_plan import Plan
from studio.checkpoints.part_plans import (
    check_classes,
    folder_plans,
    judge_plans,
    part_json,
    parts_problem,
    vae_folder_plan,
    vae_left_out,
)
from studio.diffusion.predictions import prediction_of
from studio.families.base import PREDICTIONS, Family, words_of
from studio.families.flow import shift_of
from studio.families.folders import PIPELINES, family_of_folder, names_component, scheduler_problem
from studio.families.training import distillation_of


def of_folder(folder: Path) -> ModelFacts:
    index = read_json(folder / "model_index.json")
    facts = ModelFacts(form="folder")
    if index is None:
        return _part_folder(folder, facts)
    pipeline = str(index.get("_class_name"))
    if pipeline not in PIPELINES:
        return replace(
            facts,
            reason=Message("This folder is for {pipeline}, which the studio does not run.", pipeline=pipeline[:60]),
        )
    unet = read_json(folder / "unet" / "config.json")
    if unet is None and (folder / "unet").is_dir():
        return replace(facts, reason=Message("The U-Net has no readable config.json."))
    if unet is None:
        return replace(facts, reason=Message("There is no U-Net in this folder."))
    family = family_of_folder(unet, index)
    parts = tuple(p for p in CHECKPOINT_PARTS if names_component(index.get(p)) and (folder / p).is_dir())
    blocks = (read_json(folder / "vae" / "config.json") or {}).get("block_out_channels")
    factor = 2 ** (len(blocks) - 1) if isinstance(blocks, list) and 1 <= len(blocks) <= 8 else 8
    sample_size = unet.get("sample_size")
    if not isinstance(sample_size, int) or not 64 <= sample_size * factor <= 4096:
        sample_size = None
    side = sample_size * factor if sample_size else (family.native_side or 512)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json") or {}
    channels = unet.get("in_channels", 4)
    distilled: Distillation | None
    source: FactSource | None
    distilled, source = distillation_of({}, words_of(folder.name))
    if pipeline == "LatentConsistencyModelPipeline" or scheduler.get("_class_name") == "LCMScheduler":
        distilled, source = "lcm", "config"
    plans, reason, vae_problem = _judge(folder, index, family, has_vae=VAE in parts)
    precisions = Counter(bytes_by_dtype(source.entry for plan in plans.values() for source in plan.sources.values()))
    encodes = VAE not in plans or not plans[VAE].lacks
    notes = (vae_left_out(vae_problem),) if vae_problem else () if encodes else (DECODES_ONLY,)
    reason = unusable_channels(channels if isinstance(channels, int) else 0) or scheduler_problem(scheduler) or reason
    predicts = prediction_of(scheduler)
    return replace(
        facts,
        kind="checkpoint",
        reason=reason,
        family=family.name,
        prediction_type=next((p for p in PREDICTIONS if p == predicts), None),
        prediction_source="config",
        shift=shift_of(scheduler) if predicts == "flow_prediction" else None,
        zero_terminal_snr=scheduler.get("rescale_betas_zero_snr") is True,
        in_channels=channels if isinstance(channels, int) else 0,
        distillation=distilled,
        distillation_source=source,
        guidance_embedded=bool(unet.get("time_cond_proj_dim")),
        precision=precision_label(precisions),
        parts=tuple(part for part in parts if part != VAE or not vae_problem),
        encoder_layers=_encoder_layers(folder, parts),
        vae_has_encoder=encodes,
        notes=notes,
        native_width=side,
        native_height=side,
    )


def _encoder_layers(folder: Path, parts: Sequence[str]) -> int | None:
    """Layers of its text encoder, of the shallowest where there are several."""
    configs = [read_json(folder / part / "config.json") or {} for part in parts if part.startswith("text_encoder")]
    counts = [count for config in configs if type(count := config.get("num_hidden_layers")) is int and count > 0]
    return min(counts, default=None)


def _judge(
    folder: Path, index: Mapping[str, Any], family: Family, *, has_vae: bool
) -> tuple[dict[str, Plan], str, str]:
    """The plans of a folder's parts, why they cannot be loaded, and why its VAE alone cannot: the loader's own
    judgement."""
    latest: dict[str, Plan] = {}

    def plans(own_vae: bool) -> Mapping[str, Plan]:
        latest.clear()
        check_classes(index, family, own_vae=own_vae and has_vae)
        part_json(folder, "scheduler", "scheduler", "scheduler_config.json")
        latest.update(folder_plans(folder, family, own_vae=own_vae and has_vae))
        return latest

    problem, vae_problem = judge_plans(plans)
    return latest, problem, vae_problem


def _part_folder(folder: Path, facts: ModelFacts) -> ModelFacts:
    """A folder without an index: a VAE on its own, or nothing we know."""
    config = read_json(folder / "config.json")
    if config is not None and config.get("_class_name") == "ControlNetModel":
        return _controlnet_folder(folder, facts)
    if config is None or config.get("_class_name") not in ("AutoencoderKL", "AutoencoderTiny"):
        return replace(
            facts, reason=Message("This folder has no readable model_index.json, so it is no diffusers checkpoint.")
        )
    tiny = config.get("_class_name") == "AutoencoderTiny"
    scaling = config.get("scaling_factor")
    family: str | None = "sd1" if scaling == 0.18215 else "sdxl" if scaling == 0.13025 else None
    if tiny:  # its factor is 1: it takes latents at the U-Net's scale
        family = taesd_family(folder.name)
        if whose := config.get(LATENTS_OF):
            return replace(facts, kind="preview_decoder", reason=of_one_checkpoint(str(whose)))
    channels = config.get("latent_channels", 4)
    reason = "" if channels == 4 else Message("This VAE makes latents of another kind than Stable Diffusion's.")
    encodes = True
    if not tiny and not reason:
        try:
            plan = vae_folder_plan(folder)
            reason, encodes = parts_problem({VAE: plan}), not plan.lacks
        except BadCheckpoint as error:
            reason = str(error)
    return replace(
        facts,
        kind="preview_decoder" if tiny else "vae",
        family=family,
        parts=("vae",),
        reason=reason,
        vae_has_encoder=encodes,
        notes=() if encodes else (DECODES_ONLY,),
    )


def _controlnet_folder(folder: Path, facts: ModelFacts) -> ModelFacts:
    """What the headers of its files say, together."""
    files = weights_files(folder)
    try:
        headers = [read_whole_header(file) for file in files]
    except BadCheckpoint as error:
        return replace(facts, kind="controlnet", reason=str(error))
    tensors = {name: entry for header in headers for name, entry in header.tensors.items()}
    controlnet = as_controlnet(
        replace(facts, precision=precision(tensors.values())), Header(tensors, {}, 0), folder.name
    )
    if controlnet is None:
        return replace(
            facts, kind="controlnet", reason=Message("There is no .safetensors file of a ControlNet in this folder.")
        )
    return controlnet
