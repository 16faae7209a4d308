"""Names the texts of Gradio's own components in the page's layout, so that a browser can put them there in its
visitor's language (static/language.js). The layout itself is in English and the same for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from studio.asked.messages import Message

Named = list[Any]  # a path of names and numbers below a component's props, and what stands there


def name_texts(components: list[dict[str, Any]]) -> None:
    """Adds `says` to every component of a layout whose props hold messages: [path, message] of each, a message being
    its key and its values."""
    for component in components:
        says = list(_messages(component["props"], ()))
        if says:
            component["says"] = says


def _messages(value: Any, path: tuple[str | int, ...]) -> Iterator[Named]:
    if isinstance(value, Message):
        yield [path, _key_and_values(value)]
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _messages(one, (*path, name))
    elif isinstance(value, (list, tuple)):
        for k, one in enumerate(value):
            yield from _messages(one, (*path, k))


def _key_and_values(message: Message) -> list[Any]:
    values = {name: _key_and_values(one) if isinstance(one, Message) else one for name, one in message.values.items()}
    return [message.key, values] if values else [message.key]
