"""The field of a run's own VAE: those that fit the chosen checkpoint. Where none does, it says so and takes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.requests import ROWS
from studio.ui.blocks import QUIET
from studio.ui.text import say
from studio.ui.visible import visible


def build(engine: Engine, tab: str, checkpoint: str | None) -> gr.Dropdown:
    """Draw the field of a tab."""
    row = ROWS["vae_name"]
    block = gr.Dropdown(**_offer(engine, checkpoint, ""), label=say(row.label), elem_id=f"{tab}-{row.name}")
    block.preprocess = lambda payload: payload or ""  # the request's own gate names what it does not know
    return block


def update(engine: Engine, checkpoint: str | None, name: object) -> Any:
    """The field for a checkpoint; the name stays where it fits that one too."""
    return gr.update(**_offer(engine, checkpoint, name))


def connect(engine: Engine, fields: Mapping[str, Any], fold: gr.Accordion) -> None:
    """Offer what is in the models folders now when its fold is opened. The field follows the checkpoint where that is
    chosen (following.py) and restored (stored_fields.py), so that no second answer writes over a preset's VAE.

    Not when its tab is opened: Gradio says so at the page's load too, when the fields are not yet those of this
    visitor."""
    inputs = [fields["checkpoint"], fields["vae_name"]]
    fold.expand(lambda checkpoint, name: update(engine, checkpoint, name), inputs, inputs[1:], **QUIET)


def _offer(engine: Engine, checkpoint: str | None, name: object) -> dict[str, Any]:
    chosen = next((one for one in engine.catalog() if one.name == checkpoint), None)
    vaes = chosen.vaes if chosen is not None else ()
    return {
        "choices": [(say("vae_name.own"), ""), *((visible(one), one) for one in vaes)],
        "value": name if name in vaes else "",
        "interactive": bool(vaes),
        "info": say("vae_name.help" if vaes else "vae_name.nothing"),
    }
