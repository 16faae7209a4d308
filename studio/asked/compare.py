"""What a comparison asks: a surface of cells over two axes, the grammar of their values, its cost and its order.

Plain data over `requests`: no torch, no page, no disk. A cell is one ordinary request; a surface that exists has valid
axes, and a cell whose pair of values cannot be run (LCM with 100 steps) says so itself while the others go on.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast, get_args

from studio.asked.prompt import parse_prompt, with_lora_weight
from studio.asked.requests import (
    CONTROL_RANGES,
    MAX_PROMPT_CHARACTERS,
    MAX_SEED,
    NOISE_SCHEDULES,
    RANGES,
    SCHEDULERS,
    Control,
    ImageToImage,
    InvalidRequest,
    Problem,
    Range,
    Request,
    TextToImage,
    clean_text,
    evaluations,
    one_of,
    request_from_dict,
    short_name,
    shown,
    steps_run,
)

SURFACE_SCHEMA = 1
MAX_CELLS = 144
MAX_VALUES_CHARACTERS = 20_000

AxisField = Literal[
    "num_inference_steps", "guidance_scale", "seed", "scheduler", "noise_schedule", "strength", "prompt", "lora_weight",
    "control_scale", "size", "checkpoint",
]  # fmt: skip
Value = int | float | str

# AUTOMATIC1111's names of the same axes, for the sheet's `parameters` text: of a ControlNet its extension's, and none
# for the weight of a LoRA.
A1111_AXES: Mapping[AxisField, str] = {
    "num_inference_steps": "Steps",
    "guidance_scale": "CFG Scale",
    "seed": "Seed",
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
    **{name: RANGES[name] for name in ("guidance_scale", "strength")},
    "lora_weight": Range(low=-4, high=4),  # the prompt's own tags may go further; beyond this pictures only break
    "control_scale": CONTROL_RANGES["scale"],
}
_TABLES: Mapping[str, Mapping[str, str]] = {
    "scheduler": {name: facts.label for name, facts in SCHEDULERS.items()},
    "noise_schedule": NOISE_SCHEDULES,
}

# Axes that change a part of a field and leave the rest of it as it was given.
_WITHIN_A_FIELD: frozenset[AxisField] = frozenset({"prompt", "lora_weight", "control_scale"})

# --------------------------------------------------------------------------------------------------- the grammar

_NUMBER = r"[+-]?\s*(?:\d+(?:\.\d*)?|\.\d+)"
_RANGE = re.compile(
    rf"\s*({_NUMBER})\s*-\s*({_NUMBER})\s*(?:\(\s*({_NUMBER})\s*\)|\[\s*(\d{{1,9}})\s*\])?\s*", re.ASCII
)
GRAMMAR = "a list (2, 4, 8), a range with a step (1-20 (+3)) or a range with a count (1-10 [5])"


def parse_values(axis: AxisField, given: object, where: str) -> tuple[Value, ...]:
    """The values of an axis as they were typed ("1-20 (+3), 30") or as a list; each once, in the order given.

    The forms are AUTOMATIC1111's: commas between values, quotes around a value that holds one, `first-last`,
    `first-last (+step)`, `first-last [count]`. A range never goes past its last number (theirs does for decimals).
    `where` names the field in messages. Raises InvalidRequest.
    """
    if isinstance(given, str):
        if len(given) > MAX_VALUES_CHARACTERS:
            raise InvalidRequest(Problem(where, f"a text of {len(given):,} characters", "a shorter list"))
        parts: list[object] = [part for part in _split(given) if part]
    elif isinstance(given, Sequence):
        parts = list(given)
    else:
        raise InvalidRequest(Problem(where, shown(given), GRAMMAR))
    values: list[Value] = []
    for part in parts:
        for value in _expanded(axis, part, where):
            if value not in values:
                values.append(value)
            if len(values) > MAX_CELLS:
                raise InvalidRequest(Problem(where, shown(given), f"at most {MAX_CELLS} values"))
    if not values:
        raise InvalidRequest(Problem(where, shown(given), f"at least one value: {GRAMMAR}"))
    return tuple(values)


def values_text(values: Iterable[Value]) -> str:
    """The values as text that `parse_values` reads back equal."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([f"{v:g}" if isinstance(v, float) else v for v in values])
    return out.getvalue().replace(",", ", ") if '"' not in out.getvalue() else out.getvalue()


def _split(text: str) -> list[str]:
    """The comma-separated values of a text; a value may be quoted, and hold commas and newlines then."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True))
    except csv.Error:  # a newline outside of quotes, and the like
        rows = [text.replace("\n", ",").split(",")]
    return [part.strip() for row in rows for part in row]


def _expanded(axis: AxisField, part: object, where: str) -> Iterable[Value]:
    """One part of the list: a value, or the values of a range."""
    if axis in _WHOLE or axis in _NUMBERS:
        allowed = _WHOLE.get(axis) or _NUMBERS[axis]
        return [_number(v, allowed, where) for v in _range(part, allowed, where)]
    if not isinstance(part, str):
        raise InvalidRequest(Problem(where, shown(part), "text"))
    if axis in _TABLES:
        name = short_name(part, _TABLES[axis])
        if name not in _TABLES[axis]:
            raise InvalidRequest(Problem(where, shown(part), one_of(_TABLES[axis])))
        return [name]
    if axis == "size":
        return [_size(part, where)]
    if part != clean_text(part) or len(part) > (300 if axis == "checkpoint" else MAX_PROMPT_CHARACTERS):
        raise InvalidRequest(Problem(where, shown(part), "text without control characters"))
    return [part]


def _range(part: object, allowed: Range, where: str) -> Sequence[int | float]:
    """The numbers of "a-b", "a-b (+s)" and "a-b [n]"; a plain number is itself."""
    if isinstance(part, (int, float)) and not isinstance(part, bool):
        return [part]
    text = part if isinstance(part, str) else ""
    plain = re.fullmatch(rf"\s*({_NUMBER})\s*", text, re.ASCII)
    if plain:
        return [_read(plain[1])]
    found = _RANGE.fullmatch(text)
    if not found:
        raise InvalidRequest(Problem(where, shown(part), f"{allowed.describe()}, as {GRAMMAR}"))
    first, last = _read(found[1]), _read(found[2])
    if found[4]:
        count = int(found[4])
        if not 1 <= count <= MAX_CELLS:
            raise InvalidRequest(Problem(where, shown(part), f"a count from 1 to {MAX_CELLS} in the brackets"))
        spread = [first + (last - first) * k / max(1, count - 1) for k in range(count)]
        return [int(v) for v in spread] if allowed.whole else [round(v, 6) for v in spread]
    step = _read(found[3]) if found[3] else (1 if last >= first else -1)
    if not step or (last - first) * step < 0:
        raise InvalidRequest(Problem(where, shown(part), "a step that leads from the first number to the last"))
    count = math.floor((last - first) / step + 1e-9) + 1
    if count > MAX_CELLS:
        raise InvalidRequest(Problem(where, shown(part), f"at most {MAX_CELLS} values; a larger step, or a count [n]"))
    return [first + k * step if allowed.whole else round(first + k * step, 6) for k in range(count)]


def _read(text: str) -> int | float:
    digits = re.sub(r"\s", "", text)
    if re.fullmatch(r"[+-]?\d+", digits):
        return int(digits) if len(digits) <= 20 else math.inf
    return float(digits)


def _number(value: int | float, allowed: Range, where: str) -> int | float:
    if isinstance(value, float) and value.is_integer() and allowed.whole:
        value = int(value)
    if not allowed.holds(value):
        raise InvalidRequest(Problem(where, shown(value), allowed.describe()))
    return value if allowed.whole else float(value)


def _size(text: str, where: str) -> str:
    found = re.fullmatch(r"\s*(\d{1,6})\s*[x×]\s*(\d{1,6})\s*", text, re.ASCII | re.IGNORECASE)
    if not found or not (RANGES["width"].holds(int(found[1])) and RANGES["height"].holds(int(found[2]))):
        allowed = f"width x height such as 128x128, each {RANGES['width'].describe()}"
        raise InvalidRequest(Problem(where, shown(text), allowed))
    return f"{int(found[1])}x{int(found[2])}"


# --------------------------------------------------------------------------------------------------- the surface


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


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a surface will take: pictures, U-Net evaluations of one lane, and rows (a guided evaluation has two)."""

    cells: int
    evaluations: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A request varied over one axis or two. Cell k = iy * len(x.values) + ix: row after row, x fastest."""

    base: Request
    x: Axis
    y: Axis | None = None

    def __post_init__(self) -> None:
        problems = self._problems()
        if problems:
            raise InvalidRequest(*problems)
        if not self.possible:
            raise InvalidRequest(Problem("x_values", self.x.label(0), f"a pair that can be run: {self.refusal(0)}"))

    def __len__(self) -> int:
        return self.columns * self.rows

    @property
    def columns(self) -> int:
        return len(self.x.values)

    @property
    def rows(self) -> int:
        return len(self.y.values) if self.y is not None else 1

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (self.x,) if self.y is None else (self.x, self.y)

    def _problems(self) -> list[Problem]:
        found: list[Problem] = []
        for name, axis in zip("xy", self.axes):
            if axis.field == "strength" and not isinstance(self.base, ImageToImage):
                found.append(Problem(name, "strength", "strength varies a picture to start from; give one"))
            if (
                axis.field == "prompt"
                and str(axis.values[0]) not in self.base.prompt + "\n" + self.base.negative_prompt
            ):
                allowed = "a first value that stands in the prompt or the negative prompt"
                found.append(Problem(f"{name}_values", shown(axis.values[0]), allowed))
            if axis.field == "lora_weight" and not parse_prompt(self.base.prompt).loras:
                allowed = "a prompt that names a LoRA, such as <lora:name:1>"
                found.append(Problem(name, "lora_weight", allowed))
            if axis.field == "control_scale" and not self.base.controls:
                found.append(Problem(name, "control_scale", "a control whose scale is varied; add one"))
            if axis.field == "prompt" and not str(axis.values[0]):
                found.append(Problem(f"{name}_values", "''", "a first value to look for"))
        if self.y is not None and self.y.field == self.x.field and self.x.field != "prompt":
            found.append(Problem("y", self.y.field, "another axis than the first one"))
        if self.base.num_images_per_prompt != 1:
            found.append(Problem("num_images_per_prompt", shown(self.base.num_images_per_prompt), "1: a cell is one"))
        if len(self) > MAX_CELLS:
            sizes = f"{self.columns} × {self.rows} = {len(self)} cells"
            found.append(Problem("y_values", sizes, f"at most {MAX_CELLS} cells; take fewer values, or larger steps"))
        return found

    @cached_property
    def _cells(self) -> tuple[Request | str, ...]:
        """Each cell's request, or the sentence that says why there is none."""
        return tuple(self._cell(index) for index in range(len(self)))

    def _cell(self, index: int) -> Request | str:
        values: dict[str, object] = {
            "prompt": self.base.prompt,
            "negative_prompt": self.base.negative_prompt,
            "controls": self.base.controls,
        }
        for axis, place in zip(self.axes, self.place(index)):
            axis.change(values, place)
        try:
            return dataclasses.replace(self.base, **values)  # type: ignore[arg-type]
        except InvalidRequest as error:
            return str(error)

    def place(self, index: int) -> tuple[int, int]:
        """Column and row of a cell."""
        return index % self.columns, index // self.columns

    def request(self, index: int) -> Request | None:
        """The request of one cell; None where the pair cannot be run (`refusal` says why)."""
        cell = self._cells[index]
        return None if isinstance(cell, str) else cell

    def refusal(self, index: int) -> str | None:
        """Why a cell cannot be run, in a sentence; None where it can."""
        cell = self._cells[index]
        return cell if isinstance(cell, str) else None

    @property
    def possible(self) -> tuple[int, ...]:
        """The cells that can be run."""
        return tuple(k for k, cell in enumerate(self._cells) if not isinstance(cell, str))

    @cached_property
    def cost(self) -> Cost:
        """Known before the start, from the requests alone."""
        lanes = self.lanes(8, 8)
        return Cost(cells=len(lanes), evaluations=sum(n for n, _, _ in lanes), rows=sum(n * r for n, r, _ in lanes))

    def lanes(self, width: int, height: int) -> list[tuple[int, int, int]]:
        """Of every cell that can be run: evaluations, rows of each, and pixels (`width`, `height`: the native size)."""
        cells = [cell for cell in self._cells if not isinstance(cell, str)]
        return [
            (_evaluations(c), 2 if c.guidance_scale > 1 else 1, (c.width or width) * (c.height or height))
            for c in cells
        ]

    def order(self, focus: int = 0) -> tuple[int, ...]:
        """The cells that can be run, as they are to be made: the one under the slider, then its neighbours, ring by
        ring; but one checkpoint after the other, since a switch is dear, the one under the slider first."""
        x, y = self.place(focus)
        first = self._cells[focus]
        checkpoints = list(dict.fromkeys(c.checkpoint for c in self._cells if not isinstance(c, str)))
        if not isinstance(first, str):
            checkpoints.sort(key=lambda name: name != first.checkpoint)

        def rank(index: int) -> tuple[int, int, int, int]:
            request = self.request(index)
            assert request is not None
            column, row = self.place(index)
            far, near = max(abs(column - x), abs(row - y)), abs(column - x) + abs(row - y)
            return checkpoints.index(request.checkpoint), far, near, index

        return tuple(sorted(self.possible, key=rank))

    def with_seed(self, seed: int) -> Surface:
        """The same surface with the seed decided: every cell starts from the same noise unless the seed is an axis."""
        return dataclasses.replace(self, base=dataclasses.replace(self.base, seed=seed))

    def with_names(self, names: Mapping[str, str], controls: tuple[Control, ...]) -> Surface:
        """The same surface with other names for its checkpoints, and these controls, which differ in names alone."""
        base = dataclasses.replace(
            self.base, checkpoint=names.get(self.base.checkpoint, self.base.checkpoint), controls=controls
        )
        x, y = (
            dataclasses.replace(axis, values=tuple(names.get(str(value), value) for value in axis.values))
            if axis is not None and axis.field == "checkpoint"
            else axis
            for axis in (self.x, self.y)
        )
        assert x is not None
        return dataclasses.replace(self, base=base, x=x, y=y)

    def without_pictures(self) -> Surface:
        """A copy that has forgotten the pictures its cells are made from, for the record of a surface that is over."""
        if not isinstance(self.base, ImageToImage) and not self.base.controls:
            return self
        copy = object.__new__(Surface)
        values: dict[str, object] = {"base": self.base.without_pictures(), "x": self.x, "y": self.y}
        values["_cells"] = tuple(c if isinstance(c, str) else c.without_pictures() for c in self._cells)
        for name, value in values.items():
            object.__setattr__(copy, name, value)
        return copy

    # ------------------------------------------------------------------------------------------- out and back

    @classmethod
    def parse(cls, given: Mapping[str, object]) -> Surface:
        """The gate for values from outside: the fields of a request, and `x`, `x_values`, `y`, `y_values`.

        An axis may be left out (None or ""), values may be text or a list. With an `image` (bytes) the request is an
        image-to-image one. Raises InvalidRequest with every problem found.
        """
        rest = {name: value for name, value in given.items() if name not in _AXIS_KEYS}
        problems: list[Problem] = []
        axes: dict[str, Axis] = {}
        for name in ("x", "y"):
            chosen = given.get(name)
            if chosen in (None, ""):
                if name == "x":
                    problems.append(Problem("x", "nothing", _one_axis()))
                continue
            known = _axis_field(chosen)
            if known is None:
                problems.append(Problem(name, shown(chosen), _one_axis()))
                continue
            try:
                axes[name] = Axis(
                    field=known, values=parse_values(known, given.get(f"{name}_values"), f"{name}_values")
                )
            except InvalidRequest as error:
                problems += error.problems
        # An axis decides its field, so whatever stands in the form for it is not looked at. The defaults that remain
        # fit to everything: DPM++ 2M runs every noise schedule, and every scheduler knows Automatic and 25 steps.
        for axis in axes.values():
            if axis.field not in _WITHIN_A_FIELD:
                for decided in ("width", "height") if axis.field == "size" else (axis.field,):
                    rest.pop(decided, None)
        kind = ImageToImage if rest.get("image") else TextToImage
        if kind is TextToImage:
            rest = {name: value for name, value in rest.items() if name not in ("image", "strength")}
        try:
            base = kind.parse(rest)
        except InvalidRequest as error:
            problems += error.problems
        if problems:
            raise InvalidRequest(*problems)
        return cls(base=base, x=axes["x"], y=axes.get("y"))

    def to_dict(self) -> dict[str, object]:
        """The surface as JSON-able values; `surface_from_dict` reads it back equal (pictures must be given again)."""
        values: dict[str, object] = {"schema": SURFACE_SCHEMA, "kind": "surface", "base": self.base.to_dict()}
        for name, axis in zip("xy", self.axes):
            values |= {name: axis.field, f"{name}_values": list(axis.values)}
        return values

    def link(self) -> dict[str, str]:
        """The surface as the parameters of a link: what differs from a request's defaults, nothing of a visitor, so no
        picture and no control."""
        plain = {f.name: f.default for f in dataclasses.fields(self.base)}
        decided = {axis.field for axis in self.axes} - _WITHIN_A_FIELD
        left_out = {"image", "controls", *decided, *(("width", "height") if "size" in decided else ())}
        kept = {
            name: value
            for name, value in ((f.name, getattr(self.base, f.name)) for f in dataclasses.fields(self.base))
            if name not in left_out and value is not None and value != plain[name]
        }
        query = {name: _word(value) for name, value in kept.items()}
        for name, axis in zip("xy", self.axes):
            query |= {name: axis.field, f"{name}_values": values_text(axis.values)}
        return query


def _word(value: object) -> str:
    """A value in a link."""
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


_AXIS_KEYS = ("x", "x_values", "y", "y_values")


def surface_from_dict(
    values: Mapping[str, object], *, image: bytes | None = None, control_images: Sequence[bytes] = ()
) -> Surface:
    """Read `Surface.to_dict` back. Raises InvalidRequest, as for any request."""
    base = values.get("base")
    if values.get("kind") != "surface" or values.get("schema") != SURFACE_SCHEMA or not isinstance(base, Mapping):
        raise InvalidRequest(Problem("kind", shown(values.get("kind")), f"surface, schema {SURFACE_SCHEMA}"))
    axes: dict[str, Axis] = {}
    for name in ("x", "y"):
        if name in values:
            known = _axis_field(values[name])
            if known is None:
                raise InvalidRequest(Problem(name, shown(values[name]), _one_axis()))
            axes[name] = Axis(field=known, values=parse_values(known, values.get(f"{name}_values"), f"{name}_values"))
    if "x" not in axes:
        raise InvalidRequest(Problem("x", "nothing", _one_axis()))
    base_request = request_from_dict(base, image=image, control_images=control_images)
    return Surface(base=base_request, x=axes["x"], y=axes.get("y"))


_LINK_NUMBERS = {"width": int, "height": int, "num_inference_steps": int, "guidance_scale": float, "strength": float}


def given_from_link(query: Mapping[str, str]) -> dict[str, object] | None:
    """The fields of a link's parameters for `Surface.parse`; None when it is no link to a surface. What is no number
    stays text, so that the gate can name it; parameters of others are passed over."""
    if "x" not in query or "x_values" not in query:
        return None
    known = {f.name for f in dataclasses.fields(ImageToImage)} - {"image", "controls"} | set(_AXIS_KEYS)
    given: dict[str, object] = {}
    for name in known & set(query):
        value: object = query[name]
        if name in _LINK_NUMBERS:
            try:
                number = float(query[name])
                value = int(number) if _LINK_NUMBERS[name] is int and number.is_integer() else number
            except (ValueError, OverflowError):
                pass
        elif name == "exact":
            value = query[name] == "true"
        given[name] = value
    return given


def _axis_field(given: object) -> AxisField | None:
    """An axis by its name or A1111's, in any case."""
    wanted = str(given).strip().casefold()
    return next((name for name in AXIS_FIELDS if wanted in (name, A1111_AXES[name].casefold())), None)


def _one_axis() -> str:
    return one_of({name: A1111_AXES[name] for name in AXIS_FIELDS})


def _evaluations(request: Request) -> int:
    steps = request.num_inference_steps
    if isinstance(request, ImageToImage):
        steps = steps_run(steps, request.strength)
    return evaluations(request.scheduler, steps) if steps else 0
