"""Something else computes what a module computes, for the length of a `with` block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

Forward = Callable[..., Any]


@contextmanager
def standing_in(forwards: Mapping[torch.nn.Module, Forward]) -> Iterator[None]:
    """The modules answer by these instead of their own `forward`. Hooks on them (a LoRA, the attention's observer) run
    as ever."""
    before = {module: module.__dict__.get("forward") for module in forwards}  # set by whoever moves or casts weights
    for module, forward in forwards.items():
        # Not by setattr, which looks for parameters and buffers first and takes ten times as long.
        module.__dict__["forward"] = forward
    try:
        yield
    finally:
        for module, was in before.items():
            if was is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = was


def is_compiled(network: torch.nn.Module) -> bool:
    """Whether torch.compile has been asked for it, by either of its two ways. Such a network is left alone: it would be
    compiled anew for every `forward` that stands in."""
    return hasattr(network, "_orig_mod") or getattr(network, "_compiled_call_impl", None) is not None
