"""The schedulers, a row each: which of diffusers' classes it is, how it is set up, in which scale it holds its latents.

A row knows no model and no noise schedule. One table for each path of noise; what is in none of its rows cannot run a
checkpoint of that path, and is refused by name.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import diffusers

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, one_of
from studio.asked.schedulers import SCHEDULERS, NoiseScheduleName, SchedulerName
from studio.diffusion.ancestral import mend_dpm2_a, mend_euler_a
from studio.diffusion.levels import Level, edm_level, flow_level, level_of, preserving_level
from studio.diffusion.paths import flow_shift
from studio.diffusion.planned import PlannedScheduler, Planner, Solver, ancestral_plan, restart_plan
from studio.diffusion.predictions import PathName, path_of_prediction

# How a row holds its latents:
#   "timesteps"   a * x0 + s * noise; it works on integer timesteps and has no sigmas
#   "scaled"      x0 + sigma * noise; the model's input is scaled
#   "preserving"  a * x0 + s * noise; it has sigmas
#   "edm"         scaled in EDM's way
#   "flow"        (1 - sigma) * x0 + sigma * noise
ScaleName = Literal["timesteps", "scaled", "preserving", "edm", "flow"]
# How a curve gets into it: by the class's own conversion to Karras' or an exponential curve, by its sigmas, by
# `set_timesteps(sigmas=...)`, by EDM's Karras curve, or by whole timesteps.
Writing = Literal["conversion", "sigmas", "argument", "edm", "timesteps"]
MidSigma = Callable[[Any, int], float]


@dataclass(frozen=True, kw_only=True)
class SchedulerRow:
    """One of diffusers' schedulers and how it is set up here."""

    class_name: str
    scale: ScaleName
    settings: Mapping[str, Any] = field(default_factory=dict)
    writing: Writing = "conversion"
    takes_generator: bool = False
    order: int = 1  # evaluations of a step
    eta: float | None = None  # given to `step` where the class's own default is not the pipelines'
    predicts_samples: bool = True  # whether it can run a checkpoint that predicts x0 itself
    mid_sigma: MidSigma | None = None  # of a step's second evaluation, where that is between two sigmas
    second_at_next: bool = False  # the second evaluation is at the next step's timestep
    asks_twice: bool = False  # PNDM: a second evaluation at the second timestep
    strides: bool = False  # steps by num_train_timesteps // num_inference_steps unless it is told otherwise
    growing_order: int | None = None  # its order grows up to this one, by evaluations that it has seen
    brownian: bool = False  # takes its noise from a Brownian tree
    mend: Callable[[Any], None] | None = None  # what puts right the lists it has computed in float32
    planner: Planner | None = None  # makes the plan of a PlannedScheduler, whose steps are made by `solver`
    solver: Solver = "euler"
    ends_at_first: bool = False  # it cannot end at 0, and ends at the first training sigma

    def level(self, scheduler: Any, index: int) -> Level:
        """Level of evaluation `index` of the whole schedule."""
        if self.scale == "timesteps":
            return level_of(float(scheduler.alphas_cumprod[int(scheduler.timesteps[index])]))
        mid = self.mid_sigma is not None and index % 2 == 1
        sigma = self.mid_sigma(scheduler, index) if self.mid_sigma and mid else float(scheduler.sigmas[index])
        if self.scale == "edm":
            return edm_level(sigma, float(scheduler.config.sigma_data))
        return flow_level(sigma) if self.scale == "flow" else preserving_level(sigma)


_MULTISTEP_WRITING: Mapping[ScaleName, Writing] = {"edm": "edm", "flow": "sigmas"}


def _multistep(algorithm: str, order: int, scale: ScaleName = "preserving", **settings: Any) -> SchedulerRow:
    return SchedulerRow(
        class_name="EDMDPMSolverMultistepScheduler" if scale == "edm" else "DPMSolverMultistepScheduler",
        scale=scale,
        settings={"algorithm_type": algorithm, "solver_order": order, **settings},
        writing=_MULTISTEP_WRITING.get(scale, "conversion"),
        takes_generator=True,
    )


def planned(planner: Planner, solver: Solver) -> SchedulerRow:
    """A row whose steps are planned."""
    return SchedulerRow(
        class_name="PlannedScheduler", scale="scaled", takes_generator=True, planner=planner, solver=solver
    )


_PRESERVING: Mapping[SchedulerName, SchedulerRow] = {
    "ddim": SchedulerRow(
        class_name="DDIMScheduler", scale="timesteps", writing="timesteps", takes_generator=True, strides=True
    ),
    "ddpm": SchedulerRow(
        class_name="DDPMScheduler",
        scale="timesteps",
        settings={"variance_type": "fixed_small"},
        writing="timesteps",
        takes_generator=True,
    ),
    "pndm": SchedulerRow(
        class_name="PNDMScheduler",
        scale="timesteps",
        settings={"skip_prk_steps": True},
        writing="timesteps",
        predicts_samples=False,
        asks_twice=True,
    ),
    "lcm": SchedulerRow(class_name="LCMScheduler", scale="timesteps", writing="timesteps", takes_generator=True),
    "tcd": SchedulerRow(
        class_name="TCDScheduler", scale="timesteps", writing="timesteps", takes_generator=True, eta=0.0
    ),
    "euler": SchedulerRow(
        class_name="EulerDiscreteScheduler", scale="scaled", takes_generator=True, predicts_samples=False
    ),
    "euler_a": SchedulerRow(
        class_name="EulerAncestralDiscreteScheduler",
        scale="scaled",
        writing="sigmas",
        takes_generator=True,
        predicts_samples=False,
        mend=mend_euler_a,
    ),
    "heun": SchedulerRow(
        class_name="HeunDiscreteScheduler", scale="scaled", order=2, predicts_samples=False, second_at_next=True
    ),
    "lms": SchedulerRow(class_name="LMSDiscreteScheduler", scale="scaled", predicts_samples=False, growing_order=4),
    "dpm2": SchedulerRow(
        class_name="KDPM2DiscreteScheduler",
        scale="scaled",
        order=2,
        predicts_samples=False,
        mid_sigma=lambda scheduler, index: float(scheduler.sigmas_interpol[index]),
    ),
    "dpm2_a": SchedulerRow(
        class_name="KDPM2AncestralDiscreteScheduler",
        scale="scaled",
        takes_generator=True,
        order=2,
        predicts_samples=False,
        mid_sigma=lambda scheduler, index: float(scheduler.sigmas_interpol[index - 1]),
        mend=mend_dpm2_a,
    ),
    "dpmpp_sde": SchedulerRow(
        class_name="DPMSolverSDEScheduler",
        scale="scaled",
        order=2,
        predicts_samples=False,
        mid_sigma=lambda scheduler, index: math.sqrt(
            float(scheduler.sigmas[index - 1]) * float(scheduler.sigmas[index])
        ),
        brownian=True,
    ),
    "dpmpp_2m": _multistep("dpmsolver++", 2),
    "dpmpp_2m_sde": _multistep("sde-dpmsolver++", 2),
    "dpmpp_2m_sde_heun": _multistep("sde-dpmsolver++", 2, solver_type="heun"),
    "dpmpp_3m_sde": _multistep("sde-dpmsolver++", 3),
    "dpmpp_2s_a": planned(ancestral_plan, "2s"),
    "restart": planned(restart_plan, "heun"),
    "unipc": SchedulerRow(class_name="UniPCMultistepScheduler", scale="preserving"),
    "deis": SchedulerRow(
        class_name="DEISMultistepScheduler",
        scale="preserving",
        settings={"algorithm_type": "deis"},
        ends_at_first=True,
    ),
}
_EDM: Mapping[SchedulerName, SchedulerRow] = {  # the class has no third order of the SDE: it raises an error
    "euler": SchedulerRow(class_name="EDMEulerScheduler", scale="edm", writing="edm", takes_generator=True),
    "dpmpp_2m": _multistep("dpmsolver++", 2, "edm"),
    "dpmpp_2m_sde": _multistep("sde-dpmsolver++", 2, "edm"),
    "dpmpp_2m_sde_heun": _multistep("sde-dpmsolver++", 2, "edm", solver_type="heun"),
}
_FLOW: Mapping[SchedulerName, SchedulerRow] = {
    "euler": SchedulerRow(
        class_name="FlowMatchEulerDiscreteScheduler",
        scale="flow",
        settings={"shift": 1.0, "use_dynamic_shifting": False, "stochastic_sampling": False, "shift_terminal": None},
        writing="argument",
    ),
    "dpmpp_2m": _multistep("dpmsolver++", 2, "flow"),
    "dpmpp_2m_sde": _multistep("sde-dpmsolver++", 2, "flow"),
    "dpmpp_2m_sde_heun": _multistep("sde-dpmsolver++", 2, "flow", solver_type="heun"),
    "dpmpp_3m_sde": _multistep("sde-dpmsolver++", 3, "flow"),
    "unipc": SchedulerRow(class_name="UniPCMultistepScheduler", scale="flow", writing="sigmas"),
}
ROWS: Mapping[PathName, Mapping[SchedulerName, SchedulerRow]] = {
    "preserving": _PRESERVING,
    "edm": _EDM,
    "flow": _FLOW,
}
_KIND_OF_CHECKPOINT: Mapping[str, str] = {
    "sample": Message("a checkpoint that predicts samples"),
    "flow_prediction": Message("a rectified-flow checkpoint"),
    "edm_epsilon": Message("a checkpoint that was trained with EDM noise levels"),
    "edm_v_prediction": Message("a checkpoint that was trained with EDM noise levels"),
}


def kind_of_checkpoint(prediction_type: str) -> str:
    """What to call a checkpoint that predicts this, in a sentence."""
    return _KIND_OF_CHECKPOINT.get(prediction_type, Message("a checkpoint that predicts {what}", what=prediction_type))


def able(prediction_type: str) -> tuple[SchedulerName, ...]:
    """The schedulers that can run a checkpoint that predicts this, in the order of SCHEDULERS."""
    rows = ROWS[path_of_prediction(prediction_type)]
    fits = {name for name, row in rows.items() if prediction_type != "sample" or row.predicts_samples}
    return tuple(name for name in SCHEDULERS if name in fits)


def can_run(name: SchedulerName, prediction_type: str) -> bool:
    """Whether a scheduler can run a checkpoint that predicts this."""
    return name in able(prediction_type)


def row_of(name: SchedulerName, prediction_type: str) -> SchedulerRow:
    """The row of a scheduler for a checkpoint that predicts this. Raises InvalidRequest where it cannot run one."""
    names = able(prediction_type)
    if name not in names:
        choices = one_of({one: SCHEDULERS[one].label for one in names})
        kind = kind_of_checkpoint(prediction_type)
        raise InvalidRequest(
            Problem("scheduler", SCHEDULERS[name].label, Message("for {kind} {choices}", kind=kind, choices=choices))
        )
    return ROWS[path_of_prediction(prediction_type)][name]


def new_scheduler(
    row: SchedulerRow, noise_schedule: NoiseScheduleName, config: Mapping[str, Any], prediction_type: str | None
) -> Any:
    """The scheduler object, as `Class.from_config(config)` makes it, less the warnings about keys it has no use for."""
    cls = _class_of(row.class_name)
    parameters = inspect.signature(cls.__init__).parameters
    settings = {key: value for key, value in config.items() if key in parameters and not key.startswith("_")}
    settings |= {"clip_sample": False, "thresholding": False}  # both are for pixels in [-1, 1], not for latents
    if prediction_type is not None:
        settings["prediction_type"] = prediction_type.removeprefix("edm_")
    if row.scale == "flow":
        settings |= {"use_flow_sigmas": True, "flow_shift": flow_shift(config)}
    settings |= row.settings
    scheduler = copy.deepcopy(
        _pristine(row.class_name, json.dumps({k: settings[k] for k in settings if k in parameters}))
    )
    if noise_schedule != "as_configured":
        converts = row.writing == "conversion"
        curve = {
            "timestep_spacing": "linspace",  # the first latents then have the standard deviation sigma_max
            "final_sigmas_type": "zero",
            "use_karras_sigmas": converts and noise_schedule != "exponential",
            "use_exponential_sigmas": converts and noise_schedule == "exponential",
            "use_beta_sigmas": False,
            "use_lu_lambdas": False,
            "use_flow_sigmas": row.scale == "flow",
            "sigma_schedule": "karras",
        }
        scheduler.register_to_config(**{key: value for key, value in curve.items() if key in parameters})
    return scheduler


@functools.lru_cache(maxsize=64)
def _pristine(class_name: str, settings: str) -> Any:
    """A new scheduler object, to be copied: some classes work a third of a second in their constructor."""
    return _class_of(class_name)(**json.loads(settings))


def _class_of(class_name: str) -> Any:
    return PlannedScheduler if class_name == PlannedScheduler.__name__ else getattr(diffusers, class_name)
