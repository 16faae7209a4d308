"""The section Control: up to three ControlNets with a picture each, drawn by static/control.js. Absent while there is
no ControlNet for the chosen checkpoint.

Its script uploads the pictures like any upload and sends their paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.control import CONTROL_RANGES, MAX_CONTROLS
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.ui.blocks import html_block
from studio.ui.text import words
from studio.ui.uploads import Uploads, painted_png, read_upload


def build(engine: Engine, tab: str, checkpoint: str | None) -> gr.HTML:
    """Draw the section of a tab."""
    return html_block(
        "control",
        value=offer(engine, checkpoint),
        words=words("control"),
        tab=tab,
        most=MAX_CONTROLS,
        ranges={name: [limits.low, limits.high] for name, limits in CONTROL_RANGES.items()},
        preprocessors=words("choice.preprocessor"),
        elem_id=f"{tab}-controls",
        elem_classes="ls-control-block",
    )


def offer(engine: Engine, checkpoint: str | None) -> dict[str, Any]:
    """The ControlNets that fit a checkpoint, as the section's value. The section keeps its own settings."""
    chosen_checkpoint = next((c for c in engine.catalog() if c.name == checkpoint), None)
    if chosen_checkpoint is None:
        return {"models": []}
    palettes = {name: [list(row) for row in rows] for name, rows in chosen_checkpoint.palettes}
    return {
        "models": list(chosen_checkpoint.controlnets),
        "palettes": palettes,
        "size": [chosen_checkpoint.native_width, chosen_checkpoint.native_height],
    }


def stand_ins(value: object) -> list[dict[str, Any]]:
    """Like `controls_of`, with one byte in place of each picture: enough to compute the cost of a run."""
    units = value.get("units") if isinstance(value, Mapping) and value.get("models") else None
    mappings = [unit for unit in units if isinstance(unit, Mapping)] if isinstance(units, list) else []
    return [
        {name: unit[name] for name in unit if name not in ("path", "png", "image")} | {"image": b"?"}
        for unit in mappings
    ]


def controls_of(value: object, uploads: Uploads, page: str, tab: str) -> list[dict[str, Any]]:
    """The section's value as `TextToImage.parse` takes it, its pictures read: uploads, or maps painted in the page.
    Raises InvalidRequest.

    `page`: whose uploads these are, until it takes others.
    """
    units = value.get("units") if isinstance(value, Mapping) and value.get("models") else None
    units = units if isinstance(units, list) else []
    controls = []
    for number in range(1, MAX_CONTROLS + 1):
        unit = units[number - 1] if number <= len(units) else None
        path = unit.get("path") if isinstance(unit, Mapping) else None
        uploads.hold(page, f"{tab} control {number}", path if isinstance(path, str) else None)
        if not isinstance(unit, Mapping):
            continue
        try:
            image = painted_png(unit["png"]) if unit.get("png") else read_upload(path)
        except ValueError as error:
            value = quoted_value(unit.get("png") or path)
            raise InvalidRequest(
                Problem(
                    "controls", Message("image {value} of control {number}", value=value, number=number), str(error)
                )
            ) from error
        controls.append({name: unit[name] for name in unit if name not in ("path", "png", "image")} | {"image": image})
    return controls + [dict(unit) for unit in units[MAX_CONTROLS:] if isinstance(unit, Mapping)]  # for `parse` to count
