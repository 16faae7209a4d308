"""The settings that a picture's file states, whatever program wrote it: fields of a request, and what is no field here.

Plain data. A remark is a key with values; its words stand in the page's catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from studio.asked.names import name_key
from studio.asked.prompt import parse_prompt

_ENDING = re.compile(r"\.(?:safetensors|sft|ckpt|pt|pth|bin)$", re.IGNORECASE)


@dataclass(frozen=True)
class Remark:
    """A sentence as the key of its words, and the values in its places."""

    key: str
    values: Mapping[str, str] = field(default_factory=dict)


NO_SETTING = Remark("no_setting")
NO_SUCH_VAE = Remark("vae")
NO_TINY_VAE = Remark("tiny_vae")
ONE_VAE = Remark("one_vae")
PICTURES = Remark("pictures")
REFINER = Remark("refiner")
OTHER_NOISE = Remark("other_noise")


@dataclass
class FileSettings:
    """The settings of one file. `values`: by field, as the gate takes them; `keys`: what the program calls each field.
    `others`: the program's settings that are no field here, by its own names, each with its value and why it is left
    out. `remarks`: remarks about what is taken otherwise."""

    values: dict[str, object] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    others: dict[str, tuple[str, Remark]] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)
    checkpoint_hash: str = ""
    wants_tiny_vae: bool = False  # decoded by a tiny autoencoder: `vae_name` may say which
    vae_hash: str = ""

    def add(self, name: str, value: object, key: str) -> None:
        """Take the value of a field; none for nothing."""
        if value is not None and value != "":
            self.values[name], self.keys[name] = value, key

    def leave(self, key: str, value: object, why: Remark = NO_SETTING) -> None:
        """Name a setting that is no field here, unless it is nothing, or switched off. Values of one key are named
        together."""
        if value is None or value is False or value in ("", [], {}, 0):
            return
        before = f"{self.others[key][0]}; " if key in self.others else ""
        self.others[key] = f"{before}{value}"[:200], why

    def add_lora(self, name: object, weight: object, key: str, unet_weight: object = None) -> None:
        """Put a LoRA that the program keeps beside the prompt into the prompt, unless it is there; one that no tag can
        name is left out. `unet_weight`: where the U-Net's differs from that of the text encoders."""
        weights = [_number(w) for w in ((weight,) if unet_weight in (None, weight) else (weight, unet_weight))]
        plain_name = _ENDING.sub("", str(name).replace("\\", "/")) if isinstance(name, str) else ""
        can_be_named = bool(plain_name) and "<" not in plain_name and ">" not in plain_name
        if not can_be_named or None in weights or not isinstance(self.values.get("prompt", ""), str):
            self.leave(f"{key} {plain_name}".strip(), f"{name} {weight}")
            return
        prompt = str(self.values.get("prompt", ""))
        if name_key(plain_name) in {name_key(tag.name) for tag in parse_prompt(prompt).loras}:
            return
        tag = f"<lora:{plain_name}:{':'.join(f'{w:g}' for w in weights)}>"
        self.add("prompt", f"{prompt} {tag}".lstrip(), self.keys.get("prompt", "prompt"))
        if Remark("loras") not in self.remarks:
            self.remarks.append(Remark("loras"))


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if abs(number) <= 100 else None
