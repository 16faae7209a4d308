"""The axes of a comparison: which fields can be one, the grammar of their values, and how a value changes a request."""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from studio.asked.control import CONTROL_RANGES, Control
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, Range, clean_text, one_of, quoted_value, short_name
from studio.asked.prompt import with_lora_weight
from studio.asked.requests import CHOICES, RANGES
from studio.asked.rows import MAX_NAME_CHARACTERS, MAX_PROMPT_CHARACTERS, MAX_SEED

MAX_CELLS = 144
MAX_VALUES_CHARACTERS = 20_000

AxisField = Literal[
    "num_inference_steps", "guidance_scale", "guidance_low", "guidance_high", "guidance_rescale", "guidance_method",
    "forecast", "seed", "variation_strength", "scheduler", "noise_schedule", "strength", "prompt", "lora_weight",
    "control_scale", "size", "checkpoint",
]  # fmt: skip
Value = int | float | str

# AUTOMATIC1111's names of the same axes, for the sheet's `parameters` text: of a ControlNet its extension's, and none
# for the weight of a LoRA.
A1111_AXES: Mapping[AxisField, str] = {
    "num_inference_steps": "Steps",
    "guidance_scale": "CFG Scale",
    "guidance_low": "Guidance sigma min",
    "guidance_high": "Guidance sigma max",
    "guidance_rescale": "CFG Rescale phi",
    "guidance_method": "Guidance method",
    "forecast": "Forecast",
    "seed": "Seed",
    "variation_strength": "Var. strength",
    "scheduler": "Sampler",
    "noise_schedule": "Schedule type",
    "strength": "Denoising",
    "prompt": "Prompt S/R",
    "lora_weight": "LoRA weight",
    "control_scale": "[ControlNet] Weight",
    "size": "Size",
    "checkpoint": "Checkpoint name",
}
AXIS_FIELDS: tuple[AxisField, ...] = get_args(AxisField)
_WHOLE: Mapping[str, Range] = {
    "num_inference_steps": RANGES["num_inference_steps"],
    "seed": Range(low=0, high=MAX_SEED, whole=True),
}
_NUMBERS: Mapping[str, Range] = {
    **{
        name: RANGES[name]
        for name in (
            "guidance_scale",
            "guidance_low",
            "guidance_high",
            "guidance_rescale",
            "variation_strength",
            "strength",
        )
    },
    "lora_weight": Range(low=-4, high=4),  # the prompt's own tags may go further; beyond this pictures only break
    "control_scale": CONTROL_RANGES["scale"],
}
_TABLES: Mapping[str, Mapping[str, str]] = {
    name: CHOICES[name] for name in ("scheduler", "noise_schedule", "guidance_method", "forecast")
}

# Axes whose values are somebody's own words, in which a full-width comma is a comma of the text.
_TEXT_AXES: frozenset[AxisField] = frozenset({"prompt", "checkpoint"})
# Axes that change a part of a field and leave the rest of it as it was given.
WITHIN_A_FIELD: frozenset[AxisField] = frozenset({"prompt", "lora_weight", "control_scale"})


_NUMBER = r"[+-]?\s*(?:\d+(?:\.\d*)?|\.\d+)"
_RANGE = re.compile(
    rf"\s*({_NUMBER})\s*-\s*({_NUMBER})\s*(?:\(\s*({_NUMBER})\s*\)|\[\s*(\d{{1,9}})\s*\])?\s*", re.ASCII
)
GRAMMAR = Message("a list (2, 4, 8), a range with a step (1-20 (+3)) or a range with a count (1-10 [5])")


def parse_values(axis: AxisField, source: object, where: str) -> tuple[Value, ...]:
    """The values of an axis as they were typed ("1-20 (+3), 30") or as a list; each once, in the order given.

    The forms are AUTOMATIC1111's: commas between values, quotes around a value that holds one, `first-last`,
    `first-last (+step)`, `first-last [count]`. A range never goes past its last number (theirs does for decimals).
    Nothing between two commas is no value; "" in quotes is the empty text. Numbers and names may be typed as a Chinese
    or Japanese keyboard writes them (3，6、９).
    `where` names the field in messages. Raises InvalidRequest.
    """
    if isinstance(source, str):
        if len(source) > MAX_VALUES_CHARACTERS:
            raise InvalidRequest(
                Problem(
                    where, Message("a text of {count} characters", count=f"{len(source):,}"), Message("a shorter list")
                )
            )
        parts: list[object] = list(_split(source if axis in _TEXT_AXES else _narrow(source)))
    elif isinstance(source, Sequence):
        parts = list(source)
    else:
        raise InvalidRequest(Problem(where, quoted_value(source), GRAMMAR))
    values: list[Value] = []
    for part in parts:
        for value in _expand(axis, part, where):
            if value not in values:
                values.append(value)
            if len(values) > MAX_CELLS:
                raise InvalidRequest(
                    Problem(where, quoted_value(source), Message("at most {most} values", most=MAX_CELLS))
                )
    if not values:
        raise InvalidRequest(
            Problem(where, quoted_value(source), Message("at least one value: {grammar}", grammar=GRAMMAR))
        )
    return tuple(values)


def values_text(values: Iterable[Value]) -> str:
    """The values as text that `parse_values` reads back equal."""
    return ", ".join(_as_text(value) for value in values)


def _as_text(value: Value) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    plain = text and text == text.strip() and not re.search('[,"\\r\\n]', text)
    return text if plain else '"{}"'.format(text.replace('"', '""'))


# One value: in quotes (a quote within is written twice), or up to the next comma or line break.
_VALUE = re.compile(r'[^\S\n]*(?:"((?:[^"]|"")*)"[^\S\n]*(?=[,\n]|\Z)|([^,\n]*))(?:[,\n]|\Z)')


def _split(text: str) -> list[str]:
    """The values of a text, which commas and line breaks divide. One in quotes may hold commas and line breaks, or be
    empty; an empty place without quotes is no value."""
    values = []
    for match in _VALUE.finditer(text.replace("\r\n", "\n").replace("\r", "\n")):
        quotation, plain = match.groups()
        if quotation is not None:
            values.append(quotation.replace('""', '"').strip())
        elif plain.strip():
            values.append(plain.strip())
    return values


def _narrow(text: str) -> str:
    """Full-width digits, signs and commas as the plain ones, and the ideographic comma as a comma."""
    return unicodedata.normalize("NFKC", text).replace("、", ",").replace("､", ",")


def _expand(axis: AxisField, part: object, where: str) -> Iterable[Value]:
    """One part of the list: a value, or the values of a range."""
    if axis in _WHOLE or axis in _NUMBERS:
        limits = _WHOLE.get(axis) or _NUMBERS[axis]
        return [_number(v, limits, where) for v in _range(part, limits, where)]
    if not isinstance(part, str):
        raise InvalidRequest(Problem(where, quoted_value(part), Message("text")))
    if axis in _TABLES:
        name = short_name(part, _TABLES[axis])
        if name not in _TABLES[axis]:
            raise InvalidRequest(Problem(where, quoted_value(part), one_of(_TABLES[axis])))
        return [name]
    if axis == "size":
        return [_size(part, where)]
    if part != clean_text(part) or len(part) > (MAX_NAME_CHARACTERS if axis == "checkpoint" else MAX_PROMPT_CHARACTERS):
        raise InvalidRequest(Problem(where, quoted_value(part), Message("text without control characters")))
    return [part]


def _range(part: object, limits: Range, where: str) -> Sequence[int | float]:
    """The numbers of "a-b", "a-b (+s)" and "a-b [n]"; a plain number is itself."""
    if isinstance(part, (int, float)) and not isinstance(part, bool):
        return [part]
    text = part if isinstance(part, str) else ""
    plain = re.fullmatch(rf"\s*({_NUMBER})\s*", text, re.ASCII)
    if plain:
        return [_read(plain[1])]
    match = _RANGE.fullmatch(text)
    if not match:
        raise InvalidRequest(
            Problem(
                where,
                quoted_value(part),
                Message("{allowed}, as {grammar}", allowed=limits.describe(), grammar=GRAMMAR),
            )
        )
    first, last = _read(match[1]), _read(match[2])
    if match[4]:
        count = int(match[4])
        if not 1 <= count <= MAX_CELLS:
            raise InvalidRequest(
                Problem(
                    where,
                    quoted_value(part),
                    Message("a count from 1 to {most} in the brackets", most=MAX_CELLS),
                )
            )
        spread = [first + (last - first) * k / max(1, count - 1) for k in range(count)]
        return [int(v) for v in spread] if limits.whole else [round(v, 6) for v in spread]
    step = _read(match[3]) if match[3] else (1 if last >= first else -1)
    if not step or (last - first) * step < 0:
        raise InvalidRequest(
            Problem(where, quoted_value(part), Message("a step that leads from the first number to the last"))
        )
    count = math.floor((last - first) / step + 1e-9) + 1
    if count > MAX_CELLS:
        raise InvalidRequest(
            Problem(
                where,
                quoted_value(part),
                Message("at most {most} values; a larger step, or a count [n]", most=MAX_CELLS),
            )
        )
    return [first + k * step if limits.whole else round(first + k * step, 6) for k in range(count)]


def _read(text: str) -> int | float:
    digits = re.sub(r"\s", "", text)
    if re.fullmatch(r"[+-]?\d+", digits):
        return int(digits) if len(digits) <= 20 else math.inf
    return float(digits)


def _number(value: int | float, limits: Range, where: str) -> int | float:
    if isinstance(value, float) and value.is_integer() and limits.whole:
        value = int(value)
    if not limits.holds(value):
        raise InvalidRequest(Problem(where, quoted_value(value), limits.describe()))
    return value if limits.whole else float(value)


def _size(text: str, where: str) -> str:
    match = re.fullmatch(r"\s*(\d{1,6})\s*[x×]\s*(\d{1,6})\s*", text, re.ASCII | re.IGNORECASE)
    if not match or not (RANGES["width"].holds(int(match[1])) and RANGES["height"].holds(int(match[2]))):
        expectation = Message("width x height such as 128x128, each {allowed}", allowed=RANGES["width"].describe())
        raise InvalidRequest(Problem(where, quoted_value(text), expectation))
    return f"{int(match[1])}x{int(match[2])}"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: a field and its values, each once. `prompt` is search and replace: its first value is looked for in
    both prompts and stands for itself, each other value takes its place. `lora_weight` is the weight, in U-Net and text
    encoders alike, of the first LoRA that the prompt names, `control_scale` that of the first control."""

    field: AxisField
    values: tuple[Value, ...]

    def label(self, index: int) -> str:
        """A value as it is read: names in full, whole decimals without a point."""
        value = self.values[index]
        if self.field in _TABLES:
            return _TABLES[self.field][str(value)]
        return f"{value:g}" if isinstance(value, float) else str(value)

    def change(self, values: dict[str, object], index: int) -> None:
        """Write this axis' value into the fields of a cell; both prompts and the controls are there already."""
        value = self.values[index]
        if self.field == "prompt":
            for name in ("prompt", "negative_prompt"):
                values[name] = str(values[name]).replace(str(self.values[0]), str(value))
        elif self.field == "lora_weight":
            values["prompt"] = with_lora_weight(str(values["prompt"]), float(value))
        elif self.field == "control_scale":
            first, *others = cast("tuple[Control, ...]", values["controls"])
            values["controls"] = (dataclasses.replace(first, scale=float(value)), *others)
        elif self.field == "size":
            values["width"], values["height"] = (int(side) for side in str(value).split("x"))
        else:
            values[self.field] = value


def axis_field(value: object) -> AxisField | None:
    """An axis by its name or A1111's, in any case."""
    key = str(value).strip().casefold()
    return next((name for name in AXIS_FIELDS if key in (name, A1111_AXES[name].casefold())), None)


def one_axis() -> str:
    """The axes in words, for messages."""
    return one_of({name: A1111_AXES[name] for name in AXIS_FIELDS})
