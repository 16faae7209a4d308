"""Models trained with EDM's noise levels (Karras et al. 2022), whatever their family: Playground v2.5 and CosXL.

Both are SDXL's U-Net. Playground's file holds `edm_mean` and `edm_std`, of its latents; its model's output is what
diffusers calls "epsilon" of an EDM scheduler. CosXL's holds the ends of its noise levels and predicts v.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from studio.families.base import Defaults, Prediction

MEAN, STD = "edm_mean", "edm_std"
SIGMA_MIN, SIGMA_MAX = "edm_vpred.sigma_min", "edm_vpred.sigma_max"
NUMBERS = (MEAN, STD, SIGMA_MIN, SIGMA_MAX)  # small tensors whose values matter, not their shapes
DEFAULTS = Defaults(30, 3.0, "dpmpp_2m")
PLAYGROUND_SCALE = 0.5  # of its latents, once they have mean 0 and standard deviation 1


def prediction_of(names: Collection[str]) -> Prediction | None:
    """What a model with these tensors predicts; None for one that was trained on another path."""
    if SIGMA_MAX in names:
        return "edm_v_prediction"
    return "edm_epsilon" if MEAN in names and STD in names else None


def scheduler_config(prediction: Prediction, numbers: Mapping[str, tuple[float, ...]] | None = None) -> dict[str, Any]:
    """The scheduler config as published: Playground v2.5's, or CosXL's with the ends that its file names."""
    numbers = numbers or {}
    if prediction == "edm_epsilon":
        return {
            "_class_name": "EDMDPMSolverMultistepScheduler",
            "prediction_type": "epsilon",
            "sigma_min": 0.002,
            "sigma_max": 80.0,
            "sigma_data": 0.5,
            "sigma_schedule": "karras",
            "rho": 7.0,
            "num_train_timesteps": 1000,
        }
    return {
        "_class_name": "EDMEulerScheduler",
        "prediction_type": "v_prediction",
        "sigma_min": numbers.get(SIGMA_MIN, (0.002,))[0],
        "sigma_max": numbers.get(SIGMA_MAX, (120.0,))[0],
        "sigma_data": 1.0,
        "sigma_schedule": "exponential",
        "num_train_timesteps": 1000,
    }


def vae_config(numbers: Mapping[str, tuple[float, ...]]) -> dict[str, Any]:
    """What the VAE's config says of the latents: Playground's mean and standard deviation; else nothing."""
    if MEAN not in numbers or STD not in numbers:
        return {}
    return {
        "latents_mean": list(numbers[MEAN]),
        "latents_std": list(numbers[STD]),
        "scaling_factor": PLAYGROUND_SCALE,
    }
