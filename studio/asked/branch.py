"""Rewind a recorded run to one of its evaluations, change something, go on: what is asked, and the tree of it.

Plain data: no torch, no page. A branch is a job like any other; this says where it comes from.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, Range, clean_text, one_of, quoted_value
from studio.asked.requests import RANGES
from studio.asked.rows import MAX_PROMPT_CHARACTERS, MAX_SEED
from studio.asked.schedulers import NOISE_SCHEDULES, SCHEDULERS, NoiseScheduleName, SchedulerName
from studio.asked.word_swap import WordSwap, read_swap
from studio.asked.word_weights import WordWeights, read_weights

MAX_POKE = 20.0  # x_t has a standard deviation of about 1
# Those that mean something for the rest of a run: a curve that begins at any level.
SPACINGS = {name: label for name, label in NOISE_SCHEDULES.items() if name not in ("automatic", "as_configured")}
_WHOLE = {
    "evaluation": Range(low=0, high=999, whole=True),
    "noise_seed": Range(low=0, high=MAX_SEED, whole=True),
    "weights_until": Range(low=1, high=1000, whole=True),
    "swap_until": Range(low=1, high=1000, whole=True),
}


@dataclass(frozen=True, kw_only=True)
class Branch:
    """`evaluation` (0-based) is the first one that is made anew; None leaves as it was.

    `noise_seed` gives it other noise: predicted x0 stays where the run had it before, the noise around it is drawn
    anew, and so is all that the scheduler adds from there on. At evaluation 0 it is simply another seed.

    `poke` is added to x_t, as the U-Net is given it, before it is asked: float32 numbers, little-endian, of the
    latents' shape (C, h, w).

    `scheduler` goes on in place of the run's own, over the levels that the run had left, or, with `noise_schedule`,
    over as many of that curve, which begins at this evaluation's level. It begins anew: its first step is of order one.

    `word_weights` weighs words of the prompt (`studio.asked.word_weights`), from here up to and not with evaluation
    `weights_until`, or to the end.

    `swap` puts other words in the place of a word of the prompt (`studio.asked.word_swap`), in its layout up to and not
    with evaluation `swap_until`.
    """

    evaluation: int
    prompt: str | None = None
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    noise_seed: int | None = None
    poke: bytes | None = None
    scheduler: SchedulerName | None = None
    noise_schedule: NoiseScheduleName | None = None
    word_weights: str | None = None
    weights_until: int | None = None
    swap: str | None = None
    swap_until: int | None = None

    @property
    def weights(self) -> WordWeights | None:
        """The weights of words from here on; None where it says nothing of them. Raises InvalidRequest for a text of
        weights that is none, for an end without weights or before they begin, and beside another prompt."""
        if self.word_weights is None and self.weights_until is None:
            return None
        weights = read_weights(self.word_weights or "")
        until = self.weights_until
        if until is not None and until <= self.evaluation:
            expectation = Message("whole numbers from {low} to {high}", low=self.evaluation + 1, high=1000)
            raise InvalidRequest(Problem("weights_until", str(until), expectation))
        if self.prompt is not None:
            expectation = Message("the run's own prompt: its words are weighted")
            raise InvalidRequest(Problem("prompt", quoted_value(self.prompt), expectation))
        return WordWeights(weights=weights, first=self.evaluation, until=until)

    @property
    def word_swap(self) -> WordSwap | None:
        """The word that is swapped from here on; None where it says nothing of one. Raises InvalidRequest for a text
        that is no swap, without its end or before it begins, and beside what it cannot go with."""
        if self.swap is None and self.swap_until is None:
            return None
        word, replacement = read_swap(self.swap or "")
        if self.swap_until is None or self.swap_until <= self.evaluation:
            value = Message("nothing") if self.swap_until is None else str(self.swap_until)
            expectation = Message("whole numbers from {low} to {high}", low=self.evaluation + 1, high=1000)
            raise InvalidRequest(Problem("swap_until", value, expectation))
        for name in ("prompt", "word_weights", "scheduler", "noise_schedule"):
            if (own := getattr(self, name)) is not None:
                expectation = Message("nothing beside a swap, which keeps the run's own")
                raise InvalidRequest(Problem(name, quoted_value(own), expectation))
        return WordSwap(word=word, replacement=replacement, first=self.evaluation, until=self.swap_until)

    @property
    def switches_scheduler(self) -> bool:
        """Whether another scheduler or noise schedule goes on."""
        return self.scheduler is not None or self.noise_schedule is not None

    @property
    def changes(self) -> dict[str, object]:
        """What is not as it was, by name; of a poke how many numbers it changes."""
        changes = {f.name: v for f in fields(self)[1:] if (v := getattr(self, f.name)) is not None}
        return changes | ({"poke": sum(value != 0 for value in _numbers(self.poke))} if self.poke is not None else {})

    @classmethod
    def parse(cls, parameters: Mapping[str, str], poke: bytes = b"") -> Self:
        """From a query string and the body of the request. Raises InvalidRequest with every problem."""
        names = [f.name for f in fields(cls) if f.name != "poke"]
        problems = [
            Problem(name, quoted_value(parameters[name]), Message("the fields {names}", names=", ".join(names)))
            for name in parameters
            if name not in names
        ]
        values: dict[str, object] = {}
        for name, text in parameters.items():
            if name in ("prompt", "negative_prompt"):
                values[name] = clean_text(text)
                if len(text) > MAX_PROMPT_CHARACTERS:
                    limit = Message(
                        "text of at most {most} characters",
                        most=f"{MAX_PROMPT_CHARACTERS:,}",
                    )
                    problems.append(
                        Problem(name, Message("a text of {count} characters", count=f"{len(text):,}"), limit)
                    )
            elif name in _NAMES:
                values[name] = text
                if text not in _NAMES[name]:
                    problems.append(Problem(name, quoted_value(text), one_of(_NAMES[name])))
            elif name in ("word_weights", "swap"):
                values[name] = clean_text(text)
            elif name in names:
                values[name] = _number(name, text, problems)
        if "evaluation" not in parameters:
            problems.append(Problem("evaluation", Message("nothing"), _WHOLE["evaluation"].describe()))
        if poke:
            values["poke"] = poke
            if len(poke) % 4 or any(not abs(value) <= MAX_POKE for value in _numbers(poke)):
                expectation = Message("float32 numbers from -{max_poke} to {max_poke}", max_poke=f"{MAX_POKE:g}")
                problems.append(Problem("poke", Message("{count} bytes", count=f"{len(poke):,}"), expectation))
        if problems:
            raise InvalidRequest(*problems)
        branch = cls(**values)  # type: ignore[arg-type]
        _ = branch.weights, branch.word_swap
        return branch


_NAMES: Mapping[str, Mapping[str, str]] = {
    "scheduler": {name: facts.label for name, facts in SCHEDULERS.items()},
    "noise_schedule": SPACINGS,
}


def _numbers(poke: bytes) -> array[float]:
    values = array("f", poke[: len(poke) - len(poke) % 4])
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _number(name: str, text: str, problems: list[Problem]) -> float | None:
    limits = _WHOLE.get(name) or RANGES[name]
    try:
        number = int(text) if limits.whole else float(text)
    except ValueError:
        number = None
    if number is None or len(text) > 30 or not limits.holds(number):
        problems.append(Problem(name, quoted_value(text), limits.describe()))
    return number


@dataclass(frozen=True, kw_only=True)
class BranchNode:
    """One run of a tree of branches: where it comes from (None: a run of its own, the root) and how it stands."""

    job_id: str
    state: str
    prompt: str
    guidance_scale: float | None  # None while it is left to the checkpoint
    parent: str | None = None
    image: int = 0  # of the parent
    evaluation: int = 0
    changed: Mapping[str, object] | None = None
