"""The sampler and the schedule that a body asks for in its second pass."""

from __future__ import annotations

from collections.abc import Mapping

from studio.asked.problems import Problem, quoted_value
from studio.asked.schedulers import NOISE_SCHEDULES
from studio.picture.infotext import settings_of_pairs


def second_sampler(body: Mapping[str, object], problems: list[Problem]) -> dict[str, object]:
    """`hires_scheduler` and `hires_noise_schedule`, by their names there or by the studio's own, as far as they are in
    the body. What is no name is added to `problems`; an unknown name is left for the request to refuse."""
    words: dict[str, str] = {}
    for key, field in (("Hires sampler", "hr_sampler_name"), ("Hires schedule type", "hr_scheduler")):
        value = body.get(field)
        if value and not isinstance(value, str):
            problems.append(Problem(field, quoted_value(value), "a name"))
        elif value:
            words[key] = str(value)
    second = settings_of_pairs(words | {"Hires upscale": "2"}).values
    schedule = second.get("hires_noise_schedule")
    if isinstance(schedule, str) and schedule not in NOISE_SCHEDULES:
        spelled = settings_of_pairs({"Hires upscale": "2", "Hires schedule type": schedule.replace("_", " ")})
        second["hires_noise_schedule"] = spelled.values["hires_noise_schedule"]
    return {name: second[name] for name in ("hires_scheduler", "hires_noise_schedule") if name in second}
