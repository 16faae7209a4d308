"""What the owner of a shared studio lets guests use, besides their allowance: which models, which words, which values.

Plain data and the judgement over it; the engine asks it of every job (studio.engine.intake). No torch, no disk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from studio.asked.branch import Branch
from studio.asked.compare import Comparison
from studio.asked.messages import Message
from studio.asked.names import same_name
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.prompt import parse_prompt
from studio.asked.refused_words import RefusedWords, texts_read
from studio.asked.requests import Request
from studio.asked.resolved import Suits, resolve

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
    of a field and its value. `safety_checker`: finished pictures are looked at, and nothing is shown before."""

    models: tuple[str, ...] | None = None
    refused_words: tuple[str, ...] = ()
    locked: tuple[tuple[str, str | int | float], ...] = ()
    safety_checker: bool = False

    @property
    def locked_values(self) -> Mapping[str, str | int | float]:
        """The locked fields' values by name."""
        return dict(self.locked)


NO_RULES = Rules()


def with_locked(request: Request, rules: Rules) -> Request:
    """The request with the values that the owner has locked, in the fields that it leaves open or at their default.
    Raises InvalidRequest for another value in a locked field."""
    values, problems, rows = {}, [], request.rows()
    for name, locked in rules.locked:
        value = getattr(request, name)
        if value is None or value == rows[name].default:
            values[name] = locked
        elif value != locked and not (name == "checkpoint" and same_name(str(value), str(locked))):
            problems.append(_locked_problem(name, value, locked))
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


def _locked_problem(name: str, value: object, locked: object) -> Problem:
    return Problem(name, quoted_value(value), _fixed(name, locked))


def _fixed(name: str, locked: object) -> Message:
    return Message(
        "{value}, which the owner of this studio has fixed for {field}", value=quoted_value(locked), field=name
    )


# ------------------------------------------------------------------------------------------------------------- words


def check_words(request: Request, suits: Suits, rules: Rules, *, field: str = "prompt") -> None:
    """Raises InvalidRequest, naming the word, for a prompt that reads a refused word at any step of any pass.

    The negative prompt keeps away what it names, so a refused word may stand there, but for a span of negative weight,
    which asks for it.
    """
    if not rules.refused_words:
        return
    words = RefusedWords.of(rules.refused_words)
    resolved = resolve(request, suits, random_seed=lambda: 0)
    passes = [one for one in (resolved, resolved.second_pass) if one is not None]
    for one in passes:
        positive = [text for _, text in one.prompt.texts(one.steps, one.steps_before)]
        negative = [text for _, text in one.negative_prompt.texts(one.steps, one.steps_before)]
        _refuse(words.first_in(texts_read(positive, asks=lambda weight: weight >= 0)), field)
        _refuse(words.first_in(texts_read(negative, asks=lambda weight: weight < 0)), "negative_prompt")


def check_text(text: str, rules: Rules, *, field: str) -> None:
    """The same for a text that is encoded without a run, such as a caption in the noise viewer."""
    if rules.refused_words:
        texts = [text for _, text in parse_prompt(text).texts(1000)]
        _refuse(RefusedWords.of(rules.refused_words).first_in(texts_read(texts, asks=lambda weight: True)), field)


def check_comparison_words(comparison: Comparison, suits: Mapping[str, Suits], rules: Rules) -> None:
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
            check_words(cell, suits.get(cell.checkpoint, Suits()), rules, field=next(iter(fields)))


def _refuse(word: str | None, field: str) -> None:
    if word is not None:
        value = Message("the word {word}", word=quoted_value(word))
        raise InvalidRequest(Problem(field, value, Message("what the owner of this studio does not refuse")))
