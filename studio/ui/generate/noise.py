"""The fields of the fresh noise of a run's steps: those that the chosen scheduler has are in sight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.asked.noise_settings import NOISE_FIELDS
from studio.asked.schedulers import SCHEDULERS
from studio.ui.blocks import FOLLOWING
from studio.ui.generate.widgets import begins_at, section
from studio.ui.text import say


def build(tab: str) -> tuple[gr.Accordion, dict[str, Any]]:
    """The fold and its fields, by name."""
    own = SCHEDULERS[begins_at(tab, "scheduler")].noise_settings
    with gr.Accordion(say("noise.label"), open=False, visible=bool(own), elem_classes="ls-fold") as fold:
        fields = section(tab, "noise")
    for name in NOISE_FIELDS:
        fields[name].visible = name in own
    return fold, fields


def connect(fold: gr.Accordion, fields: Mapping[str, Any]) -> None:
    """Let the fields follow the scheduler, whoever chooses it."""

    def follow(scheduler: str | None) -> Any:
        own = SCHEDULERS[scheduler].noise_settings if scheduler in SCHEDULERS else ()  # type: ignore[index]
        return gr.update(visible=bool(own)), *(gr.update(visible=name in own) for name in NOISE_FIELDS)

    fields["scheduler"].change(
        follow, [fields["scheduler"]], [fold, *(fields[name] for name in NOISE_FIELDS)], **FOLLOWING
    )
