"""What one model file or folder is, in plain values: kind, family, prediction type, precision, parts, native size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

from studio.families.base import Distillation, Prediction
from studio.families.registry import label_of

Kind = Literal["checkpoint", "vae", "lora", "embedding", "taesd", "controlnet", "unknown"]
Form = Literal["single_file", "folder", "pickle"]
FactSource = Literal["file", "metadata", "config", "name", "family", "user", "measured"]  # of a statement about a model
UNET, VAE, CONTROLNET = "unet", "vae", "controlnet"  # names of parts; text encoders have their own
CHECKPOINT_PARTS = (UNET, VAE, "text_encoder", "text_encoder_2")


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What one file or folder is. JSON-able by `to_dict`, so that a listing can be cached."""

    kind: Kind
    form: Form
    size_bytes: int
    reason: str = ""  # why it is unknown, or known and not usable: one sentence for the page
    family: str | None = None  # None for a VAE whose family its tensors do not show
    prediction_type: Prediction | None = None  # None: the file does not say; measured at load, or the user says
    prediction_source: FactSource | None = None
    zero_terminal_snr: bool = False
    in_channels: int = 4  # of the U-Net: 9 for inpainting
    distillation: Distillation | None = None  # few-step model: trailing spacing, guidance off
    distillation_source: FactSource | None = None
    guidance_embedded: bool = False  # the U-Net is told the guidance scale, which was distilled into it
    precision: str = ""  # "fp32", "fp16", "bf16", "fp8 (e4m3)", ...: of most of the bytes
    parts: tuple[str, ...] = ()  # of CHECKPOINT_PARTS, those that are there
    vae_has_encoder: bool = True  # without one its VAE only decodes: no picture can be the start of a run
    native_width: int | None = None
    native_height: int | None = None
    title: str = ""  # from metadata
    trigger: str = ""  # a LoRA's or an embedding's word, from metadata
    metadata: tuple[tuple[str, str], ...] = ()  # modelspec and training notes, shortened
    thumbnail: str = ""  # data:image/... of modelspec, if any
    notes: tuple[str, ...] = ()  # sentences worth showing

    @property
    def usable(self) -> bool:
        """Whether the studio can load it as what it is."""
        return self.kind != "unknown" and not self.reason

    @property
    def inpainting(self) -> bool:
        return self.in_channels == 9

    @property
    def family_label(self) -> str:
        return label_of(self.family)

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def facts_from_dict(values: Mapping[str, object]) -> ModelFacts:
    """`to_dict` read back, after JSON too. Raises TypeError or ValueError for other values."""
    names = {f.name for f in fields(ModelFacts)}
    known_values = {k: v for k, v in values.items() if k in names}
    for name in ("parts", "notes"):
        known_values[name] = tuple(str(v) for v in known_values.get(name) or ())  # type: ignore[attr-defined]
    known_values["metadata"] = tuple((str(k), str(v)) for k, v in known_values.get("metadata") or ())  # type: ignore[attr-defined]
    if known_values.get("kind") not in get_args(Kind) or known_values.get("form") not in get_args(Form):
        raise ValueError("no facts of a model")
    return ModelFacts(**known_values)  # type: ignore[arg-type]
