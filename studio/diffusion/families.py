"""Model families and `Components`: the parts of one loaded checkpoint and the facts the denoising loop needs of them.

Knows no files: studio.checkpoints reads them and fills a `Components`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

FamilyName = Literal["sd1", "sd2", "sdxl"]
PredictionType = Literal["epsilon", "v_prediction", "sample"]


# Align Your Steps (Sabour et al. 2024): the sigmas of the ten best steps, as in diffusers' AysSchedules, without the
# closing 0. SD 2 has no table; it shares SD 1's latent space and training curve.
_AYS_SD = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152)
_AYS_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113)
AYS_SIGMAS: Mapping[FamilyName, tuple[float, ...]] = {"sd1": _AYS_SD, "sd2": _AYS_SD, "sdxl": _AYS_SDXL}


@dataclass(kw_only=True)
class Components:
    """The parts of one loaded checkpoint, on one device, in one dtype, in eval mode.

    `unet`, `vae`, `text_encoder`, `tokenizer` are diffusers' and transformers' modules. `scheduler_config` is the
    checkpoint's scheduler_config.json as it stands. `fast_preview` is (weight, bias) of studio.diffusion.preview.
    """

    name: str
    family: FamilyName
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler_config: dict[str, Any]
    prediction_type: PredictionType
    device: torch.device
    dtype: torch.dtype
    native_width: int
    native_height: int
    fast_preview: tuple[torch.Tensor, torch.Tensor] | None = None
    tiny_vae: Any = None  # AutoencoderTiny, when there is one
    text_encoder_2: Any = None
    tokenizer_2: Any = None
    notes: tuple[str, ...] = field(default=())  # what the loader had to say

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent cell and side (8 for all Stable Diffusion families)."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def latent_channels(self) -> int:
        """Channels of the latents the scheduler works on."""
        return int(self.vae.config.latent_channels)
