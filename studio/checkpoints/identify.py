"""What a model file or folder is: kind, family, prediction type, precision, parts, native size. Headers and small JSON
files only: no tensor is read, no torch.

Families are told by structure (which blocks exist, how they are joined), never by the file's name. What the weights do
not show (prediction type of SD 2, distillation) comes from metadata, then from a name, and says where it comes from.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from studio.checkpoints.inspect import DTYPE_BYTES, BadCheckpoint, Header, PickleFile, TensorEntry, read_whole_header

Kind = Literal["checkpoint", "vae", "lora", "embedding", "taesd", "controlnet", "unknown"]
Form = Literal["single_file", "folder", "pickle"]
Family = Literal["sd1", "sd2", "sdxl", "sdxl_refiner"]
Prediction = Literal["epsilon", "v_prediction", "sample"]
Source = Literal["file", "metadata", "config", "name", "family", "user", "measured"]
Distillation = Literal["turbo", "lcm", "lightning", "hyper", "dmd2"]

FAMILY_LABELS: Mapping[str, str] = {
    "sd1": "SD 1",
    "sd2": "SD 2",
    "sdxl": "SDXL",
    "sdxl_refiner": "SDXL refiner",
}
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")
NATIVE_SIDE: Mapping[str, int] = {"sd1": 512, "sdxl": 1024, "sdxl_refiner": 1024}
MAX_JSON_BYTES = 2**20
LATENTS_OF = "latents_of"  # metadata of a tiny decoder that knows one checkpoint's latents and no family's
MAX_TEXT = 2000  # characters of a metadata value that are kept, but for the thumbnail
MAX_THUMBNAIL = 400_000


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What one file or folder is. JSON-able by `to_dict`, so that a listing can be cached."""

    kind: Kind
    form: Form
    size_bytes: int
    reason: str = ""  # why it is unknown, or known and not usable: one sentence for the page
    family: Family | None = None  # None for a VAE whose family its tensors do not show
    prediction_type: Prediction | None = None  # None: the file does not say; measured at load, or the user says
    prediction_source: Source | None = None
    zero_terminal_snr: bool = False
    in_channels: int = 4  # of the U-Net: 9 for inpainting
    distillation: Distillation | None = None  # few-step model: trailing spacing, guidance off
    distillation_source: Source | None = None
    guidance_embedded: bool = False  # the U-Net is told the guidance scale, which was distilled into it
    precision: str = ""  # "fp32", "fp16", "bf16", "fp8 (e4m3)", ...: of most of the bytes
    parts: tuple[str, ...] = ()  # of PARTS, those that are there
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
        return FAMILY_LABELS.get(self.family or "", "")

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def facts_from_dict(values: Mapping[str, object]) -> ModelFacts:
    """`to_dict` read back, after JSON too. Raises TypeError or ValueError for what is none."""
    known = {f.name for f in fields(ModelFacts)}
    given = {k: v for k, v in values.items() if k in known}
    for name in ("parts", "notes"):
        given[name] = tuple(str(v) for v in given.get(name) or ())  # type: ignore[attr-defined]
    given["metadata"] = tuple((str(k), str(v)) for k, v in given.get("metadata") or ())  # type: ignore[attr-defined]
    if given.get("kind") not in get_args(Kind) or given.get("form") not in get_args(Form):
        raise ValueError("no facts of a model")
    return ModelFacts(**given)  # type: ignore[arg-type]


def identify(path: Path) -> ModelFacts:
    """What lies at `path`: a weights file or a diffusers folder. Never raises for what a file holds: a file that
    cannot be told is `unknown` with the reason."""
    if path.is_dir():
        return _of_folder(path)
    try:
        header = read_whole_header(path)
    except PickleFile as error:
        return ModelFacts(kind="unknown", form="pickle", size_bytes=_size(path), reason=str(error))
    except BadCheckpoint as error:
        return ModelFacts(kind="unknown", form="single_file", size_bytes=_size(path), reason=str(error))
    return of_header(header, path.stem)


def of_header(header: Header, name: str) -> ModelFacts:
    """What a single file of this header is; `name` without its ending gives hints, labelled as such."""
    tensors = header.tensors
    facts = ModelFacts(
        kind="unknown",
        form="single_file",
        size_bytes=header.size_bytes,
        precision=_precision(tensors.values()),
        title=_short(header.metadata.get("modelspec.title") or header.metadata.get("ss_output_name") or ""),
        trigger=_short(header.metadata.get("modelspec.trigger_phrase") or ""),
        metadata=_kept(header.metadata),
        thumbnail=_thumbnail(header.metadata),
    )
    for rule in (_as_lora, _as_controlnet, _as_checkpoint, _as_vae, _as_taesd, _as_embedding):
        found = rule(facts, header, name)
        if found is not None:
            return found
    other = next((label for mark, label in _OTHER_MODELS if any(mark in key for key in tensors)), None)
    if other is not None:
        return replace(facts, reason=f"This is a {other}; the studio runs the Stable Diffusion families with a U-Net.")
    return replace(facts, reason="Its tensors belong to no kind of model that the studio knows.")


# Parts of tensor names of other architectures, to call them by their name.
_OTHER_MODELS = (
    ("double_blocks.", "Flux model"),
    ("joint_blocks.", "Stable Diffusion 3 model"),
    ("single_transformer_blocks.", "Flux model"),
    ("clip_txt_mapper.", "Stable Cascade model"),
    ("caption_projection.", "PixArt or Sana model"),
    ("double_layers.", "AuraFlow model"),
    ("cap_embedder.", "Lumina model"),
    ("RRDB_trunk.", "picture upscaler"),
    ("body.0.rdb1.", "picture upscaler"),
    ("model.1.sub.", "picture upscaler"),
    ("text_model.encoder.layers.", "text encoder on its own"),
    ("visual.", "CLIP model"),
)

# ------------------------------------------------------------------------------------------------------ checkpoints

UNET_PREFIX = "model.diffusion_model."
_UNUSABLE_CHANNELS = {
    5: "a depth-guided model, which needs a depth map",
    7: "a latent upscaler",
    8: "an InstructPix2Pix model, which needs a second picture",
}


@dataclass(frozen=True)
class UnetFacts:
    """What the structure of a U-Net shows."""

    family: Family | None
    in_channels: int
    reason: str = ""


def unet_facts(tensors: Mapping[str, TensorEntry], prefix: str) -> UnetFacts | None:
    """Family and input channels of a U-Net in the original key layout; None when there is none.

    SD 1 joins its transformers by 1x1 convolutions, SD 2 by linear layers; SDXL has size conditioning (label_emb), no
    attention in its first level and two transformer layers in its second, the refiner four.
    """
    conv_in = tensors.get(f"{prefix}input_blocks.0.0.weight")
    if conv_in is None or len(conv_in.shape) != 4:
        return None
    channels = conv_in.shape[1]
    if channels not in (4, 9):
        what = _UNUSABLE_CHANNELS.get(channels, f"of another kind: its U-Net takes {channels} channels")
        return UnetFacts(None, channels, f"This is {what}; the studio cannot run it.")
    first = tensors.get(f"{prefix}input_blocks.1.1.proj_in.weight")
    second = tensors.get(f"{prefix}input_blocks.4.1.proj_in.weight")
    if f"{prefix}label_emb.0.0.weight" in tensors:
        if first is not None or second is None:
            return UnetFacts(
                None, channels, "This is an unCLIP model, which needs a picture; the studio cannot run it."
            )
        depths = [_depth(tensors, f"{prefix}{block}") for block in ("input_blocks.4.1", "input_blocks.7.1")]
        if depths == [2, 10]:
            return UnetFacts("sdxl", channels)
        if depths == [4, 4]:
            return UnetFacts("sdxl_refiner", channels)
        return UnetFacts(None, channels, "This is an SDXL of another depth (SSD-1B, Vega or the like); it is not run.")
    if first is None or f"{prefix}input_blocks.11.0.in_layers.0.weight" not in tensors:
        return UnetFacts(None, channels, "Its U-Net has blocks of none of the families SD 1, SD 2 and SDXL.")
    return UnetFacts("sd1" if len(first.shape) == 4 else "sd2", channels)


def _depth(tensors: Mapping[str, TensorEntry], block: str) -> int:
    depth = 0
    while f"{block}.transformer_blocks.{depth}.attn1.to_q.weight" in tensors:
        depth += 1
    return depth


TEXT_ENCODERS: Mapping[str, tuple[tuple[str, str], ...]] = {  # family -> (prefix in the original layout, part)
    "sd1": (("cond_stage_model.transformer.", "text_encoder"),),
    "sd2": (("cond_stage_model.model.", "text_encoder"),),
    "sdxl": (
        ("conditioner.embedders.0.transformer.", "text_encoder"),
        ("conditioner.embedders.1.model.", "text_encoder_2"),
    ),
    "sdxl_refiner": (("conditioner.embedders.0.model.", "text_encoder_2"),),
}
VAE_PREFIX = "first_stage_model."


def _as_checkpoint(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    tensors = header.tensors
    prefix = UNET_PREFIX if f"{UNET_PREFIX}input_blocks.0.0.weight" in tensors else ""
    unet = unet_facts(tensors, prefix)
    if unet is None:
        if {"down_blocks.0.resnets.0.norm1.weight", "mid_block.resnets.0.norm1.weight", "conv_in.weight"} <= set(
            tensors
        ):
            return replace(
                facts,
                kind="unknown",
                parts=("unet",),
                reason="This is a U-Net alone in diffusers' layout: put it into the unet folder of a checkpoint.",
            )
        return None
    facts = replace(facts, kind="checkpoint", in_channels=unet.in_channels)
    if unet.family is None:
        return replace(facts, kind="unknown", reason=unet.reason)
    encoders = TEXT_ENCODERS[unet.family]
    parts = [part for start, part in encoders if any(key.startswith(start) for key in tensors)]
    parts += ["vae"] if any(key.startswith(VAE_PREFIX + "decoder.") for key in tensors) else []
    reason = ""
    missing = [part for _, part in encoders if part not in parts]
    if missing:
        reason = "This file holds no text encoder: it is a U-Net alone, and cannot be run on its own."
    if not prefix:
        reason = "This file holds a U-Net alone, and cannot be run on its own."
    facts = replace(
        facts,
        family=unet.family,
        precision=_precision(e for k, e in tensors.items() if k.startswith(prefix)),
        parts=tuple(part for part in PARTS if part in (*parts, "unet")),
        reason=reason,
    )
    return _with_training(facts, tensors, header.metadata, name)


def _with_training(
    facts: ModelFacts, tensors: Mapping[str, TensorEntry], metadata: Mapping[str, str], name: str
) -> ModelFacts:
    """How it was trained: marker tensors, then metadata, then the name, then what its family always is."""
    architecture = metadata.get("modelspec.architecture", "").lower()
    spec = metadata.get("modelspec.prediction_type", metadata.get("modelspec.predict_key", "")).lower()
    words = _words(name)
    prediction: Prediction | None = None
    source: Source | None = None
    if "v_pred" in tensors:
        prediction, source = "v_prediction", "file"
    elif spec in ("v", "v_prediction", "v-prediction", "v_pred"):
        prediction, source = "v_prediction", "metadata"
    elif spec in ("epsilon", "eps"):
        prediction, source = "epsilon", "metadata"
    elif architecture.startswith("stable-diffusion-v2-768-v"):
        prediction, source = "v_prediction", "metadata"
    elif architecture.startswith("stable-diffusion-v2-512"):
        prediction, source = "epsilon", "metadata"
    elif words & {"vpred", "vprediction"} or {"v", "pred"} <= words or {"v", "prediction"} <= words:
        prediction, source = "v_prediction", "name"
    elif facts.family != "sd2":
        prediction, source = "epsilon", "family"
    if "edm_mean" in tensors or "edm_vpred.sigma_max" in tensors:
        return replace(facts, reason="This model was trained with EDM noise levels, which the studio does not run yet.")
    distilled, distilled_by = _distillation(metadata, words)
    guidance_embedded = any(f"{UNET_PREFIX}{name}" in tensors for name in _GUIDANCE_EMBEDDING)
    if guidance_embedded and distilled is None:
        distilled, distilled_by = "lcm", "file"
    side = _resolution(metadata)
    if side is None and facts.family == "sd2":
        native = {"v_prediction": 768, "epsilon": 512}.get(prediction or "")
        side = (native, native) if native else None
    elif side is None:
        native = NATIVE_SIDE[facts.family or "sd1"]
        side = (native, native)
    notes = list(facts.notes)
    if prediction is None:
        notes.append("The file does not say whether it predicts noise or v; that is measured when it is loaded.")
    zero_snr = "ztsnr" in tensors or _true(metadata.get("ss_zero_terminal_snr")) or "ztsnr" in words
    return replace(
        facts,
        prediction_type=prediction,
        prediction_source=source,
        zero_terminal_snr=zero_snr and prediction == "v_prediction",
        distillation=distilled,
        distillation_source=distilled_by,
        guidance_embedded=guidance_embedded,
        native_width=side[0] if side else None,
        native_height=side[1] if side else None,
        notes=tuple(notes),
    )


_GUIDANCE_EMBEDDING = ("time_embedding.cond_proj.weight", "time_embed.cond_proj.weight")  # of LCM
_DISTILLATIONS: tuple[Distillation, ...] = get_args(Distillation)


def _distillation(metadata: Mapping[str, str], words: set[str]) -> tuple[Distillation | None, Source | None]:
    told = _words(" ".join(metadata.get(k, "") for k in ("modelspec.title", "modelspec.description", "modelspec.tags")))
    for found, source in ((told, "metadata"), (words, "name")):
        for distillation in _DISTILLATIONS:
            if distillation in found:
                return distillation, source  # type: ignore[return-value]
    return None, None


def _resolution(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    match = re.fullmatch(
        r"\s*(\d{2,4})\s*[x,]\s*(\d{2,4})\s*|\s*(\d{2,4})\s*", metadata.get("modelspec.resolution", "")
    )
    if match is None:
        return None
    width, height = int(match[1] or match[3]), int(match[2] or match[3])
    return (width, height) if min(width, height) >= 64 and max(width, height) <= 2048 else None


def _words(text: str) -> set[str]:
    """Words of a name in lower case: "SDXL_Turbo-fp16" and "sdxlTurbo" both hold "turbo"."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    found = set(re.findall(r"[a-z0-9]+", text.lower()))
    return found | {word[2:] for word in found if word.startswith("xl")} | {re.sub(r"^sd(xl)?", "", w) for w in found}


def _true(text: str | None) -> bool:
    return (text or "").strip().lower() in ("true", "1")


# ------------------------------------------------------------------------------------------------------ other kinds

_LORA_MARKS = (
    ".lora_down.weight", ".lora_A.weight", ".lora.down.weight", "_lora.down.weight", ".lora_linear_layer.down.weight",
    ".lora_A.default.weight",
)  # fmt: skip
_KIN_MARKS = (".hada_w1_b", ".lokr_w1", ".lokr_w1_b", ".lokr_w2", ".lokr_w2_b")  # LoHa and LoKr
_PLAIN_MARKS = (*_LORA_MARKS, ".hada_w1_b")  # whose second side is as wide as what the layer takes
VOTERS = 64  # layers that are asked for the family of a LoRA; the others say the same
_ADAPTER_MARKS = (*_LORA_MARKS, *_KIN_MARKS)
_TEXT_INPUT = re.compile(r"attn2[._](processor\.)?to_[kv]")  # of a cross-attention: what it makes of the text
_OTHER_ADAPTERS: Mapping[str, str] = {  # the studio has no use for these, but knows them by their name
    ".oft_blocks": "OFT",
    ".oft_diag": "OFT",
    ".boft_blocks": "BOFT",
    ".on_input": "(IA)³",
    ".a1.weight": "GLoRA",
    ".diff": "full differences",
}


def _as_lora(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    downs = [k for k in header.tensors if k.endswith(_ADAPTER_MARKS)]
    reason, other = "", ""
    if not downs:
        other = next((form for end, form in _OTHER_ADAPTERS.items() for k in header.tensors if k.endswith(end)), "")
        if not other or not any(k.startswith(("lora_", "lycoris_")) for k in header.tensors):
            return None
    family = lora_family(header.tensors, header.metadata)
    if not downs:
        reason = f"This is a LyCORIS file of the form {other}; LoRA, LoCon, LoHa, LoKr and DoRA are run."
    elif family is None:
        reason = "This LoRA is for a model of another family than SD 1, SD 2 and SDXL, or does not say for which."
    text = [k for k in downs if k.startswith(("lora_te", "text_encoder"))]
    parts = ["unet"] if len(text) < len(downs) else []
    if any(not k.startswith(("lora_te2_", "text_encoder_2.")) for k in text):
        parts.append("text_encoder")
    if any(k.startswith(("lora_te2_", "text_encoder_2.")) for k in text):
        parts.append("text_encoder_2")
    return replace(facts, kind="lora", family=family, parts=tuple(parts), reason=reason)


def lora_family(tensors: Mapping[str, TensorEntry], metadata: Mapping[str, str]) -> Family | None:
    """For which family a LoRA was made: by the width of the text embeddings its cross-attention takes, or its text
    encoder's, then by its metadata; None when neither says."""
    wide = (
        width
        for k, e in tensors.items()
        if "attn2" in k
        and len(e.shape) >= 2
        and _TEXT_INPUT.search(k)
        and (width := _input_width(tensors, k, e)) is not None
    )
    widths = Counter(islice(wide, VOTERS))
    for width, family in ((768, "sd1"), (1024, "sd2"), (2048, "sdxl"), (1280, "sdxl_refiner")):
        if widths and widths.most_common(1)[0][0] == width:
            return family  # type: ignore[return-value]
    told = " ".join(
        metadata.get(k, "") for k in ("modelspec.architecture", "ss_base_model_version", "ss_sd_model_name")
    ).lower()
    for mark, family in (("sdxl", "sdxl"), ("stable-diffusion-xl", "sdxl"), ("stable-diffusion-v2", "sd2"),
                         ("sd_v2", "sd2"), ("stable-diffusion-v1", "sd1"), ("sd_v1", "sd1")):  # fmt: skip
        if mark in told:
            return family  # type: ignore[return-value]
    if widths:
        return None
    text = Counter(
        e.shape[1]
        for k, e in tensors.items()
        if k.endswith(_LORA_MARKS) and len(e.shape) == 2 and re.match(r"lora_te\d?_.*q_proj|text_encoder.*q_proj", k)
    )
    if any(k.startswith(("lora_te1_", "lora_te2_", "text_encoder_2.")) for k in tensors):
        return "sdxl"
    return {768: "sd1", 1024: "sd2"}.get(text.most_common(1)[0][0]) if text else None  # type: ignore[return-value]


def _input_width(tensors: Mapping[str, TensorEntry], name: str, entry: TensorEntry) -> int | None:
    """How wide the inputs of an adapted linear layer are, by the tensor of its adapter that shows it; else None."""
    if name.endswith(_PLAIN_MARKS):
        return entry.shape[1]
    if not name.endswith((".lokr_w1", ".lokr_w1_b")):
        return None
    start = name.rpartition(".")[0]
    right = tensors.get(f"{start}.lokr_w2") or tensors.get(f"{start}.lokr_w2_b")
    return entry.shape[1] * right.shape[1] if right is not None and len(right.shape) >= 2 else None


CONTROLNET_PREFIX = "control_model."
_CONTROLNET_MARKS = (CONTROLNET_PREFIX, "controlnet_cond_embedding.", "input_hint_block.", "controlnet_down_blocks.")


def _as_controlnet(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    """A ControlNet, in the original key layout or in diffusers'; its family by how its copy of the U-Net is built."""
    if not any(key.startswith(_CONTROLNET_MARKS) for key in header.tensors):
        return None
    facts = replace(facts, kind="controlnet", parts=("controlnet",))
    keys = {key.removeprefix(CONTROLNET_PREFIX): entry for key, entry in header.tensors.items()}
    if any(key.startswith(("task_embedding", "control_add_embedding.", "transformer_layes.")) for key in keys):
        return replace(facts, reason="This is a ControlNet of several kinds at once (Union), which is not run.")
    if "lora_controlnet" in keys or any(key.endswith((".up", ".down")) for key in keys):
        return replace(facts, reason="This is a Control-LoRA, which is not run; take the whole ControlNet.")
    if any(key.startswith(("output_blocks.", "model.diffusion_model.")) for key in keys):
        return replace(facts, reason="This holds a whole checkpoint beside a ControlNet; take the ControlNet alone.")
    size_conditioned = {"label_emb.0.0.weight", "add_embedding.linear_1.weight"} & keys.keys()
    joins = [e for key, e in keys.items() if re.search(r"(input_blocks|down_blocks)\..*\.proj_in\.weight$", key)]
    if not joins or not {"conv_in.weight", "input_blocks.0.0.weight"} & keys.keys():
        return replace(facts, reason="This ControlNet is for another family than SD 1, SD 2 and SDXL.")
    family: Family = "sdxl" if size_conditioned else "sd1" if len(joins[0].shape) == 4 else "sd2"
    return replace(facts, family=family)


def _as_vae(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    tensors = header.tensors
    for prefix in ("", VAE_PREFIX, "vae."):
        conv_in = tensors.get(f"{prefix}decoder.conv_in.weight")
        if conv_in is None or len(conv_in.shape) != 4:
            continue
        if not any(
            f"{prefix}decoder.{k}" in tensors for k in ("mid.block_1.norm1.weight", "mid_block.resnets.0.norm1.weight")
        ):
            continue  # fmt: skip
        if f"{prefix}encoder.conv_in.weight" not in tensors:
            return replace(facts, reason="This is a VAE's decoder without its encoder.")
        if conv_in.shape[1] != 4:
            what = f"This VAE makes latents of {conv_in.shape[1]} channels, those of Stable Diffusion have 4."
            return replace(facts, kind="vae", reason=what, parts=("vae",))
        told = header.metadata.get("modelspec.architecture", "").lower()
        family: Family | None = "sdxl" if "xl" in told else "sd1" if "v1" in told else "sd2" if "v2" in told else None
        return replace(facts, kind="vae", family=family, parts=("vae",))
    return None


def _as_taesd(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    """The small VAE for previews: diffusers' AutoencoderTiny, or the original encoder or decoder on its own."""
    keys = list(header.tensors)
    if not keys:
        return None
    tiny = all(
        re.fullmatch(r"(taesd_)?((de|en)coder\.)?(layers\.)?\d+\.(conv\.\d+\.|skip\.)?(weight|bias)", k) for k in keys
    )
    if not tiny or not any(".conv." in k for k in keys):
        return None
    if whose := header.metadata.get(LATENTS_OF):
        return replace(facts, kind="taesd", reason=_of_one_checkpoint(whose))
    decoder = [e for k, e in header.tensors.items() if re.search(r"(^|decoder\.(layers\.)?)[01]\.weight$", k)]
    if decoder and all(e.shape[1:2] not in ((4,), (3,)) for e in decoder if len(e.shape) == 4):
        return replace(
            facts, kind="taesd", reason="This small VAE is for latents of another kind than Stable Diffusion's."
        )
    return replace(facts, kind="taesd", family=_taesd_family(name), parts=("vae",))


def _taesd_family(name: str) -> Family:
    """Only the name tells the small VAE of SDXL from that of the others."""
    return "sdxl" if any("xl" in word for word in _words(name)) else "sd1"


def _of_one_checkpoint(name: str) -> str:
    return f"This small VAE knows the latents of {_short(name)[:60]} only."


def _as_embedding(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    """Textual inversion: A1111's `emb_params`, SDXL's `clip_l` and `clip_g`, or diffusers' one tensor by its word."""
    tensors = header.tensors
    if "clip_l" in tensors and "clip_g" in tensors:
        return replace(facts, kind="embedding", family="sdxl", trigger=facts.trigger or name)
    if not 1 <= len(tensors) <= 3:
        return None
    key = "emb_params" if "emb_params" in tensors else next(iter(tensors))
    entry = tensors[key]
    if len(entry.shape) not in (1, 2) or ("." in key.strip(".") and not key.startswith("<")):
        return None
    family = {768: "sd1", 1024: "sd2"}.get(entry.shape[-1])
    if family is None:
        if entry.shape[-1] == 1280:
            return replace(
                facts, kind="embedding", family="sdxl", reason="Only one of SDXL's two embeddings is in this file."
            )
        return None
    word = name if key == "emb_params" else key
    return replace(facts, kind="embedding", family=family, trigger=facts.trigger or word)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------- folders

_PIPELINES: Mapping[str, Family] = {
    "StableDiffusionPipeline": "sd1",
    "StableDiffusionImg2ImgPipeline": "sd1",
    "StableDiffusionInpaintPipeline": "sd1",
    "LatentConsistencyModelPipeline": "sd1",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl",
    "StableDiffusionXLInpaintPipeline": "sdxl",
}


def _of_folder(folder: Path) -> ModelFacts:
    index = read_json(folder / "model_index.json")
    facts = ModelFacts(kind="unknown", form="folder", size_bytes=0)
    if index is None:
        return _part_folder(folder, facts)
    pipeline = str(index.get("_class_name"))
    if pipeline not in _PIPELINES:
        return replace(facts, reason=f"This folder is for {pipeline[:60]}, which the studio does not run.")
    unet = read_json(folder / "unet" / "config.json")
    if unet is None and (folder / "unet").is_dir():
        return replace(facts, reason="The U-Net has no readable config.json.")
    if unet is None:
        return replace(facts, reason="There is no U-Net in this folder.")
    family = folder_family(unet, index)
    parts = tuple(p for p in PARTS if _named(index.get(p)) and (folder / p).is_dir())
    blocks = (read_json(folder / "vae" / "config.json") or {}).get("block_out_channels")
    factor = 2 ** (len(blocks) - 1) if isinstance(blocks, list) and 1 <= len(blocks) <= 8 else 8
    sample_size = unet.get("sample_size")
    if not isinstance(sample_size, int) or not 64 <= sample_size * factor <= 4096:
        sample_size = None
    side = sample_size * factor if sample_size else {"sdxl": 1024, "sdxl_refiner": 1024}.get(family, 512)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json") or {}
    given = scheduler.get("prediction_type", "epsilon")
    channels = unet.get("in_channels", 4)
    distilled, source = _distillation({}, _words(folder.name))
    if pipeline == "LatentConsistencyModelPipeline" or scheduler.get("_class_name") == "LCMScheduler":
        distilled, source = "lcm", "config"
    precisions: Counter[str] = Counter()
    size = 0
    for part in parts:
        for file in weights_files(folder / part):
            size += _size(file)
            try:
                precisions.update(_bytes_by_dtype(read_whole_header(file).tensors.values()))
            except BadCheckpoint:  # told when it is loaded, with the file's name
                continue
    reason = ""
    if not isinstance(channels, int) or channels not in (4, 9):
        what = _UNUSABLE_CHANNELS.get(channels if isinstance(channels, int) else 0, "of another kind")
        reason = f"This is {what}; the studio cannot run it."
    return replace(
        facts,
        kind="checkpoint",
        size_bytes=size,
        reason=reason,
        family=family,
        prediction_type=next((p for p in PREDICTIONS if p == given), None),
        prediction_source="config",
        zero_terminal_snr=scheduler.get("rescale_betas_zero_snr") is True,
        in_channels=channels if isinstance(channels, int) else 0,
        distillation=distilled,
        distillation_source=source,
        guidance_embedded=bool(unet.get("time_cond_proj_dim")),
        precision=_precision_label(precisions),
        parts=parts,
        native_width=side,
        native_height=side,
    )


def folder_family(unet: Mapping[str, object], index: Mapping[str, object]) -> Family:
    """Family of a diffusers folder by its U-Net's config.json and which text encoders its index names."""
    if unet.get("addition_embed_type") == "text_time":
        return "sdxl" if _named(index.get("text_encoder")) else "sdxl_refiner"
    return "sd2" if unet.get("use_linear_projection") is True or unet.get("cross_attention_dim") == 1024 else "sd1"


def weights_files(part: Path) -> list[Path]:
    """The .safetensors files of one part of a diffusers folder: the plain one, else fp16's, shards together.

    Without an index file, everything that is no known variant belongs to the part.
    """
    try:
        files = sorted(f for f in part.iterdir() if f.suffix == ".safetensors" and f.name != "fast_preview.safetensors")
    except OSError:
        return []
    standard = ("diffusion_pytorch_model.", "diffusion_pytorch_model-", "model.", "model-")
    files = [f for f in files if f.name.startswith(standard)] or files
    by_variant: dict[str, list[Path]] = {}
    for file in files:
        match = re.search(r"\.(fp16|bf16|fp32|non_ema|ema)(?=[.-])", file.name)
        by_variant.setdefault(match[1] if match else "", []).append(file)
    for variant in ("", "fp16", "bf16", "fp32", "ema", "non_ema"):
        if variant in by_variant:
            return by_variant[variant]
    return []


def _part_folder(folder: Path, facts: ModelFacts) -> ModelFacts:
    """A folder without an index: a VAE on its own, or nothing we know."""
    config = read_json(folder / "config.json")
    if config is not None and config.get("_class_name") == "ControlNetModel":
        return _controlnet_folder(folder, facts)
    if config is None or config.get("_class_name") not in ("AutoencoderKL", "AutoencoderTiny"):
        return replace(facts, reason="This folder has no readable model_index.json, so it is no diffusers checkpoint.")
    tiny = config.get("_class_name") == "AutoencoderTiny"
    scaling = config.get("scaling_factor")
    family: Family | None = "sd1" if scaling == 0.18215 else "sdxl" if scaling == 0.13025 else None
    if tiny:  # its factor is 1: it takes latents at the U-Net's scale
        family = _taesd_family(folder.name)
        if whose := config.get(LATENTS_OF):
            return replace(facts, kind="taesd", reason=_of_one_checkpoint(str(whose)))
    files = weights_files(folder)
    channels = config.get("latent_channels", 4)
    return replace(
        facts,
        kind="taesd" if tiny else "vae",
        family=family,
        parts=("vae",),
        size_bytes=sum(_size(f) for f in files),
        reason="" if channels == 4 else "This VAE makes latents of another kind than Stable Diffusion's.",
    )


def _controlnet_folder(folder: Path, facts: ModelFacts) -> ModelFacts:
    """What the headers of its files say, together."""
    files = weights_files(folder)
    try:
        headers = [read_whole_header(file) for file in files]
    except BadCheckpoint as error:
        return replace(facts, kind="controlnet", reason=str(error))
    tensors = {name: entry for header in headers for name, entry in header.tensors.items()}
    found = _as_controlnet(replace(facts, precision=_precision(tensors.values())), Header(tensors, {}, 0), folder.name)
    if found is None:
        return replace(facts, kind="controlnet", reason="There is no .safetensors file of a ControlNet in this folder.")
    return replace(found, size_bytes=sum(_size(f) for f in files))


def _named(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and entry[1] is not None


# ----------------------------------------------------------------------------------------------------------- details

_PRECISIONS = {
    "F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8 (e4m3)", "F8_E5M2": "fp8 (e5m2)",
}  # fmt: skip


def _bytes_by_dtype(entries: Iterable[TensorEntry]) -> Counter[str]:
    numbers: Counter[str] = Counter()
    for dtype, shape, _ in entries:
        numbers[dtype] += math.prod(shape)
    return Counter({dtype: count * DTYPE_BYTES[dtype] for dtype, count in numbers.items() if dtype in _PRECISIONS})


def _precision(entries: Iterable[TensorEntry]) -> str:
    entries = list(entries)
    kinds = {entry.dtype for entry in entries}
    if len(kinds) == 1:  # of nearly every file
        return _PRECISIONS.get(kinds.pop(), "")
    return _precision_label(_bytes_by_dtype(entries))


def _precision_label(counts: Counter[str]) -> str:
    return _PRECISIONS[counts.most_common(1)[0][0]] if counts else ""


def _short(text: str) -> str:
    return text[:MAX_TEXT]


def _kept(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What a person may want to read: modelspec, and a trainer's notes without its long tables."""
    wanted = {k: v for k, v in metadata.items() if k.startswith(("modelspec.", "ss_")) and k != "modelspec.thumbnail"}
    return tuple((k[:80], _short(v)) for k, v in sorted(wanted.items()) if len(v) <= MAX_TEXT)[:60]


def _thumbnail(metadata: Mapping[str, str]) -> str:
    given = metadata.get("modelspec.thumbnail", "")
    good = re.fullmatch(r"data:image/(jpeg|png|webp);base64,[A-Za-z0-9+/=\s]+", given) and len(given) <= MAX_THUMBNAIL
    return given if good else ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def read_json(path: Path) -> dict[str, object] | None:
    """A small JSON object, or None when there is none that can be read."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return None
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
