"""Draw Things' settings: a JSON object in the XMP of a PNG or JPEG file, as its `exif:UserComment`."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from studio.picture.file_settings import NO_SETTING, PICTURES, FileSettings

NAME = "Draw Things"
XMP = "XML:com.adobe.xmp"  # the keyword of a PNG's text, and Pillow's own name for it

_FIELDS = {
    "c": "prompt", "uc": "negative_prompt", "model": "checkpoint", "seed": "seed", "steps": "num_inference_steps",
    "scale": "guidance_scale",
}  # fmt: skip
# Its names of samplers, without the schedule that ends some of them.
_SAMPLERS = {
    "dpm++ 2m": "dpmpp_2m", "euler a": "euler_a", "ddim": "ddim", "plms": "pndm", "dpm++ sde": "dpmpp_sde",
    "unipc": "unipc", "lcm": "lcm", "euler": "euler",
}  # fmt: skip
_SCHEDULES = {"karras": "karras", "trailing": "sgm_uniform", "ays": "ays"}
_NO_SETTING = {"v2", "profile", "lora", "size", "sampler", "strength"}  # `v2`: the same again, with all defaults
# Searched for, not parsed: a document of an unknown writer may be anything.
_COMMENT = re.compile(r"<exif:UserComment>(.{1,1000000}?)</exif:UserComment>", re.DOTALL)
_ITEM = re.compile(r"<rdf:li[^>]{0,200}>(.*)</rdf:li>", re.DOTALL)
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})", re.ASCII)


def settings_of(xmp: str) -> FileSettings | None:
    """What the XMP of a file tells; None for one that Draw Things has not written."""
    metadata = _metadata(xmp)
    if "c" not in metadata or "sampler" not in metadata:
        return None
    settings = FileSettings()
    for key, value in metadata.items():
        if key in _FIELDS:
            settings.add(_FIELDS[key], value, key)
        elif key not in _NO_SETTING:
            settings.leave(key, value, PICTURES if key in ("control", "mask") else NO_SETTING)
    _add_sampler(settings, str(metadata["sampler"]))
    size = _SIZE.fullmatch(str(metadata.get("size", "")))
    if size is not None:
        settings.add("width", int(size[1]), "size")
        settings.add("height", int(size[2]), "size")
    if metadata.get("strength") not in (None, 1, 1.0):
        settings.add("strength", metadata["strength"], "strength")
    loras = metadata.get("lora")
    for lora in loras if isinstance(loras, list) else []:
        if isinstance(lora, Mapping):
            settings.add_lora(lora.get("model") or lora.get("file"), lora.get("weight"), "lora")
    return settings


def _metadata(xmp: str) -> dict[str, Any]:
    comment = _COMMENT.search(xmp)
    if comment is None:
        return {}
    item = _ITEM.search(comment[1])
    try:
        value = json.loads(html.unescape((item[1] if item else comment[1]).strip()))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _add_sampler(settings: FileSettings, sampler: str) -> None:
    name = sampler.casefold()
    for ending, schedule in _SCHEDULES.items():
        if name.endswith(f" {ending}"):
            name = name.removesuffix(f" {ending}")
            settings.add("noise_schedule", schedule, "sampler")
    settings.add("scheduler", _SAMPLERS.get(name, sampler), "sampler")
