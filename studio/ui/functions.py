"""What can be called on the page, in plain data: known to the page, asked by what stands before it."""

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
