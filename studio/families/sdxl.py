"""SDXL (Podell et al. 2023): three levels, with two and ten transformer layers in the second and third; CLIP ViT-L/14
and OpenCLIP ViT-bigG/14 side by side, each read at its last layer but one; the picture's size as numbers."""

from __future__ import annotations

from studio.asked.messages import Message
from studio.diffusion.added_conditions import AddedCondition
from studio.diffusion.noise_schedules import AYS_SDXL
from studio.families.base import Defaults, Family, LatentFormat, TextEncoderSpec, UnetShape


def _recognises(unet: UnetShape) -> bool:
    return unet.size_conditioned and unet.depths == (0, 2, 10)


FAMILY = Family(
    name="sdxl",
    label="SDXL",
    recognises=_recognises,
    text_encoders=(
        TextEncoderSpec(
            part="text_encoder",
            prefix="conditioner.embedders.0.transformer.",
            label=Message("text encoder"),
            pad_token="<|endoftext|>",
            adapter_names=("text_encoder", "te1", "te", "clip_l"),
        ),
        TextEncoderSpec(
            part="text_encoder_2",
            prefix="conditioner.embedders.1.model.",
            label=Message("second text encoder"),
            # Without effect: prompts are cut into tokens by the first tokenizer alone, as its authors' code does.
            pad_token="!",
            open_clip=True,
            projects=True,
            adapter_names=("text_encoder_2", "te2", "clip_g"),
        ),
    ),
    context_width=2048,
    latents=LatentFormat("sdxl", 0.13025),
    defaults=Defaults(30, 6.0, "dpmpp_2m"),
    ays_sigmas=AYS_SDXL,
    is_measured=True,
    native_side=1024,
    added_conditions=(AddedCondition("text_embeds", "pooled"), AddedCondition("time_ids", "size")),
    size_fields=("height", "width", "crop", "crop", "height", "width"),
    metadata_marks=("sdxl", "stable-diffusion-xl"),
    adapter_marks=(
        "lora_te1_",
        "lora_te2_",
        "lora_te2.",
        "text_encoder_2.",
        "text_encoders.clip_g.",
        "clip_g.",
        "lycoris_te2_",
    ),
)
