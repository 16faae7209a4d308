"""What the owner of a shared studio lets guests use, besides their allowance: which models, which words, which values.

Plain data and the judgement over it; the engine asks it of every job (studio.engine.intake). No torch, no disk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from studio.asked.branch import Branch
from studio.asked.compare import Comparison
from studio.asked.fields import RESIZE_MODES, ImageToImage, Inpaint, TextToImage
from studio.asked.messages import Message, listed
from studio.asked.names import same_name
from studio.asked.problems import InvalidRequest, Problem, one_of, quoted_value
from studio.asked.prompt import parse_prompt
from studio.asked.refused_words import RefusedWords, has_negative_weight, texts_read
from studio.asked.requests import RANGES, Request
from studio.asked.resolved import Suits, resolve
from studio.asked.schedulers import NoiseScheduleName, resolve_noise_schedule
from studio.asked.template import NO_WILDCARDS, Wildcards

# The fields whose value an owner may fix for a lesson.
LOCKABLE = (
    "checkpoint",
    "negative_prompt",
    "width",
    "height",
    "num_inference_steps",
    "guidance_scale",
    "seed",
    "scheduler",
    "noise_schedule",
)
# What a branch calls a field of the request that it changes.
_OF_BRANCH = {"noise_seed": "seed"}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """`models`: ids of those that may be named; None: all. `refused_words` as the owner has typed them. `locked`: pairs
    of a field and its value. `safety_checker`: finished pictures are looked at, and nothing is shown before.
    `wildcards`: prompts may ask for lines of the owner's wildcard files."""

    models: tuple[str, ...] | None = None
    refused_words: tuple[str, ...] = ()
    locked: tuple[tuple[str, str | int | float], ...] = ()
    safety_checker: bool = False
    wildcards: bool = True

    @property
    def locked_values(self) -> Mapping[str, str | int | float]:
        """The locked fields' values by name."""
        return dict(self.locked)


NO_RULES = Rules()


def with_locked(request: Request, rules: Rules) -> Request:
    """The request with the values that the owner has locked, in the fields that it leaves open or at their default.
    Raises InvalidRequest for another value in a locked field, and for a field that would get around it."""
    values, problems, rows = {}, [], request.rows()
    for name, locked in rules.locked:
        value = getattr(request, name)
        if value is None or value == rows[name].default:
            values[name] = locked
        elif value != locked and not (name == "checkpoint" and same_name(str(value), str(locked))):
            problems.append(_locked_problem(name, value, locked))
    problems += _ways_around(request, rules.locked_values)
    if problems:
        raise InvalidRequest(*problems)
    return dataclasses.replace(request, **values) if values else request  # type: ignore[arg-type]


def comparison_with_locked(comparison: Comparison, rules: Rules) -> Comparison:
    """The same for all cells of a comparison. Raises InvalidRequest also for an axis that varies a locked field."""
    locked = rules.locked_values
    for name, axis in zip("xy", comparison.axes):
        for field in ("width", "height") if axis.field == "size" else (axis.field,):
            if field in locked:
                problem = Problem(
                    name, quoted_value(axis.field), Message("another axis: {fixed}", fixed=_fixed(field, locked[field]))
                )
                raise InvalidRequest(problem)
    base = with_locked(comparison.base, rules)
    if base is not comparison.base:
        comparison = dataclasses.replace(comparison, base=base)
    for index in comparison.possible:  # words that an axis replaces may stand in a locked negative prompt
        cell = comparison.request(index)
        if cell is not None:
            with_locked(cell, rules)
    return comparison


def check_branch(branch: Branch, rules: Rules) -> None:
    """Raises InvalidRequest for a branch that changes a locked field."""
    locked = rules.locked_values
    problems = [
        _locked_problem(name, value, locked[field])
        for name, value in branch.changes.items()
        if (field := _OF_BRANCH.get(name, name)) in locked and value != locked[field]
    ]
    if problems:
        raise InvalidRequest(*problems)


def check_past(request: Request, suits: Suits, rules: Rules) -> None:
    """Raises InvalidRequest for a branch whose request, in which nothing is open any more, has another value in a
    locked field: the run that it leaves is from before the lesson."""
    problems = [
        _locked_problem(name, getattr(request, name), locked)
        for name, locked in rules.locked
        if not _is_as_locked(request, name, locked, suits)
    ]
    problems += _ways_around(request, rules.locked_values)
    if problems:
        raise InvalidRequest(*problems)


def _is_as_locked(request: Request, name: str, locked: str | int | float, suits: Suits) -> bool:
    value = getattr(request, name)
    if name == "checkpoint":
        return same_name(str(value), str(locked))
    if name == "seed":  # the images of one run have the seed and those that follow
        return 0 <= int(value) - int(locked) < RANGES["num_images_per_prompt"].high
    if name == "noise_schedule":  # a recorded run has the name of what "automatic" was
        scheduler = request.scheduler or suits.scheduler
        recorded, fixed = (
            resolve_noise_schedule(scheduler, cast(NoiseScheduleName, name), suits.prediction_type)
            for name in (value or "automatic", locked)
        )
        return recorded == fixed
    return bool(value == locked)


def _ways_around(request: Request, locked: Mapping[str, str | int | float]) -> list[Problem]:
    """The problems of fields that make something else of a locked one: another size, other steps, other noise."""
    problems: list[Problem] = []

    def refuse(name: str, allowed: str, fixed_field: str) -> None:
        expectation = Message(
            "{value}, since the owner of this studio has fixed {field}", value=allowed, field=fixed_field
        )
        problems.append(Problem(name, quoted_value(getattr(request, name)), expectation))

    side = next((name for name in ("width", "height") if name in locked), None)
    second_pass = request if isinstance(request, TextToImage) and request.has_second_pass else None
    if side is not None and second_pass is not None:
        refuse("hires_scale", "1", side)
    if side is not None and isinstance(request, ImageToImage) and request.resize_mode == "fit":
        refuse("resize_mode", one_of({name: label for name, label in RESIZE_MODES.items() if name != "fit"}), side)
    if side is not None and isinstance(request, Inpaint):
        for name in ("extend_left", "extend_right", "extend_up", "extend_down"):
            if getattr(request, name):
                refuse(name, "0", side)
    steps = locked.get("num_inference_steps")
    if steps is not None and second_pass is not None and second_pass.hires_steps not in (0, steps):
        refuse("hires_steps", listed(("0", str(steps))), "num_inference_steps")
    for name in ("negative_prompt", "scheduler", "noise_schedule", "guidance_scale"):
        own = getattr(second_pass, f"hires_{name}", None)
        if name in locked and own not in (None, "", "same", locked[name]):
            refuse(f"hires_{name}", str(locked[name]), name)
    if "seed" in locked and request.variation_strength > 0:
        refuse("variation_strength", "0", "seed")
    return problems


def _locked_problem(name: str, value: object, locked: object) -> Problem:
    return Problem(name, quoted_value(value), _fixed(name, locked))


def _fixed(name: str, locked: object) -> Message:
    return Message(
        "{value}, which the owner of this studio has fixed for {field}", value=quoted_value(locked), field=name
    )


# ------------------------------------------------------------------------------------------------------------- words


def check_words(
    request: Request, suits: Suits, rules: Rules, wildcards: Wildcards = NO_WILDCARDS, *, field: str = "prompt"
) -> None:
    """Raises InvalidRequest, naming the word, for a prompt that reads a refused word at any step of any pass.

    In the prompt a word counts at any weight: the weight is only of the word's own places, and the text encoder lets
    those after it see the word in full, so a word of weight -0.01 is drawn. The negative prompt keeps away what it
    names, so a refused word may stand there. A span of negative weight asks for what it names, and for the words before
    it, which it has seen: in a text with such a span every word counts. Of a template
    what counts is what its seed chooses.
    """
    if not rules.refused_words:
        return
    words = RefusedWords.of(rules.refused_words)
    resolved = resolve(request, suits, wildcards=wildcards, random_seed=lambda: 0)
    passes = [(image, image.second_pass) for image in resolved.images]
    for one in (one for both in passes for one in both if one is not None):
        positive = [text for _, text in one.prompt.texts(one.steps, one.steps_before)]
        negative = [text for _, text in one.negative_prompt.texts(one.steps, one.steps_before)]
        emphasis = one.request.emphasis
        asked_for = [text for text in negative if has_negative_weight(text, emphasis)]
        own = "hires_" if one.steps_before is not None else ""
        prompt_field = f"{own}prompt" if own and getattr(request, f"{own}prompt", "") else field
        negative_field = f"{own}negative_prompt" if getattr(request, f"{own}negative_prompt", "") else "negative_prompt"
        _refuse(words.first_in(texts_read(positive, emphasis)), prompt_field)
        _refuse(words.first_in(texts_read(asked_for, emphasis)), negative_field)


def check_text(text: str, rules: Rules, *, field: str) -> None:
    """The same for a text that is encoded without a run, such as a caption in the noise viewer."""
    if rules.refused_words:
        texts = [text for _, text in parse_prompt(text).texts(1000)]
        _refuse(RefusedWords.of(rules.refused_words).first_in(texts_read(texts)), field)


def check_comparison_words(
    comparison: Comparison, suits: Mapping[str, Suits], rules: Rules, wildcards: Wildcards = NO_WILDCARDS
) -> None:
    """`check_words` of every cell. What an axis has put into the prompt is named at the axis."""
    if not rules.refused_words:
        return
    axes = [f"{name}_values" for name, axis in zip("xy", comparison.axes) if axis.field == "prompt"]
    fields: Iterable[str] = ("prompt",)
    if axes:
        try:
            check_text(comparison.base.prompt, rules, field="prompt")
            fields = axes[-1:]
        except InvalidRequest:
            pass
    for index in comparison.possible:
        cell = comparison.request(index)
        if cell is not None:
            check_words(cell, suits.get(cell.checkpoint, Suits()), rules, wildcards, field=next(iter(fields)))


def _refuse(word: str | None, field: str) -> None:
    if word is not None:
        value = Message("the word {word}", word=quoted_value(word))
        raise InvalidRequest(Problem(field, value, Message("what the owner of this studio does not refuse")))
