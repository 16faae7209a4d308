"""One part of a model before it is read: its config, where every parameter comes from, and whether all of them are
there in the right shape. The listing and the loader both ask `mismatch`, so that they say the same. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.asked.messages import Message, listed
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry
from studio.families.shapes import shapes_by_config

# Buffers that older versions saved and newer ones compute; their presence says nothing about the weights.
IGNORED_KEYS = ("position_ids",)
MAX_LAYERS = 128  # per list and per number of a config: a module of a billion layers would never be made


@dataclass(frozen=True)
class TensorSource:
    """Where one parameter comes from."""

    file: Path
    entry: TensorEntry
    third: int | None = None
    transposed: bool = False
    scale: TensorEntry | None = None  # one number by which the stored values are multiplied

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.entry.shape
        if self.third is not None and shape:
            shape = (shape[0] // 3, *shape[1:])
        return shape[::-1] if self.transposed else shape


@dataclass(frozen=True)
class Plan:
    """One part before it is read: its config and where every parameter comes from."""

    part: str
    label: str  # what people call it
    class_name: str
    config: Mapping[str, Any]
    sources: Mapping[str, TensorSource]
    unknown_names: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()  # submodules that it has not: a VAE's decoder alone

    @property
    def size_bytes(self) -> int:
        return sum(s.entry.size_bytes // (3 if s.third is not None else 1) for s in self.sources.values())


def mismatch(plan: Plan, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What is wrong with the files of a part whose module has tensors of these names and shapes: those that are
    missing, do not belong there, or have another shape, one sentence; "" where all are as they should be."""
    missing = sorted(set(shapes) - set(plan.sources))
    unknown_names = sorted(set(plan.sources) - set(shapes)) + list(plan.unknown_names)
    for names, what in ((missing, Message("are missing")), (unknown_names, Message("do not belong there"))):
        if names:
            examples = listed(n[:80] for n in names[:3])
            if len(names) > 3:
                examples = Message("{names} and more", names=examples)
            return Message(
                "These are no weights of this {plan}: {count} tensors {what} ({examples}).",
                plan=plan.label,
                count=len(names),
                what=what,
                examples=examples,
            )
    wrong = [
        Message(
            "{name} is {shape} and should be {right_shape}",
            name=name,
            shape=_by(plan.sources[name].shape),
            right_shape=_by(shape),
        )
        for name, shape in shapes.items()
        if not _fits(plan.sources[name].shape, shape)
    ]
    if wrong:
        return Message(
            "The {plan} has tensors of the wrong shape: {names}.",
            plan=plan.label,
            names="; ".join(w[:160] for w in wrong[:3]),
        )
    return ""


def check_headers(plan: Plan) -> None:
    """Raises BadCheckpoint where the headers alone show that a part cannot be loaded. Where its config asks for what is
    not known without its module, that is seen at the load."""
    try:
        check_counts(plan.config)
    except ValueError as error:
        raise BadCheckpoint(
            Message("The {plan} cannot be loaded: its weights do not fit its config.json.", plan=plan.label)
        ) from error
    shapes = shapes_by_config(plan.class_name, plan.config)
    if shapes is None:
        return
    shapes = {name: shape for name, shape in shapes.items() if name.partition(".")[0] not in plan.lacks}
    if problem := mismatch(plan, shapes):
        raise BadCheckpoint(problem)


def check_counts(config: Mapping[str, Any]) -> None:
    """Raises ValueError for more layers than any model has."""
    for key, value in config.items():
        counts = value if isinstance(value, list) else [value] if "layers" in key else []
        if len(counts) > MAX_LAYERS:
            raise ValueError(f"{key} has {len(counts)} entries")
        if "layers" in key and any(isinstance(n, int) and not 0 <= n <= MAX_LAYERS for n in counts):
            raise ValueError(f"{key} is {str(value)[:60]}")


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Equal, or a 1x1 convolution where a linear layer is meant, as the original VAE's attention is."""
    return shape == target or (len(target) == 2 and shape == (*target, 1, 1))


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape) or "one number"
