"""Model families and `Components`: the parts of one loaded checkpoint and the facts the denoising loop needs of them.

Knows no files: studio.checkpoints reads them and fills a `Components`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch

FamilyName = Literal["sd1", "sd2", "sdxl"]
PredictionType = Literal["epsilon", "v_prediction", "sample"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """What all checkpoints of one family share."""

    label: str
    native_width: int
    native_height: int
    ays_sigmas: tuple[float, ...]  # Align Your Steps: the 10-step table of diffusers' AysSchedules, without its end


# The SD 1 table is the nearest there is for SD 2 (same latent space and training curve).
_AYS_SD1 = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152)

FAMILIES: Mapping[FamilyName, Family] = {
    "sd1": Family(label="SD 1", native_width=512, native_height=512, ays_sigmas=_AYS_SD1),
    "sd2": Family(label="SD 2", native_width=768, native_height=768, ays_sigmas=_AYS_SD1),
    "sdxl": Family(
        label="SDXL",
        native_width=1024,
        native_height=1024,
        ays_sigmas=(14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113),
    ),
}


class Unet(Protocol):
    """The part of diffusers' UNet2DConditionModel that is called here."""

    def __call__(
        self,
        sample: torch.Tensor,  # (B, C, h, w)
        timestep: torch.Tensor,  # (B,)
        encoder_hidden_states: torch.Tensor,  # (B, tokens, dim)
        *,
        added_cond_kwargs: dict[str, torch.Tensor] | None = None,
        return_dict: bool = False,
    ) -> tuple[torch.Tensor, ...]: ...


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
