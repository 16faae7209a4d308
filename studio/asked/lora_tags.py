"""The LoRA tags of a prompt, <lora:name:weight>: read, left out, and one of them re-weighted.

Plain data: what runs a LoRA, what tokenizes a prompt and what compares weights all read a tag in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from studio.asked.names import name_key

MAX_LORA_WEIGHT = 100.0  # either way; far beyond any use, and far from an infinity

_TAG = re.compile(r"<lora:([^<>:]+)((?::[^<>:]*)*)>", re.IGNORECASE)


@dataclass(frozen=True)
class LoraTag:
    """<lora:name:text:unet> of a prompt: a LoRA and how much of it in the text encoders and in the U-Net."""

    name: str
    text_scale: float = 1.0
    unet_scale: float = 1.0


def lora_tags(prompt: str) -> tuple[LoraTag, ...]:
    """The LoRA tags of a prompt, in order. Their grammar is A1111's: <lora:name>, <lora:name:0.8>, <lora:name:te:unet>
    or named, <lora:name:te=0.5:unet=1>. The U-Net's weight is the text encoders' where it is not given; a weight that
    is no number, or beyond ±MAX_LORA_WEIGHT, makes the tag plain text."""
    return tuple(tag for match in _TAG.finditer(prompt) if (tag := _tag(match)) is not None)


def without_lora_tags(prompt: str) -> str:
    """The prompt as the text encoder reads it."""
    return _TAG.sub(lambda match: "" if _tag(match) is not None else match.group(0), prompt)


def with_lora_weight(prompt: str, weight: float) -> str:
    """The prompt with its first LoRA tag at this weight, in the text encoders and in the U-Net."""
    for match in _TAG.finditer(prompt):
        if (tag := _tag(match)) is not None:
            return f"{prompt[: match.start()]}<lora:{tag.name}:{weight:g}>{prompt[match.end() :]}"
    return prompt


def with_lora_names(prompt: str, names: Mapping[str, str]) -> str:
    """The prompt with other names in its LoRA tags, by the `name_key` of those that stand there; all else stays."""

    def renamed(match: re.Match[str]) -> str:
        tag = _tag(match)
        name = names.get(name_key(tag.name)) if tag is not None else None
        return match.group(0) if name is None else f"<lora:{name}{match.group(2)}>"

    return _TAG.sub(renamed, prompt)


def _tag(match: re.Match[str]) -> LoraTag | None:
    given: dict[str, float] = {}
    for position, text in enumerate(match.group(2).split(":")[1:]):
        key, named, number = text.partition("=")
        if not named:
            key, number = ("te", "unet", "dyn")[min(position, 2)], text
        try:
            value = float(number)
        except ValueError:
            return None
        if key.strip() not in ("te", "unet", "dyn") or not -MAX_LORA_WEIGHT <= value <= MAX_LORA_WEIGHT:
            return None
        given[key.strip()] = value
    text_scale = given.get("te", 1.0)
    return LoraTag(match.group(1).strip(), text_scale, given.get("unet", text_scale))
