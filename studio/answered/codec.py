"""Values to bytes and back: all that crosses between a page and an engine in another process.

Msgpack, with bytes as they are. A dataclass is a map of its fields with its name beside them, so unions need no
description; whatever is not plain data is refused. What is read back equals what was written, type for type.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import MISSING
from types import ModuleType
from typing import Any

import msgspec

from studio.answered import engine, events, model_facts, models
from studio.asked import (
    axes,
    branch,
    compare,
    control,
    fields,
    guest_rules,
    messages,
    orders,
    problems,
    questions,
    resolved,
    upscale,
)

TYPE = "\x00type"  # the key that holds the name of what a map stands for
MODULES: tuple[ModuleType, ...] = (
    fields,
    control,
    problems,
    resolved,
    axes,
    compare,
    branch,
    questions,
    upscale,
    guest_rules,
    orders,
    events,
    model_facts,
    models,
    engine,
)
ERRORS: Mapping[str, type[Exception]] = {error.__name__: error for error in (engine.UnknownJob, models.NoSuchModel)}


class BadMessage(ValueError):
    """Bytes that are no message of this version, or a value that is no plain data."""


def encode(value: object) -> bytes:
    """The bytes of a value. Raises BadMessage for what is no plain data."""
    try:
        return msgspec.msgpack.encode(_plain(value))
    except (TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise BadMessage(f"This value cannot be sent: {error}") from error


def decode(data: bytes) -> Any:
    """The value that `encode` was given. Raises BadMessage for anything else than its bytes.

    The fields of a request are not checked: whoever takes it asks `Making.problems`."""
    try:
        return _value(msgspec.msgpack.decode(data))
    except (TypeError, KeyError, AttributeError, UnicodeError, RecursionError, msgspec.MsgspecError) as error:
        raise BadMessage(f"These bytes are no message: {error}") from error


def known_types() -> dict[str, type]:
    """Every dataclass that may cross, by name."""
    return _TYPES


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | bytes():
            return value
        case messages.Message():
            parts = {"text": messages.as_text(value), "key": value.key, "values": dict(value.values)}
            return {TYPE: "Message"} | {name: _plain(part) for name, part in parts.items()}
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:  # a file's name that is no UTF-8
                return {TYPE: "str", "bytes": value.encode("utf-8", "surrogatepass")}
            return value
        case tuple():
            return [_plain(item) for item in value]
        case list():
            return {TYPE: "list", "items": [_plain(item) for item in value]}
        case Mapping():
            return {TYPE: "dict", "items": [[_plain(key), _plain(item)] for key, item in value.items()]}
        case problems.InvalidRequest():
            return {TYPE: "InvalidRequest", "problems": [_plain(problem) for problem in value.problems]}
        case engine.Refused():
            return {TYPE: "Refused", "text": _plain(str(value)), "kind": value.kind, "retry_after": value.retry_after}
        case Exception() if type(value).__name__ in ERRORS:
            return {TYPE: type(value).__name__, "text": _plain(str(value))}
    name = type(value).__name__
    if not dataclasses.is_dataclass(value) or _TYPES.get(name) is not type(value):
        raise BadMessage(f"A {name} is no plain data and cannot be sent.")
    return {TYPE: name} | {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}


def _value(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_value(item) for item in data)
    if not isinstance(data, dict):
        return data
    name = data.pop(TYPE)
    match name:
        case "str":
            return data["bytes"].decode("utf-8", "surrogatepass")
        case "Message":
            return messages.again(_value(data["text"]), _value(data["key"]), _value(data["values"]))
        case "list":
            return [_value(item) for item in data["items"]]
        case "dict":
            return {_value(key): _value(item) for key, item in data["items"]}
        case "InvalidRequest":
            return problems.InvalidRequest(*(_value(problem) for problem in data["problems"]))
        case "Refused":
            return engine.Refused(_value(data["text"]), kind=data["kind"], retry_after=data["retry_after"])
    if name in ERRORS:
        return ERRORS[name](_value(data["text"]))
    return _dataclass(_TYPES[name], data)


def _dataclass(kind: type, data: dict[str, Any]) -> Any:
    """Made without its checks: whoever takes it makes them, and the rest comes from an engine that made them."""
    instance: Any = object.__new__(kind)
    for field in dataclasses.fields(kind):
        if field.name in data:
            value = _value(data.pop(field.name))
        elif field.default is not MISSING:
            value = field.default
        elif field.default_factory is not MISSING:
            value = field.default_factory()
        else:
            raise BadMessage(f"{kind.__name__} lacks {field.name}.")
        object.__setattr__(instance, field.name, value)
    if data:
        raise BadMessage(f"{kind.__name__} has no field {', '.join(map(repr, data))}.")
    return instance


_TYPES: dict[str, type] = {
    name: kind
    for module in MODULES
    for name, kind in vars(module).items()
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and kind.__module__ == module.__name__
}
