"""The fields of requests as JSON Schema, from the tables that also check them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from studio.asked.axes import AXIS_FIELDS, GRAMMAR
from studio.asked.compare import FORM_ROWS
from studio.asked.control import CONTROL_RANGES, MAX_CONTROLS, PREPROCESSORS, Control
from studio.asked.fields import ImageToImage
from studio.asked.problems import Range
from studio.asked.question import Question
from studio.asked.questions import QUESTION_KINDS, TABLES
from studio.asked.questions import RANGES as QUESTION_RANGES
from studio.asked.requests import Kind
from studio.asked.rows import MAX_NAME_CHARACTERS, MAX_PROMPT_CHARACTERS, MAX_SEED, Row
from studio.ui.text import say

Schema = dict[str, Any]
PICTURE: Schema = {
    "description": "base64 of a PNG, JPEG, WebP or GIF file; or an upload; or a finished picture of yours",
    "oneOf": [
        {"type": "string", "contentEncoding": "base64"},
        *(
            {
                "type": "object",
                "properties": {name: {"type": "string"}},
                "required": [name],
                "additionalProperties": False,
            }
            for name in ("upload", "picture")
        ),
    ],
}
ATTENTION: Schema = {
    "type": "boolean",
    "default": False,
    "description": "record where the U-Net looks, for the word maps of the noise viewer",
}
_PICTURE: Schema = {"$ref": "#/components/schemas/Picture"}


def request_schema(kind: Kind) -> Schema:
    """The body of a request of one kind."""
    rows = kind.rows().values()
    properties = {row.name: row_schema(row) for row in rows} | {"attention": ATTENTION}
    return object_schema(properties, [row.name for row in rows if row.is_required])


def comparison_schema() -> Schema:
    """The body of a comparison: the fields that it has, and its axes."""
    optional = set(ImageToImage.files())
    properties = {name: row_schema(row) for name, row in FORM_ROWS.items()}
    values: Schema = {
        "description": f"the values of the axis: {GRAMMAR}",
        "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": ["number", "string"]}}],
    }
    for axis in "xy":
        properties[axis] = {"type": "string", "enum": list(AXIS_FIELDS), "description": "what is varied"}
        properties[f"{axis}_values"] = values
    required = [name for name, row in FORM_ROWS.items() if row.is_required and name not in optional]
    return object_schema(properties, [*required, "x", "x_values"])


def question_schema(kind: type[Question]) -> Schema:
    """The body of a question."""
    hints = typing.get_type_hints(kind)
    properties: dict[str, Schema] = {}
    required = []
    for one in dataclasses.fields(kind):
        if one.name == "image":
            if kind.needs_image:
                properties["image"] = _PICTURE
                required.append("image")
            continue
        if one.name in QUESTION_RANGES:
            properties[one.name] = range_schema(QUESTION_RANGES[one.name])
        elif one.name in TABLES:
            properties[one.name] = {"type": "string", "enum": list(TABLES[one.name])}
        else:
            properties[one.name] = {"type": "string", "maxLength": MAX_PROMPT_CHARACTERS}
        if type(None) in typing.get_args(hints[one.name]):
            properties[one.name]["type"] = [properties[one.name]["type"], "null"]
        if one.default is dataclasses.MISSING:
            required.append(one.name)
        else:
            properties[one.name]["default"] = one.default
    return object_schema(properties, required) | {"description": str(kind.__doc__).strip()}


def question_schemas() -> Mapping[str, Schema]:
    """Those of all questions, by name."""
    return {name: question_schema(kind) for name, kind in QUESTION_KINDS.items()}


def row_schema(row: Row) -> Schema:
    """A field: its type, what it allows, what it is without a word."""
    schema = _bare_schema(row)
    if row.kind == "file":
        return schema
    schema["title"] = say(row.label)
    if row.kind != "controls":
        schema["description"] = row.description() + (", or null for what suits the checkpoint" if row.suits else "")
    if not row.is_required:
        schema["default"] = [] if row.kind == "controls" else row.default
    return schema


def _bare_schema(row: Row) -> Schema:
    null = ["null"] if row.suits else []
    if row.allowed is not None:
        schema = range_schema(row.allowed)
        return schema | {"type": [schema["type"], *null]} if null else schema
    match row.kind:
        case "choice":
            return {"type": ["string", *null] if null else "string", "enum": [*row.choices, *([None] if null else [])]}
        case "flag":
            return {"type": "boolean"}
        case "seed":
            return {"type": ["integer", "string", "null"], "minimum": -1, "maximum": MAX_SEED}
        case "name":
            return {"type": "string", "minLength": 0 if row.optional else 1, "maxLength": MAX_NAME_CHARACTERS}
        case "file":
            return dict(_PICTURE)
        case "controls":
            return {"type": ["array", "null"], "maxItems": MAX_CONTROLS, "items": control_schema()}
    return {"type": "string", "maxLength": MAX_PROMPT_CHARACTERS}


def range_schema(allowed: Range) -> Schema:
    """A number from one to another."""
    schema: Schema = {"type": "integer" if allowed.whole else "number", "minimum": allowed.low, "maximum": allowed.high}
    return schema | ({"multipleOf": allowed.step} if allowed.step not in (None, 1) else {})


def control_schema() -> Schema:
    """A ControlNet and the picture that it holds a run to."""
    properties: dict[str, Schema] = {}
    for one in dataclasses.fields(Control):
        if one.name in CONTROL_RANGES:
            properties[one.name] = range_schema(CONTROL_RANGES[one.name]) | {"default": one.default}
        elif one.name == "image":
            properties[one.name] = _PICTURE
        elif one.name == "preprocessor":
            properties[one.name] = {"type": "string", "enum": list(PREPROCESSORS), "default": one.default}
        else:
            properties[one.name] = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS}
    return object_schema(properties, ["model", "image"])


def object_schema(properties: Mapping[str, Mapping[str, Any]], required: list[str]) -> Schema:
    """An object with these fields and no others."""
    return {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}
