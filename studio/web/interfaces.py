"""Interfaces that programs of others speak: addresses below one beginning, answered by a layer of their own."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.middleware import Middleware


@dataclass(frozen=True)
class Interface:
    """`prefix`: how its addresses begin; JSON below it may hold pictures. `layer` answers them. `basic`: a request may
    bring a name and password with it (HTTP Basic). `error_form`: the layer that gives every error the form that its
    programs read."""

    prefix: str
    layer: Middleware
    basic: bool = False
    error_form: Middleware | None = None
