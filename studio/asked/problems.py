"""Why a request is refused: the bad field, the value that came, and what is allowed, in words."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from studio.asked.messages import Message, listed, sentences

MAX_IMAGE_BYTES = 20 * 2**20


@dataclass(frozen=True, kw_only=True)
class Range:
    """Inclusive range of a number field; `step` is the grid it must lie on (counted from zero), None for any."""

    low: float
    high: float
    step: int | None = None
    whole: bool = False

    def describe(self) -> str:
        """The allowed values in words, for messages and help texts."""
        # Six digits, as :g has them, would say 2.14748e+09 for 2147483647.
        low, high = (f"{one:.0f}" if float(one).is_integer() else f"{one:g}" for one in (self.low, self.high))
        if not self.whole and self.step in (None, 1):
            return Message("numbers from {low} to {high}", low=low, high=high)
        if not self.whole:
            return Message("numbers from {low} to {high} in multiples of {step}", low=low, high=high, step=self.step)
        if self.step in (None, 1):
            return Message("whole numbers from {low} to {high}", low=low, high=high)
        return Message("whole numbers from {low} to {high} in multiples of {step}", low=low, high=high, step=self.step)

    def holds(self, value: object) -> bool:
        """True for a finite number inside the range; bool is not a number here, and NaN is nowhere."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        if not math.isfinite(value) or not self.low <= value <= self.high:
            return False
        return self.step is None or value % self.step == 0


@dataclass(frozen=True)
class Problem:
    """One bad field: its name, the value that came (shortened), and what is allowed, in words."""

    field: str
    value: str
    allowed: str

    def __str__(self) -> str:
        return Message(
            "{field}: {value} is not allowed. Allowed: {allowed}.",
            field=self.field,
            value=self.value,
            allowed=self.allowed,
        )


class InvalidRequest(ValueError):
    """The only way a request is refused. Carries every problem, so that the page can mark every field."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(sentences(str(p) for p in problems))
        self.problems = problems


def without_encoder(field: str, checkpoint: str) -> Problem:
    """What is wrong where a run is to begin with a picture, and the checkpoint's VAE only decodes."""
    expectation = Message(
        "to begin with a picture, one whose VAE has an encoder: choose another VAE for it on the Models tab, "
        "or use text to image"
    )
    return Problem(field, Message("{name}, whose VAE has no encoder,", name=quoted_value(checkpoint)), expectation)


def quoted_value(value: object, limit: int = 60) -> str:
    """A value as it may stand in a message: printable, on one line, shortened."""
    text = repr(value[: limit * 2]) if isinstance(value, str) else repr(value)
    text = text.encode("ascii", "backslashreplace").decode() if any(0xD800 <= ord(c) <= 0xDFFF for c in text) else text
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_text(text: str) -> str:
    """Prompt text without what no tokenizer, log or PNG can hold: control characters (but newline and tab) and lone
    surrogates go; everything else, emoji and right-to-left text included, stays as typed."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


def short_name(name: str, table: Mapping[str, str]) -> str:
    """The short form of a name given as short form or label, in any case; the text unchanged where it is neither."""
    key = name.strip().casefold()
    for short, label in table.items():
        if key in (short.casefold(), label.casefold()):
            return short
    return name


def one_of(table: Mapping[str, str]) -> str:
    """A list of choices for a message: label and short form."""
    choices = (Message("{label} ({name})", label=label, name=short) for short, label in table.items())
    return Message("one of {choices}", choices=listed(choices))
