"""The fields of the upscaler between two passes and of that after the picture: those that are installed. Where there
is none, it says so."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.requests import ROWS
from studio.asked.upscale import AUTOMATIC_UPSCALER, NO_UPSCALER
from studio.ui.blocks import QUIET
from studio.ui.text import say
from studio.ui.visible import visible


def build(engine: Engine, tab: str, checkpoint: str | None) -> gr.Dropdown:
    """Draw the field of a tab."""
    row = ROWS["upscaler_name"]
    block = gr.Dropdown(**_offer(engine, checkpoint, ""), label=say(row.label), elem_id=f"{tab}-{row.name}")
    block.preprocess = lambda payload: payload or ""  # the request's own gate names what it does not know
    return block


def build_finishing(engine: Engine, tab: str, checkpoint: str | None) -> gr.Dropdown:
    """Draw the field of what enlarges the finished picture."""
    row = ROWS["upscale"]
    offer = _offer_finishing(engine, checkpoint, AUTOMATIC_UPSCALER)
    block = gr.Dropdown(**offer, label=say(row.label), info=say(row.help), elem_id=f"{tab}-{row.name}")
    block.preprocess = lambda payload: payload or ""
    return block


def update_finishing(engine: Engine, checkpoint: str | None, name: object) -> Any:
    """The field; the name stays where there is such an upscaler."""
    return gr.update(**_offer_finishing(engine, checkpoint, name))


def update(engine: Engine, checkpoint: str | None, name: object) -> Any:
    """The field; the name stays where there is such an upscaler."""
    return gr.update(**_offer(engine, checkpoint, name))


def connect(engine: Engine, fields: Mapping[str, Any], fold: gr.Accordion) -> None:
    """Offer what is in the models folders now when the fold is opened."""
    offers = (("upscaler_name", update), ("upscale", update_finishing))
    for name, offer in offers:
        inputs = [fields["checkpoint"], fields[name]]
        fold.expand(partial(offer, engine), inputs, inputs[1:], **QUIET)


def _offer_finishing(engine: Engine, checkpoint: str | None, name: object) -> dict[str, Any]:
    chosen = next((one for one in engine.catalog() if one.name == checkpoint), None)
    upscalers = chosen.upscalers if chosen is not None else ()
    none = [(say(f"upscale.{one}"), one) for one in (AUTOMATIC_UPSCALER, NO_UPSCALER)]
    return {
        "choices": [*none, *((visible(one), one) for one in upscalers)],
        "value": name if name == NO_UPSCALER or name in upscalers else AUTOMATIC_UPSCALER,
    }


def _offer(engine: Engine, checkpoint: str | None, name: object) -> dict[str, Any]:
    chosen = next((one for one in engine.catalog() if one.name == checkpoint), None)
    upscalers = chosen.upscalers if chosen is not None else ()
    return {
        "choices": [(say("upscaler_name.none"), ""), *((visible(one), one) for one in upscalers)],
        "value": name if name in upscalers else "",
        "interactive": bool(upscalers),
        "info": say("upscaler_name.help" if upscalers else "upscaler_name.nothing"),
    }
