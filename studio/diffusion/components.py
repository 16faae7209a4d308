"""`Components`: the parts of one loaded checkpoint, and what the denoising loop needs to know of its model family.

Knows no files and no family by name: studio.families describes families, studio.checkpoints reads the files into a
`Components`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import torch

from studio.asked.resolved import Suits
from studio.diffusion.added_conditions import AddedCondition
from studio.diffusion.attention_edits import CROSS, Projection, attentions
from studio.diffusion.embeddings import Words
from studio.diffusion.guidance import branches

# studio.diffusion.quantities says what each of them means.
PredictionType = Literal["epsilon", "v_prediction", "sample", "flow_prediction", "edm_epsilon", "edm_v_prediction"]
UNET, VAE = "unet", "vae"  # names of parts; text encoders have their own


class FamilyTraits(Protocol):
    """What the denoising loop needs to know of a model family; studio.families.base implements it."""

    @property
    def name(self) -> str:
        """Such as "sdxl"."""
        ...

    @property
    def denoiser(self) -> str:
        """How its denoiser is called and batched: a key of studio.diffusion.denoisers.DENOISERS."""
        ...

    @property
    def ays_sigmas(self) -> Sequence[float]:
        """Ten sigmas of the noise schedule AYS."""
        ...

    @property
    def is_size_conditioned(self) -> bool:
        """Whether the U-Net wants pooled embeddings and numbers about the picture's size beside the prompt's
        embeddings; such families read the last layer but one of each text encoder, without the final norm."""
        ...

    @property
    def added_conditions(self) -> Sequence[AddedCondition]:
        """What its U-Net is given beside the sample, the timestep and the prompt's embeddings."""
        ...

    def size_numbers(self, width: int, height: int, *, negative: bool = False) -> tuple[float, ...]:
        """Those numbers for a picture of this size; `negative`: what goes with the negative prompt."""
        ...


@dataclass(frozen=True)
class TextEncoder:
    """One of a checkpoint's text encoders with its tokenizer. `part` is its name in diffusers' folders."""

    part: str
    tokenizer: Any
    module: Any

    @property
    def positions(self) -> int:
        """Tokens that it reads at once, those of begin and end included."""
        return int(self.module.config.max_position_embeddings)


@dataclass(kw_only=True)
class Components:
    """The parts of one loaded checkpoint, on one device, in one dtype, in eval mode.

    `unet`, `vae` and the text encoders' modules are diffusers' and transformers'; `text_encoders` stand in the order in
    which their embeddings are joined. `scheduler_config` is the checkpoint's scheduler_config.json as it stands.
    `fast_preview` is (weight, bias) of studio.diffusion.preview. `zero_empty_negative`: an empty negative prompt stands
    for embeddings of zeros (SDXL), not for those of "".
    """

    name: str
    family: FamilyTraits
    unet: Any
    vae: Any
    text_encoders: tuple[TextEncoder, ...]
    scheduler_config: dict[str, Any]
    prediction_type: PredictionType
    device: torch.device
    dtype: torch.dtype
    native_width: int
    native_height: int
    fast_preview: tuple[torch.Tensor, torch.Tensor] | None = None
    tiny_vae: Any = None  # AutoencoderTiny, when there is one
    tiny_vae_file: Hashable = None  # what changes with its file, where it did not come with the checkpoint
    zero_empty_negative: bool = False
    words: Words | None = None  # embeddings that prompts may name
    vae_dtype: torch.dtype | None = None  # where the VAE's differs: float32 once half precision has overflowed
    # By part ("unet", "vae", "text") how many times as fast bfloat16 is on this CPU, None where it is not; empty where
    # that has no say. A checkpoint of which it says so runs in float32 for a run that asks to be exact.
    bfloat16_gains: Mapping[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())  # remarks of the loader
    measurement: str | None = None  # "epsilon", "v_prediction" or "unclear", where it was measured what it predicts

    @property
    def suits(self) -> Suits:
        """Its native size, the layer of its text encoders that it was trained with, and what suits a checkpoint of
        which nothing else is known."""
        return Suits(
            width=self.native_width,
            height=self.native_height,
            clip_skip=2 if self.is_xl else 1,
            prediction_type=self.prediction_type,
        )

    @property
    def encoder_depth(self) -> int:
        """Layers of its text encoders, of the shallowest where there are several."""
        return min(int(one.module.config.num_hidden_layers) for one in self.text_encoders)

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent cell and side (8 for all Stable Diffusion families)."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def latent_channels(self) -> int:
        """Channels of the latents the scheduler works on."""
        return int(self.vae.config.latent_channels)

    @property
    def encodes_pictures(self) -> bool:
        """Whether its VAE has an encoder: many files hold the decoder alone."""
        return self.vae.encoder is not None

    @property
    def is_xl(self) -> bool:
        """Whether the U-Net wants pooled embeddings and size conditioning beside the prompt's."""
        return self.family.is_size_conditioned

    @property
    def in_channels(self) -> int:
        """Channels of the U-Net's input: as many as the latents have, or 9 for inpainting (4 + mask + 4)."""
        return int(self.unet.config.in_channels)

    @property
    def is_inpainting(self) -> bool:
        """Whether the U-Net also takes a mask and the masked picture as input."""
        return self.in_channels > self.latent_channels

    @property
    def guidance_width(self) -> int | None:
        """Width of the embedding of the guidance scale, for a U-Net into which guidance was distilled (LCM: Luo et al.
        2023, section 4.1). None where guidance combines two predictions."""
        width = getattr(self.unet.config, "time_cond_proj_dim", None)
        return int(width) if width else None

    def branches(self, guidance_scale: float) -> int:
        """Rows of the U-Net call that one image needs at this scale."""
        return 1 if self.guidance_width else branches(guidance_scale)

    @cached_property
    def attention_layers(self) -> tuple[tuple[str, Any], ...]:
        """Every attention layer of the U-Net with its name."""
        return attentions(self.unet)

    @cached_property
    def text_projections(self) -> tuple[Projection, ...]:
        """What makes keys and values of the text in every cross-attention of the U-Net."""
        cross = [module for name, module in self.attention_layers if name.endswith(CROSS)]
        return tuple((module, name) for module in cross for name in ("to_k", "to_v"))

    @cached_property
    def time_projections(self) -> tuple[Projection, ...]:
        """What the U-Net makes of the timestep alone: its sines, their embedding, and every block's projection of that.
        None where something else always has a say in them, as the sizes and the pooled text in SDXL."""
        if any(getattr(self.unet, name, None) is not None for name in ("class_embedding", "add_embedding")):
            return ()
        blocks = [m for m in self.unet.modules() if getattr(m, "time_emb_proj", None) is not None]
        return ((self.unet, "time_proj"), (self.unet, "time_embedding"), *((m, "time_emb_proj") for m in blocks))

    @property
    def encoders(self) -> tuple[tuple[Any, Any], ...]:
        """(tokenizer, text encoder) in the order in which their embeddings are joined."""
        return tuple((one.tokenizer, one.module) for one in self.text_encoders)

    @property
    def positions(self) -> int:
        """Tokens of a chunk, those of begin and end included: what the shortest text encoder reads at once."""
        return min(one.positions for one in self.text_encoders)

    @property
    def chunk_tokens(self) -> int:
        """Content tokens of a chunk."""
        return self.positions - 2

    @property
    def parts(self) -> dict[str, Any]:
        """Every part that holds weights, by its name in diffusers' folders: text encoders, U-Net, VAE."""
        return {one.part: one.module for one in self.text_encoders} | {UNET: self.unet, VAE: self.vae}

    def part(self, name: str) -> Any:
        """The module of a part. Raises KeyError for a part that this checkpoint does not have."""
        return self.parts[name]
