"""The form in which each model family is described.

A family's file makes one `Family`: how its U-Net is recognised, its text encoders, its configs and key maps, what it
predicts, what suits it. Plain values; nothing is read and nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, get_args

from studio.answered.model_facts import Distillation
from studio.asked.orders import PredictionName
from studio.diffusion.added_conditions import AddedCondition

Prediction = PredictionName
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)
# What an owner can say of a model where its file is wrong or silent: EDM's files all say it themselves.
PREDICTION_CHOICES: tuple[Prediction, ...] = ("epsilon", "v_prediction", "sample", "flow_prediction")
DISTILLATIONS: tuple[Distillation, ...] = get_args(Distillation)

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."


class Entry(Protocol):
    """A tensor as a header describes it."""

    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, kw_only=True)
class TextEncoderSpec:
    """One text encoder of a family: its names, and how it lies in a single file."""

    part: str  # in a diffusers folder; its tokenizer's folder is called alike
    prefix: str  # of its tensors in a single file
    label: str
    pad_token: str
    open_clip: bool = False  # laid out as OpenCLIP's; else as transformers'
    projects: bool = False  # has a projection, and gives pooled embeddings
    adapter_names: tuple[str, ...] = ()  # what trainers call it in the names of a LoRA's tensors
    full_layers: int | None = None  # with so many layers the last one is left out: the model listens to the one before

    @property
    def tokenizer(self) -> str:
        """The folder of its tokenizer."""
        return self.part.replace("text_encoder", "tokenizer")


@dataclass(frozen=True)
class LatentFormat:
    """The latents of a family's VAE. Families of one `space` can share a VAE and a preview decoder; at the U-Net's
    scale a latent is (VAE's latent - shift) * scale. What a VAE's own config says goes before it."""

    space: str
    scale: float
    shift: float = 0.0
    channels: int = 4
    pixels: int = 8  # of one latent cell and side


class Defaults(NamedTuple):
    """What suits a kind of model: values of a request's fields."""

    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    noise_schedule: str = "automatic"


# Few-step models were trained with trailing timesteps, which is what SGM uniform picks, and with guidance in them, so
# it is off (1).
FEW_STEPS: Mapping[Distillation, Defaults] = {
    "turbo": Defaults(4, 1.0, "euler_a", "sgm_uniform"),
    "lightning": Defaults(8, 1.0, "euler", "sgm_uniform"),
    "hyper": Defaults(8, 1.0, "euler", "sgm_uniform"),
    "lcm": Defaults(6, 1.0, "lcm"),
    "dmd2": Defaults(4, 1.0, "lcm"),
}
EMBEDDED_GUIDANCE = 8.0  # where the scale is an input of the U-Net, it costs nothing


@dataclass(frozen=True, kw_only=True)
class UnetShape:
    """What the names and shapes of a U-Net in the original layout show of its structure.

    `depths`: transformer layers of the first attention of each level on the way down, 0 without one; `up_depths` of
    every block on the way up, first to last; `middle` of the middle, None where that is a single ResNet block.
    """

    in_channels: int
    linear_joins: bool  # transformers are joined by linear layers, not by 1x1 convolutions
    size_conditioned: bool  # takes a vector beside the timestep (label_emb)
    depths: tuple[int, ...]
    up_depths: tuple[int, ...]
    middle: int | None
    context_width: int | None  # of the text embeddings
    vector_width: int | None = None  # of that vector

    @property
    def levels(self) -> int:
        """Levels of resolution."""
        return len(self.depths)


@dataclass(frozen=True, kw_only=True)
class Family:
    """One model family. Implements studio.diffusion.components.FamilyTraits.

    `added_conditions` is what its U-Net is given beside the prompt's embeddings. `size_fields` are the numbers of a
    picture's size that it is given, by name. `scores` are the aesthetic scores of the prompt and of the negative
    prompt, where it is given one. `metadata_marks`: words in a LoRA's notes on the model that it was trained for;
    `adapter_marks`: beginnings of its tensors' names that only this family's have.
    """

    name: str
    label: str
    recognises: Callable[[UnetShape], bool]
    text_encoders: tuple[TextEncoderSpec, ...]
    context_width: int  # of the text embeddings that its U-Net takes
    latents: LatentFormat
    defaults: Defaults
    ays_sigmas: tuple[float, ...]
    denoiser: str = "unet"  # how it is called and batched: a key of studio.diffusion.denoisers.DENOISERS
    prediction: Prediction | None = "epsilon"  # what all of it predict; None: its models differ
    is_measured: bool = False  # what a model of it predicts is measured where nothing else says it
    native_side: int | None = None  # in pixels; None: its models differ
    native_side_of: Mapping[str, int] = field(default_factory=dict)  # by what a model predicts
    added_conditions: tuple[AddedCondition, ...] = ()
    size_fields: tuple[str, ...] = ()
    scores: tuple[float, float] = (0.0, 0.0)
    configs: str = ""  # whose configs it has, where not its own
    runs_adapters_of: tuple[str, ...] = ()  # families whose LoRAs, ControlNets and embeddings may fit it
    metadata_marks: tuple[str, ...] = ()
    adapter_marks: tuple[str, ...] = ()

    @property
    def is_size_conditioned(self) -> bool:
        """See FamilyTraits."""
        return bool(self.size_fields)

    def size_numbers(self, width: int, height: int, *, negative: bool = False) -> tuple[float, ...]:
        """SDXL's micro-conditioning (Podell et al. 2023, section 2.2), for an uncropped picture of the size made."""
        values = {"width": width, "height": height, "crop": 0, "score": self.scores[negative]}
        return tuple(values[name] for name in self.size_fields)

    def runs_adapter_of(self, name: str) -> bool:
        """Whether a LoRA, a ControlNet or an embedding that was made for the family `name` may fit it; whether this one
        does, its shapes say."""
        return name in (self.name, *self.runs_adapters_of)

    def native(self, prediction: Prediction | None) -> int | None:
        """The side of the pictures that a model of it was trained on, if that is known."""
        return self.native_side or self.native_side_of.get(prediction or "")

    @property
    def parts(self) -> tuple[str, ...]:
        """Its parts in the order in which they are loaded, tokenizers included."""
        encoders = [name for one in self.text_encoders for name in (one.part, one.tokenizer)]
        return (*encoders, "vae", "unet")


def unet_shape(tensors: Mapping[str, Entry], prefix: str = UNET_PREFIX) -> UnetShape | None:
    """The structure of a U-Net in the original key layout; None when there is none."""
    conv_in = tensors.get(f"{prefix}input_blocks.0.0.weight")
    if conv_in is None or len(conv_in.shape) != 4:
        return None
    joins = [
        entry
        for block in (1, 4, 7, 10)
        if (entry := tensors.get(f"{prefix}input_blocks.{block}.1.proj_in.weight")) is not None
    ]
    ups = 0
    while f"{prefix}output_blocks.{ups}.0.in_layers.0.weight" in tensors:
        ups += 1
    levels = 0
    while f"{prefix}input_blocks.{3 * levels + 1}.0.in_layers.0.weight" in tensors:
        levels += 1
    vector = tensors.get(f"{prefix}label_emb.0.0.weight")
    context = next((e for k, e in tensors.items() if k.startswith(prefix) and k.endswith(".attn2.to_k.weight")), None)
    single = f"{prefix}middle_block.1.proj_in.weight" not in tensors
    return UnetShape(
        in_channels=conv_in.shape[1],
        linear_joins=bool(joins) and len(joins[0].shape) == 2,
        size_conditioned=vector is not None,
        depths=tuple(transformer_depth(tensors, f"{prefix}input_blocks.{3 * level + 1}.1") for level in range(levels)),
        up_depths=tuple(transformer_depth(tensors, f"{prefix}output_blocks.{block}.1") for block in range(ups)),
        middle=None if single else transformer_depth(tensors, f"{prefix}middle_block.1"),
        context_width=context.shape[1] if context is not None and len(context.shape) == 2 else None,
        vector_width=vector.shape[1] if vector is not None and len(vector.shape) == 2 else None,
    )


def transformer_depth(names: Container[str], block: str) -> int:
    """Transformer layers of an attention block, which have the same names in every layout."""
    depth = 0
    while f"{block}.transformer_blocks.{depth}.attn1.to_q.weight" in names:
        depth += 1
    return depth


def words_of(text: str) -> frozenset[str]:
    """Words of a name in lower case: "SDXL_Turbo-fp16" and "sdxlTurbo" both hold "turbo"."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    words = set(re.findall(r"[a-z0-9]+", text.lower()))
    words |= {word[2:] for word in words if word.startswith("xl")} | {re.sub(r"^sd(xl)?", "", w) for w in words}
    return frozenset(words)
