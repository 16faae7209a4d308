"""Model families and `Components`: the parts of one loaded checkpoint and the facts the denoising loop needs of them.

Knows no files: studio.checkpoints reads them and fills a `Components`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from studio.asked.resolved import Suits
from studio.diffusion.embeddings import Words
from studio.diffusion.guidance import branches

FamilyName = Literal["sd1", "sd2", "sdxl", "sdxl_refiner"]
PredictionType = Literal["epsilon", "v_prediction", "sample"]


# Align Your Steps (Sabour et al. 2024): the sigmas of the ten best steps, as in diffusers' AysSchedules, without the
# closing 0. SD 2 has no table; it shares SD 1's latent space and training curve.
_AYS_SD = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152)
_AYS_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113)
AYS_SIGMAS: Mapping[FamilyName, tuple[float, ...]] = {
    "sd1": _AYS_SD,
    "sd2": _AYS_SD,
    "sdxl": _AYS_SDXL,
    "sdxl_refiner": _AYS_SDXL,
}

# What the refiner is told of a picture's beauty (diffusers' defaults): of the prompt's, and of the negative prompt's.
AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE = 6.0, 2.5


@dataclass(kw_only=True)
class Components:
    """The parts of one loaded checkpoint, on one device, in one dtype, in eval mode.

    `unet`, `vae`, `text_encoder`, `tokenizer` are diffusers' and transformers' modules; SDXL has a second text encoder
    and tokenizer, its refiner has only these (the first are None). `scheduler_config` is the checkpoint's
    scheduler_config.json as it stands. `fast_preview` is (weight, bias) of studio.diffusion.preview.
    `zero_empty_negative`: an empty negative prompt stands for embeddings of zeros (SDXL), not for those of "".
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
    zero_empty_negative: bool = False
    words: Words | None = None  # embeddings that prompts may name
    vae_dtype: torch.dtype | None = None  # where the VAE's differs: float32 once half precision has overflowed
    notes: tuple[str, ...] = field(default=())  # what the loader had to say

    @property
    def suits(self) -> Suits:
        """What a request may leave to it."""
        return Suits(width=self.native_width, height=self.native_height)

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent cell and side (8 for all Stable Diffusion families)."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def latent_channels(self) -> int:
        """Channels of the latents the scheduler works on."""
        return int(self.vae.config.latent_channels)

    @property
    def is_xl(self) -> bool:
        """Whether the U-Net wants pooled embeddings and size conditioning beside the prompt's."""
        return self.family in ("sdxl", "sdxl_refiner")

    @property
    def in_channels(self) -> int:
        """Channels of the U-Net's input: as many as the latents have, or 9 for inpainting (4 + mask + 4)."""
        return int(self.unet.config.in_channels)

    @property
    def is_inpainting(self) -> bool:
        """Whether the U-Net is shown a mask and the masked picture beside the latents."""
        return self.in_channels > self.latent_channels

    @property
    def guidance_width(self) -> int | None:
        """Width of the embedding in which the U-Net is told the guidance scale, which was distilled into it (LCM: Luo
        et al. 2023, section 4.1); None where guidance is made of two predictions."""
        width = getattr(self.unet.config, "time_cond_proj_dim", None)
        return int(width) if width else None

    def branches(self, guidance_scale: float) -> int:
        """Rows of the U-Net call that one image needs at this scale."""
        return 1 if self.guidance_width else branches(guidance_scale)

    @property
    def encoders(self) -> tuple[tuple[Any, Any], ...]:
        """(tokenizer, text encoder) in the order in which their embeddings are joined."""
        pairs = ((self.tokenizer, self.text_encoder), (self.tokenizer_2, self.text_encoder_2))
        return tuple(pair for pair in pairs if pair[1] is not None)


def size_numbers(family: FamilyName, width: int, height: int, *, negative: bool = False) -> tuple[float, ...]:
    """SDXL's micro-conditioning (Podell et al. 2023, section 2.2): original size, crop corner, and target size, or for
    the refiner an aesthetic score. All for an uncropped picture of the size that is made."""
    if family == "sdxl_refiner":
        return (height, width, 0, 0, NEGATIVE_AESTHETIC_SCORE if negative else AESTHETIC_SCORE)
    return (height, width, 0, 0, height, width)


def size_conditioning(components: Components, width: int, height: int, rows: int) -> dict[str, torch.Tensor]:
    """`time_ids` (rows, 6 or 5) of added_cond_kwargs, the negative prompt's row first; empty where none are wanted."""
    if not components.is_xl:
        return {}
    numbers = [size_numbers(components.family, width, height, negative=rows == 2 and k == 0) for k in range(rows)]
    return {"time_ids": torch.tensor(numbers, dtype=components.dtype, device=components.device)}
