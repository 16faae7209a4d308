"""Stable Diffusion 1: four levels with attention in the first three, joined by 1x1 convolutions; one CLIP ViT-L/14."""

from __future__ import annotations

from studio.asked.messages import Message
from studio.diffusion.noise_schedules import AYS_SD
from studio.families.base import Defaults, Family, LatentFormat, TextEncoderSpec, UnetShape


def _recognises(unet: UnetShape) -> bool:
    return unet.levels == 4 and unet.depths[0] > 0 and not unet.linear_joins and not unet.size_conditioned


FAMILY = Family(
    name="sd1",
    label="SD 1",
    recognises=_recognises,
    text_encoders=(
        TextEncoderSpec(
            part="text_encoder",
            prefix="cond_stage_model.transformer.",
            label=Message("text encoder"),
            pad_token="<|endoftext|>",
            adapter_names=("text_encoder", "te", "te1", "clip_l"),
        ),
    ),
    context_width=768,
    latents=LatentFormat("sd", 0.18215),
    defaults=Defaults(25, 7.0, "dpmpp_2m"),
    ays_sigmas=AYS_SD,
    native_side=512,
    metadata_marks=("stable-diffusion-v1", "sd_v1"),
)
