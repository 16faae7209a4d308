"""The fields that survive a reload: stored in the browser, restored, and filled from a picture's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.names import listed_name
from studio.asked.problems import Problem
from studio.asked.requests import ROWS
from studio.asked.schedulers import SCHEDULERS
from studio.ui import keeping
from studio.ui.generate import upscaler, vae
from studio.ui.generate.controls import FILES, Controls
from studio.ui.generate.following import aspect_of
from studio.ui.generate.widgets import locked_values, schedule_choices


def restorable_names(controls: Controls) -> list[str]:
    """The fields that survive a reload: all but the uploaded pictures."""
    return [name for name in controls.fields if name not in FILES]


def connect(controls: Controls) -> None:
    """Store the fields in the browser whenever one changes."""
    components = {name: controls.fields[name] for name in restorable_names(controls)}
    gr.on(
        [field.change for field in components.values()], **keeping.keeper(keeping.storage_key(controls.tab), components)
    )


def reusable(controls: Controls) -> list[Any]:
    """Everything `restore` may update: the outputs of whatever calls it."""
    return [*(controls.fields[name] for name in restorable_names(controls)), controls.aspect, controls.before]


def restore(engine: Engine, controls: Controls, stored_values: object) -> dict[Any, Any]:
    """Updates for the fields from kept or reused settings. A field whose value is no longer allowed keeps its present
    one."""
    if not isinstance(stored_values, Mapping):
        return {}
    f = controls.fields
    updates: dict[Any, Any] = {}
    locked = locked_values(engine)
    for name in [name for name in restorable_names(controls) if name not in locked]:
        value = stored_values.get(name)
        if name == "checkpoint" and isinstance(value, str):  # perhaps by another spelling of its name
            value = listed_name(value, [checkpoint.name for checkpoint in engine.catalog()])
        if name in stored_values and is_allowed(engine, name, value):
            updates[f[name]] = value
    if updates.keys() & {f["vae_name"], f["checkpoint"]}:  # a checkpoint without a VAE's name has its own
        checkpoint = updates.get(f["checkpoint"], f["checkpoint"].value)
        updates[f["vae_name"]] = vae.update(engine, checkpoint, updates.get(f["vae_name"], ""))
    if f.get("upscaler_name") in updates:
        checkpoint = updates.get(f["checkpoint"], f["checkpoint"].value)
        updates[f["upscaler_name"]] = upscaler.update(engine, checkpoint, updates[f["upscaler_name"]])
    if f.get("upscale") in updates:
        checkpoint = updates.get(f["checkpoint"], f["checkpoint"].value)
        updates[f["upscale"]] = upscaler.update_finishing(engine, checkpoint, updates[f["upscale"]])
    scheduler = updates.get(f["scheduler"])
    if scheduler is not None:
        schedule = updates.get(f["noise_schedule"], "automatic")
        fits = schedule in SCHEDULERS[scheduler].noise_schedules
        choices = schedule_choices(scheduler)
        updates[f["noise_schedule"]] = gr.update(choices=choices, value=schedule if fits else "automatic")
    if f["width"] in updates and f["height"] in updates:
        updates[controls.aspect] = aspect_of(updates[f["width"]], updates[f["height"]])
    if f["checkpoint"] in updates:
        updates[controls.before] = updates[f["checkpoint"]]
    return updates


def is_allowed(engine: Engine, name: str, value: object) -> bool:
    """Whether a field may have a value. Pairs that do not fit are reported by the next Generate."""
    if name == "checkpoint":
        return value in {c.name for c in engine.catalog()}
    problems: list[Problem] = []
    value = ROWS[name].read(value, problems)
    return not problems and not ROWS[name].problems(value)
