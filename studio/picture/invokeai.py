"""InvokeAI's metadata in its three generations: `invokeai_metadata` (since 3), `sd-metadata` (2) and `Dream` (1).

Its clip skip counts the layers that are skipped; its schedulers end in `_k` where their noise schedule is Karras'.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from studio.picture.file_settings import NO_SETTING, OTHER_NOISE, PICTURES, FileSettings

NAME = "InvokeAI"

_FIELDS = {
    "positive_prompt": "prompt", "negative_prompt": "negative_prompt", "width": "width", "height": "height",
    "seed": "seed", "steps": "num_inference_steps", "cfg_scale": "guidance_scale", "strength": "strength",
}  # fmt: skip
_NO_SETTING = {"generation_mode", "app_version", "positive_style_prompt", "negative_style_prompt"}
_SCHEDULERS = {"kdpm_2": "dpm2", "kdpm_2_a": "dpm2_a"}
_SAMPLERS_2 = {
    "k_lms": "lms", "k_euler": "euler", "k_euler_a": "euler_a", "k_heun": "heun", "k_dpm_2": "dpm2",
    "k_dpm_2_a": "dpm2_a", "k_dpmpp_2": "dpmpp_2m", "plms": "pndm",
}  # fmt: skip
_FIELDS_2 = {
    "steps": "num_inference_steps", "cfg_scale": "guidance_scale", "width": "width", "height": "height",
    "seed": "seed", "strength": "strength",
}  # fmt: skip
_OPTIONS = {
    "-s": "num_inference_steps", "-S": "seed", "-W": "width", "-H": "height", "-C": "guidance_scale",
    "-A": "scheduler", "-f": "strength",
}  # fmt: skip
_DREAM = re.compile(r'\s*"(.*)"((?:\s+-.*)?)', re.DOTALL)


def metadata_settings(metadata: Mapping[str, Any]) -> FileSettings:
    """What `invokeai_metadata` tells."""
    settings = FileSettings()
    for key, name in _FIELDS.items():
        settings.add(name, metadata.get(key), key)
    scheduler = metadata.get("scheduler")
    if isinstance(scheduler, str):
        karras = scheduler.endswith("_k")
        short = scheduler.removesuffix("_k")
        settings.add("scheduler", _SCHEDULERS.get(short, short), "scheduler")
        settings.add("noise_schedule", "karras" if karras else "as_configured", "scheduler")
    else:
        settings.add("scheduler", scheduler, "scheduler")
    skip = metadata.get("clip_skip")
    settings.add("clip_skip", skip + 1 if type(skip) is int and skip > 0 else skip or None, "clip_skip")
    _add_checkpoint(settings, metadata.get("model"))
    for one in _list(metadata.get("loras")):
        settings.add_lora(_name(one.get("model") or one.get("lora")), one.get("weight"), "loras")
    known_fields = {*_FIELDS, *_NO_SETTING, "scheduler", "clip_skip", "model", "loras", "rand_device"}
    for key, value in metadata.items():
        if key in ("vae", "controlnets", "t2iAdapters", "ipAdapters", "init_image", "control_layers"):
            names = ", ".join(_name(one) for one in _list(value)) if isinstance(value, list) else _name(value)
            if key == "vae":
                settings.add("vae_name", names or value, key)
            else:
                settings.leave(key, names or value, PICTURES)
        elif key not in known_fields:
            settings.leave(key, value)
    for sign in ("positive", "negative"):  # of SDXL's second text encoder
        style = metadata.get(f"{sign}_style_prompt")
        if style != metadata.get(f"{sign}_prompt"):
            settings.leave(f"{sign}_style_prompt", style)
    if metadata.get("rand_device") not in (None, "cpu"):
        settings.leave("rand_device", metadata["rand_device"], OTHER_NOISE)
    return settings


def _add_checkpoint(settings: FileSettings, model: object) -> None:
    settings.add("checkpoint", _name(model), "model")
    algorithm, _, digits = str(model.get("hash") or "").rpartition(":") if isinstance(model, Mapping) else ("", "", "")
    if algorithm in ("", "sha256") and re.fullmatch(r"[0-9a-f]{64}", digits):
        settings.checkpoint_hash = digits


def _name(model: object) -> str:
    """The name of a model as the versions write it: a text, or an object that may hold another."""
    if isinstance(model, str):
        return model
    if not isinstance(model, Mapping):
        return ""
    for key in ("name", "model_name", "image_name"):
        if isinstance(model.get(key), str):
            return str(model[key])
    return next((_name(model[key]) for key in ("model", "control_model", "image") if _name(model.get(key))), "")


def _list(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def sd_metadata_settings(metadata: Mapping[str, Any]) -> FileSettings:
    """What `sd-metadata` tells: facts about the model, and those of the picture in `image`."""
    settings = FileSettings()
    image = metadata.get("image") or next(iter(_list(metadata.get("images"))), {})
    image = image if isinstance(image, Mapping) else {}
    prompt = image.get("prompt")
    if isinstance(prompt, list):
        parts = [(str(one.get("prompt", "")), one.get("weight", 1)) for one in _list(prompt)]
        _add_prompt(settings, ", ".join(text for text, _ in parts))
        if len(parts) > 1:
            settings.leave("prompt weights", ", ".join(str(weight) for _, weight in parts))
    else:
        _add_prompt(settings, prompt if isinstance(prompt, str) else "")
    for key, value in image.items():
        if key in _FIELDS_2:
            settings.add(_FIELDS_2[key], value, key)
        elif key == "sampler":
            settings.add("scheduler", _SAMPLERS_2.get(str(value), value), key)
        elif key in ("init_image_path", "mask_image_path"):
            settings.leave(key, value, PICTURES)
        elif key not in ("prompt", "type"):
            settings.leave(key, value)
    settings.add("checkpoint", metadata.get("model_weights") or metadata.get("model_id"), "model_weights")
    settings.checkpoint_hash = str(metadata.get("model_hash") or "")
    return settings


def _add_prompt(settings: FileSettings, text: str) -> None:
    """The negative prompt stands in the prompt, in square brackets."""
    settings.add("negative_prompt", ", ".join(re.findall(r"\[([^\[\]]*)\]", text)), "prompt")
    settings.add("prompt", re.sub(r"\s*\[[^\[\]]*\]", "", text).strip() or text, "prompt")


def dream_settings(text: str) -> FileSettings | None:
    """What the command of `Dream` tells: `"prompt" -s 50 -S 7 -W 512 ...`; None for any other text."""
    command = _DREAM.fullmatch(text)
    if command is None:
        return None
    settings = FileSettings()
    _add_prompt(settings, command[1].replace('\\"', '"'))
    try:
        words = shlex.split(command[2])
    except ValueError:
        words = command[2].split()
    options: dict[str, str] = {}
    for word in words:
        option = re.fullmatch(r"(--?[A-Za-z_]\w*?)(?:=(.*)|([\d.]+))?", word, re.DOTALL)
        if option is not None and not re.fullmatch(r"-\d.*", word):
            options[option[1]] = option[2] or option[3] or ""
        elif options:
            last = next(reversed(options))
            options[last] = f"{options[last]} {word}".strip()
    for key, value in options.items():
        name = _OPTIONS.get(key)
        if name is None:
            settings.leave(key, value or "on", PICTURES if key in ("-I", "-M") else NO_SETTING)
        elif name == "scheduler":
            settings.add(name, _SAMPLERS_2.get(value, value), key)
        else:
            settings.add(name, _as_number(value), key)
    return settings


def _as_number(text: str) -> object:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(text) if re.fullmatch(r"\d{1,20}", text) else number
