"""A scheduler by name x a noise schedule: which evaluations one image needs and at which noise level each of them is.

Owns the field's definitions of the noise schedules and the level rule; knows no model. The scheduler objects are
diffusers'; where a noise schedule is not one of theirs, its curve is written into the object after `set_timesteps`.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

from studio.asked.requests import SCHEDULERS, NoiseScheduleName, SchedulerName, resolve_noise_schedule, steps_run
from studio.diffusion.ancestral import mend_ancestral_steps
from studio.diffusion.components import AYS_SIGMAS, FamilyName

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class SchedulerClass:
    """One of diffusers' schedulers and how it is set up here.

    `kind`: "timesteps" works on integer timesteps and has no sigmas; "scaled" holds x0 + sigma * noise and scales the
    model's input; "preserving" holds a * x0 + s * noise with a^2 + s^2 = 1 and has sigmas.
    """

    class_name: str
    kind: str
    settings: Mapping[str, Any]
    takes_generator: bool = False
    order: int = 1
    eta: float | None = None  # given to `step` where the class's own default is not the pipelines'


_CLASSES: Mapping[SchedulerName, SchedulerClass] = {
    "ddim": SchedulerClass("DDIMScheduler", "timesteps", {}, takes_generator=True),
    "ddpm": SchedulerClass("DDPMScheduler", "timesteps", {"variance_type": "fixed_small"}, takes_generator=True),
    "pndm": SchedulerClass("PNDMScheduler", "timesteps", {"skip_prk_steps": True}),
    "lcm": SchedulerClass("LCMScheduler", "timesteps", {}, takes_generator=True),
    "tcd": SchedulerClass("TCDScheduler", "timesteps", {}, takes_generator=True, eta=0.0),
    "euler": SchedulerClass("EulerDiscreteScheduler", "scaled", {}, takes_generator=True),
    "euler_a": SchedulerClass("EulerAncestralDiscreteScheduler", "scaled", {}, takes_generator=True),
    "heun": SchedulerClass("HeunDiscreteScheduler", "scaled", {}, order=2),
    "lms": SchedulerClass("LMSDiscreteScheduler", "scaled", {}),
    "dpm2": SchedulerClass("KDPM2DiscreteScheduler", "scaled", {}, order=2),
    "dpm2_a": SchedulerClass("KDPM2AncestralDiscreteScheduler", "scaled", {}, takes_generator=True, order=2),
    "dpmpp_sde": SchedulerClass("DPMSolverSDEScheduler", "scaled", {}, order=2),
    "dpmpp_2m": SchedulerClass(
        "DPMSolverMultistepScheduler",
        "preserving",
        {"algorithm_type": "dpmsolver++", "solver_order": 2},
        takes_generator=True,
    ),
    "dpmpp_2m_sde": SchedulerClass(
        "DPMSolverMultistepScheduler",
        "preserving",
        {"algorithm_type": "sde-dpmsolver++", "solver_order": 2},
        takes_generator=True,
    ),
    "dpmpp_3m_sde": SchedulerClass(
        "DPMSolverMultistepScheduler",
        "preserving",
        {"algorithm_type": "sde-dpmsolver++", "solver_order": 3},
        takes_generator=True,
    ),
    "unipc": SchedulerClass("UniPCMultistepScheduler", "preserving", {}),
    "deis": SchedulerClass("DEISMultistepScheduler", "preserving", {"algorithm_type": "deis"}),
}

# ------------------------------------------------------------------------------------------------ noise schedules


def training_sigmas(alphas_cumprod: torch.Tensor) -> Array:
    """sigma(t) = sqrt((1 - abar) / abar) for every training timestep, rising, (num_train_timesteps,).

    In float32 as diffusers' classes compute it, so that curves between its ends are theirs to the last bit.
    """
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt().double().cpu().numpy()


def sigma_to_timestep(sigmas: Array, training: Array) -> Array:
    """Timesteps of noise levels, interpolated in log sigma between the training timesteps."""
    return np.interp(np.log(sigmas), np.log(training), np.arange(len(training), dtype=np.float64))


def noise_schedule_timesteps(noise_schedule: NoiseScheduleName, num_inference_steps: int, last: float) -> Array | None:
    """Falling timesteps, first to last step, of the schedules that are defined by timesteps; None for the others.

    `last` is where the run begins: the last training timestep, 999, or any other when it goes on from mid-schedule.
    Beta may give fewer steps than asked for: duplicates are dropped.
    """
    n = num_inference_steps
    if noise_schedule == "normal":
        return np.linspace(last, 0, n)
    if noise_schedule == "sgm_uniform":
        return np.linspace(last, 0, n + 1)[:-1]
    if noise_schedule == "simple":
        return np.array([last - int(i * (last + 1) / n) for i in range(n)], dtype=np.float64)
    if noise_schedule == "beta":
        from scipy.stats import beta  # slow to import and needed by this schedule alone

        quantiles = 1 - np.linspace(0, 1, n, endpoint=False)
        return np.unique(np.round(beta.ppf(quantiles, 0.6, 0.6) * last))[::-1]
    return None


def noise_schedule_sigmas(
    noise_schedule: NoiseScheduleName,
    num_inference_steps: int,
    training: Array,
    family: FamilyName,
    begins: float | None = None,
) -> Array:
    """Falling sigmas, first to last step and without the closing 0, of every noise schedule but "as configured".

    `training` is the checkpoint's own sigma(t). `begins` is the sigma at which a run goes on from mid-schedule; without
    it begins where training ends. schedulers.md has the definitions in words.
    """
    n = num_inference_steps
    last = len(training) - 1.0 if begins is None else float(sigma_to_timestep(np.array([begins]), training)[0])
    timesteps = noise_schedule_timesteps(noise_schedule, n, last)
    if timesteps is not None:
        return np.interp(timesteps, np.arange(len(training)), training)
    sigma_min, sigma_max = training[0], training[-1] if begins is None else begins
    ramp = np.linspace(0, 1, n)
    if noise_schedule == "karras":  # Karras et al. 2022, equation 5, rho = 7
        return (sigma_max ** (1 / 7) + ramp * (sigma_min ** (1 / 7) - sigma_max ** (1 / 7))) ** 7
    if noise_schedule == "exponential":
        return np.exp(np.linspace(math.log(sigma_max), math.log(sigma_min), n))
    if noise_schedule == "ays":  # Sabour et al. 2024: ten optimal steps, log-linear between them
        table = np.array([*AYS_SIGMAS[family], sigma_min])
        places = np.linspace(0, 1, len(table))
        first = 0.0 if begins is None else float(np.interp(-math.log(begins), -np.log(table), places))
        positions = np.linspace(first, 1, n + 1)[:-1]
        return np.exp(np.interp(positions, places, np.log(table)))
    raise ValueError(f"noise_schedule: {noise_schedule} has no formula of its own")


# ------------------------------------------------------------------------------------------------------ schedule


@dataclass(frozen=True)
class Level:
    """Noise level of one evaluation in model-input coordinates: model input = a * x0 + s * noise, a^2 + s^2 = 1."""

    sigma: float  # s / a
    a: float
    s: float


@dataclass
class Schedule:
    """Everything one image needs to be denoised: the scheduler object, and each evaluation's timestep and level."""

    scheduler: Any
    name: SchedulerName
    timesteps: torch.Tensor  # (total,), on the CPU, as the scheduler's `step` wants them
    levels: list[Level]
    stages: list[int]  # 1, or 2 for the second evaluation of a step
    steps: list[int]  # 0-based step each evaluation belongs to, counted from where the run begins
    seed: int  # the image's
    strides: list[int] | None = None  # timesteps to the next evaluation, where the class would guess them evenly
    complete: bool = True  # whether it begins at the schedule's first step, at pure noise
    begins: int = 0  # the first evaluation of `scheduler`, where another one made those before

    @property
    def total(self) -> int:
        """U-Net evaluations."""
        return len(self.levels)

    def scale(self, index: int) -> float:
        """The latents of evaluation `index` are the model's input times this: sqrt(1 + sigma^2) where the scheduler
        holds x0 + sigma * noise, else 1."""
        return 1 / self.levels[index].a if _CLASSES[self.name].kind == "scaled" else 1.0

    def reseed(self, seed: int) -> None:
        """From the next step on, take the Brownian noise of DPM++ SDE from another seed's tree."""
        self.seed = seed
        if self.name == "dpmpp_sde":
            self.scheduler.noise_sampler = None

    def step(
        self, index: int, model_output: torch.Tensor, latents: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """x_t => x_{t-1} by the guided model output of evaluation `index`; evaluations come in order."""
        kind = _CLASSES[self.name]
        arguments: dict[str, Any] = {}
        if kind.takes_generator:
            arguments["generator"] = generator
        if kind.eta is not None:
            arguments["eta"] = kind.eta
        if self.name == "lms":
            # Its order grows with the position in the whole schedule, as if there were derivatives of evaluations
            # before a run that begins in mid-schedule.
            arguments["order"] = min(index - self.begins + 1, 4)
        if self.name == "dpmpp_sde" and self.scheduler.noise_sampler is None:
            self.scheduler.noise_sampler = _brownian_noise(self.scheduler.sigmas, latents, self.seed)
        if self.strides is not None:
            # DDIM and PNDM step by num_train_timesteps // num_inference_steps; this makes it the distance we want.
            train = self.scheduler.config.num_train_timesteps
            self.scheduler.num_inference_steps = Fraction(train, self.strides[index])
        result: torch.Tensor = self.scheduler.step(
            model_output, self.timesteps[index], latents, return_dict=False, **arguments
        )[0]
        return result

    def noised(self, latents: torch.Tensor, noise: torch.Tensor, index: int) -> torch.Tensor:
        """Clean latents => latents in the scheduler's scale at the level of evaluation `index`; behind the last one
        they are clean.

        What the classes' `add_noise` computes, to the last bit; but they take a second evaluation of DPM2 and
        DPM++ SDE, which lies between two sigmas, for one at the next sigma.
        """
        if index >= self.total:
            return latents
        kind = _CLASSES[self.name].kind
        if kind == "timesteps":
            result: torch.Tensor = self.scheduler.add_noise(latents, noise, self.timesteps[index : index + 1])
            return result
        sigma = torch.tensor(self.levels[index].sigma, dtype=latents.dtype, device=latents.device)
        if kind == "scaled":
            return latents + noise * sigma
        alpha, sigma = self.scheduler._sigma_to_alpha_sigma_t(sigma)
        return alpha * latents + sigma * noise


def _brownian_noise(sigmas: torch.Tensor, latents: torch.Tensor, seed: int) -> Callable[[Any, Any], torch.Tensor]:
    """The noise of DPM++ SDE between any two sigmas, as its class makes it, but on the CPU and by the image's seed: the
    same on every device."""
    # torchsde reports float32's last bit at the ends of its interval, at every new value: no news to anybody.
    warnings.filterwarnings("ignore", message="Should have t[ab]", module="torchsde")
    sampler = BrownianTreeNoiseSampler(latents.cpu(), sigmas[sigmas > 0].min().item(), sigmas.max().item(), seed)
    return lambda sigma, sigma_next: sampler(sigma, sigma_next).to(latents.device)


def make_schedule(
    name: SchedulerName,
    noise_schedule: NoiseScheduleName,
    num_inference_steps: int,
    scheduler_config: Mapping[str, Any],
    *,
    strength: float = 1.0,
    seed: int = 0,
    prediction_type: str | None = None,
    family: FamilyName = "sd1",
) -> Schedule:
    """Set a scheduler up for one image.

    `scheduler_config` is the checkpoint's scheduler_config.json. `strength` < 1 runs int(n * strength) steps, the last
    ones. `seed` is the image's: DPM++ SDE takes its noise from a Brownian tree with it. Raises ValueError for a
    combination that requests.SCHEDULERS does not list, and for prediction_type "sample" where the class cannot.
    """
    noise_schedule = resolve_noise_schedule(name, noise_schedule)
    facts = SCHEDULERS[name]
    if noise_schedule not in facts.noise_schedules:
        raise ValueError(f"noise_schedule: {noise_schedule}; {name} can run {', '.join(facts.noise_schedules)}")
    if not 1 <= num_inference_steps <= facts.max_steps:
        raise ValueError(f"num_inference_steps: {num_inference_steps}; {name} can run 1 to {facts.max_steps}")
    kind = _CLASSES[name]
    if prediction_type is not None and not can_run(name, prediction_type):
        raise ValueError(f"scheduler: {name} cannot run a checkpoint that predicts samples; DDIM and DPM++ 2M can")
    scheduler = _new_scheduler(name, noise_schedule, scheduler_config, prediction_type)
    given: Array | None = None
    if noise_schedule == "as_configured":
        scheduler.set_timesteps(num_inference_steps)
    elif kind.kind == "timesteps":
        given = _write_timesteps(scheduler, noise_schedule, num_inference_steps, family)
    else:
        _write_sigmas(scheduler, name, noise_schedule, num_inference_steps, family)
    return _schedule_of(scheduler, name, num_inference_steps, strength, seed, given)


def schedule_over(
    name: SchedulerName,
    sigmas: Array,
    timesteps: Array,
    scheduler_config: Mapping[str, Any],
    *,
    seed: int,
    prediction_type: str,
) -> Schedule:
    """A scheduler that begins somewhere in the middle, over the steps that are given: falling sigmas without the
    closing 0, and their timesteps, whole or not. A scheduler that works on whole timesteps takes the nearest ones."""
    if not can_run(name, prediction_type):
        raise ValueError(f"scheduler: {name} cannot run a checkpoint that predicts {prediction_type}")
    scheduler = _new_scheduler(name, "karras", scheduler_config, prediction_type)  # any curve: it is written over
    if name == "pndm":
        whole = _write_whole_timesteps(scheduler, timesteps)
        run = torch.from_numpy(whole.astype(np.int64))
        return _pndm_over(scheduler, run, _strides(run), seed, complete=False)
    given: Array | None = None
    if _CLASSES[name].kind == "timesteps":
        given = _write_whole_timesteps(scheduler, timesteps)
    else:
        # Pure noise is no sigma: with zero-terminal SNR these classes begin at a large one.
        most = training_sigmas(scheduler.alphas_cumprod)[-1]
        _write_curve(scheduler, name, "karras", np.minimum(sigmas, most), timesteps)
    schedule = _schedule_of(scheduler, name, len(sigmas), 1.0, seed, given)
    schedule.complete = False
    return schedule


def can_run(name: SchedulerName, prediction_type: str) -> bool:
    """Whether a scheduler can run a checkpoint that predicts this."""
    return prediction_type != "sample" or (_CLASSES[name].kind != "scaled" and name != "pndm")


def _new_scheduler(
    name: SchedulerName, noise_schedule: NoiseScheduleName, config: Mapping[str, Any], prediction_type: str | None
) -> Any:
    """The scheduler object, as `Class.from_config(config)` makes it, less the warnings about keys it has no use for."""
    kind = _CLASSES[name]
    cls = getattr(diffusers, kind.class_name)
    known = inspect.signature(cls.__init__).parameters
    settings = {key: value for key, value in config.items() if key in known and not key.startswith("_")}
    settings |= {"clip_sample": False, "thresholding": False}  # both are for pixels in [-1, 1], not for latents
    if prediction_type is not None:
        settings["prediction_type"] = prediction_type
    settings |= kind.settings
    scheduler = copy.deepcopy(_pristine(kind.class_name, json.dumps({k: settings[k] for k in settings if k in known})))
    if noise_schedule != "as_configured":
        curve = {
            "timestep_spacing": "linspace",  # the first latents then have the standard deviation sigma_max
            "final_sigmas_type": "zero",
            "use_karras_sigmas": noise_schedule != "exponential",
            "use_exponential_sigmas": noise_schedule == "exponential",
            "use_beta_sigmas": False,
            "use_lu_lambdas": False,
            "use_flow_sigmas": False,
        }
        scheduler.register_to_config(**{key: value for key, value in curve.items() if key in known})
    return scheduler


def training_alphas_cumprod(scheduler_config: Mapping[str, Any]) -> torch.Tensor:
    """alpha-bar of every training timestep of a checkpoint, (num_train_timesteps,), float32."""
    abar: torch.Tensor = _new_scheduler("ddim", "as_configured", scheduler_config, None).alphas_cumprod
    return abar


@functools.lru_cache(maxsize=64)
def _pristine(class_name: str, settings: str) -> Any:
    """A new scheduler object, to be copied: some classes work a third of a second in their constructor."""
    return getattr(diffusers, class_name)(**json.loads(settings))


def _write_timesteps(
    scheduler: Any, noise_schedule: NoiseScheduleName, num_inference_steps: int, family: FamilyName
) -> Array:
    """Write a noise schedule into a scheduler that works on integer timesteps; they must differ from each other."""
    training = training_sigmas(scheduler.alphas_cumprod)
    timesteps = noise_schedule_timesteps(noise_schedule, num_inference_steps, len(training) - 1)
    if timesteps is None:
        sigmas = noise_schedule_sigmas(noise_schedule, num_inference_steps, training, family)
        timesteps = sigma_to_timestep(sigmas, training)
    return _write_whole_timesteps(scheduler, timesteps)


def _write_whole_timesteps(scheduler: Any, timesteps: Array) -> Array:
    """Write timesteps into a scheduler that takes whole ones only; those that fall together are one."""
    timesteps = np.unique(timesteps.round())[::-1].copy()
    scheduler.set_timesteps(len(timesteps))
    scheduler.timesteps = torch.from_numpy(timesteps.astype(np.int64))
    return timesteps


def _write_sigmas(
    scheduler: Any,
    name: SchedulerName,
    noise_schedule: NoiseScheduleName,
    num_inference_steps: int,
    family: FamilyName,
) -> None:
    """Write a noise schedule into a scheduler that works on sigmas.

    The class's own Karras (or exponential) curve is replaced by ours, so that everything it derives from the sigmas
    (doubled lists, midpoints, ancestral parts) is derived by its own code.
    """
    training = training_sigmas(scheduler.alphas_cumprod)
    sigmas = noise_schedule_sigmas(noise_schedule, num_inference_steps, training, family)
    timesteps = noise_schedule_timesteps(noise_schedule, num_inference_steps, len(training) - 1)
    _write_curve(scheduler, name, noise_schedule, sigmas, timesteps)


def _write_curve(
    scheduler: Any, name: SchedulerName, noise_schedule: NoiseScheduleName, sigmas: Array, timesteps: Array | None
) -> None:
    """Write falling sigmas, without the closing 0; their timesteps follow from them where they are not given."""
    training = training_sigmas(scheduler.alphas_cumprod)
    if name == "euler_a":
        scheduler.set_timesteps(len(sigmas))
        scheduler.sigmas = torch.from_numpy(np.append(sigmas, 0).astype(np.float32))
        exact = sigma_to_timestep(sigmas, training) if timesteps is None else timesteps
        scheduler.timesteps = torch.from_numpy(exact.astype(np.float32))
        return
    curve = "_convert_to_exponential" if noise_schedule == "exponential" else "_convert_to_karras"
    setattr(scheduler, curve, lambda **_: sigmas)
    scheduler.set_timesteps(len(sigmas))
    delattr(scheduler, curve)
    if name == "deis":  # it cannot end at 0, and its curves end at their last sigma twice
        scheduler.sigmas[-1] = float(training[0])
    if timesteps is not None:
        order = _CLASSES[name].order
        exact_timesteps = scheduler.timesteps.double()
        exact_timesteps[::order] = torch.from_numpy(timesteps.copy())
        if name == "heun":
            exact_timesteps[1::2] = torch.from_numpy(timesteps[1:].copy())
        scheduler.timesteps = exact_timesteps.float()


def _schedule_of(
    scheduler: Any,
    name: SchedulerName,
    num_inference_steps: int,
    strength: float,
    seed: int,
    given: Array | None,
) -> Schedule:
    kind = _CLASSES[name]
    if name == "pndm":
        return _pndm_schedule(scheduler, num_inference_steps, strength, seed)
    order = kind.order
    mend_ancestral_steps(scheduler, name)
    steps = (len(scheduler.timesteps) + order - 1) // order
    begin = (steps - steps_run(steps, strength)) * order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    indices = range(begin, len(scheduler.timesteps))
    timesteps = scheduler.timesteps[begin:]
    strides = None
    if name == "ddim" and given is not None:
        strides = _strides(timesteps)
    return Schedule(
        scheduler=scheduler,
        name=name,
        timesteps=timesteps,
        levels=[_level(_sigma(scheduler, name, index)) for index in indices],
        stages=[1 + (order == 2 and i % 2 == 1) for i in range(len(indices))],
        steps=[(i + order - 1) // order for i in range(len(indices))],
        seed=seed,
        strides=strides,
        complete=begin == 0,
    )


def _pndm_schedule(scheduler: Any, num_inference_steps: int, strength: float, seed: int) -> Schedule:
    """PNDM asks the model twice at its second timestep, also when it begins in mid-schedule (diffusers' img2img forgets
    the second time and then is one step off)."""
    timesteps = torch.unique(scheduler.timesteps).flip(0)
    stride = scheduler.config.num_train_timesteps // num_inference_steps
    steps = len(timesteps)
    run = timesteps[steps - steps_run(steps, strength) :]
    strides = _strides(run) if scheduler.config.timestep_spacing != "leading" else [stride] * len(run)
    return _pndm_over(scheduler, run, strides, seed, complete=len(run) == steps)


def _pndm_over(scheduler: Any, run: torch.Tensor, strides: list[int], seed: int, *, complete: bool) -> Schedule:
    """PNDM over falling timesteps, the second of which it asks about twice."""
    doubled = list(range(len(run)))
    if len(run) > 1:
        doubled = [0, 1, *range(1, len(run))]
        strides = [strides[0], strides[0], *strides[1:]]
    timesteps = run[doubled]
    return Schedule(
        scheduler=scheduler,
        name="pndm",
        timesteps=timesteps,
        levels=[_level(_sigma_at(scheduler, int(t))) for t in timesteps],
        stages=[1 + (i == 1) for i in range(len(timesteps))],
        steps=[max(i - 1, 0) for i in range(len(timesteps))],
        seed=seed,
        strides=strides,
        complete=complete,
    )


def _strides(timesteps: torch.Tensor) -> list[int]:
    """Distance from each timestep to the next; from the last one to -1, which stands for the clean picture."""
    following = [*timesteps[1:].tolist(), -1]
    return [int(a - b) for a, b in zip(timesteps.tolist(), following)]


def level_of(abar: float) -> Level:
    """The level of an alpha-bar."""
    return _level(math.sqrt((1 - abar) / abar) if abar > 0 else math.inf)


def _sigma_at(scheduler: Any, timestep: int) -> float:
    return level_of(float(scheduler.alphas_cumprod[timestep])).sigma


def _sigma(scheduler: Any, name: SchedulerName, index: int) -> float:
    """sigma of the model input at evaluation `index` of the whole schedule."""
    if _CLASSES[name].kind == "timesteps":
        return _sigma_at(scheduler, int(scheduler.timesteps[index]))
    if index % 2 == 1 and name == "dpm2":
        return float(scheduler.sigmas_interpol[index])
    if index % 2 == 1 and name == "dpm2_a":
        return float(scheduler.sigmas_interpol[index - 1])
    if index % 2 == 1 and name == "dpmpp_sde":
        return math.sqrt(float(scheduler.sigmas[index - 1]) * float(scheduler.sigmas[index]))
    return float(scheduler.sigmas[index])


def _level(sigma: float) -> Level:
    if math.isinf(sigma):
        return Level(sigma, 0.0, 1.0)
    a = 1 / math.sqrt(1 + sigma * sigma)
    return Level(sigma, a, a * sigma)


# ---------------------------------------------------------------------------------------------------- predicted x0


def predicted_x0(x_t: torch.Tensor, model_output: torch.Tensor, level: Level, prediction_type: str) -> torch.Tensor:
    """Predicted x0 from the model's input and output, both float32; linear in the model output.

    With zero-terminal-SNR the first level has a = 0, where a prediction of noise says nothing about x0: zeros.
    """
    if prediction_type == "epsilon":
        if level.a == 0:
            return torch.zeros_like(x_t)
        return (x_t - level.s * model_output) / level.a
    if prediction_type == "v_prediction":
        return level.a * x_t - level.s * model_output
    return model_output


def predicted_noise(x_t: torch.Tensor, model_output: torch.Tensor, level: Level, prediction_type: str) -> torch.Tensor:
    """Predicted noise from the model's input and output, so that a * x0 + s * noise is the input again."""
    if prediction_type == "epsilon":
        return model_output
    if prediction_type == "v_prediction":
        return level.s * x_t + level.a * model_output
    return (x_t - level.a * model_output) / level.s
