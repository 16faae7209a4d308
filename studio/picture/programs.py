"""How other programs write a run into a picture: A1111's infotext, ComfyUI's graph, SwarmUI, NovelAI, Easy Diffusion.

Each form becomes the same: fields of a request with what the program calls them. Plain values: no page, no disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from studio.picture.infotext import Told, parse_parameters, settings_of_pairs

# ComfyUI's names of samplers and schedulers, which SwarmUI uses too.
_COMFY_SAMPLERS = {
    "euler_ancestral": "euler_a", "dpm_2": "dpm2", "dpm_2_ancestral": "dpm2_a", "uni_pc": "unipc",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde", "dpmpp_3m_sde_gpu": "dpmpp_3m_sde", "dpmpp_sde_gpu": "dpmpp_sde",
}  # fmt: skip
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
    "sampler": "scheduler", "scheduler": "noise_schedule", "swarm_version": "",
}  # fmt: skip
_NOVELAI = {
    "prompt": "prompt", "uc": "negative_prompt", "seed": "seed", "steps": "num_inference_steps",
    "scale": "guidance_scale", "width": "width", "height": "height", "sampler": "scheduler",
    "noise_schedule": "noise_schedule", "signed_hash": "", "request_type": "", "n_samples": "",
}  # fmt: skip
_KSAMPLER = {
    "seed": "seed", "noise_seed": "seed", "steps": "num_inference_steps", "cfg": "guidance_scale",
    "sampler_name": "scheduler", "scheduler": "noise_schedule",
}  # fmt: skip
# ComfyUI's nodes that the fields stand for; any other is named.
_COMFY_KNOWN = {
    "KSampler", "KSamplerAdvanced", "CheckpointLoaderSimple", "EmptyLatentImage", "CLIPTextEncode", "VAEDecode",
    "SaveImage", "PreviewImage",
}  # fmt: skip


def told_by(texts: Mapping[str, str]) -> tuple[str, Told] | None:
    """The program that wrote the texts of a file, and what it tells; None where nothing is understood."""
    parameters = texts.get("parameters", "")
    swarm = _object(parameters).get("sui_image_params")
    if isinstance(swarm, dict):
        return "SwarmUI", _named(swarm, _SWARM, {"scheduler": _COMFY_SAMPLERS})
    prompt, negative_prompt, pairs = parse_parameters(parameters)
    if "Steps" in pairs:
        told = settings_of_pairs(pairs)
        told.add("prompt", prompt, "Prompt")
        told.add("negative_prompt", negative_prompt, "Negative prompt")
        return pairs.get("Version", "").split(" v")[0] or "AUTOMATIC1111", told
    graph = _object(texts.get("prompt", ""))
    if any(isinstance(node, dict) and "class_type" in node for node in graph.values()):
        return "ComfyUI", _comfy(graph)
    if texts.get("Software") == "NovelAI":
        told = _named(_object(texts.get("Comment", "")), _NOVELAI, {"scheduler": _NOVELAI_SAMPLERS})
        told.values.setdefault("prompt", texts.get("Description", ""))
        return "NovelAI", told
    if "num_inference_steps" in texts and "use_stable_diffusion_model" in texts:
        return "Easy Diffusion", _named(dict(texts), _EASY, {})
    return None


def _named(given: Mapping[str, Any], fields: Mapping[str, str], words: Mapping[str, Mapping[str, str]]) -> Told:
    told = Told()
    for key, value in given.items():
        name = fields.get(key)
        if name is None:
            told.others[key] = str(value)[:200]
        elif name:
            told.add(name, _plain(words.get(name, {}).get(str(value), value), name), key)
    return told


def _plain(value: object, name: str) -> object:
    """A number that stands as text, as a number; a checkpoint's file name stays text."""
    if isinstance(value, str) and name not in ("prompt", "negative_prompt", "checkpoint", "seed"):
        try:
            number = float(value) if len(value) <= 40 else value
        except ValueError:
            return value
        return int(number) if isinstance(number, float) and number.is_integer() else number
    return value


def _comfy(graph: Mapping[str, Any]) -> Told:
    """The graph of a plain run: the sampler, and what its inputs lead to. Every other kind of node is named."""
    nodes = {key: node for key, node in graph.items() if isinstance(node, dict)}

    def inputs(key: object) -> Mapping[str, Any]:
        node = nodes.get(str(key))
        given = node.get("inputs") if node is not None else None
        return given if isinstance(given, dict) else {}

    def of(link: object, kind: str) -> Mapping[str, Any]:
        """The inputs of the nearest node of a kind that a link leads to."""
        waiting, seen = [link], set()
        while waiting:
            key = waiting.pop(0)
            key = str(key[0]) if isinstance(key, list) and key else None
            if key is None or key in seen:
                continue
            seen.add(key)
            if nodes.get(key, {}).get("class_type") == kind:
                return inputs(key)
            waiting += [value for value in inputs(key).values() if isinstance(value, list)]
        return {}

    told = Told()
    samplers = [key for key, node in nodes.items() if str(node.get("class_type")).startswith("KSampler")]
    for key, value in (inputs(samplers[0]) if samplers else {}).items():
        name = _KSAMPLER.get(key)
        if name is not None and not isinstance(value, list):
            told.add(name, _COMFY_SAMPLERS.get(str(value), value) if name == "scheduler" else value, key)
        elif key == "denoise" and value != 1:
            told.add("strength", value, key)
    given = inputs(samplers[0]) if samplers else {}
    told.add("prompt", of(given.get("positive"), "CLIPTextEncode").get("text"), "positive")
    told.add("negative_prompt", of(given.get("negative"), "CLIPTextEncode").get("text"), "negative")
    told.add("checkpoint", of(given.get("model"), "CheckpointLoaderSimple").get("ckpt_name"), "ckpt_name")
    size = of(given.get("latent_image"), "EmptyLatentImage")
    for name in ("width", "height"):
        told.add(name, size.get(name), name)
    for node in nodes.values():
        kind = str(node.get("class_type"))
        if kind not in _COMFY_KNOWN:
            told.others[kind] = "a node"
    if len(samplers) > 1:
        told.notes.append(f"The graph has {len(samplers)} samplers; the first one is taken.")
    return told


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
