"""A sentence for a person that can still be said in another language: its English text, its key and its values.

A `Message` is a string, the English sentence, so that logs, programs and tests read it as one. What a page shows of it
is said anew from key and values (`studio.ui.text.spoken`). In the rooms that know no page the key is the English
sentence itself, with {places} for the values. Joining or formatting text makes plain text of it: put a message into
another message as a value, or use `listed` and `sentences`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

_PLACE = re.compile(r"\{(\w+)\}")
Value = str | int | float | bool | None


class Message(str):
    """A sentence with its key and values.

    `sentence` has {names} for `values`; braces of its own are doubled where there are values. `key` names it in the
    catalogue where that is not the sentence. Values are text (a message too) and numbers; others become text.
    """

    __slots__ = ("key", "values")

    key: str
    values: Mapping[str, Value]

    def __new__(cls, sentence: str, /, **values: object) -> Self:
        return cls.of(sentence, sentence, values)

    @classmethod
    def of(cls, key: str, sentence: str, values: Mapping[str, object]) -> Self:
        """The message of a key, as `sentence` says it."""
        plain = {name: one if isinstance(one, (str, int, float)) else str(one) for name, one in values.items()}
        message = str.__new__(cls, sentence.format(**plain) if plain else sentence)
        message.key = key
        message.values = plain
        return message

    def __str__(self) -> str:
        return self  # `str(error)` stays a message

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (again, (str.__str__(self), self.key, dict(self.values)))


def again(text: str, key: str, values: Mapping[str, Value]) -> Message:
    """A message from its three parts, as another process or a copy has it."""
    message = str.__new__(Message, text)
    message.key = key
    message.values = values
    return message


def as_text(value: object) -> str:
    """A message as nothing but its sentence, for msgspec, which writes no string of another class."""
    if isinstance(value, Message):
        return str.__str__(value)
    raise TypeError(f"{type(value).__name__} is no message")


def sentences(parts: Iterable[str]) -> Message:
    """Whole sentences one after the other."""
    return _join(" ", parts)


def listed(parts: Iterable[str]) -> Message:
    """A list of names or choices."""
    return _join(", ", parts)


def _join(between: str, parts: Iterable[str]) -> Message:
    there = [part for part in parts if part]
    return Message.of(
        between.join(f"{{p{k}}}" for k in range(len(there))),
        between.join(f"{{p{k}}}" for k in range(len(there))),
        {f"p{k}": part for k, part in enumerate(there)},
    )


def is_joined(key: str) -> bool:
    """Whether a key is nothing but places: then its parts are said, and it has no text of its own."""
    return not _PLACE.sub("", key).strip(" ,")
