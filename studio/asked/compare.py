"""What a comparison asks: cells over one axis or two, their cost and their order.

Plain data over `requests`: no torch, no page, no disk. A cell is one ordinary request. The axes of a comparison that
exists are valid. A cell whose pair of values cannot be run (LCM with 100 steps) says so while the others go on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from studio.asked.axes import (
    MAX_CELLS,
    WITHIN_A_FIELD,
    Axis,
    axis_field,
    one_axis,
    parse_values,
    values_text,
)
from studio.asked.control import Control
from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.forecast import computed_evaluations
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.prompt import parse_prompt
from studio.asked.requests import Request, request_from_dict
from studio.asked.resolved import Resolved, Suits, resolve, with_suitable_values
from studio.asked.rows import Row
from studio.asked.schedulers import evaluations

COMPARISON_SCHEMA = 2  # of `to_dict`; 1 knew no open fields
LINK_VERSION = 2  # of `link`; a link without a version is of 1, where an open field had the value below
_OPEN_IN_1: Mapping[str, object] = {
    "num_inference_steps": 25,
    "guidance_scale": 5.0,
    "scheduler": "dpmpp_2m",
    "noise_schedule": "automatic",
}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a comparison will take: pictures, U-Net evaluations of one lane, and rows (a guided evaluation has two)."""

    cells: int
    evaluations: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A request varied over one axis or two. Cell k = iy * len(x.values) + ix: row after row, x fastest. What
    `base` leaves open is what suits the checkpoint of each cell (`with_suits`)."""

    base: Request
    x: Axis
    y: Axis | None = None
    suits: Mapping[str, Suits] = field(default_factory=dict, compare=False, repr=False)  # by checkpoint, once known

    def __post_init__(self) -> None:
        problems = self._problems()
        if problems:
            raise InvalidRequest(*problems)
        if not self.possible:
            expectation = Message("a pair that can be run: {refusal}", refusal=self.refusal(0))
            raise InvalidRequest(Problem("x_values", self.x.label(0), expectation))

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
        problems: list[Problem] = []
        for name, axis in zip("xy", self.axes):
            if axis.field == "strength" and not isinstance(self.base, ImageToImage):
                problems.append(Problem(name, "strength", Message("strength varies a picture to start from; give one")))
            if (
                axis.field == "prompt"
                and str(axis.values[0]) not in self.base.prompt + "\n" + self.base.negative_prompt
            ):
                expectation = Message("a first value that stands in the prompt or the negative prompt")
                problems.append(Problem(f"{name}_values", quoted_value(axis.values[0]), expectation))
            if axis.field == "lora_weight" and not parse_prompt(self.base.prompt).loras:
                expectation = Message("a prompt that names a LoRA, such as <lora:name:1>")
                problems.append(Problem(name, "lora_weight", expectation))
            if axis.field == "control_scale" and not self.base.controls:
                problems.append(Problem(name, "control_scale", Message("a control whose scale is varied; add one")))
            if axis.field == "prompt" and not str(axis.values[0]):
                problems.append(Problem(f"{name}_values", "''", Message("a first value to look for")))
        if self.y is not None and self.y.field == self.x.field and self.x.field != "prompt":
            problems.append(Problem("y", self.y.field, Message("another axis than the first one")))
        if self.base.num_images_per_prompt != 1:
            problems.append(
                Problem(
                    "num_images_per_prompt", quoted_value(self.base.num_images_per_prompt), Message("1: a cell is one")
                )
            )
        if len(self) > MAX_CELLS:
            sizes = Message("{columns} × {rows} = {count} cells", columns=self.columns, rows=self.rows, count=len(self))
            expectation = Message("at most {most} cells; take fewer values, or larger steps", most=MAX_CELLS)
            problems.append(Problem("y_values", sizes, expectation))
        return problems

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
            cell = dataclasses.replace(self.base, **values)  # type: ignore[arg-type]
            suits = self.suits.get(cell.checkpoint)
            return cell if suits is None else with_suitable_values(cell, suits)
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

    def resolve_cell(self, index: int, unknown: Suits | None = None) -> Resolved:
        """What is run for a cell that can be run. `unknown`: what suits a checkpoint of which nothing is known."""
        cell = self._cells[index]
        if isinstance(cell, str):
            raise ValueError(cell)
        return resolve(cell, self.suits.get(cell.checkpoint) or unknown or Suits(), random_seed=lambda: 0)

    @property
    def possible(self) -> tuple[int, ...]:
        """The cells that can be run."""
        return tuple(k for k, cell in enumerate(self._cells) if not isinstance(cell, str))

    @cached_property
    def cost(self) -> Cost:
        """Known before the start, from the requests alone."""
        lanes = self.lanes(512, 512)
        return Cost(cells=len(lanes), evaluations=sum(n for n, _, _ in lanes), rows=sum(n * r for n, r, _ in lanes))

    def lanes(self, width: int, height: int) -> list[tuple[int, int, int]]:
        """Of every cell that can be run: evaluations, rows of each, and pixels (`width`, `height`: the native size)."""
        cells = [self.resolve_cell(index, Suits(width=width, height=height)) for index in self.possible]
        return [
            (
                computed_evaluations(cell.request.forecast, evaluations(cell.scheduler, cell.steps))
                if cell.steps
                else 0,
                cell.prompt.rows(2 if cell.guidance_scale != 1 else 1),
                cell.width * cell.height,
            )
            for cell in cells
        ]

    def order(self, focus: int = 0) -> tuple[int, ...]:
        """The cells that can be run, in the order in which they run: the one under the slider, then its neighbours,
        ring by ring. One checkpoint goes after the other, since a switch is dear; the one under the slider is first."""
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

    def with_seed(self, seed: int) -> Comparison:
        """The same comparison with this seed: every cell starts from the same noise unless the seed is an axis."""
        return dataclasses.replace(self, base=dataclasses.replace(self.base, seed=seed))

    def with_variation_seed(self, seed: int) -> Comparison:
        """The same comparison on the way to this seed's noise, which all its cells share."""
        return dataclasses.replace(self, base=dataclasses.replace(self.base, variation_seed=seed))

    @property
    def lacks_variation_seed(self) -> bool:
        """Whether its cells go towards another noise that has no seed yet."""
        varies = any(axis.field == "variation_strength" for axis in self.axes) or self.base.variation_strength > 0
        return varies and self.base.variation_seed is None

    def with_names(self, names: Mapping[str, str], controls: tuple[Control, ...]) -> Comparison:
        """The same comparison with other names for its checkpoints, and these controls, which differ in names alone."""
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

    def with_suits(self, suits: Mapping[str, Suits]) -> Comparison:
        """The same comparison with the defaults that suit each checkpoint. In the base they fill the fields that no
        axis decides, in a cell every field."""
        base, axis_fields = self.base, {axis.field for axis in self.axes}
        if "checkpoint" not in axis_fields and base.checkpoint in suits:
            left_open = axis_fields | ({"noise_schedule"} if "scheduler" in axis_fields else set())
            left_open |= {"width", "height"} if "size" in axis_fields else set()
            try:
                suited_base = with_suitable_values(base, suits[base.checkpoint])
                values = {name: getattr(base, name) for name in left_open & set(base.rows())}
                base = dataclasses.replace(suited_base, **values)
            except InvalidRequest:  # each cell says for itself what does not fit
                pass
        return dataclasses.replace(self, base=base, suits=suits)

    def without_pictures(self) -> Comparison:
        """A copy without the pictures that its cells begin with, for the record of a comparison that is over."""
        if not isinstance(self.base, ImageToImage) and not self.base.controls:
            return self
        return dataclasses.replace(self, base=self.base.without_pictures())

    # ------------------------------------------------------------------------------------------- out and back

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Comparison:
        """The gate for values from outside: the fields of a request, and `x`, `x_values`, `y`, `y_values`.

        An axis may be left out (None or ""), values may be text or a list. With an `image` (bytes) the request is an
        image-to-image one. Raises InvalidRequest with every problem found.
        """
        rest = {name: value for name, value in values.items() if name not in _AXIS_KEYS}
        problems: list[Problem] = []
        axes: dict[str, Axis] = {}
        for name in ("x", "y"):
            choice = values.get(name)
            if choice in (None, ""):
                if name == "x":
                    problems.append(Problem("x", Message("nothing"), one_axis()))
                continue
            axis_name = axis_field(choice)
            if axis_name is None:
                problems.append(Problem(name, quoted_value(choice), one_axis()))
                continue
            try:
                axes[name] = Axis(
                    field=axis_name, values=parse_values(axis_name, values.get(f"{name}_values"), f"{name}_values")
                )
            except InvalidRequest as error:
                problems += error.problems
        # An axis decides its field, so whatever stands in the form for it is not looked at: it is open.
        for axis in axes.values():
            if axis.field not in WITHIN_A_FIELD:
                for field_name in ("width", "height") if axis.field == "size" else (axis.field,):
                    rest.pop(field_name, None)
        kind = ImageToImage if rest.get("image") else TextToImage
        if kind is TextToImage:
            of_pictures = ImageToImage.rows().keys() - TextToImage.rows().keys()
            rest = {name: value for name, value in rest.items() if name not in of_pictures}
        try:
            base = kind.parse(rest)
        except InvalidRequest as error:
            problems += error.problems
        if problems:
            raise InvalidRequest(*problems)
        return cls(base=base, x=axes["x"], y=axes.get("y"))

    def to_dict(self) -> dict[str, object]:
        """The comparison as values for JSON. `comparison_from_dict` reads it back equal (its pictures apart)."""
        values: dict[str, object] = {"schema": COMPARISON_SCHEMA, "kind": "surface", "base": self.base.to_dict()}
        for name, axis in zip("xy", self.axes):
            values |= {name: axis.field, f"{name}_values": list(axis.values)}
        return values

    def link(self) -> dict[str, str]:
        """The comparison as the parameters of a link: what differs from a request's defaults. Nothing of a visitor: no
        picture and no control."""
        rows = self.base.rows()
        axis_fields = {axis.field for axis in self.axes} - WITHIN_A_FIELD
        left_out = {
            "controls",
            *self.base.files(),
            *axis_fields,
            *(("width", "height") if "size" in axis_fields else ()),
        }
        query = {"v": str(LINK_VERSION)}
        for name, row in rows.items():
            value = getattr(self.base, name)
            if name not in left_out and value is not None and value != row.default:
                query[name] = row.write(value)
        for name, axis in zip("xy", self.axes):
            query |= {name: axis.field, f"{name}_values": values_text(axis.values)}
        return query


# The fields that the form of Compare has: of a request that begins with a picture, and of one that does not.
FORM_ROWS: Mapping[str, Row] = {
    name: row for name, row in {**ImageToImage.rows(), **TextToImage.rows()}.items() if row.is_compared
}
_AXIS_KEYS = ("x", "x_values", "y", "y_values")


def prompt_notices(comparison: Comparison) -> list[str]:
    """Sentences about the prompts of all cells that may be meant otherwise than they are read, each once."""
    requests = [request for k in range(len(comparison)) if (request := comparison.request(k)) is not None]
    prompts = dict.fromkeys(
        (text, negative, request.emphasis)
        for request in requests
        for text, negative in ((request.prompt, False), (request.negative_prompt, True))
    )
    notices = (
        Message("In the negative prompt, {notice}", notice=notice) if negative else notice
        for text, negative, emphasis in prompts
        for notice in parse_prompt(text, negative=negative, emphasis=emphasis).notices
    )
    return list(dict.fromkeys(notices))


def outside_the_form(comparison: Comparison) -> list[Row]:
    """The fields with a say in a comparison that the form of Compare does not have, and that differ from what it would
    run without them."""
    values = comparison.base.to_dict()
    return [
        row
        for name, row in comparison.base.rows().items()
        if not row.is_compared and row.acts(values) and getattr(comparison.base, name) != row.default
    ]


def comparison_from_dict(
    values: Mapping[str, object], *, image: bytes | None = None, control_images: Sequence[bytes] = ()
) -> Comparison:
    """Read `Comparison.to_dict` back. Raises InvalidRequest, as for any request."""
    base = values.get("base")
    if values.get("kind") != "surface" or not isinstance(base, Mapping):
        raise InvalidRequest(Problem("kind", quoted_value(values.get("kind")), "surface"))
    schema = values.get("schema")
    if type(schema) is not int or not 1 <= schema <= COMPARISON_SCHEMA:
        expectation = Message("versions 1 to {last}", last=COMPARISON_SCHEMA)
        raise InvalidRequest(Problem("schema", quoted_value(schema), expectation))
    axes: dict[str, Axis] = {}
    for name in ("x", "y"):
        if name in values:
            axis_name = axis_field(values[name])
            if axis_name is None:
                raise InvalidRequest(Problem(name, quoted_value(values[name]), one_axis()))
            axes[name] = Axis(
                field=axis_name, values=parse_values(axis_name, values.get(f"{name}_values"), f"{name}_values")
            )
    if "x" not in axes:
        raise InvalidRequest(Problem("x", Message("nothing"), one_axis()))
    base_request = request_from_dict(base, image=image, control_images=control_images)
    return Comparison(base=base_request, x=axes["x"], y=axes.get("y"))


def fields_of_link(query: Mapping[str, str]) -> dict[str, object] | None:
    """The fields of a link's parameters for `Comparison.parse`; None when it is no link to a comparison.

    What is no number stays text, so that `parse` can name it. Parameters of others are passed over. Raises
    InvalidRequest for a link of a newer version of the studio."""
    if "x" not in query or "x_values" not in query:
        return None
    version = query.get("v", "1")
    if not version.isascii() or not version.isdigit() or not 1 <= int(version[:9]) <= LINK_VERSION:
        expectation = Message("links of the versions 1 to {last}", last=LINK_VERSION)
        raise InvalidRequest(Problem("v", quoted_value(version), expectation))
    fields: dict[str, object] = {name: query[name] for name in _AXIS_KEYS if name in query}
    for name, row in {**ImageToImage.rows(), **TextToImage.rows()}.items():
        if name in query and row.kind not in ("file", "controls"):
            fields[name] = row.read_text(query[name])
    return fields if version != "1" else dict(_OPEN_IN_1) | fields
