"""The families that the studio knows: the one list of them. A new family is a new file and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from studio.families import refiner, sd1, sd2, sdxl, segmind
from studio.families.base import Family, UnetShape

_ALL = (sd1.FAMILY, sd2.FAMILY, sdxl.FAMILY, refiner.FAMILY, segmind.SSD_1B, segmind.VEGA)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}


def recognised(unet: UnetShape) -> Family | None:
    """The family of a U-Net of this structure."""
    return next((family for family in FAMILIES.values() if family.recognises(unet)), None)


def of_context_width(width: int) -> Family | None:
    """The family whose U-Net takes text embeddings of this width; where several do, the first."""
    return next((family for family in FAMILIES.values() if family.context_width == width), None)


def preview_family(family: Family) -> Family:
    """The first family of the same latent space, by which its preview decoders are called."""
    return next(one for one in FAMILIES.values() if one.latents.space == family.latents.space)


def same_latents(label: str) -> tuple[str, ...]:
    """The labels of the families that can share a VAE with the one of this label; every one's for "", not known."""
    spaces = {one.latents.space for one in FAMILIES.values() if label in ("", one.label)}
    return tuple(one.label for one in FAMILIES.values() if one.latents.space in spaces)


def adapters_for(label: str) -> tuple[str, ...]:
    """The labels of the families whose LoRAs, ControlNets and embeddings may fit the one of this label, its own
    first."""
    family = next((one for one in FAMILIES.values() if one.label == label), None)
    others = (FAMILIES[name].label for name in family.runs_adapters_of) if family is not None else ()
    return (label, *others)


def label_of(name: str | None) -> str:
    """What people call a family; "" for none."""
    family = FAMILIES.get(name or "")
    return family.label if family is not None else ""
