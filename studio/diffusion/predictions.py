"""What a model predicts and on which path of noise, by name, read off a scheduler's configuration. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

PathName = Literal["preserving", "edm", "flow"]
EDM_CLASSES = frozenset({"EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"})
FLOW_CLASSES = frozenset({"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"})


def path_name(scheduler_config: Mapping[str, Any]) -> PathName:
    """Which path a scheduler's configuration is for."""
    class_name = scheduler_config.get("_class_name")
    if class_name in EDM_CLASSES:
        return "edm"
    flows = scheduler_config.get("use_flow_sigmas") is True
    if flows or class_name in FLOW_CLASSES or scheduler_config.get("prediction_type") == "flow_prediction":
        return "flow"
    return "preserving"


def prediction_of(scheduler_config: Mapping[str, Any]) -> str:
    """What the model of a checkpoint predicts, as studio.diffusion.quantities calls it."""
    name = path_name(scheduler_config)
    if name == "flow":
        return "flow_prediction"
    prediction = str(scheduler_config.get("prediction_type", "epsilon"))
    return f"edm_{prediction}" if name == "edm" else prediction


def path_of_prediction(prediction_type: str) -> PathName:
    """The path that goes with a prediction."""
    if prediction_type.startswith("edm_"):
        return "edm"
    return "flow" if prediction_type == "flow_prediction" else "preserving"
