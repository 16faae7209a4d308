"""Ids that say which engine they belong to: its name, a hyphen, and what the engine calls the thing itself."""

from __future__ import annotations

import secrets

HERE = "here"  # the name of the only engine of a studio


def new_id(engine: str) -> str:
    """A random id (128 bits) of something that this engine owns."""
    return of_engine(engine, secrets.token_hex(16))


def of_engine(engine: str, name: str) -> str:
    """The id of what an engine itself calls `name`."""
    return f"{engine}-{name}"


def engine_of(some_id: str) -> str:
    """The name of the engine that an id belongs to; "" for what is no such id."""
    engine, hyphen, _ = some_id.partition("-")
    return engine if hyphen else ""


def name_in(engine: str, some_id: str) -> str:
    """What the engine itself calls the thing; "" for an id of another engine, which names nothing here."""
    return some_id.removeprefix(f"{engine}-") if engine_of(some_id) == engine else ""
