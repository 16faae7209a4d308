"""Models trained as rectified flows (Liu et al. 2022), whatever their family: finetunes of SDXL's U-Net that predict
noise - x0 on the straight path between them.

The weights do not show it: metadata says it, or "rectified" in the name, or the owner.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from studio.families.base import Defaults

NAMES = frozenset({"rectified", "rectifiedflow"})
SPECS = frozenset({"flow", "flow_prediction", "rectified_flow", "rectified-flow", "rf", "velocity"})
DEFAULTS = Defaults(30, 5.0, "euler")
SHIFT = 1.0  # where nobody says another: times as they are


def in_metadata(prediction_type: str, architecture: str) -> bool:
    """Whether modelspec's prediction_type or architecture, in lower case, names a flow."""
    return prediction_type in SPECS or "rectified" in architecture


def in_name(words: Collection[str]) -> bool:
    """Whether a file's name says so."""
    return any(word in NAMES or word.startswith("rectified") for word in words)


def scheduler_config(config: Mapping[str, Any], shift: float = SHIFT) -> dict[str, Any]:
    """A scheduler config of a flow with the family's number of training timesteps."""
    return {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "num_train_timesteps": int(config.get("num_train_timesteps", 1000)),
        "shift": shift,
        "flow_shift": shift,
    }
