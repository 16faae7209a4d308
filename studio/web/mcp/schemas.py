"""What the tools take, as JSON Schema, derived from the table of fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.asked.axes import AXIS_FIELDS
from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.problems import MAX_IMAGE_BYTES
from studio.asked.rows import Row
from studio.ui.text import say

Schema = dict[str, Any]

_LEFT_OUT = ("controls", "image", "preview", "exact")
_OF_COMPARE = ("num_images_per_prompt",)  # a cell is one picture


def text_to_image() -> Schema:
    """The fields of a run from words."""
    return _object(_fields(TextToImage.rows()), "prompt")


def image_to_image() -> Schema:
    """The same, and the picture that it begins with: one of two ways to give it."""
    picture = {
        "picture_id": {"type": "string", "description": "The id of a picture that one of your own calls has made."},
        "image": {
            "type": "string",
            "description": f"A PNG, JPEG, WebP or GIF file in base64, at most {MAX_IMAGE_BYTES // 2**20} MiB.",
        },
    }
    return _object(picture | _fields(ImageToImage.rows()), "prompt")


def compare() -> Schema:
    """The fields of a run from words, and one or two axes."""
    fields = {name: one for name, one in _fields(TextToImage.rows()).items() if name not in _OF_COMPARE}
    axes: Schema = {}
    for name, order in (("x", "first"), ("y", "second")):
        axes[name] = {"type": "string", "enum": list(AXIS_FIELDS), "description": f"What the {order} axis changes."}
        axes[f"{name}_values"] = {
            "type": "string",
            "description": "Its values: a list (4, 8, 16), a range with a step, 1-20 (+3), or with a count, 1-10 [5].",
        }
    return _object(axes | fields, "prompt", "x", "x_values")


def explain_run() -> Schema:
    """A picture of the caller's."""
    words = "The id of a picture that one of your own calls has made from words."
    return _object({"picture_id": {"type": "string", "description": words}}, "picture_id")


def _object(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _fields(rows: Mapping[str, Row]) -> Schema:
    return {name: _field(row) for name, row in rows.items() if name not in _LEFT_OUT}


def _field(row: Row) -> Schema:
    suits = " Left out: what suits the checkpoint." if row.suits else ""
    schema: Schema = {"description": f"{say(row.label)}. Allowed: {row.description()}.{suits}"}
    if row.kind == "number" and row.allowed is not None:
        schema |= {"type": "integer" if row.allowed.whole else "number"}
        schema |= {"minimum": row.allowed.low, "maximum": row.allowed.high}
        if row.allowed.step is not None:
            schema["multipleOf"] = row.allowed.step
    elif row.kind == "choice":
        schema |= {"type": "string", "enum": list(row.choices)}
    elif row.kind == "flag":
        schema["type"] = "boolean"
    elif row.kind == "seed":
        schema["type"] = "integer"
    else:
        schema["type"] = "string"
    if not row.is_required and row.default is not None:
        schema["default"] = row.default
    return schema
