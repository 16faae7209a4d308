"""How other programs write a run into a picture: which of them wrote the texts of a file, and which settings each
states.

Each form becomes the same, `FileSettings`: fields of a request with what the program calls them. Plain values: no page,
no disk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from studio.picture import comfyui, draw_things, fooocus, invokeai
from studio.picture.file_settings import FileSettings, Remark
from studio.picture.infotext import parse_parameters, settings_of_pairs

_NOVELAI_SAMPLERS = {
    "k_euler": "euler", "k_euler_ancestral": "euler_a", "k_dpmpp_2m": "dpmpp_2m", "k_dpmpp_sde": "dpmpp_sde",
    "k_dpm_2": "dpm2", "k_dpm_2_ancestral": "dpm2_a", "k_heun": "heun", "k_lms": "lms", "ddim_v3": "ddim",
}  # fmt: skip
_EASY = {
    "prompt": "prompt", "negative_prompt": "negative_prompt", "seed": "seed", "width": "width", "height": "height",
    "num_inference_steps": "num_inference_steps", "guidance_scale": "guidance_scale", "sampler_name": "scheduler",
    "use_stable_diffusion_model": "checkpoint", "clip_skip": "clip_skip",
}  # fmt: skip
_SWARM = {
    "prompt": "prompt", "negativeprompt": "negative_prompt", "model": "checkpoint", "seed": "seed",
    "steps": "num_inference_steps", "cfgscale": "guidance_scale", "width": "width", "height": "height",
    "sampler": "scheduler", "scheduler": "noise_schedule", "comfyuisampler": "scheduler",
    "comfyuischeduler": "noise_schedule", "variationseed": "variation_seed",
    "variationseedstrength": "variation_strength", "initimagecreativity": "strength", "clipstopatlayer": "clip_skip",
    "swarm_version": "", "images": "", "aspectratio": "", "automaticvae": "", "loras": "", "loraweights": "",
    "originalprompt": "",
}  # fmt: skip
_NOVELAI = {
    "prompt": "prompt", "uc": "negative_prompt", "seed": "seed", "steps": "num_inference_steps",
    "scale": "guidance_scale", "width": "width", "height": "height", "sampler": "scheduler",
    "noise_schedule": "noise_schedule", "signed_hash": "", "request_type": "", "n_samples": "",
}  # fmt: skip
_SD_NEXT = "SD.Next"
_SD_NEXT_KEYS = {
    "CLiP-skip": "Clip skip", "CLIP skip": "Clip skip", "Hires scale": "Hires upscale",
    "Hires strength": "Denoising strength", "App": "", "Backend": "", "Operations": "", "Pipeline": "", "Parser": "",
    "Scheduler": "", "Index": "",
}  # fmt: skip
# Texts in which programs write settings, with the program that a text of this name belongs to.
_CARRIERS = {
    "parameters": "", "prompt": "", "workflow": comfyui.NAME, "invokeai_metadata": invokeai.NAME,
    "sd-metadata": invokeai.NAME, "Dream": invokeai.NAME,
}  # fmt: skip
_ALIKE = {"SwarmUI", comfyui.NAME}  # programs that read brackets as ComfyUI does


def settings_of_texts(texts: Mapping[str, str]) -> tuple[str, FileSettings] | None:
    """The program that wrote the texts of a file, and what it tells; None where no text holds settings. A text that
    should hold some and cannot be read is named."""
    program_settings = _read(texts)
    if program_settings is None:
        for name, program in _CARRIERS.items():
            if texts.get(name, "").strip():
                unread = FileSettings()
                why = "unread" if name != "workflow" or not _object(texts[name]) else "workflow"
                unread.leave(name, texts[name].strip(), Remark(why))
                return program, unread
        return None
    program, settings = program_settings
    if program in _ALIKE and "[" in str(settings.values.get("prompt", "")).replace("\\[", ""):
        settings.remarks.append(Remark("brackets", {"program": program}))
    return program, settings


def _read(texts: Mapping[str, str]) -> tuple[str, FileSettings] | None:
    parameters = texts.get("parameters", "")
    scheme = _object(parameters)
    swarm = scheme.get("sui_image_params")
    if isinstance(swarm, dict):
        return "SwarmUI", _swarm(swarm)
    if fooocus.is_fooocus(scheme):
        return fooocus.NAME, fooocus.fooocus_settings(scheme)
    if scheme.get("software") == fooocus.RUINED:
        return fooocus.RUINED, fooocus.ruined_settings(scheme)
    metadata = _object(texts.get("invokeai_metadata", ""))
    if metadata:
        return invokeai.NAME, invokeai.metadata_settings(metadata)
    metadata = _object(texts.get("sd-metadata", ""))
    if metadata:
        return invokeai.NAME, invokeai.sd_metadata_settings(metadata)
    dream = invokeai.dream_settings(texts.get("Dream", ""))
    if dream is not None:
        return invokeai.NAME, dream
    prompt, negative_prompt, pairs = parse_parameters(parameters)
    drawn = draw_things.settings_of(texts.get(draw_things.XMP, ""))
    if drawn is not None:
        return draw_things.NAME, drawn
    if "Steps" in pairs:
        return _program(texts, pairs), _infotext(prompt, negative_prompt, pairs)
    graph = _object(texts.get("prompt", ""))
    if comfyui.is_graph(graph):
        return comfyui.NAME, comfyui.graph_settings(graph)
    if texts.get("Software") == "NovelAI":
        settings = _settings_by_name(_object(texts.get("Comment", "")), _NOVELAI, {"scheduler": _NOVELAI_SAMPLERS})
        settings.values.setdefault("prompt", texts.get("Description", ""))
        return "NovelAI", settings
    if "num_inference_steps" in texts and "use_stable_diffusion_model" in texts:
        return "Easy Diffusion", _easy(texts)
    return None


def _program(texts: Mapping[str, str], pairs: Mapping[str, str]) -> str:
    if texts.get("fooocus_scheme"):
        return fooocus.NAME
    version = pairs.get("Version", "")
    if not version or re.match(r"v?\d", version):  # a number alone, with or without Git's distance
        return pairs.get("App") or "AUTOMATIC1111"
    return pairs.get("App") or ("Forge" if re.match(r"f\d", version) else version.split(" v")[0])


def _infotext(prompt: str, negative_prompt: str, pairs: Mapping[str, str]) -> FileSettings:
    if pairs.get("App") == _SD_NEXT:
        pairs = _as_a1111(pairs)
    settings = settings_of_pairs(pairs)
    settings.add("prompt", prompt, "Prompt")
    settings.add("negative_prompt", negative_prompt, "Negative prompt")
    if "Lora weights" in settings.others:  # Fooocus' in A1111's form
        del settings.others["Lora weights"]
        for part in pairs["Lora weights"].split(","):
            name, _, weight = part.rpartition(":")
            settings.add_lora(name.strip(), weight, "Lora weights")
    return settings


def _as_a1111(pairs: Mapping[str, str]) -> dict[str, str]:
    """The pairs of SD.Next with the keys that A1111 has for them. What tells of its inside is no setting."""
    names = {key.casefold(): name for key, name in _SD_NEXT_KEYS.items()}
    renamed = {names.get(key.casefold(), key): value for key, value in pairs.items()}
    return {key: value for key, value in renamed.items() if key}


def _swarm(parameters: Mapping[str, Any]) -> FileSettings:
    settings = _settings_by_name(parameters, _SWARM, {"scheduler": comfyui.SAMPLERS})
    stop = settings.values.get("clip_skip")
    if type(stop) is int and stop < 0:
        settings.values["clip_skip"] = -stop
    if "width" not in settings.values:
        settings.leave("aspectratio", parameters.get("aspectratio"))
    loras, weights = (parameters.get(key) for key in ("loras", "loraweights"))
    loras, weights = (v.split(",") if isinstance(v, str) else v or [] for v in (loras, weights))
    for number, name in enumerate(loras if isinstance(loras, list) else []):
        settings.add_lora(name, weights[number] if number < len(weights) else 1, "loras")
    return settings


def _easy(texts: Mapping[str, str]) -> FileSettings:
    settings = _settings_by_name({key: text for key, text in texts.items() if text not in ("None", "False")}, _EASY, {})
    if settings.values.get("clip_skip") == "True":
        settings.values["clip_skip"] = 2
    return settings


def _settings_by_name(
    values: Mapping[str, Any], fields: Mapping[str, str], words: Mapping[str, Mapping[str, str]]
) -> FileSettings:
    settings = FileSettings()
    for key, value in values.items():
        name = fields.get(key)
        if name is None:
            settings.add("vae_name", value, key) if key in ("vae", "use_vae_model") else settings.leave(key, value)
        elif name:
            settings.add(name, _plain(words.get(name, {}).get(str(value), value), name), key)
    return settings


def _plain(value: object, name: str) -> object:
    """A number that stands as text, as a number; a checkpoint's file name stays text."""
    if isinstance(value, str) and name not in ("prompt", "negative_prompt", "checkpoint", "seed"):
        try:
            number = float(value) if len(value) <= 40 else value
        except ValueError:
            return value
        return int(number) if isinstance(number, float) and number.is_integer() else number
    return value


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
