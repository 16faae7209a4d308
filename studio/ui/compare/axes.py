"""What the axes of a comparison offer on the page: suggested values, what may be typed beside each, and why one cannot
be used as the form stands. No gradio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from studio.answered.engine import Engine
from studio.answered.models import Checkpoint
from studio.asked.axes import AXIS_FIELDS, Axis, AxisField
from studio.asked.compare import Comparison
from studio.asked.prompt import parse_prompt
from studio.ui.text import say

SUGGESTIONS: Mapping[str, str] = {
    "num_inference_steps": "5, 10, 20, 40",
    "guidance_scale": "1, 3, 5, 8",
    "guidance_low": "0, 0.5, 1, 2",
    "guidance_high": "0, 2, 5, 10",
    "guidance_rescale": "0, 0.35, 0.7, 1",
    "guidance_method": "CFG, APG",
    "forecast": "Off, A third, Half, Two thirds",
    "strength": "0.3, 0.5, 0.7, 0.9",
    "lora_weight": "0, 0.5, 1",
    "control_scale": "0, 0.5, 1, 1.5",
    "seed": "1-4",
    "variation_strength": "0, 0.25, 0.5, 0.75, 1",
    "scheduler": "DPM++ 2M, Euler, Euler a, DDIM",
    "noise_schedule": "Normal, Karras, Exponential, Beta",
    "prompt": "",
}
# Stands between an axis and why it cannot be used; the page greys what holds it (static/unusable.js).
UNUSABLE = " — "
_NAMES = frozenset({"scheduler", "noise_schedule", "guidance_method", "forecast", "checkpoint"})


def suggestion(engine: Engine, axis: str) -> str:
    """Values to begin with; "" where only the visitor can know some."""
    if axis in SUGGESTIONS:
        return SUGGESTIONS[axis]
    catalog = engine.catalog()
    if axis == "checkpoint":
        return ", ".join(entry.name for entry in catalog[:4])
    if axis == "size" and catalog:
        width, height = catalog[0].native_width, catalog[0].native_height
        return f"{width}x{height}, {width}x{height * 3 // 4 // 8 * 8}, {width * 3 // 4 // 8 * 8}x{height}"
    return ""


def help_of(axis: str) -> str:
    """What may be typed as the values of an axis, in a sentence."""
    if axis in ("prompt", "size"):
        return say(f"compare.values.help.{axis}")
    return say("compare.values.help.names" if axis in _NAMES else "compare.values.help.numbers")


def choices(*, prompts: str, picture: bool, controls: bool, models: int) -> list[tuple[str, str]]:
    """Label and name of every axis; the label of one that cannot be used now says what it needs.

    `prompts`: prompt and negative prompt; `picture`, `controls`: whether there is any; `models`: how many there are.
    """
    reasons = needs(prompts=prompts, picture=picture, controls=controls, models=models)
    names = {field: say(f"compare.axis.{field}") for field in AXIS_FIELDS}
    return [(f"{name}{UNUSABLE}{reasons[field]}" if field in reasons else name, field) for field, name in names.items()]


def needs(*, prompts: str, picture: bool, controls: bool, models: int) -> dict[AxisField, str]:
    """What each axis needs that cannot be used now, in words. The arguments as in `choices`."""
    lacking: dict[AxisField, bool] = {
        "strength": not picture,
        "prompt": not prompts.strip(),
        "lora_weight": not parse_prompt(prompts).loras,
        "control_scale": not controls,
        "checkpoint": models < 2,
    }
    return {field: say(f"compare.axis.needs.{field}") for field, lacks in lacking.items() if lacks}


def middle(comparison: Comparison, catalog: Sequence[Checkpoint]) -> int:
    """The cell to look at first: what suits the checkpoint, or what is nearest to it, and the middle of an axis of
    which the checkpoint says nothing."""
    entry = next((one for one in catalog if one.name == comparison.base.checkpoint), None)

    def place(axis: Axis) -> int:
        wanted = getattr(entry.suits, axis.field, None) if entry is not None else None
        if isinstance(wanted, (int, float)):
            return min(range(len(axis.values)), key=lambda k: abs(float(str(axis.values[k])) - wanted))
        return axis.values.index(wanted) if wanted in axis.values else (len(axis.values) - 1) // 2

    column, row = place(comparison.x), place(comparison.y) if comparison.y is not None else 0
    return row * comparison.columns + column
