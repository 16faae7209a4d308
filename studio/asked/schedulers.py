"""The schedulers and their noise schedules: names, labels, and what runs with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

SchedulerName = Literal[
    "ddim", "ddpm", "pndm", "euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_2m", "dpmpp_2m_sde",
    "dpmpp_2m_sde_heun", "dpmpp_2s_a", "dpmpp_sde", "dpmpp_3m_sde", "restart", "unipc", "deis", "lcm", "tcd",
]  # fmt: skip
NoiseScheduleName = Literal[
    "automatic", "normal", "karras", "exponential", "polyexponential", "kl_optimal", "beta", "sgm_uniform", "simple",
    "turbo", "ays", "as_configured",
]  # fmt: skip

NOISE_SCHEDULES: Mapping[str, str] = {
    "automatic": "Automatic",
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "polyexponential": "Polyexponential",
    "kl_optimal": "KL Optimal",
    "beta": "Beta",
    "sgm_uniform": "SGM uniform",
    "simple": "Simple",
    "turbo": "Turbo",
    "ays": "AYS",
    "as_configured": "As configured",
}

_EVERY_SCHEDULE: tuple[NoiseScheduleName, ...] = get_args(NoiseScheduleName)
# Schedulers that work on integer timesteps have no list of sigmas to write a curve into.
_INTEGER_SCHEDULES: tuple[NoiseScheduleName, ...] = (
    "automatic", "normal", "sgm_uniform", "simple", "turbo", "ays", "as_configured",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SchedulerFacts:
    """What the page and the validator need to know of one scheduler."""

    label: str
    automatic: NoiseScheduleName = "normal"  # what the noise schedule Automatic means for it
    noise_schedules: tuple[NoiseScheduleName, ...] = _EVERY_SCHEDULE
    max_steps: int = 150
    second_order: bool = False  # two U-Net evaluations a step, but for the last
    adds_noise: bool = False  # fresh noise at its steps, not the first latents alone
    noise_settings: tuple[str, ...] = ()  # the fields of a request that say how much noise it adds

    @property
    def usual_eta(self) -> float:
        """Its share of fresh noise without a wish: 1 for those that add noise, else 0."""
        return 1.0 if self.adds_noise else 0.0


_CHURN = ("s_churn", "s_tmin", "s_tmax", "s_noise", "noise_seed_delta")
_ANCESTRAL = ("eta", "s_noise", "noise_seed_delta")
_SCALED = ("s_noise", "noise_seed_delta")

SCHEDULERS: Mapping[str, SchedulerFacts] = {
    "dpmpp_2m": SchedulerFacts(label="DPM++ 2M", automatic="karras"),
    "dpmpp_2m_sde": SchedulerFacts(
        label="DPM++ 2M SDE", automatic="exponential", adds_noise=True, noise_settings=_SCALED
    ),
    "dpmpp_2m_sde_heun": SchedulerFacts(
        label="DPM++ 2M SDE Heun", automatic="exponential", adds_noise=True, noise_settings=_SCALED
    ),
    "dpmpp_3m_sde": SchedulerFacts(
        label="DPM++ 3M SDE", automatic="exponential", adds_noise=True, noise_settings=_SCALED
    ),
    "dpmpp_sde": SchedulerFacts(
        label="DPM++ SDE", automatic="karras", second_order=True, adds_noise=True, noise_settings=("s_noise",)
    ),
    "dpmpp_2s_a": SchedulerFacts(
        label="DPM++ 2S a", automatic="karras", second_order=True, adds_noise=True, noise_settings=_ANCESTRAL
    ),
    "euler": SchedulerFacts(label="Euler", noise_settings=_CHURN),
    "euler_a": SchedulerFacts(label="Euler a", adds_noise=True, noise_settings=_ANCESTRAL),
    "heun": SchedulerFacts(label="Heun", second_order=True, noise_settings=_CHURN),
    "restart": SchedulerFacts(
        label="Restart", automatic="karras", second_order=True, adds_noise=True, noise_settings=_SCALED
    ),
    "unipc": SchedulerFacts(label="UniPC"),
    "deis": SchedulerFacts(label="DEIS"),
    "lms": SchedulerFacts(label="LMS"),
    "dpm2": SchedulerFacts(label="DPM2", automatic="karras", second_order=True, noise_settings=_CHURN),
    "dpm2_a": SchedulerFacts(
        label="DPM2 a", automatic="karras", second_order=True, adds_noise=True, noise_settings=_ANCESTRAL
    ),
    "ddim": SchedulerFacts(
        label="DDIM", noise_schedules=_INTEGER_SCHEDULES, noise_settings=("eta", "noise_seed_delta")
    ),
    "ddpm": SchedulerFacts(
        label="DDPM", noise_schedules=_INTEGER_SCHEDULES, adds_noise=True, noise_settings=("noise_seed_delta",)
    ),
    "pndm": SchedulerFacts(label="PNDM", noise_schedules=tuple(s for s in _INTEGER_SCHEDULES if s != "ays")),
    "lcm": SchedulerFacts(
        label="LCM",
        automatic="sgm_uniform",
        noise_schedules=_INTEGER_SCHEDULES,
        max_steps=50,
        adds_noise=True,
        noise_settings=("noise_seed_delta",),
    ),
    "tcd": SchedulerFacts(
        label="TCD",
        automatic="sgm_uniform",
        noise_schedules=_INTEGER_SCHEDULES,
        max_steps=50,
        noise_settings=("eta", "noise_seed_delta"),
    ),
}


def evaluations(scheduler: SchedulerName, num_inference_steps: int) -> int:
    """How often the U-Net is asked for one image from pure noise (Heun and its kin twice a step but the last).

    Two curves may do with one or two steps less, since they drop timesteps that fall together: Beta from 139 steps on,
    AYS with DDIM and DDPM from 74 on. `Started.total` is exact.
    """
    if SCHEDULERS[scheduler].second_order:
        return 2 * num_inference_steps - 1
    return num_inference_steps + (scheduler == "pndm" and num_inference_steps > 1)


def resolve_noise_schedule(
    scheduler: SchedulerName, noise_schedule: NoiseScheduleName, prediction_type: str = "epsilon"
) -> NoiseScheduleName:
    """The schedule that really runs: `automatic` becomes the scheduler's own choice, or, for a checkpoint whose path of
    noise is not Stable Diffusion's (EDM, a rectified flow), the checkpoint's own."""
    if noise_schedule != "automatic":
        return noise_schedule
    own_path = prediction_type not in ("epsilon", "v_prediction", "sample")
    return "as_configured" if own_path else SCHEDULERS[scheduler].automatic


def steps_run(num_inference_steps: int, strength: float) -> int:
    """How many of the n steps image to image runs: int(n * strength), diffusers' rule."""
    return min(int(num_inference_steps * strength), num_inference_steps)
