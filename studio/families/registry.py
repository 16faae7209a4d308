"""The families that the studio knows: the one list of them. A new family is a new file and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from studio.families import refiner, sd1, sd2, sdxl, segmind
from studio.families.base import Family, UnetShape

_ALL = (sd1.FAMILY, sd2.FAMILY, sdxl.FAMILY, refiner.FAMILY, segmind.SSD_1B, segmind.VEGA)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}


# What trainers call a text encoder => the part that it mostly is; a family says which of its own it is.
ADAPTER_NAMES: Mapping[str, str] = {
    name: one.part for family in reversed(_ALL) for one in family.text_encoders for name in one.adapter_names
}


def recognise(unet: UnetShape) -> Family | None:
    """The family of a U-Net of this structure."""
    return next((family for family in FAMILIES.values() if family.recognises(unet)), None)


def of_context_width(width: int) -> Family | None:
    """The family whose U-Net takes text embeddings of this width; where several do, the first."""
    return next((family for family in FAMILIES.values() if family.context_width == width), None)


def preview_family(family: Family) -> Family:
    """The first family of the same latent space, by which its preview decoders are called."""
    return next(one for one in FAMILIES.values() if one.latents.space == family.latents.space)


def same_latents(name: str | None) -> tuple[str, ...]:
    """The families that can share a VAE with this one; all of them for None, not known."""
    spaces = {one.latents.space for one in FAMILIES.values() if name in (None, one.name)}
    return tuple(one.name for one in FAMILIES.values() if one.latents.space in spaces)


def adapters_for(name: str | None) -> tuple[str | None, ...]:
    """The families whose LoRAs, ControlNets and embeddings may fit this one, its own first."""
    family = FAMILIES.get(name or "")
    return (name, *(family.runs_adapters_of if family is not None else ()))


def label_of(name: str | None) -> str:
    """What people call a family; "" for none."""
    family = FAMILIES.get(name or "")
    return family.label if family is not None else ""
