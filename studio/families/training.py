"""How a model was trained, whatever its family: what it predicts on which path of noise, zero-terminal SNR, few steps.

Told by marker tensors, then metadata, then the name, then what its family always is; each says by which.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from studio.answered.model_facts import Distillation
from studio.families import edm, flow
from studio.families.base import DISTILLATIONS, UNET_PREFIX, Defaults, Family, Prediction, words_of

FactSource = Literal["file", "metadata", "name", "family"]  # by what something is known


@dataclass(frozen=True)
class Training:
    """How a model was trained. `prediction` None: neither tensors nor notes nor name say; it is measured or asked."""

    prediction: Prediction | None
    prediction_source: FactSource | None
    zero_terminal_snr: bool = False
    distillation: Distillation | None = None
    distillation_source: FactSource | None = None
    guidance_embedded: bool = False  # the U-Net is told the guidance scale, which was distilled into it


def training_of(family: Family, names: Collection[str], metadata: Mapping[str, str], name: str) -> Training:
    """How a single file was trained. `names` are those of its tensors, `name` is the file's without its ending."""
    words = words_of(name)
    prediction, source = _prediction(family, names, metadata, name)
    distillation, distilled_by = distillation_of(metadata, words)
    has_guidance_embedding = any(f"{UNET_PREFIX}{one}" in names for one in _GUIDANCE_EMBEDDING)
    if has_guidance_embedding and distillation is None:
        distillation, distilled_by = "lcm", "file"
    zero_snr = "ztsnr" in names or _true(metadata.get("ss_zero_terminal_snr")) or "ztsnr" in words
    return Training(
        prediction=prediction,
        prediction_source=source,
        zero_terminal_snr=zero_snr and prediction == "v_prediction",
        distillation=distillation,
        distillation_source=distilled_by,
        guidance_embedded=has_guidance_embedding,
    )


_GUIDANCE_EMBEDDING = ("time_embedding.cond_proj.weight", "time_embed.cond_proj.weight")  # of LCM


def _prediction(
    family: Family, names: Collection[str], metadata: Mapping[str, str], name: str
) -> tuple[Prediction | None, FactSource | None]:
    by_tensors = edm.prediction_of(names)
    if by_tensors is not None:
        return by_tensors, "file"
    if "v_pred" in names:
        return "v_prediction", "file"
    spec = metadata.get("modelspec.prediction_type", metadata.get("modelspec.predict_key", "")).lower()
    architecture = metadata.get("modelspec.architecture", "").lower()
    if flow.in_metadata(spec, architecture):
        return "flow_prediction", "metadata"
    if spec in ("v", "v_prediction", "v-prediction", "v_pred"):
        return "v_prediction", "metadata"
    if spec in ("epsilon", "eps"):
        return "epsilon", "metadata"
    if architecture.startswith("stable-diffusion-v2-768-v"):
        return "v_prediction", "metadata"
    if architecture.startswith("stable-diffusion-v2-512"):
        return "epsilon", "metadata"
    if flow.in_name(words_of(name)):
        return "flow_prediction", "name"
    if _V_NAME.search(name):
        return "v_prediction", "name"
    if _EPSILON_NAME.search(name):
        return "epsilon", "name"
    return family.prediction, "family" if family.prediction is not None else None


# "noob_vPred10Version", "model-vpred65s", "AIvPred", "VPRED", "v_prediction", "vpredxl", "epsPred11"; not "vpredator".
_PREDICTED = (
    r"[-_ ]?(?:[pP]red(?:iction|icted)?(?![a-z])|PRED(?:ICTION|ICTED)?(?![A-Za-z])"
    r"|(?:[pP]red|PRED)(?=[vV]\d|[xX][lL]|[fFbB][fFpP]\d))"
)
_V_NAME = re.compile(r"(?:(?<![A-Za-z])[vV]|(?<=[a-z])[vV](?=P)|(?<=[A-Z])v)" + _PREDICTED)
_EPSILON_NAME = re.compile(r"(?:(?<![a-z])[eE]ps(?:ilon)?|(?<![A-Za-z])EPS(?:ILON)?)" + _PREDICTED)


def distillation_of(
    metadata: Mapping[str, str], words: Collection[str]
) -> tuple[Distillation | None, FactSource | None]:
    """Which few-step distillation metadata or a name's words speak of."""
    descriptions = " ".join(metadata.get(k, "") for k in ("modelspec.title", "modelspec.description", "modelspec.tags"))
    sources: tuple[tuple[Collection[str], FactSource], ...] = ((words_of(descriptions), "metadata"), (words, "name"))
    for text, source in sources:
        for distillation in DISTILLATIONS:
            if any(_names(word, distillation) for word in text):
                return distillation, source
    return None, None


def _names(word: str, distillation: Distillation) -> bool:
    """Whether a word names a distillation, also with a number of steps: "lightning4step", "hyper8", "dmd"."""
    stem = distillation.rstrip("2")
    return re.fullmatch(rf"{stem}\d*(steps?)?", word) is not None


def scheduler_settings(
    prediction: Prediction | None, config: Mapping[str, Any], numbers: Mapping[str, tuple[float, ...]] | None = None
) -> dict[str, Any]:
    """A scheduler config for what a model predicts: that of another path where it was trained on one. `numbers` are
    its file's small tensors that say how, by name (studio.families.edm)."""
    if prediction is None:
        return dict(config)
    if prediction.startswith("edm_"):
        return edm.scheduler_config(prediction, numbers)
    if prediction == "flow_prediction":
        return flow.scheduler_config(config)
    return dict(config) | {"prediction_type": prediction}


def defaults_on_path(family: Family, prediction: Prediction | None) -> Defaults:
    """What suits a family's models that predict this: schedulers run on some paths of noise and not on others."""
    if prediction is not None and prediction.startswith("edm_"):
        return edm.DEFAULTS
    return flow.DEFAULTS if prediction == "flow_prediction" else family.defaults


def few_step_settings(distillation: str | None, *, zero_terminal_snr: bool) -> dict[str, Any]:
    """What few-step and zero-terminal-SNR models need: timesteps that begin at pure noise."""
    settings: dict[str, Any] = {}
    if zero_terminal_snr:
        settings |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    if distillation is not None:
        settings |= {"timestep_spacing": "trailing"}
    return settings


def _true(text: str | None) -> bool:
    return (text or "").strip().lower() in ("true", "1")
