"""What the noise viewer's Run takes besides the prompt: model, steps, guidance, scheduler, seed and size. The fields
begin at what suits the checkpoint, and follow it when another is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.requests import ROWS
from studio.asked.schedulers import SCHEDULERS
from studio.ui import picker
from studio.ui.blocks import FOLLOWING
from studio.ui.generate import guidance
from studio.ui.generate import widgets as w
from studio.ui.generate.stored_fields import is_allowed
from studio.ui.text import say

THAT_SUIT = ("num_inference_steps", "guidance_scale", "scheduler", "noise_schedule", "width", "height")


def build(engine: Engine, tab: str) -> dict[str, Any]:
    """Draw the fold with the fields, by name, and connect those that follow others."""
    catalog = engine.catalog()
    checkpoint = catalog[0] if catalog else None
    fields: dict[str, Any] = {}
    with gr.Accordion(say("viewer.settings"), open=False, elem_classes="ls-fold ls-run-settings"):
        with gr.Row(elem_classes="ls-run-fields") as row:
            pass
        guided = guidance.build(tab)
    with row:
        fields["checkpoint"] = gr.Dropdown(
            choices=w.checkpoint_choices(catalog),
            value=checkpoint.name if checkpoint else None,
            label=say("checkpoint.label"),
            elem_id=f"{tab}-checkpoint",
        )
        for name in ("num_inference_steps", "guidance_scale"):
            fields[name] = w.slider(tab, name, checkpoint)
        for name in ("scheduler", "noise_schedule", "seed", "width", "height"):
            fields[name] = w.component(tab, ROWS[name], checkpoint)
        if checkpoint is not None:
            fields["noise_schedule"].choices = w.schedule_choices(checkpoint.scheduler)
            for name in THAT_SUIT:
                fields[name].value = getattr(checkpoint.suits, name)
    fields |= guided
    picker.aim(engine, tab, fields, checkpoint.name if checkpoint else None)
    fields["scheduler"].change(
        _schedules, [fields["scheduler"], fields["noise_schedule"]], [fields["noise_schedule"]], **FOLLOWING
    )
    return fields


def _schedules(scheduler: str, noise_schedule: str) -> Any:
    """The noise schedules of a scheduler; "automatic" where the present one is none of them."""
    fits = noise_schedule in SCHEDULERS[scheduler].noise_schedules
    return gr.update(choices=w.schedule_choices(scheduler), value=noise_schedule if fits else "automatic")


def typed_values(fields: Mapping[str, Any], values: Mapping[Any, Any]) -> dict[str, Any]:
    """The fields by name, as they were typed. A number that is left to the checkpoint comes as 0 from Gradio, or not at
    all."""
    texts = {name: values[component] for name, component in fields.items()}
    return {name: (value or None) if ROWS[name].suits else value for name, value in texts.items()}


def back(engine: Engine, fields: Mapping[str, Any], stored: object) -> dict[Any, Any]:
    """Updates after a (re)load: the stored values that are still allowed, what this visitor may choose, and what the
    owner has fixed for them."""
    stored_values = stored if isinstance(stored, Mapping) else {}
    catalog, locked = engine.catalog(), w.locked_values(engine)
    values = {
        name: stored_values[name]
        for name in fields
        if name in stored_values and name not in locked and is_allowed(engine, name, stored_values[name])
    }
    names = [one.name for one in catalog]
    updates: dict[Any, Any] = {fields[name]: value for name, value in values.items()}
    choices: dict[str, Any] = {"choices": w.checkpoint_choices(catalog)}
    if "checkpoint" in values:
        choices["value"] = values["checkpoint"]
    elif names and fields["checkpoint"].value not in names:
        choices["value"] = names[0]
        for name in THAT_SUIT:
            updates.setdefault(fields[name], getattr(catalog[0].suits, name))
    updates[fields["checkpoint"]] = gr.update(**choices)
    scheduler = updates.get(fields["scheduler"], fields["scheduler"].value)
    if scheduler in SCHEDULERS:
        schedule = updates.get(fields["noise_schedule"], fields["noise_schedule"].value)
        updates[fields["noise_schedule"]] = _schedules(scheduler, schedule)
    for name, value in locked.items():
        if name in fields:
            updates[fields[name]] = w.lock(updates.get(fields[name]), str(value) if name == "seed" else value)
    return updates
