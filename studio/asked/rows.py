"""A row of the table of fields: what one field of a request is, and what follows from it.

The table itself is `studio.asked.fields`. Plain data: no page words, no torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Any, Literal, cast

from studio.asked.control import Control, parse_controls
from studio.asked.messages import Message
from studio.asked.problems import MAX_IMAGE_BYTES, Problem, Range, clean_text, one_of, quoted_value, short_name

MAX_PROMPT_CHARACTERS = 20_000
MAX_NAME_CHARACTERS = 300
MAX_SEED = 2**63 - 1

Kind = Literal["text", "name", "number", "choice", "flag", "seed", "file", "controls"]
Effect = Literal["lane", "picture", "cosmetic"]
Values = Mapping[str, object]


def always(values: Values) -> bool:
    """A field that has a say in every request."""
    return True


@dataclass(frozen=True, kw_only=True)
class Row:
    """One field. `default` None together with `suits` means: what suits the checkpoint.

    `a1111` is its key in AUTOMATIC1111's infotext, "" where that has none. `acts` tells from the values of a request
    whether the field has a say in it (steps of a second pass have none without one). `encodes`: it belongs to the key
    under which encoded prompts are kept. `is_recorded`: the noise viewer's header says it. `effect`: what changes with
    it, the numbers of a lane, the picture made of them, or neither. `place`: the part of the page where it stands.
    `is_compared`: whether the form of Compare has it too.
    """

    name: str = ""
    kind: Kind
    default: object = MISSING
    allowed: Range | None = None
    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    suits: bool = False
    a1111: str = ""
    acts: Callable[[Values], bool] = always
    encodes: bool = False
    is_recorded: bool = False
    effect: Effect = "lane"
    place: str = ""
    is_compared: bool = True
    step: float = 1  # of its slider; 0: no slider, a number is typed
    optional: bool = False  # a file that may be left out, a name that may be ""
    stays_open: bool = False  # where it was left open, what is written of the run leaves it open too

    @property
    def is_required(self) -> bool:
        """Whether a request must name it."""
        return self.default is MISSING or (self.kind == "file" and not self.optional)

    @property
    def label(self) -> str:
        """The catalogue's key of its name."""
        return f"{self.name}.label"

    @property
    def help(self) -> str:
        """The catalogue's key of its sentence."""
        return f"{self.name}.help"

    @property
    def annotation(self) -> Any:
        """Its type in the API's documentation."""
        if self.kind == "seed":
            return int | str | None
        if self.kind == "file":
            return dict if self.is_required else dict | None
        if self.kind == "number":
            number = int if self.allowed is not None and self.allowed.whole else float
            return number | None if self.suits else number
        if self.kind == "choice" and self.suits:
            return str | None
        return {"flag": bool, "controls": list}.get(self.kind, str)

    def description(self) -> str:
        """The allowed values in words, for messages and the API's documentation."""
        if self.allowed is not None:
            return self.allowed.describe()
        if self.choices:
            return one_of(self.choices)
        if self.name == "upscaler_name":
            return Message("the name of an upscaler of the models folders, or nothing for none")
        if self.name == "upscale":
            return Message("none, automatic, or the name of an upscaler of the models folders")
        if self.kind == "name" and self.optional:
            return Message("the name of a VAE that fits the checkpoint, or nothing for the one that it runs with")
        return {
            "text": Message(
                "text of at most {most} characters, without control characters", most=f"{MAX_PROMPT_CHARACTERS:,}"
            ),
            "name": Message("the name of an installed checkpoint"),
            "flag": Message("true or false"),
            "seed": Message("whole numbers from 0 to {last}, or -1 or nothing for a random one", last=MAX_SEED),
            "file": Message("a PNG, JPEG, WebP or GIF file"),
            "controls": Message("a list of controls"),
        }.get(self.kind, "")

    def one_of(self, names: Sequence[str]) -> str:
        """Some of its choices in words."""
        return one_of({name: self.choices[name] for name in names})

    # ------------------------------------------------------------------------------------------- reading, writing

    def read(self, value: object, problems: list[Problem]) -> object:
        """A value from outside as the field's own: labels become names, 25.0 becomes 25, a seed's digits a number.

        What cannot be read stays as it is, for `problems` to name it, or is added to `problems` here."""
        if self.kind == "text" and isinstance(value, str):
            return clean_text(value)
        if self.kind == "number" and self.allowed is not None:
            if self.allowed.whole and type(value) is float and value.is_integer():
                return int(value)  # JSON has one number type
            return float(value) if not self.allowed.whole and type(value) is int else value
        if self.kind == "choice" and isinstance(value, str):
            return short_name(value, self.choices)
        if self.kind == "name" and self.optional and value is None:
            return ""
        if self.kind == "seed":
            return parse_seed(value, problems, self.name)
        return parse_controls(value, problems) if self.kind == "controls" else value

    def read_text(self, text: str) -> object:
        """A value written by `write`, or typed into a link, for `read`; text that is no number stays text."""
        if self.kind == "flag":
            return {"true": True, "false": False}.get(text, text)
        if self.kind != "number":
            return text
        try:
            number = float(text) if len(text) <= 40 else text
        except ValueError:
            return text
        return int(number) if isinstance(number, float) and number.is_integer() else number

    def write(self, value: object) -> str:
        """A value as text, in a link or an infotext."""
        if isinstance(value, bool):
            return str(value).lower()
        return f"{value:g}" if isinstance(value, float) else str(value)

    def problems(self, value: object) -> list[Problem]:
        """What is wrong with a value of the field alone; empty when it is allowed."""
        if value is None and (self.suits or self.kind == "seed"):
            return []
        good = True
        if self.kind == "text":
            if isinstance(value, str) and value == clean_text(value) and len(value) > MAX_PROMPT_CHARACTERS:
                return [
                    Problem(
                        self.name, Message("a text of {count} characters", count=f"{len(value):,}"), self.description()
                    )
                ]
            good = isinstance(value, str) and value == clean_text(value)
        elif self.kind == "name":
            good = isinstance(value, str) and (0 if self.optional else 1) <= len(value) <= MAX_NAME_CHARACTERS
        elif self.allowed is not None:
            good = self.allowed.holds(value)
        elif self.kind == "choice":
            good = isinstance(value, str) and value in self.choices
        elif self.kind == "flag":
            good = type(value) is bool
        elif self.kind == "controls":
            return Control.all_problems(value)
        elif self.kind == "file":
            if self.optional and value == b"":
                return []
            return _file_problems(self.name, value, self.description())
        return [] if good else [Problem(self.name, quoted_value(value), self.description())]


def _file_problems(name: str, data: object, expectation: str) -> list[Problem]:
    if not isinstance(data, bytes) or not data:
        return [Problem(name, quoted_value(data), expectation)]
    if len(data) > MAX_IMAGE_BYTES:
        most = Message("a file of at most {most} MiB", most=MAX_IMAGE_BYTES // 2**20)
        return [Problem(name, Message("a file of {count} MiB", count=f"{len(data) / 2**20:.1f}"), most)]
    return []


def parse_seed(value: object, problems: list[Problem], name: str = "seed") -> int | None:
    """A seed as page or API give it: a whole number or its digits as text; -1, null and empty text mean random."""
    if value is None or value == "" or (isinstance(value, str) and not value.strip()):
        return None
    number: object = value
    if isinstance(value, str):
        digits = value.strip()
        number = int(digits) if len(digits) <= 20 and digits.isascii() and digits.lstrip("-").isdigit() else value
    if type(number) is int and number == -1:
        return None
    if type(number) is not int or not 0 <= number <= MAX_SEED:
        expectation = Message("whole numbers from 0 to {last}, or -1 or nothing for a random one", last=MAX_SEED)
        problems.append(Problem(name, quoted_value(value), expectation))
        return None
    return number


# ------------------------------------------------------------------------------------------- the rows of a class


def row(kind: Kind, default: object = MISSING, **facts: Any) -> Any:
    """A row of the table, as the default of a dataclass' field."""
    return dataclasses.field(default=default, metadata={"row": Row(kind=kind, default=default, **facts)})


def number(
    low: float, high: float, default: object = MISSING, *, whole: bool = False, grid: int | None = None, **facts: Any
) -> Any:
    """A row that holds a number from `low` to `high`; `grid`: what it must be a multiple of."""
    return row("number", default, allowed=Range(low=low, high=high, step=grid, whole=whole), **facts)


@cache
def rows_of(kind: Hashable) -> Mapping[str, Row]:
    """The rows of a kind of request by name, in the table's order."""
    return {f.name: dataclasses.replace(f.metadata["row"], name=f.name) for f in dataclasses.fields(cast(Any, kind))}
