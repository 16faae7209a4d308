"""The noise levels of the built-in model: Stable Diffusion 1.5's, so that all schedulers of the studio fit it."""

from __future__ import annotations

from diffusers import DDPMScheduler

# scheduler_config.json of the checkpoint.
SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.42.1",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
    "clip_sample": False,
}


def make_scheduler() -> DDPMScheduler:
    """Stable Diffusion's noise levels: T = 1000, scaled-linear betas from 0.00085 to 0.012."""
    return DDPMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
