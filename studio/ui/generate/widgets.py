"""A row of the table of fields as a component of the page: its kind, label, range and first value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.answered.models import Checkpoint
from studio.asked.requests import REQUEST_KINDS, ROWS
from studio.asked.resolved import Suits
from studio.asked.rows import Row
from studio.asked.schedulers import SCHEDULERS
from studio.families.registry import label_of
from studio.ui.blocks import QUIET, html_block
from studio.ui.render import choice
from studio.ui.text import say
from studio.ui.visible import visible

Marks = tuple[tuple[float, str], ...]  # landmarks under a slider: value and key of the catalogue

LANDMARKS: Mapping[str, Marks] = {
    "strength": ((0.3, "touch"), (0.6, "half"), (0.9, "anew")),
    "hires_scale": ((1, "off"), (1.5, "some"), (2, "double")),
    "hires_strength": ((0.3, "touch"), (0.6, "half"), (0.9, "anew")),
    "variation_strength": ((0, "same"), (0.15, "close"), (0.5, "far")),
}


def rows_of_tab(tab: str) -> Mapping[str, Row]:
    """The rows of a tab, which is named after its kind of request. Compare starts from words or from a picture."""
    return REQUEST_KINDS[tab].rows() if tab in REQUEST_KINDS else ROWS


def begins_at(tab: str, name: str, checkpoint: Checkpoint | None = None) -> Any:
    """The first value of a field: what suits the chosen checkpoint, or the row's default."""
    row = rows_of_tab(tab)[name]
    return getattr(checkpoint.suits if checkpoint is not None else Suits(), name) if row.suits else row.default


def section(tab: str, place: str, checkpoint: Checkpoint | None = None) -> dict[str, Any]:
    """The components of all rows at one place of the page, in the table's order."""
    return {name: component(tab, row, checkpoint) for name, row in rows_of_tab(tab).items() if row.place == place}


def component(tab: str, row: Row, checkpoint: Checkpoint | None = None) -> Any:
    """The component of a row. A number field that may be left to the checkpoint starts empty."""
    name, elem_id = row.name, f"{tab}-{row.name}"
    if row.kind == "number" and row.step:
        return slider(tab, name, checkpoint)
    if row.kind == "number":
        return gr.Number(
            value=None if row.suits else row.default,
            label=say(row.label),
            info=say(row.help) if row.place in ("more", "noise", "guidance", "hires_own") else None,
            elem_id=elem_id,
            min_width=64,
            elem_classes="ls-number",
        )
    if row.kind == "flag":
        return gr.Checkbox(value=row.default, label=say(row.label), elem_id=elem_id)
    if row.kind == "seed":
        return gr.Textbox(
            value="",
            label=say(row.label),
            info=say(row.help),
            placeholder=say("seed.placeholder"),
            max_lines=1,
            elem_id=elem_id,
            min_width=120,
        )
    if row.kind == "text":
        return gr.Textbox(value=row.default, label=say(row.label), info=say(row.help), max_lines=4, elem_id=elem_id)
    if row.kind != "choice":
        raise ValueError(f"no component is made of a row for itself: {name}")
    if row.place not in ("more", "hires_own"):
        return segments(tab, name)
    value = begins_at(tab, name)  # the scheduler of the checkpoint is chosen when it is (`following.aimed`)
    choices = [(choice(name, short), short) for short in row.choices]
    if name == "noise_schedule":
        choices = schedule_choices(begins_at(tab, "scheduler"))
    return gr.Dropdown(choices=choices, value=value, label=say(row.label), info=say(row.help), elem_id=elem_id)


def slider(tab: str, name: str, checkpoint: Checkpoint | None = None) -> gr.Slider:
    """A slider with its landmarks, starting at what suits the checkpoint, if there is one.

    A typed value is passed on unchanged, so that `parse` marks a bad number beside its field like any other, instead of
    a message of Gradio's.
    """
    row = rows_of_tab(tab)[name]
    assert row.allowed is not None
    block = gr.Slider(
        minimum=row.allowed.low,
        maximum=row.allowed.high,
        value=begins_at(tab, name, checkpoint),
        step=row.step,
        label=say(row.label),
        info=say(row.help),
        elem_id=f"{tab}-{name}",
        elem_classes="ls-slider",
    )
    block.preprocess = lambda payload: payload
    if name in LANDMARKS:
        landmarks(tab, name, LANDMARKS[name])
    return block


def landmarks(tab: str, name: str, marks: Marks) -> gr.HTML:
    """Words under a slider for notable values; a click sets one."""
    return html_block("landmarks", value=mark_texts(marks), field=f"{tab}-{name}")


def mark_texts(marks: Marks) -> list[tuple[float, str]]:
    """Value and word of each, as `landmarks` draws them."""
    return [(value, say(f"landmark.{key}")) for value, key in marks]


def suited_marks(checkpoint: Checkpoint | None, fast: bool = False) -> dict[str, Marks]:
    """Landmarks for steps and guidance scale around what suits the checkpoint: a few-step model is "good" at 4 steps,
    wastes time at 25, and looks harsh at a scale that others need. `fast`: its few-step LoRA is on."""
    free: Marks = ((1, "free"),)
    if fast and checkpoint is not None and checkpoint.fast_lora:
        return {"num_inference_steps": ((2, "draft"), (4, "good")), "guidance_scale": free}
    steps, scale = (begins_at("text_to_image", name, checkpoint) for name in ("num_inference_steps", "guidance_scale"))
    return {
        "num_inference_steps": ((max(1, round(0.4 * steps)), "draft"), (steps, "good"), (2 * steps, "fine")),
        "guidance_scale": (*free, (scale, "balanced"), (round(2.4 * scale), "strict")) if scale > 1 else free,
    }


def suited_sliders(
    engine: Engine,
    tab: str,
    checkpoint: gr.Dropdown,
    first_checkpoint: Checkpoint | None,
    fast_switch: Callable[[], gr.Checkbox] | None = None,
) -> tuple[dict[str, gr.Slider], gr.Checkbox | None]:
    """Steps and guidance scale at what suits `first_checkpoint`, and landmarks that follow whatever is chosen later.

    `fast_switch` draws the switch of fast.py, which stands under the steps; the landmarks follow it too.
    """
    sliders: dict[str, gr.Slider] = {}
    marks: dict[str, gr.HTML] = {}
    switch: gr.Checkbox | None = None
    for name, first in suited_marks(first_checkpoint).items():
        sliders[name] = slider(tab, name, first_checkpoint)
        marks[name] = landmarks(tab, name, first)
        if name == "num_inference_steps" and fast_switch is not None:
            switch = fast_switch()

    def follow(name: str, fast: bool = False) -> Any:
        entry = next((one for one in engine.catalog() if one.name == name), None)
        return tuple(mark_texts(one) for one in suited_marks(entry, fast).values())

    if switch is None:
        checkpoint.change(follow, [checkpoint], list(marks.values()), **QUIET)
    else:
        gr.on([checkpoint.change, switch.change], follow, [checkpoint, switch], list(marks.values()), **QUIET)
    return sliders, switch


def segments(tab: str, name: str) -> gr.Radio:
    """A field that takes one of a few names, all visible."""
    row = rows_of_tab(tab)[name]
    return gr.Radio(
        choices=[(choice(name, short), short) for short in row.choices],
        value=row.default,
        label=say(row.label),
        info=say(row.help),
        elem_id=f"{tab}-{name}",
        elem_classes="ls-segments",
    )


def locked_values(engine: Engine) -> dict[str, Any]:
    """The fields that the owner has fixed for the visitor whose request is being answered, and their values."""
    return dict(next((one.locked for one in engine.catalog()), ()))


def lock(update: Any, value: Any) -> Any:
    """An update that shows a field as fixed by the owner, at this value; what else the update says stays."""
    rest = {k: v for k, v in update.items() if k != "__type__"} if isinstance(update, dict) else {}
    return gr.update(**rest | {"value": value, "interactive": False, "info": say("lesson.fixed")})


def checkpoint_choices(catalog: tuple[Checkpoint, ...]) -> list[tuple[str, str]]:
    """Label and name of every installed checkpoint."""
    return [(visible(f"{c.label} · {label_of(c.family)}"), c.name) for c in catalog]


def schedule_choices(scheduler: str) -> list[tuple[str, str]]:
    """The noise schedules this scheduler can run."""
    return [(choice("noise_schedule", name), name) for name in SCHEDULERS[scheduler].noise_schedules]
