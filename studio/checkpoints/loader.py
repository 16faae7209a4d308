"""A model file or folder => `Components` on the device: safetensors only, known classes only, every key accounted for.

Modules are made without memory, every name and shape is compared with the file's header, and only then are the weights
read, each straight to the device in the target precision. Nothing of a file or folder is ever run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from studio.answered.model_facts import ModelFacts
from studio.asked.messages import Message
from studio.checkpoints.blueprints import Blueprint, blueprint_of
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint, read_header
from studio.checkpoints.measuring import MEANING, measured_prediction
from studio.checkpoints.part_plans import part_fit_problem
from studio.checkpoints.plans import empty_module, fill
from studio.checkpoints.tiny_vae import load_tiny_vae
from studio.diffusion.components import Components, TextEncoder
from studio.diffusion.predictions import prediction_of
from studio.families.base import PREDICTIONS, Family, Prediction
from studio.families.flow import with_shift
from studio.families.training import scheduler_settings

logger = logging.getLogger(__name__)

FastPreview = tuple[torch.Tensor, torch.Tensor]  # weight, bias: studio.diffusion.preview
Progress = Callable[[str, float], None]  # a sentence for the page, and how much is done, 0..1

FAST_PREVIEW = "vae/fast_preview.safetensors"
TINY_VAE = "vae_tiny"  # folder of the tiny decoder that was distilled from this checkpoint's own VAE


def load(
    path: Path,
    *,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress,
    prediction_type: Prediction | None = None,
    shift: float | None = None,
    vae: Path | None = None,
    fast_preview: FastPreview | None = None,
    measurement: str | None = None,
) -> Components:
    """Read every part of a single file or a diffusers folder, straight to the device in the target precision.

    `prediction_type` is what the user says it is, where the file is wrong or silent; `shift` that of a rectified flow's
    times. `vae` is another VAE to take, a file or a folder. The fast preview is the one given, else the file beside the
    VAE, else None: it is fitted later. `measurement` is what an earlier load has measured that this file predicts
    (`Components.measurement`). The tiny decoder is the one in the folder `vae_tiny`, if any: it knows the latents of
    the VAE there.
    Raises BadCheckpoint, one sentence that names the file or part, for anything missing, unexpected or mis-shaped
    (MissingVae where another VAE would help), before anything is put on the device.
    """
    facts = identify(path)
    if prediction_type is not None:
        facts = replace(facts, prediction_type=prediction_type, prediction_source="user")
    blueprint = blueprint_of(path, facts, vae=vae)
    config_prediction = prediction_of(blueprint.scheduler_config)
    declared_prediction = next((kind for kind in PREDICTIONS if kind == config_prediction), None)
    if declared_prediction is None:
        raise BadCheckpoint(
            Message(
                "The scheduler's prediction_type is {config_prediction}, which is not known.",
                config_prediction=f"{config_prediction[:60]!r}",
            )
        )
    scheduler_config = blueprint.scheduler_config
    if shift is not None and declared_prediction == "flow_prediction":
        scheduler_config = with_shift(scheduler_config, shift)
    modules = {part: empty_module(plan) for part, plan in blueprint.plans.items()}
    text_encoders = tuple(
        TextEncoder(one.part, blueprint.tokenizers(one), modules[one.part]) for one in blueprint.family.text_encoders
    )
    _check_fit(modules, text_encoders)
    whole, done_bytes = max(1, sum(plan.size_bytes for plan in blueprint.plans.values())), 0
    for part, plan in blueprint.plans.items():
        progress(Message("Loading {name}: {plan}", name=name, plan=plan.label), done_bytes / whole)
        fill(modules[part], plan, device, dtype)
        done_bytes += plan.size_bytes
    native_width, native_height = _native_size(blueprint, modules)
    components = Components(
        name=name,
        family=blueprint.family,
        unet=modules["unet"],
        vae=modules["vae"],
        text_encoders=text_encoders,
        scheduler_config=scheduler_config,
        prediction_type=declared_prediction,
        device=device,
        dtype=dtype,
        native_width=native_width,
        native_height=native_height,
        zero_empty_negative=blueprint.index.get("force_zeros_for_empty_prompt") is True,
        fast_preview=fast_preview or (_fast_preview(path, modules["vae"], device) if vae is None else None),
        tiny_vae=_tiny_vae(path, device, dtype) if vae is None else None,
        notes=blueprint.notes,
    )
    if measurement is None and _is_open(
        facts, blueprint.family
    ):  # now, not in idle time: the first picture depends on it
        progress(Message("Loading {name}: measuring what it predicts", name=name), 0.98)
        components.measurement = measured_prediction(components, mostly=blueprint.family.prediction) or "unclear"
    elif _is_open(facts, blueprint.family):
        components.measurement = measurement
    if components.measurement is not None:
        _take_measurement(components, blueprint, path)
    progress(Message("Loading {name}: done", name=name), 1.0)
    return components


def _is_open(facts: ModelFacts, family: Family) -> bool:
    """Whether nothing but its family says what a single file predicts, and the family's models differ."""
    return facts.form != "folder" and family.is_measured and facts.prediction_source in (None, "family")


def _take_measurement(components: Components, blueprint: Blueprint, path: Path) -> None:
    """Take a model for what its answer to noise has shown; where that shows nothing, for one that predicts noise."""
    unclear = components.measurement == "unclear"
    prediction: Prediction = "v_prediction" if components.measurement == "v_prediction" else "epsilon"
    family = blueprint.family
    components.prediction_type = prediction
    components.scheduler_config = scheduler_settings(prediction, components.scheduler_config)
    native = family.native(prediction)
    if blueprint.facts.native_width is None and native is not None:
        components.native_width = components.native_height = native
    if unclear:
        components.notes += (
            Message(
                "{file} does not say whether it predicts noise or v, and its answers do not show it: "
                "it is taken to "
                "predict noise. The Models tab can say otherwise.",
                file=path.name,
            ),
        )
    elif prediction != family.prediction:
        components.notes += (
            Message(
                "{file} does not say what it predicts; measured: {meaning}.",
                file=path.name,
                meaning=MEANING[prediction],
            ),
        )


def _native_size(blueprint: Blueprint, modules: Mapping[str, Any]) -> tuple[int, int]:
    facts = blueprint.facts
    if facts.form != "folder" and facts.native_width and facts.native_height:
        return facts.native_width, facts.native_height
    factor = 2 ** (len(modules["vae"].config.block_out_channels) - 1)
    sample_size = modules["unet"].config.sample_size
    side = sample_size * factor if isinstance(sample_size, int) else 512
    return side, side


def _check_fit(modules: Mapping[str, Any], text_encoders: Sequence[TextEncoder]) -> None:
    """Parts of different models in one folder: say which do not fit, before a call fails in the middle."""
    configs = {part: config_of(module) for part, module in modules.items()}
    if problem := part_fit_problem(configs):
        raise BadCheckpoint(problem)
    unet, vae = modules["unet"], modules["vae"]
    if unet.config.in_channels > vae.config.latent_channels and vae.encoder is None:
        raise BadCheckpoint(
            Message("The U-Net does not fit the VAE: it is shown a picture, and the VAE has no encoder.")
        )
    vocabularies = [one.tokenizer.get_vocab() for one in text_encoders]
    if any(vocabulary != vocabularies[0] for vocabulary in vocabularies):  # prompts are cut by the first, for all
        raise BadCheckpoint(Message("The tokenizers do not fit each other: they know different tokens."))
    for one in text_encoders:
        if len(one.tokenizer) > one.module.config.vocab_size:
            raise BadCheckpoint(Message("The tokenizer does not fit the text encoder: it knows more tokens."))


def config_of(module: Any) -> Mapping[str, Any]:
    """diffusers' configs are mappings, transformers' are not."""
    config = module.config
    return config if isinstance(config, Mapping) else dict(config.to_dict())


def _tiny_vae(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """The tiny decoder in the checkpoint's folder; None when it is absent or damaged: others then draw the previews."""
    if not (folder / TINY_VAE).is_dir():
        return None
    try:
        tiny = load_tiny_vae(folder / TINY_VAE, device=device, dtype=dtype)
        return tiny.to(memory_format=torch.channels_last)  # a fifth quicker on a CPU, at a width of 16
    except (BadCheckpoint, OSError):
        logger.warning("The tiny decoder in %s cannot be used", folder.name, exc_info=True)
        return None


def _fast_preview(folder: Path, vae: Any, device: torch.device) -> FastPreview | None:
    """The (weight, bias) beside the VAE, or None when there is none or it is damaged."""
    file = folder / FAST_PREVIEW
    if not file.exists():
        return None
    try:
        read_header(file)
        tensors = load_file(file)
        weight, bias = tensors["weight"].float(), tensors["bias"].float()
    except (BadCheckpoint, KeyError, OSError):
        logger.warning("The fast preview beside the VAE cannot be read", exc_info=True)
        return None
    side = 2 ** (len(vae.config.block_out_channels) - 1)
    if weight.shape != (3 * side * side, vae.config.latent_channels, 3, 3) or bias.shape != weight.shape[:1]:
        return None
    return weight.to(device), bias.to(device)
