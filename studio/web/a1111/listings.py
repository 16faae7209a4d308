"""The lists that AUTOMATIC1111's clients fill their menus with. Bare names: no folder of this machine is in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studio.answered.model_facts import VAE_KINDS
from studio.answered.models import Model
from studio.asked.fields import HIRES_UPSCALERS
from studio.asked.schedulers import NOISE_SCHEDULES, SCHEDULERS
from studio.picture.infotext import A1111_SAMPLERS, A1111_SCHEDULES
from studio.picture.styles import Style
from studio.web.a1111.options import title


def checkpoints(models: Sequence[Model]) -> list[dict[str, Any]]:
    """/sdapi/v1/sd-models."""
    return [
        {
            "title": title(one),
            "model_name": one.name,
            "hash": one.sha256[:10] if one.sha256 else None,
            "sha256": one.sha256,
            "filename": _file(one),
            "config": None,
        }
        for one in models
        if one.kind == "checkpoint" and one.state in ("usable", "incomplete")
    ]


def vaes(models: Sequence[Model]) -> list[dict[str, Any]]:
    """/sdapi/v1/sd-vae: those that the option `sd_vae` may name, with a checkpoint that they fit."""
    usable = [one for one in models if one.kind in VAE_KINDS and one.lends_vae_to and one.state == "usable"]
    return [{"model_name": one.name, "filename": _file(one)} for one in usable]


def loras(models: Sequence[Model]) -> list[dict[str, Any]]:
    """/sdapi/v1/loras."""
    return [
        {
            "name": one.name,
            "alias": one.facts.alias or one.name,
            "path": _file(one),
            "metadata": dict(one.facts.metadata),
        }
        for one in models
        if one.kind == "lora" and one.state == "usable"
    ]


def embeddings(models: Sequence[Model]) -> dict[str, Any]:
    """/sdapi/v1/embeddings."""
    nothing = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": None, "vectors": None}
    loaded = {one.name: nothing for one in models if one.kind == "embedding" and one.state == "usable"}
    unusable = {one.name: nothing for one in models if one.kind == "embedding" and one.state != "usable"}
    return {"loaded": loaded, "skipped": unusable}


def samplers() -> list[dict[str, Any]]:
    """/sdapi/v1/samplers. The aliases are the studio's own names."""
    return [
        {
            "name": A1111_SAMPLERS[name],
            "aliases": list(dict.fromkeys((name, facts.label))),
            "options": {} if facts.automatic == "normal" else {"scheduler": _schedule_name(facts.automatic)},
        }
        for name, facts in SCHEDULERS.items()
    ]


def schedulers() -> list[dict[str, Any]]:
    """/sdapi/v1/schedulers."""
    return [
        {
            "name": _schedule_name(name),
            "label": A1111_SCHEDULES.get(name, label),
            "aliases": None if _schedule_name(name) == name else [name],
            "default_rho": 7.0 if name == "karras" else -1,
            "need_inner_model": False,
        }
        for name, label in NOISE_SCHEDULES.items()
    ]


def upscalers(models: Sequence[Model]) -> list[dict[str, Any]]:
    """/sdapi/v1/upscalers: those that are no latent ones."""
    nothing = {"model_path": None, "model_url": None}
    usable = [one for one in models if one.kind == "upscaler" and one.state == "usable"]
    return [
        *(
            {"name": label, "model_name": None, **nothing, "scale": 4}
            for name, label in HIRES_UPSCALERS.items()
            if name != "latent"
        ),
        *(
            {"name": one.name, "model_name": one.facts.architecture, **nothing, "scale": one.facts.scale or 4}
            for one in usable
        ),
    ]


def realesrgan_models(models: Sequence[Model]) -> list[dict[str, Any]]:
    """/sdapi/v1/realesrgan-models: the learned upscalers that are installed."""
    usable = [one for one in models if one.kind == "upscaler" and one.state == "usable"]
    return [{"name": one.name, "path": _file(one), "scale": one.facts.scale or 4} for one in usable]


def latent_upscalers() -> list[dict[str, str]]:
    """/sdapi/v1/latent-upscale-modes."""
    return [{"name": HIRES_UPSCALERS["latent"]}]


def _schedule_name(name: str) -> str:
    return "align_your_steps" if name == "ays" else name


def _file(model: Model) -> str:
    return model.name.replace("\\", "/").rpartition("/")[2]


def styles(all_styles: Sequence[Style]) -> list[dict[str, str]]:
    """The answer of `prompt-styles`."""
    return [{"name": one.name, "prompt": one.prompt, "negative_prompt": one.negative_prompt} for one in all_styles]
