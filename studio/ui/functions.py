"""The page's functions as plain data, for the middleware that checks calls before they reach the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Function:
    """One function of the page. `arguments` are those that a program gives; `inputs` counts the hidden ones too."""

    name: str  # of the endpoint; "" where it is the page's alone
    arguments: tuple[str, ...]
    required: frozenset[str]
    inputs: int


Functions = Callable[[], Mapping[int, Function]]  # by the number that the page calls them with
