"""SSD-1B and Segmind Vega (Gupta et al. 2024): SDXL with fewer transformer layers and a middle without any. They were
distilled from it: text encoders, VAE and latents are SDXL's, and its LoRAs, ControlNets and embeddings fit where
their shapes do."""

from __future__ import annotations

from dataclasses import replace

from studio.families import sdxl
from studio.families.base import Family, UnetShape


def _ssd_1b(unet: UnetShape) -> bool:
    return unet.size_conditioned and unet.depths == (0, 2, 4) and unet.middle is None


def _vega(unet: UnetShape) -> bool:
    return unet.size_conditioned and unet.depths == (0, 1, 2) and unet.middle is None


SSD_1B: Family = replace(
    sdxl.FAMILY,
    name="ssd_1b",
    label="SSD-1B",
    recognises=_ssd_1b,
    is_measured=False,
    configs=sdxl.FAMILY.name,
    runs_adapters_of=(sdxl.FAMILY.name,),
    metadata_marks=(),
    adapter_marks=(),
)
VEGA: Family = replace(SSD_1B, name="vega", label="Segmind Vega", recognises=_vega)
