"""Fields that follow others: steps and size follow the checkpoint, noise schedules the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.answered.models import Checkpoint
from studio.asked.requests import RANGES, ROWS
from studio.asked.schedulers import SCHEDULERS
from studio.ui.blocks import FOLLOWING, QUIET
from studio.ui.generate import control, prompt_helper, token_line, vae
from studio.ui.generate.controls import ASPECTS, FILES, MAX_EXAMPLES, Controls
from studio.ui.generate.widgets import begins_at, lock, locked_values, schedule_choices
from studio.ui.render import strength_sentence

# The fields that get the checkpoint's defaults; a typed number is left empty for that instead.
FIELDS_THAT_SUIT = tuple(name for name, row in ROWS.items() if row.suits and row.step)


def size_for(aspect: str, native_width: int, native_height: int) -> tuple[int, int]:
    """Width and height of this aspect with about as many pixels as the native size, on the grid of the ranges."""
    grid = 64 if native_width * native_height >= 512 * 512 else 8
    area, ratio = native_width * native_height, ASPECTS[aspect] * native_width / native_height
    limits = RANGES["width"]
    size = (round((area * ratio) ** 0.5 / grid) * grid, round((area / ratio) ** 0.5 / grid) * grid)
    return tuple(int(min(max(side, limits.low), limits.high)) for side in size)  # type: ignore[return-value]


def suitable_values(
    tab: str, checkpoint: Checkpoint, before: Checkpoint | None, now: Mapping[str, Any]
) -> dict[str, Any]:
    """New values of the fields when `checkpoint` is chosen after `before`. A field that still has the default of
    `before`, or the general default, gets that of `checkpoint`; a field that was changed stays."""
    beginnings = {name: {begins_at(tab, name)} for name in FIELDS_THAT_SUIT}
    for name in FIELDS_THAT_SUIT if before is not None else ():
        beginnings[name].add(getattr(before, name))
    aims = {name: getattr(checkpoint, name) for name in FIELDS_THAT_SUIT if now[name] in beginnings[name]}
    if "scheduler" not in aims or "noise_schedule" not in aims:  # the two belong together
        aims = {name: value for name, value in aims.items() if name not in ("scheduler", "noise_schedule")}
    size = now["width"], now["height"]
    presets = {size_for(a, before.native_width, before.native_height): a for a in ASPECTS} if before else {}
    if size in presets:
        aims["width"], aims["height"] = size_for(presets[size], checkpoint.native_width, checkpoint.native_height)
    return aims


def beginning(controls: Controls, checkpoint: Checkpoint, first_checkpoint: Checkpoint | None) -> dict[Any, Any]:
    """The fields of a visitor whose first checkpoint is another than the one that the page was served with."""
    f = controls.fields
    now = {name: f[name].value for name in (*FIELDS_THAT_SUIT, "width", "height")}
    aims = suitable_values(controls.tab, checkpoint, first_checkpoint, now)
    if "image" in f:  # image to image starts from the picture's own size
        aims = {name: value for name, value in aims.items() if name in FIELDS_THAT_SUIT}
    updates: dict[Any, Any] = {f[name]: value for name, value in aims.items()}
    if "scheduler" in aims:
        schedules = schedule_choices(checkpoint.scheduler)
        updates[f["noise_schedule"]] = gr.update(choices=schedules, value=checkpoint.noise_schedule)
    return updates | {f["checkpoint"]: checkpoint.name, controls.before: checkpoint.name}


def locked(engine: Engine, controls: Controls, updates: dict[Any, Any]) -> dict[Any, Any]:
    """The updates of a (re)load, with the fields that the owner has fixed for this visitor shown as such."""
    f, values = controls.fields, locked_values(engine)
    for name, value in values.items():
        updates[f[name]] = lock(updates.get(f[name]), str(value) if name == "seed" else value)
    if "noise_schedule" in values:
        scheduler = str(values.get("scheduler") or getattr(f["scheduler"], "value", None) or "dpmpp_2m")
        updates[f["noise_schedule"]]["choices"] = schedule_choices(scheduler)
    if values.keys() & {"width", "height"}:
        updates[controls.aspect] = gr.update(value=None, interactive=False)
    return updates


def connect(
    engine: Engine, controls: Controls, examples: gr.HTML, remembered: Callable[[str, gr.Request], dict[Any, Any]]
) -> None:
    """Let the fields follow each other. `remembered`: updates for the fields, and for what a preset may write, by what
    this visitor remembers of a checkpoint; they go before what suits it."""
    f = controls.fields

    def choose_scheduler(scheduler: str, noise_schedule: str) -> Any:
        fits = noise_schedule in SCHEDULERS[scheduler].noise_schedules
        return gr.update(choices=schedule_choices(scheduler), value=noise_schedule if fits else "automatic")

    def choose_checkpoint(values: dict[Any, Any], request: gr.Request) -> Any:
        now = {name: values[f[name]] for name in ("checkpoint", *FIELDS_THAT_SUIT, "width", "height")}
        catalog = {c.name: c for c in engine.catalog()}
        checkpoint, before = catalog.get(now["checkpoint"]), catalog.get(values[controls.before])
        if checkpoint is None or checkpoint is before:  # Gradio's list tells an input whenever it is left
            return gr.skip()
        aims = suitable_values(controls.tab, checkpoint, before, now)
        if "image" in f:  # image to image starts from the picture's own size
            aims = {name: value for name, value in aims.items() if name in FIELDS_THAT_SUIT}
        updates = {f[name]: value for name, value in aims.items()}
        if "scheduler" in aims:
            schedules = schedule_choices(checkpoint.scheduler)
            updates[f["noise_schedule"]] = gr.update(choices=schedules, value=checkpoint.noise_schedule)
        if "width" in aims:
            updates[controls.aspect] = aspect_of(aims["width"], aims["height"])
        field_updates = {
            controls.known_words: prompt_helper.offer(checkpoint),
            examples: list(checkpoint.examples[:MAX_EXAMPLES]),
        }
        updates[f["vae_name"]] = vae.update(engine, checkpoint.name, values[f["vae_name"]])
        updates |= remembered(checkpoint.name, request)
        names = locked_values(engine)
        fixed = [*(f[name] for name in names), *([controls.aspect] if names.keys() & {"width", "height"} else [])]
        updates = {block: update for block, update in updates.items() if block not in fixed}
        return updates | field_updates | {controls.before: checkpoint.name}

    def choose_aspect(aspect: str | None, checkpoint: str) -> tuple[Any, Any]:
        entry = next((c for c in engine.catalog() if c.name == checkpoint), None)
        if aspect is None or entry is None:
            return gr.skip(), gr.skip()
        return size_for(aspect, entry.native_width, entry.native_height)

    f["scheduler"].input(
        choose_scheduler,
        [f["scheduler"], f["noise_schedule"]],
        [f["noise_schedule"]],
        **FOLLOWING,
    )
    sizes = [f[name] for name in ("width", "height")]
    f["checkpoint"].input(
        choose_checkpoint,
        {f["checkpoint"], f["vae_name"], *(f[name] for name in FIELDS_THAT_SUIT), *sizes, controls.before},
        [
            *(field for name, field in f.items() if name not in ("checkpoint", *FILES)),
            controls.aspect,
            controls.known_words,
            examples,
            controls.before,
            controls.presets,
        ],
        **FOLLOWING,
    )
    controls.aspect.input(choose_aspect, [controls.aspect, f["checkpoint"]], [f["width"], f["height"]], **FOLLOWING)
    for name in ("width", "height"):
        f[name].input(lambda: None, None, [controls.aspect], **FOLLOWING)
    f["checkpoint"].change(lambda name: control.offer(engine, name), [f["checkpoint"]], [f["controls"]], **QUIET)
    token_line.connect(engine, controls.tab, controls.tokens, f)
    controls.seed_random.click(lambda: "", None, [f["seed"]], **QUIET)
    if controls.strength_sentence is not None:
        gr.on(
            [f["strength"].change, f["num_inference_steps"].change],
            strength_sentence,
            [f["num_inference_steps"], f["strength"]],
            [controls.strength_sentence],
            **FOLLOWING,
        )


def aspect_of(width: object, height: object) -> str | None:
    """The name of a size's aspect; None for a size that has none of them."""
    if not isinstance(width, (int, float)) or not isinstance(height, (int, float)) or not height:
        return None
    return next((name for name, ratio in ASPECTS.items() if abs(width / height - ratio) < 0.001), None)
