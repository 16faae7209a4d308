"""What must fit together between the fields of a request, whose values are allowed one by one."""

from __future__ import annotations

from collections.abc import Mapping

from studio.asked.acting import forecasts, is_made_twice
from studio.asked.forecast import FORECASTS, can_forecast
from studio.asked.guidance import CFGPP_SCHEDULERS, METHODS
from studio.asked.messages import Message
from studio.asked.problems import Problem, one_of, quoted_value
from studio.asked.rows import MAX_SEED
from studio.asked.schedulers import NOISE_SCHEDULES, SCHEDULERS

Values = Mapping[str, object]  # of a request, by the names of its fields


def scheduler_problems(values: Values) -> list[Problem]:
    """Of a scheduler: the noise schedules and the number of steps that it can run."""
    scheduler, schedule, steps = (values.get(n) for n in ("scheduler", "noise_schedule", "num_inference_steps"))
    facts = SCHEDULERS.get(scheduler) if isinstance(scheduler, str) else None
    if facts is None:
        return []
    problems = []
    label = NOISE_SCHEDULES.get(str(schedule))
    if label is not None and schedule not in facts.noise_schedules:
        able = one_of({name: NOISE_SCHEDULES[name] for name in facts.noise_schedules})
        problems.append(
            Problem("noise_schedule", label, Message("with {scheduler} {able}", scheduler=facts.label, able=able))
        )
    if isinstance(steps, int) and steps > facts.max_steps:
        expectation = Message(
            "with {scheduler} whole numbers from 1 to {last}", scheduler=facts.label, last=facts.max_steps
        )
        problems.append(Problem("num_inference_steps", str(steps), expectation))
    return problems


def seed_problems(values: Values) -> list[Problem]:
    """Of the seeds: that of the last image is in the range too."""
    images = values.get("num_images_per_prompt")
    last = MAX_SEED - (images - 1 if type(images) is int and images > 0 else 0)
    expectation = Message("whole numbers from 0 to {last}, or -1 or nothing for a random one", last=last)
    seeds = {name: values.get(name) for name in ("seed", "variation_seed")}
    return [
        Problem(name, quoted_value(seed), expectation)
        for name, seed in seeds.items()
        if seed is not None and (type(seed) is not int or not 0 <= seed <= last)
    ]


def guidance_problems(values: Mapping[str, object]) -> list[Problem]:
    """Of the band and the method: the lowest noise level is not above the highest, CFG++ has a scheduler for it."""
    problems = []
    low, high = values.get("guidance_low"), values.get("guidance_high")
    if isinstance(low, float) and isinstance(high, float) and high and low > high:
        expectation = Message("with a highest noise level of {high} numbers from 0 to it", high=f"{high:g}")
        problems.append(Problem("guidance_low", f"{low:g}", expectation))
    unable = next((name for name in _schedulers(values) if name not in CFGPP_SCHEDULERS), None)
    if values.get("guidance_method") == "cfgpp" and unable is not None:
        others = one_of({name: label for name, label in METHODS.items() if name != "cfgpp"})
        expectation = Message("with {scheduler} {able}", scheduler=SCHEDULERS[unable].label, able=others)
        problems.append(Problem("guidance_method", METHODS["cfgpp"], expectation))
    return problems


def forecast_problems(values: Values) -> list[Problem]:
    """Of a forecast: each evaluation of the scheduler is a step of its own."""
    unable = next((name for name in _schedulers(values) if not can_forecast(name)), None)
    if unable is None or not forecasts(values) or values.get("forecast") not in FORECASTS:
        return []
    expectation = Message("with {scheduler} {able}", scheduler=SCHEDULERS[unable].label, able=FORECASTS["off"])
    return [Problem("forecast", FORECASTS[str(values["forecast"])], expectation)]


def _schedulers(values: Values) -> list[str]:
    """Those that a request names, of its passes."""
    second = values.get("hires_scheduler") if is_made_twice(values) else None
    return [name for name in (values.get("scheduler"), second) if isinstance(name, str) and name in SCHEDULERS]
