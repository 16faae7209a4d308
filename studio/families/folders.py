"""What the small JSON files of a diffusers folder say: which family, which path of noise; or why it cannot be run."""

from __future__ import annotations

from collections.abc import Mapping

from studio.asked.messages import Message
from studio.diffusion.predictions import EDM_CLASSES, FLOW_CLASSES
from studio.families.base import Family, UnetShape
from studio.families.flow import SHIFTS, is_shift
from studio.families.registry import FAMILIES, recognise

PIPELINES = frozenset(
    {
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
        "LatentConsistencyModelPipeline",
        "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusionXLInpaintPipeline",
    }
)
# Of diffusers' schedulers those whose configuration describes training timesteps that preserve variance.
_PRESERVING = frozenset(
    f"{name}Scheduler"
    for name in (
        "DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "PNDM", "LMSDiscrete", "EulerDiscrete",
        "EulerAncestralDiscrete", "HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete", "DPMSolverMultistep",
        "DPMSolverSinglestep", "DPMSolverSDE", "DEISMultistep", "UniPCMultistep", "LCM", "TCD", "SASolver",
    )
)  # fmt: skip
_FLOW_UNKNOWN = ("use_dynamic_shifting", "invert_sigmas", "shift_terminal", "stochastic_sampling")


def family_of_folder(unet: Mapping[str, object], index: Mapping[str, object]) -> Family:
    """Family of a folder by its U-Net's config.json and which text encoders its index names."""
    shape = _shape(unet)
    if unet.get("addition_embed_type") == "text_time":
        exact = recognise(shape) if shape is not None else None
        if exact is not None and exact.is_size_conditioned:
            return exact
        return FAMILIES["sdxl" if names_component(index.get("text_encoder")) else "sdxl_refiner"]
    linear = unet.get("use_linear_projection") is True or unet.get("cross_attention_dim") == 1024
    return FAMILIES["sd2" if linear else "sd1"]


def _shape(unet: Mapping[str, object]) -> UnetShape | None:
    """The structure that a config.json describes, as far as it tells families apart; None for what it does not."""
    kinds, layers = unet.get("down_block_types"), unet.get("transformer_layers_per_block", 1)
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        return None
    per_block = layers if isinstance(layers, list) else [layers] * len(kinds)
    firsts = [one[0] if isinstance(one, list) and one else one for one in per_block]
    depths = [depth for depth in firsts if isinstance(depth, int)]
    if len(depths) != len(kinds):
        return None
    attends = [depth if kind.startswith("CrossAttn") else 0 for kind, depth in zip(kinds, depths)]
    middle = unet.get("mid_block_type", "UNetMidBlock2DCrossAttn") == "UNetMidBlock2DCrossAttn"
    return UnetShape(
        in_channels=4,
        linear_joins=unet.get("use_linear_projection") is True,
        size_conditioned=unet.get("addition_embed_type") == "text_time",
        depths=tuple(attends),
        up_depths=(),
        middle=depths[-1] if middle else None,
        context_width=None,
    )


def scheduler_problem(config: Mapping[str, object]) -> str:
    """Why a folder's scheduler_config.json cannot be obeyed, one sentence that names it; "" where it can."""
    name = config.get("_class_name")
    if name is not None and name not in _PRESERVING | EDM_CLASSES | FLOW_CLASSES:
        return Message("Its scheduler is a {name}, whose noise levels the studio does not know.", name=str(name)[:60])
    prediction = config.get("prediction_type", "epsilon")
    if name in EDM_CLASSES and prediction not in ("epsilon", "v_prediction"):
        return Message(
            "Its scheduler's prediction_type is {prediction}, which no EDM model has.",
            prediction=f"{str(prediction)[:60]!r}",
        )
    if config.get("timestep_type") == "continuous":
        return Message("Its scheduler has continuous timesteps (timestep_type), which the studio does not run.")
    if name in FLOW_CLASSES:
        for key in _FLOW_UNKNOWN:
            if config.get(key):
                return Message("Its scheduler has {key}, which the studio does not run.", key=key)
    for key in ("shift", "flow_shift"):
        shift = config.get(key, 1.0)
        if not is_shift(shift):
            return Message(
                "Its scheduler's {key} is {shift}; allowed are {shifts}.", key=key, shift=str(shift)[:60], shifts=SHIFTS
            )
    return ""


def names_component(entry: object) -> bool:
    """Whether an entry of a model_index.json, [library, class], names a component that is there."""
    return isinstance(entry, list) and len(entry) == 2 and entry[1] is not None
