"""Fooocus' own JSON (`fooocus_scheme` = fooocus) and that of RuinedFooocus. Samplers and schedules are ComfyUI's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from studio.picture.comfyui import SAMPLERS
from studio.picture.file_settings import FileSettings

NAME = "Fooocus"
RUINED = "RuinedFooocus"

_FIELDS = {
    "prompt": "prompt", "negative_prompt": "negative_prompt", "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale", "base_model": "checkpoint", "clip_skip": "clip_skip", "sampler": "scheduler",
    "scheduler": "noise_schedule", "seed": "seed",
}  # fmt: skip
_RUINED_FIELDS = {
    "Prompt": "prompt", "Negative": "negative_prompt", "steps": "num_inference_steps", "cfg": "guidance_scale",
    "width": "width", "height": "height", "seed": "seed", "sampler_name": "scheduler", "scheduler": "noise_schedule",
    "base_model_name": "checkpoint", "clip_skip": "clip_skip",
}  # fmt: skip
# The full prompts are the prompt with the words of its styles, which are named.
_NO_SETTING = {
    "full_prompt", "full_negative_prompt", "version", "metadata_scheme", "created_by", "base_model_hash", "loras",
    "resolution", "software",
}  # fmt: skip
_SCHEDULES = {"align_your_steps": "ays"}
_SIZE = re.compile(r"\D*(\d{1,6})\D+(\d{1,6})\D*", re.ASCII)


def is_fooocus(metadata: Mapping[str, Any]) -> bool:
    """Whether a JSON object of the chunk `parameters` is Fooocus' own."""
    return "base_model" in metadata and ("guidance_scale" in metadata or "metadata_scheme" in metadata)


def fooocus_settings(metadata: Mapping[str, Any]) -> FileSettings:
    """The settings in Fooocus' JSON."""
    settings = FileSettings(checkpoint_hash=str(metadata.get("base_model_hash") or ""))
    _take(settings, metadata, _FIELDS)
    size = _SIZE.fullmatch(str(metadata.get("resolution", "")))
    if size is not None:
        settings.add("width", int(size[1]), "resolution")
        settings.add("height", int(size[2]), "resolution")
    else:
        settings.leave("resolution", metadata.get("resolution"))
    texts = [v for k, v in metadata.items() if k.startswith("lora_combined_") and isinstance(v, str)]
    loras = metadata.get("loras")
    pairs = loras if isinstance(loras, list) and loras else [text.rpartition(" : ")[::2] for text in texts]
    for pair in pairs:
        if isinstance(pair, (list, tuple)) and len(pair) >= 2:
            settings.add_lora(pair[0], pair[1], "loras")
        else:
            settings.leave("loras", pair)
    return settings


def ruined_settings(metadata: Mapping[str, Any]) -> FileSettings:
    """The settings in RuinedFooocus' JSON."""
    settings = FileSettings(checkpoint_hash=str(metadata.get("base_model_hash") or ""))
    _take(settings, metadata, _RUINED_FIELDS)
    for lora in metadata.get("loras") or []:
        # [hash, "0.5 - name.safetensors"] or [name, weight]
        weight, dash, name = str(lora[-1]).partition(" - ") if isinstance(lora, list) and lora else ("", "", "")
        if dash:
            settings.add_lora(name, weight, "loras")
        elif isinstance(lora, list) and len(lora) == 2:
            settings.add_lora(lora[0], lora[1], "loras")
        else:
            settings.leave("loras", lora)
    return settings


def _take(settings: FileSettings, metadata: Mapping[str, Any], fields: Mapping[str, str]) -> None:
    for key, value in metadata.items():
        name = fields.get(key)
        if name == "scheduler":
            settings.add(name, SAMPLERS.get(str(value), value), key)
        elif name == "noise_schedule":
            settings.add(name, _SCHEDULES.get(str(value), value), key)
        elif name == "seed":
            settings.add(name, str(value), key)
        elif name in ("num_inference_steps", "guidance_scale", "clip_skip"):
            settings.add(name, _as_number(value), key)
        elif name is not None:
            settings.add(name, value, key)
        elif key == "vae":
            settings.add("vae_name", None if str(value).startswith("Default") else value, key)
        elif key not in _NO_SETTING and not key.startswith("lora_combined_") and str(value) != "None":
            settings.leave(key, value)


def _as_number(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number
