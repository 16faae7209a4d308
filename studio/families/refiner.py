"""SDXL's refiner: four levels with four transformer layers in the middle two; the second of SDXL's text encoders alone;
an aesthetic score instead of the target size."""

from __future__ import annotations

from dataclasses import replace

from studio.asked.messages import Message
from studio.families import sdxl
from studio.families.base import Family, UnetShape


def _recognises(unet: UnetShape) -> bool:
    return unet.size_conditioned and unet.depths == (0, 4, 4, 0)


FAMILY: Family = replace(
    sdxl.FAMILY,
    name="sdxl_refiner",
    label="SDXL refiner",
    recognises=_recognises,
    text_encoders=(
        replace(
            sdxl.FAMILY.text_encoders[1],
            prefix="conditioner.embedders.0.model.",
            label=Message("text encoder"),
            # It is the only one, so trainers may call it the first.
            adapter_names=(*sdxl.FAMILY.text_encoders[1].adapter_names, "text_encoder", "te", "te1", "clip_l"),
        ),
    ),
    context_width=1280,
    is_measured=False,
    size_fields=("height", "width", "crop", "crop", "score"),
    scores=(6.0, 2.5),  # diffusers' defaults: of the prompt, and of the negative prompt
    metadata_marks=(),
    adapter_marks=(),
)
