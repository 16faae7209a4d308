"""A diffusers folder as its small JSON files and its files' headers show it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from studio.checkpoints.checkpoint_header import unusable_channels
from studio.checkpoints.details import bytes_by_dtype, precision, precision_label, read_json, size, weights_files
from studio.checkpoints.inspect import BadCheckpoint, Header, read_whole_header
from studio.checkpoints.model_facts import CHECKPOINT_PARTS, FactSource, ModelFacts
from studio.checkpoints.other_headers import LATENTS_OF, as_controlnet, of_one_checkpoint, taesd_family
from studio.diffusion.predictions import prediction_of
from studio.families.base import PREDICTIONS, Distillation, words_of
from studio.families.folders import PIPELINES, family_of_folder, scheduler_problem
from studio.families.training import distillation_of


def of_folder(folder: Path) -> ModelFacts:
    index = read_json(folder / "model_index.json")
    facts = ModelFacts(kind="unknown", form="folder", size_bytes=0)
    if index is None:
        return _part_folder(folder, facts)
    pipeline = str(index.get("_class_name"))
    if pipeline not in PIPELINES:
        return replace(facts, reason=f"This folder is for {pipeline[:60]}, which the studio does not run.")
    unet = read_json(folder / "unet" / "config.json")
    if unet is None and (folder / "unet").is_dir():
        return replace(facts, reason="The U-Net has no readable config.json.")
    if unet is None:
        return replace(facts, reason="There is no U-Net in this folder.")
    family = family_of_folder(unet, index)
    parts = tuple(p for p in CHECKPOINT_PARTS if _named(index.get(p)) and (folder / p).is_dir())
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
    precisions: Counter[str] = Counter()
    size_bytes = 0
    for part in parts:
        for file in weights_files(folder / part):
            size_bytes += size(file)
            try:
                precisions.update(bytes_by_dtype(read_whole_header(file).tensors.values()))
            except BadCheckpoint:  # told when it is loaded, with the file's name
                continue
    reason = unusable_channels(channels if isinstance(channels, int) else 0) or scheduler_problem(scheduler)
    predicts = prediction_of(scheduler)
    return replace(
        facts,
        kind="checkpoint",
        size_bytes=size_bytes,
        reason=reason,
        family=family.name,
        prediction_type=next((p for p in PREDICTIONS if p == predicts), None),
        prediction_source="config",
        zero_terminal_snr=scheduler.get("rescale_betas_zero_snr") is True,
        in_channels=channels if isinstance(channels, int) else 0,
        distillation=distilled,
        distillation_source=source,
        guidance_embedded=bool(unet.get("time_cond_proj_dim")),
        precision=precision_label(precisions),
        parts=parts,
        native_width=side,
        native_height=side,
    )


def _part_folder(folder: Path, facts: ModelFacts) -> ModelFacts:
    """A folder without an index: a VAE on its own, or nothing we know."""
    config = read_json(folder / "config.json")
    if config is not None and config.get("_class_name") == "ControlNetModel":
        return _controlnet_folder(folder, facts)
    if config is None or config.get("_class_name") not in ("AutoencoderKL", "AutoencoderTiny"):
        return replace(facts, reason="This folder has no readable model_index.json, so it is no diffusers checkpoint.")
    tiny = config.get("_class_name") == "AutoencoderTiny"
    scaling = config.get("scaling_factor")
    family: str | None = "sd1" if scaling == 0.18215 else "sdxl" if scaling == 0.13025 else None
    if tiny:  # its factor is 1: it takes latents at the U-Net's scale
        family = taesd_family(folder.name)
        if whose := config.get(LATENTS_OF):
            return replace(facts, kind="taesd", reason=of_one_checkpoint(str(whose)))
    files = weights_files(folder)
    channels = config.get("latent_channels", 4)
    return replace(
        facts,
        kind="taesd" if tiny else "vae",
        family=family,
        parts=("vae",),
        size_bytes=sum(size(f) for f in files),
        reason="" if channels == 4 else "This VAE makes latents of another kind than Stable Diffusion's.",
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
        return replace(facts, kind="controlnet", reason="There is no .safetensors file of a ControlNet in this folder.")
    return replace(controlnet, size_bytes=sum(size(f) for f in files))


def _named(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and entry[1] is not None
