"""Models trained as rectified flows (Liu et al. 2022), whatever their family: finetunes of SDXL's U-Net that predict
noise - x0 on the straight path between them.

The weights do not show it: metadata says it, or "rectified" in the name, or the owner.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from studio.asked.messages import Message
from studio.families.base import Defaults

NAMES = frozenset({"rectified", "rectifiedflow"})
SPECS = frozenset({"flow", "flow_prediction", "rectified_flow", "rectified-flow", "rf", "velocity"})
DEFAULTS = Defaults(30, 5.0, "euler")
SHIFT = 1.0  # where nobody says another: times as they are
MOST_SHIFT = 100.0
SHIFTS = Message("numbers above 0, to 100")  # that are allowed


def in_metadata(prediction_type: str, architecture: str) -> bool:
    """Whether modelspec's prediction_type or architecture, in lower case, names a flow."""
    return prediction_type in SPECS or "rectified" in architecture


def in_name(words: Collection[str]) -> bool:
    """Whether a file's name says so."""
    return any(word in NAMES or word.startswith("rectified") for word in words)


def is_shift(value: object) -> bool:
    """Whether a shift has this value."""
    return not isinstance(value, bool) and isinstance(value, (int, float)) and 0 < value <= MOST_SHIFT


def shift_of(config: Mapping[str, Any]) -> float | None:
    """The shift that a flow's scheduler config says: diffusers calls it `flow_shift` in some schedulers and `shift` in
    others. None where it is none that is allowed."""
    shift = config.get("flow_shift", config.get("shift", SHIFT))
    return float(shift) if is_shift(shift) else None


def with_shift(config: Mapping[str, Any], shift: float) -> dict[str, Any]:
    """A flow's scheduler config with another shift, by both of diffusers' names for it."""
    return {**config, "shift": shift, "flow_shift": shift}


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
