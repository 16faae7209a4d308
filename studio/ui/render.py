"""Events to views: what the stage shows, as plain data.

A view is JSON that the stage's script draws as text nodes and image sources. No view holds markup, so nothing that a
visitor types can become markup. Knows neither gradio nor the engine.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, assert_never

from studio.answered.events import Event, Failed, Finished, JobSummary, Loading, Picture, Queued, Started, Step, Stopped
from studio.answered.models import Checkpoint
from studio.asked.acting import is_upscaled
from studio.asked.forecast import FORECASTS
from studio.asked.guidance import METHODS
from studio.asked.problems import InvalidRequest, Problem
from studio.asked.requests import ROWS, Request
from studio.asked.resolved import Suits, resolve
from studio.asked.schedulers import NOISE_SCHEDULES, SCHEDULERS, steps_run
from studio.picture.enlarged import upscalers_of
from studio.picture.metadata import MADE_ELSEWHERE
from studio.ui.stored_sentences import retold
from studio.ui.text import say

View = dict[str, Any]

# A run of 16 pictures at 150 steps would carry 2,400 frames; the strip of each is thinned so that together they stay
# within what a browser takes in one message without a hitch.
FRAMES_PER_RUN = 320
FRAMES_PER_PICTURE = 80
_SETTINGS = tuple(name for name, row in ROWS.items() if row.kind != "file")


def data_uri(jpeg: bytes) -> str:
    """A JPEG as the source of an image, with no request and no file."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


# ----------------------------------------------------------------------------------------------------- pictures


def picture_view(picture: Picture, frames: int = FRAMES_PER_PICTURE) -> View:
    """A finished picture with its line of settings, the settings themselves and its (thinned) filmstrip."""
    return {
        "id": picture.id,
        "unsaved": not picture.file_name,
        "width": picture.width,
        "height": picture.height,
        "prompt": str(picture.info.get("prompt", "")),
        "line": settings_line(picture),
        "notes": prompt_notes(picture.info),
        "settings": _reusable(picture),
        "film": [data_uri(jpeg) for jpeg in spread_frames(picture.filmstrip, frames)],
        "evaluations": len(picture.filmstrip),
    }


def prompt_notes(info: Mapping[str, object]) -> list[str]:
    """What a picture's file says of its prompt, in sentences about what of it is read otherwise than it may be meant,
    and of itself, where it is no file of the format that the owner has chosen."""
    notes, file_note = info.get("prompt_notes"), info.get("file_note")
    everything = [*(notes if isinstance(notes, list) else ()), file_note]
    return [retold(note) for note in everything if isinstance(note, str)][:20]


def _reusable(picture: Picture) -> dict[str, object] | None:
    """The settings to be reused; None for a picture that another program has made."""
    if picture.info.get(MADE_ELSEWHERE) is True:
        return None
    return settings_of(picture.info) | {"seed": str(picture.seed)}


def settings_of(info: Mapping[str, object]) -> dict[str, object]:
    """The fields of a request that a picture's info holds, for "reuse these settings"."""
    settings = {name: info[name] for name in _SETTINGS if info.get(name) is not None}
    return settings | {"num_images_per_prompt": 1, "kind": info.get("kind", "text_to_image")}


def choice(field: str, name: str) -> str:
    """What one of a field's choices is called."""
    if field in ("hires_scheduler", "hires_noise_schedule"):
        return say("choice.hires.same") if name == "same" else choice(field.removeprefix("hires_"), name)
    return SCHEDULERS[name].label if field == "scheduler" else say(f"choice.{field}.{name}")


def settings_line(picture: Picture) -> str:
    """Seed, steps, scheduler, guidance and size in one line."""
    return " · ".join(settings_texts(picture.info, str(picture.seed), picture.width, picture.height))


def settings_texts(info: Mapping[str, object], seed: str, width: int, height: int) -> list[str]:
    """The parts of the line of a picture of this size: seed, steps, scheduler, guidance, and what else was set."""
    parts = [say("line.seed", seed=seed)] if info.get(MADE_ELSEWHERE) is not True else []
    scheduler, schedule = str(info.get("scheduler", "")), str(info.get("noise_schedule", ""))
    if scheduler in SCHEDULERS:
        values = {"steps": info.get("num_inference_steps", ""), "scheduler": SCHEDULERS[scheduler].label}
        if schedule in NOISE_SCHEDULES and schedule != "automatic":
            parts.append(say("line.steps.on", **values, noise_schedule=say(f"choice.noise_schedule.{schedule}")))
        else:
            parts.append(say("line.steps", **values))
    if isinstance(info.get("guidance_scale"), (int, float)):
        parts.append(say("line.guidance", guidance=f"{info['guidance_scale']:g}"))
    parts += _guidance_texts(info)
    if isinstance(info.get("strength"), (int, float)):
        parts.append(say("line.strength", strength=f"{info['strength']:g}"))
    scale = info.get("hires_scale")
    if isinstance(scale, (int, float)) and scale > 1:
        parts.append(say("line.hires", scale=f"{scale:g}", strength=info.get("hires_strength")))
    if isinstance(info.get("variation_strength"), (int, float)) and info["variation_strength"]:
        share = f"{info['variation_strength']:g}"
        parts.append(say("line.variation", strength=share, seed=info.get("variation_seed")))
    controls = info.get("controls")
    for control in controls if isinstance(controls, list) else []:
        if isinstance(control, Mapping):  # the file may come from another program
            parts.append(say("line.control", model=control.get("model"), scale=control.get("scale")))
    parts.append(say("line.size", width=width, height=height))
    if is_upscaled(info):
        parts.append(say("line.upscaled", upscaler=info["upscale"]))
    return [*parts, *enlargement_texts(info)]


def enlargement_texts(info: Mapping[str, object]) -> list[str]:
    """By what a picture was enlarged after its making."""
    return [say("line.enlarged", upscaler=name, factor=f"{factor:g}") for name, factor in upscalers_of(info)]


def _guidance_texts(info: Mapping[str, object]) -> list[str]:
    """How it was guided, where not in the usual way."""
    low, high, share = (
        value if isinstance(value := info.get(f"guidance_{name}"), (int, float)) else 0
        for name in ("low", "high", "rescale")
    )
    parts = []
    if low or high:
        kind = "band" if low and high else "from" if low else "to"
        parts.append(say(f"line.guidance.{kind}", low=f"{low:g}", high=f"{high:g}"))
    if share:
        parts.append(say("line.rescale", share=f"{share:g}"))
    forecast, method = info.get("forecast"), info.get("guidance_method")
    if forecast in FORECASTS and forecast != "off":
        parts.append(say("line.forecast", share=choice("forecast", str(forecast))))
    return [*parts, choice("guidance_method", str(method))] if method in METHODS and method != "cfg" else parts


def spread_frames(frames: Sequence[bytes], at_most: int) -> list[bytes]:
    """At most so many frames, evenly spread, the first and the last kept."""
    if len(frames) <= at_most:
        return list(frames)
    return [frames[round(k * (len(frames) - 1) / (at_most - 1))] for k in range(at_most)]


# -------------------------------------------------------------------------------------------------------- views


def first_view(earlier: Iterable[Picture], *, is_attached: bool = True) -> View:
    """The view of a tab without a run: the newest earlier picture, or the sample. `is_attached` is False while it is
    not yet known whether this visitor has a run or a picture."""
    return {"state": "first", "job": None, "attached": is_attached, "earlier": [picture_view(p) for p in earlier]}


def new_job_view(request: Request, job_id: str, catalog: Iterable[Checkpoint], earlier: list[View]) -> View:
    """The view of a job that was accepted and of which nothing else is known yet."""
    suits = {c.name: c.suits for c in catalog}.get(request.checkpoint, Suits())
    run = resolve(request, suits)
    return {
        "state": "queued",
        "job": job_id,
        "prompt": request.prompt,
        "width": run.width,
        "height": run.height,
        "images": request.num_images_per_prompt,
        "total": run.num_inference_steps,
        "steps": run.num_inference_steps,
        "step": None,
        "message": "",
        "notes": [],
        "previews": [None] * request.num_images_per_prompt,
        "pictures": [],
        "earlier": earlier,
    }


def interrupted_view(job: JobSummary, catalog: Iterable[Checkpoint]) -> View:
    """A run that the studio's end has cut off: what it was asked for, for the line that offers to run it again."""
    run = resolve(job.request, {c.name: c.suits for c in catalog}.get(job.request.checkpoint, Suits()))
    info = run.request.to_dict() | {"noise_schedule": run.noise_schedule}
    seed = say("line.seed.random") if job.request.seed is None else str(job.request.seed)
    return {
        "job": job.job_id,
        "prompt": job.request.prompt,
        "line": " · ".join(settings_texts(info, seed, run.width, run.height)),
        "settings": {name: info[name] for name in _SETTINGS if info.get(name) is not None} | {"kind": job.request.kind},
    }


def problems_view(error: InvalidRequest, earlier: list[View]) -> View:
    """The view of a request with bad fields; each is marked beside the field itself."""
    return {
        "state": "invalid",
        "job": None,
        "message": say("stage.invalid"),
        "problems": [{"field": p.field, "message": problem_text(p)} for p in error.problems],
        "earlier": earlier,
    }


def problem_text(problem: Problem) -> str:
    """The text of a problem beside its field, without the field's name."""
    if problem.field == "image" and problem.value in ("b''", "None"):
        return say("problem.needed", allowed=problem.allowed)
    return say("problem", value=problem.value, allowed=problem.allowed)


def refused_view(sentence: str, earlier: list[View]) -> View:
    """The view of a job that the engine does not accept now; its sentence says what to do."""
    return {"state": "refused", "job": None, "message": sentence, "earlier": earlier}


def failed_view(sentence: str, error_id: str, earlier: list[View]) -> View:
    """The view of an unexpected error: a sentence, and the id under which the log has the details."""
    return {"state": "failed", "job": None, "message": sentence, "error_id": error_id, "earlier": earlier}


def follow(view: View, event: Event) -> View:
    """The view after one more event. The given view is not changed."""
    match event:
        case Loading():
            return view | {"state": "loading", "message": event.message, "fraction": event.fraction}
        case Queued():
            return view | {"state": "queued", "message": _ahead(event.ahead)}
        case Started():
            return view | {
                "state": "running",
                "message": "",
                "width": event.width,
                "height": event.height,
                "images": len(event.seeds),
                "total": event.total,
                "notes": list(event.notes),
                "previews": [None] * len(event.seeds),
            }
        case Step():
            return view | {"state": "running", "step": _step(event), "previews": _with_preview(view, event)}
        case Finished():
            return view | {
                "state": "finished",
                "message": say("stage.finished", seconds=f"{event.seconds:.1f}"),
                "pictures": _pictures(event.pictures),
                "notes": [*view["notes"], *event.notes],
            }
        case Stopped():
            return view | {
                "state": "interrupted" if event.interrupted else "stopped",
                "message": _stop_sentence(event),
                "pictures": _pictures(event.pictures),
                "previews": [None] * len(event.pictures) + [data_uri(p.jpeg) for p in event.last],
            }
        case Failed():
            return view | {"state": "failed", "message": event.message, "error_id": event.error_id}
        case _:
            assert_never(event)


def strength_sentence(num_inference_steps: object, strength: object) -> str:
    """How many steps image to image really runs; empty while a field does not hold a number."""
    if not isinstance(num_inference_steps, (int, float)) or not isinstance(strength, (int, float)):
        return ""
    if not 0 <= strength <= 1 or num_inference_steps != int(num_inference_steps):
        return ""
    run = steps_run(int(num_inference_steps), strength)
    return say("strength.runs", run=run, steps=int(num_inference_steps)) if run else say("strength.runs_none")


def _pictures(pictures: Sequence[Picture]) -> list[View]:
    frames = max(8, min(FRAMES_PER_PICTURE, FRAMES_PER_RUN // max(1, len(pictures))))
    return [picture_view(p, frames) for p in pictures]


def _with_preview(view: View, event: Step) -> list[str | None]:
    previews = list(view.get("previews") or [])
    previews += [None] * (event.image + 1 - len(previews))
    if event.preview is not None:
        previews[event.image] = data_uri(event.preview.jpeg)
    return previews


def _step(event: Step) -> View:
    return {
        "image": event.image,
        "index": event.index,
        "total": event.total,
        "pace": f"{event.seconds_per_step:.2f}" if event.seconds_per_step < 10 else f"{event.seconds_per_step:.0f}",
        "left": _seconds_text(event.seconds_left),
        "images_done": event.images_done,
        "decoder": event.preview.decoder if event.preview else None,
    }


def _seconds_text(seconds: float) -> str:
    return "< 1" if seconds < 1 else f"{seconds:.0f}"


def _ahead(ahead: int) -> str:
    if ahead == 0:
        return say("stage.next")
    return say("stage.ahead.one") if ahead == 1 else say("stage.ahead", count=ahead)


def _stop_sentence(event: Stopped) -> str:
    if event.interrupted:
        return say("stage.interrupted")
    if event.index:
        return say("stage.stopped_at", index=event.index, total=event.total)
    return say("stage.stopped_early") if event.reason == "Stopped." else event.reason
