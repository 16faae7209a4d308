"""A run's state on disk: replaced atomically, so that kill -9 leaves a whole one; and its log of figures."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import torch


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes beside `path` and renames: readers see the old state or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def load_state(path: Path) -> dict[str, Any] | None:
    """The state of an interrupted run, or None when there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")  # a GPU's run goes on without one
    return state


def save_config(path: Path, config: Any) -> None:
    """A dataclass as JSON beside the weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")  # another process may be waiting for the file
    partial.write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


class FigureLog:
    """One JSON line per logged step. After a resume, lines of steps that will be done again are dropped."""

    def __init__(self, path: Path, from_step: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        if path.exists():
            lines = [line for line in path.read_text().splitlines() if json.loads(line)["step"] < from_step]
        path.write_text("".join(line + "\n" for line in lines))
        self.path = path

    def write(self, step: int, **figures: float) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **{name: round(value, 7) for name, value in figures.items()}}) + "\n")


def generator_for(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Randomness that depends on (seed, step) alone: a resumed run draws what the unbroken one would have drawn.

    On a GPU the numbers are others than on a CPU, but then no step waits for them.
    """
    return torch.Generator(device).manual_seed(seed * 1_000_003 + step)
