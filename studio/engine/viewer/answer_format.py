"""The forms that answers to the noise viewer have, and the facts that several of them state."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
from PIL import Image
from safetensors.numpy import save

from studio.answered.engine import Answer
from studio.diffusion.components import Components
from studio.diffusion.levels import Level
from studio.engine.recorded_evaluation import Array


def level_facts(level: Level) -> dict[str, float | None]:
    """A noise level in the measures that the viewer shows; None for what has no value."""
    finite = math.isfinite(level.sigma)
    return {
        "sigma": level.sigma if finite else None,
        "a": level.a,
        "s": level.s,
        "abar": 1 / (1 + level.sigma**2) if finite else 0.0,
        "log_snr": -2 * math.log(level.sigma) if finite and level.sigma > 0 else None,
    }


def picture_facts(picture: Image.Image, components: Components) -> dict[str, object]:
    """The size of a picture that was asked about, and of which checkpoint."""
    return {
        "width": picture.width,
        "height": picture.height,
        "checkpoint": components.name,
        "prediction_type": components.prediction_type,
    }


def json_answer(values: object) -> Answer:
    """Plain values as JSON, without infinities."""
    return Answer(content=json.dumps(values, allow_nan=False).encode(), media_type="application/json")


def safetensors(tensors: Mapping[str, Array], facts: Mapping[str, object]) -> Answer:
    """Arrays with their facts, as every such answer has them."""
    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    content = bytes(save(whole, metadata={"run": json.dumps(facts, allow_nan=False)}))
    return Answer(content=content, media_type="application/octet-stream")
