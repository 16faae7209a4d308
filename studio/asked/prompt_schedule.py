"""Prompt scheduling: [before:after:when], [to:when], [from::when] and [a|b|c], by A1111's grammar. Plain text in, the
text of each step out; what is no schedule stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from studio.asked.emphasis import excerpt


class Piece(str):
    """A piece of a prompt, with the place in the prompt where it begins."""

    start: int

    def __new__(cls, text: str, start: int) -> Piece:
        piece = super().__new__(cls, text)
        piece.start = start
        return piece

    def __reduce__(self) -> tuple[Any, ...]:
        return Piece, (str(self), self.start)


@dataclass(frozen=True)
class Switch:
    """[before:after:when]: `when` is a share of the steps where it is written with a point, else a step's number."""

    before: tuple[Any, ...]
    after: tuple[Any, ...]
    when: float
    is_share: bool
    text: str  # as it stands in the prompt, shortened

    def last_step(self, num_steps: int, steps_before: int | None = None) -> int:
        """The last step, counted from 1, of `before` in a pass of `num_steps`; 0 where the pass begins with `after`.

        `steps_before`: the steps of the pass before, in the second pass of a picture that is made twice. There shares
        run from 1.0 to 2.0, and step numbers go on counting.
        """
        if steps_before is None:
            step = self.when * num_steps if self.is_share else self.when
        else:  # rounded: 1.2 - 1 is not 0.2 in binary
            step = round((self.when - 1) * num_steps, 6) if self.is_share else self.when - steps_before
        return int(max(0, min(step, num_steps)))


@dataclass(frozen=True)
class Alternation:
    """[a|b|c]: one per step, in turn."""

    choices: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class PromptSchedule:
    """The parsed schedule of a prompt. `unread`: bracket groups that look like a schedule and are none."""

    items: tuple[Any, ...]  # Piece, Switch or Alternation
    unread: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the text is the same at every step."""
        return all(isinstance(item, str) for item in self.items)

    @property
    def switches(self) -> list[Switch]:
        """Every switch, also those within others."""
        switches, rest = [], list(self.items)
        while rest:
            item = rest.pop()
            if isinstance(item, Switch):
                switches.append(item)
                rest += [*item.before, *item.after]
            elif isinstance(item, Alternation):
                rest += [inner for choice in item.choices for inner in choice]
        return switches

    def texts(self, num_steps: int, steps_before: int | None = None) -> list[tuple[int, str]]:
        """[(until, text)]: `text` holds up to and with step `until`, counted from 1; the last `until` is `num_steps`.
        `steps_before`: see `Switch.last_step`."""
        last = max(num_steps, 1)
        if self.is_plain:
            return [(last, "".join(self.items))]
        texts: list[tuple[int, str]] = []
        for step in range(1, last + 1):
            text = "".join(self.pieces_at(step, num_steps, steps_before))
            if texts and texts[-1][1] == text:
                texts[-1] = (step, text)
            else:
                texts.append((step, text))
        return texts

    def pieces_at(self, step: int, num_steps: int, steps_before: int | None = None) -> Iterator[Piece]:
        """The pieces of the text of one step, counted from 1."""
        rest = list(reversed(self.items))
        while rest:  # no recursion: a prompt may nest thousands deep
            item = rest.pop()
            if isinstance(item, Piece):
                yield item
            elif isinstance(item, Switch):
                rest += reversed(item.before if step <= item.last_step(num_steps, steps_before) else item.after)
            else:
                rest += reversed(item.choices[(step - 1) % len(item.choices)])


@dataclass
class _Group:
    """An open bracket and what has been read since: parts between separators."""

    bracket: Piece
    begin: int  # where the bracket stands in the prompt
    parts: list[list[Any]] = field(default_factory=lambda: [[]])
    separators: list[Piece] = field(default_factory=list)

    def as_text(self) -> list[Any]:
        """The same as plain text, when it turns out to be no schedule. Nested schedules stay."""
        items: list[Any] = [self.bracket, *self.parts[0]]
        for separator, part in zip(self.separators, self.parts[1:]):
            items += [separator, *part]
        return items


_TOKEN = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]+|\\", re.DOTALL)
_OPENER = {"]": "[", ")": "("}
_WHEN = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*")


def parse_schedule(prompt: str) -> PromptSchedule:
    """Read the schedule of a prompt. Never fails: an unclosed bracket or one without a schedule is text."""
    stack = [_Group(Piece("", 0), 0)]
    open_brackets = {"[": 0, "(": 0}
    unread: list[str] = []
    for match in _TOKEN.finditer(prompt):
        token = Piece(match.group(), match.start())
        top = stack[-1]
        if token in open_brackets:
            stack.append(_Group(token, match.start()))
            open_brackets[token] += 1
        elif token in _OPENER:
            bracket = _OPENER[token]
            if not open_brackets[bracket]:
                top.parts[-1].append(token)
                continue
            first = next(k for k in range(len(stack) - 1, 0, -1) if stack[k].bracket == bracket)
            group, open_groups = stack[first], stack[first + 1 :]
            del stack[first:]
            for inner in [group, *open_groups]:
                open_brackets[inner.bracket] -= 1
            for inner in open_groups:  # an unclosed bracket of the other kind is text
                group.parts[-1] += inner.as_text()
            text = excerpt(prompt, group.begin, match.end())
            items = _schedule_of(group, text)
            if items is None:
                items = [*group.as_text(), token]
                if group.separators:
                    unread.append(text)
            stack[-1].parts[-1] += items
        elif token in ":|" and top.bracket == "[":
            top.separators.append(token)
            top.parts.append([])
        else:
            top.parts[-1].append(token)
    unread += [excerpt(prompt, group.begin) for group in stack[1:] if group.bracket == "[" and group.separators]
    return PromptSchedule(tuple(item for group in stack for item in group.as_text()), tuple(unread))


def _schedule_of(group: _Group, text: str) -> list[Any] | None:
    """The schedule that a closed bracket group is; None where it is none."""
    kinds = set(group.separators)
    if kinds == {"|"}:
        return [Alternation(tuple(tuple(part) for part in group.parts))]
    last = group.parts[-1]
    if kinds == {":"} and len(group.parts) in (2, 3) and all(isinstance(item, str) for item in last):
        number = _WHEN.fullmatch("".join(last))
        if number:
            when = number.group(1)
            before = tuple(group.parts[0]) if len(group.parts) == 3 else ()
            return [Switch(before, tuple(group.parts[-2]), float(when), "." in when, text)]
    return None
