"""A control: a ControlNet and the picture that it holds a run to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, Self

from studio.asked.messages import Message
from studio.asked.problems import MAX_IMAGE_BYTES, Problem, Range, one_of, quoted_value, short_name

PreprocessorName = Literal["none", "canny", "scribble"]

PREPROCESSORS: Mapping[str, str] = {"none": "None, it is a map", "canny": "Canny edges", "scribble": "Scribble"}
MAX_CONTROLS = 3
CONTROL_RANGES: Mapping[str, Range] = {
    "scale": Range(low=0, high=2),
    "start": Range(low=0, high=1),
    "end": Range(low=0, high=1),
}


@dataclass(frozen=True, kw_only=True)
class Control:
    """A ControlNet (Zhang et al. 2023) and the picture that it holds the run to: bytes of a PNG, JPEG, WebP or GIF.

    `preprocessor` makes the map that the ControlNet was trained on out of the picture; "none": the picture is one.
    `scale` is diffusers' controlnet_conditioning_scale; `start` and `end` are shares of the run between which it acts.
    Whoever makes one by hand has it checked with the request that holds it.
    """

    model: str
    image: bytes = b""
    preprocessor: PreprocessorName = "none"
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def problems(self, number: int) -> list[Problem]:
        """What is wrong with it, as problems of the field `controls`; `number` counts from 1."""
        problems: list[Problem] = []

        def wrong(name: str, value: str, expectation: str) -> None:
            problems.append(
                Problem(
                    "controls",
                    Message("{name} {value} of control {number}", name=name, value=value, number=number),
                    expectation,
                )
            )

        if not isinstance(self.model, str) or not 1 <= len(self.model) <= 300:
            wrong("model", quoted_value(self.model), Message("the name of an installed ControlNet"))
        if not isinstance(self.image, bytes) or not self.image:
            wrong(
                "image",
                "nothing" if not self.image else quoted_value(self.image),
                Message("a PNG, JPEG, WebP or GIF file"),
            )
        elif len(self.image) > MAX_IMAGE_BYTES:
            expectation = Message("a file of at most {most} MiB", most=MAX_IMAGE_BYTES // 2**20)
            wrong("image", Message("a file of {count} MiB", count=f"{len(self.image) / 2**20:.1f}"), expectation)
        if not isinstance(self.preprocessor, str) or self.preprocessor not in PREPROCESSORS:
            wrong("preprocessor", quoted_value(self.preprocessor), one_of(PREPROCESSORS))
        for name, allowed_range in CONTROL_RANGES.items():
            if not allowed_range.holds(getattr(self, name)):
                wrong(name, quoted_value(getattr(self, name)), allowed_range.describe())
        if not problems and self.start >= self.end:
            wrong("end", f"{self.end:g}", Message("numbers above its start, {start}", start=f"{self.start:g}"))
        return problems

    @classmethod
    def all_problems(cls, controls: object) -> list[Problem]:
        """What is wrong with the controls of a request."""
        if not isinstance(controls, tuple) or not all(isinstance(control, cls) for control in controls):
            return [Problem("controls", quoted_value(controls), Message("a list of controls"))]
        if len(controls) > MAX_CONTROLS:
            return [
                Problem(
                    "controls",
                    Message("{count} controls", count=len(controls)),
                    Message("at most {most}", most=MAX_CONTROLS),
                )
            ]
        return [problem for number, control in enumerate(controls, start=1) for problem in control.problems(number)]

    def to_dict(self) -> dict[str, object]:
        """As a request's: the picture is named by its hash."""
        values: dict[str, object] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "image"}
        return values | {"image_sha256": hashlib.sha256(self.image).hexdigest()}

    @classmethod
    def parse(cls, value: object, number: int, problems: list[Problem]) -> Self | None:
        """A control from outside values. None for anything else, with the reason in `problems`. The request checks the
        rest."""
        names = [f.name for f in fields(cls)]
        if not isinstance(value, Mapping):
            expectation = Message("an object with the fields {names}", names=", ".join(names))
            problems.append(
                Problem(
                    "controls",
                    Message("{name} as control {number}", name=quoted_value(value), number=number),
                    expectation,
                )
            )
            return None
        unknown_names = [name for name in value if name not in names]
        for name in unknown_names:
            problems.append(
                Problem(
                    "controls",
                    Message("{name} in control {number}", name=quoted_value(name), number=number),
                    Message("the fields {names}", names=", ".join(names)),
                )
            )
        values: dict[str, object] = {"model": value.get("model")} | {n: value[n] for n in names if n in value}
        for name in CONTROL_RANGES:
            if type(values.get(name)) is int:
                values[name] = float(values[name])  # type: ignore[arg-type]
        if isinstance(values.get("preprocessor"), str):
            values["preprocessor"] = short_name(str(values["preprocessor"]), PREPROCESSORS)
        return None if unknown_names else cls(**values)  # type: ignore[arg-type]


def parse_controls(value: object, problems: list[Problem]) -> tuple[Control, ...]:
    """What `controls` becomes: a list of controls or of objects; null is none. Problems are appended."""
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        problems.append(
            Problem(
                "controls",
                quoted_value(value),
                Message("a list of at most {most} controls", most=MAX_CONTROLS),
            )
        )
        return ()
    if len(value) > MAX_CONTROLS:
        problems.append(
            Problem(
                "controls",
                Message("{count} controls", count=len(value)),
                Message("at most {most}", most=MAX_CONTROLS),
            )
        )
        return ()
    controls = [
        one if isinstance(one, Control) else Control.parse(one, number, problems)
        for number, one in enumerate(value, start=1)
    ]
    return tuple(control for control in controls if control is not None)
