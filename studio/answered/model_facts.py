"""What one model file or folder is, in plain values: read from its header, remembered by the listing, sent to the page.

The one record of it. Names are those of the code ("sdxl", "text_encoder"); what people call them is the page's matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from studio.asked.orders import ModelKind, PredictionName

ModelForm = Literal["single_file", "folder", "pickle"]
ModelState = Literal[
    "usable", "incomplete", "unknown", "refused"
]  # incomplete: it lacks a VAE, and runs with a chosen one
FactSource = Literal["file", "metadata", "config", "name", "family", "user", "measured"]  # of a statement about a model
VAE_KINDS: tuple[ModelKind, ...] = ("vae", "preview_decoder")  # what a run may have in place of its checkpoint's VAE
Distillation = Literal["turbo", "lcm", "lightning", "hyper", "dmd2"]
UNET, VAE, CONTROLNET = "unet", "vae", "controlnet"  # names of parts; text encoders have their own
CHECKPOINT_PARTS = (UNET, VAE, "text_encoder", "text_encoder_2")


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What one file or folder is. Only its place, hash and what the owner says of it are kept elsewhere."""

    kind: ModelKind | None = None  # None: neither its header nor its folder says
    form: ModelForm = "single_file"
    reason: str = ""  # why it cannot be used, one sentence; "" where it can
    refused: bool = False  # it was not looked into: a pickle, a damaged file, a link to outside
    family: str | None = None  # by its name; None where its tensors do not show one
    prediction_type: PredictionName | None = None  # None: the file does not say; measured at load, or the owner says
    prediction_source: FactSource | None = None
    shift: float | None = None  # of a rectified flow's times
    zero_terminal_snr: bool = False
    in_channels: int = 4  # of the U-Net: 9 for inpainting
    distillation: Distillation | None = None  # few-step model: trailing spacing, guidance off
    distillation_source: FactSource | None = None
    guidance_embedded: bool = False  # the U-Net is told the guidance scale, which was distilled into it
    precision: str = ""  # "fp32", "fp16", "bf16", "fp8 (e4m3)", ...: of most of the bytes
    parts: tuple[str, ...] = ()  # of CHECKPOINT_PARTS, or the ControlNet, those that are there
    encoder_layers: int | None = None  # of the text encoder, the shallowest where there are several
    vae_has_encoder: bool = True  # without one its VAE only decodes: no picture can be the start of a run
    native_width: int | None = None
    native_height: int | None = None
    title: str = ""  # from metadata, or what its folder calls itself
    alias: str = ""  # another name of a LoRA or an upscaler: what its trainer called it
    trigger: str = ""  # a LoRA's or an embedding's word, from metadata
    tags: tuple[str, ...] = ()  # of the captions a LoRA was trained with, the most frequent ones first
    metadata: tuple[tuple[str, str], ...] = ()  # modelspec and training notes, shortened
    has_picture: bool = False  # in its metadata
    notes: tuple[str, ...] = ()  # sentences worth showing
    # What a diffusers folder's own world.json or palette.json says.
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    examples: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    vocabulary: tuple[tuple[str, ...], ...] = ()
    palette: tuple[tuple[str, str], ...] = ()  # of a ControlNet whose maps can be painted
    architecture: str = ""  # of an upscaler, by the name that people have for it
    scale: int | None = None  # of an upscaler: how many times as large its pictures are; None: known once it is loaded

    @property
    def state(self) -> ModelState:
        """What can be done with it, by the file alone."""
        return "refused" if self.refused else "unknown" if self.reason or self.kind is None else "usable"

    @property
    def usable(self) -> bool:
        """Whether the studio can load it as what it is."""
        return self.state == "usable"

    @property
    def inpainting(self) -> bool:
        """Whether its U-Net is shown a picture in every run."""
        return self.in_channels == 9

    @property
    def convertible(self) -> bool:
        """Whether it is a pickle, of which a safetensors file can be made."""
        return self.form == "pickle"

    def as_json(self) -> dict[str, Any]:
        """Only what differs from the defaults."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelFacts:
        """The inverse of `as_json`, after JSON too. Raises TypeError for what it never wrote."""
        flat = {name: tuple(values[name]) for name in ("parts", "notes", "examples", "words", "tags") if name in values}
        rows = {
            name: tuple(tuple(str(word) for word in row) for row in values[name])
            for name in ("metadata", "vocabulary", "palette")
            if name in values
        }
        return cls(**{**values, **flat, **rows})
