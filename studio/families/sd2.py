"""Stable Diffusion 2: SD 1's levels joined by linear layers; one OpenCLIP ViT-H/14, whose last layer but one is read.

Of 24 layers the last one is left out; files of 23 have it left out already, so all of them count. Its models predict
noise (512 pixels) or v (768 pixels), which the weights do not show.
"""

from __future__ import annotations

from studio.asked.messages import Message
from studio.diffusion.noise_schedules import AYS_SD
from studio.families.base import Defaults, Family, LatentFormat, TextEncoderSpec, UnetShape


def _recognises(unet: UnetShape) -> bool:
    return unet.levels == 4 and unet.depths[0] > 0 and unet.linear_joins and not unet.size_conditioned


FAMILY = Family(
    name="sd2",
    label="SD 2",
    recognises=_recognises,
    text_encoders=(
        TextEncoderSpec(
            part="text_encoder",
            prefix="cond_stage_model.model.",
            label=Message("text encoder"),
            # transformers reads every "!" of a prompt as padding here, as in the published folders.
            pad_token="!",
            open_clip=True,
            adapter_names=("text_encoder", "te", "te1", "clip_h", "clip_l"),
            full_layers=24,
        ),
    ),
    context_width=1024,
    latents=LatentFormat("sd", 0.18215),
    defaults=Defaults(25, 7.0, "dpmpp_2m"),
    ays_sigmas=AYS_SD,  # it has no table of its own; it shares SD 1's latent space and training curve
    prediction=None,
    is_measured=True,
    native_side_of={"v_prediction": 768, "epsilon": 512},
    metadata_marks=("stable-diffusion-v2", "sd_v2"),
)
