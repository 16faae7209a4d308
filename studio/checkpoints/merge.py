"""Two or three checkpoints => one .safetensors file: AUTOMATIC1111's weighted sum, a (1 - w) + b w, and add difference,
a + (b - c) w.

Tensor by tensor, computed in float32, so that no checkpoint is ever whole in memory. Weights are matched by the place
that they have in the model, not by their names, of which a family may have several forms. What a picture needs nothing
of is the first one's; the average that training kept (model_ema) is left out.
"""

from __future__ import annotations

import json
import math
import os
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.asked.messages import Message
from studio.asked.orders import MergeMethod, MergePrecision
from studio.checkpoints.inspect import DTYPE_BITS, BadCheckpoint, Header, TensorEntry, read_whole_header
from studio.families import edm
from studio.families.base import UNET_PREFIX, VAE_PREFIX, Family
from studio.families.layout import translate
from studio.families.storage import EMA, READABLE, is_companion, is_stray

if TYPE_CHECKING:
    import torch

STORED_AS: Mapping[MergePrecision, str | None] = {"first": None, "fp32": "F32", "fp16": "F16", "bf16": "BF16"}
_FIRST_CONVOLUTION = f"{UNET_PREFIX}input_blocks.0.0.weight"  # of the U-Net; its rows say how many channels it is shown
_MARKERS = frozenset({*edm.NUMBERS, "v_pred", "ztsnr"})  # say how a checkpoint was trained


@dataclass(frozen=True)
class Source:
    """A checkpoint to merge: its file, and what a person calls it."""

    path: Path
    name: str


@dataclass(frozen=True)
class _Tensor:
    """One tensor of the new file: where it lies in each checkpoint. `others` is empty for what is the first one's."""

    name: str
    dtype: str
    first: TensorEntry
    others: tuple[TensorEntry, ...]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.first.shape) * DTYPE_BITS[self.dtype] // 8


@dataclass(frozen=True)
class Plan:
    """What the new file holds. `notes`: what was not blended, in sentences."""

    sources: tuple[Source, ...]
    tensors: tuple[_Tensor, ...]
    notes: tuple[str, ...]
    metadata: Mapping[str, str]  # of the first

    @property
    def size_bytes(self) -> int:
        return sum(one.size_bytes for one in self.tensors)


def plan(sources: Sequence[Source], family: Family, precision: MergePrecision) -> Plan:
    """What merging these would write, by their headers alone. Raises BadCheckpoint, in one sentence, where they do not
    go together or a file cannot be read."""
    headers = [read_whole_header(source.path) for source in sources]
    places = [_places(source, header, family) for source, header in zip(sources, headers)]
    notes = _check_parts(sources, places)
    first, first_places = headers[0], places[0]
    without_vae = [k for k, one in enumerate(places) if not any(place[0] == "vae" for place in one)]
    by_name = {name: place for place, name in first_places.items()}
    tensors = []
    for name, entry in first.tensors.items():
        if _is_left_out(name):
            continue
        place = by_name.get(name)
        others: tuple[TensorEntry, ...] = ()
        if place is not None and not (place[0] == "vae" and without_vae):
            others = tuple(h.tensors[one[place]] for h, one in zip(headers[1:], places[1:]))
            _check_shapes(sources, name, entry, others)
        elif place is None and _is_weight(name, entry):
            same = [h.tensors.get(name) for h in headers[1:]]
            others = tuple(one for one in same if one is not None and one.shape == entry.shape)
            others = others if len(others) == len(same) and all(_is_weight(name, one) for one in others) else ()
        dtype = STORED_AS[precision] if entry.dtype in READABLE and name not in _MARKERS else None
        tensors.append(_Tensor(name, dtype or entry.dtype, entry, others))
    return Plan(tuple(sources), tuple(tensors), notes, first.metadata)


def write(
    plan: Plan,
    target: Path,
    *,
    method: MergeMethod,
    weight: float,
    metadata: Mapping[str, str],
    progress: Callable[[float | None], None] = lambda fraction: None,
    stop: threading.Event | None = None,
) -> None:
    """Write the new file as `target`, which must not be there yet: under another name first, so that it appears whole
    or not at all. `progress` is called with the share that is written, 0 to 1. Raises BadCheckpoint, also where `stop`
    is set meanwhile, and OSError."""
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as out:
            out.write(_header(plan.tensors, metadata))
            written = 0
            for tensor, data in zip(plan.tensors, _contents(plan, method, weight)):
                if stop is not None and stop.is_set():
                    raise BadCheckpoint(Message("Stopped. Nothing of it is kept."))
                out.write(data)
                written += tensor.size_bytes
                progress(written / max(1, plan.size_bytes))
            out.flush()
            os.fsync(out.fileno())
        if target.exists():
            raise BadCheckpoint(Message("{target} is there already; it is not overwritten.", target=target.name))
        os.rename(part, target)
    finally:
        part.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------ what goes with what


Place = tuple[Any, ...]  # of a tensor in the model: its part, and the parameters that it becomes


def _places(source: Source, header: Header, family: Family) -> dict[Place, str]:
    """The names of a checkpoint's weights by their place in the model."""
    if any(is_companion(name) for name in header.tensors):
        raise BadCheckpoint(
            Message("{name} stores its weights with scales (fp8 or int8), which cannot be merged.", name=source.name)
        )
    if not any(name.startswith(UNET_PREFIX) for name in header.tensors):
        raise BadCheckpoint(
            Message("{name} holds only the average of its U-Net (model_ema), which cannot be merged.", name=source.name)
        )
    places: dict[str, list[Any]] = {}
    for part, moves in translate(header.tensors, family).moves.items():
        for move in moves:
            places.setdefault(move.source, [part]).append((move.target, move.third, move.transposed))
    for name in places:
        if header.tensors[name].dtype not in READABLE:
            dtype = header.tensors[name].dtype
            raise BadCheckpoint(
                Message("{name} stores weights as {dtype}, which cannot be merged.", name=source.name, dtype=dtype)
            )
    return {tuple(place): name for name, place in places.items()}


def _check_parts(sources: Sequence[Source], places: Sequence[Mapping[Place, str]]) -> tuple[str, ...]:
    """Raises BadCheckpoint where one checkpoint has weights that another lacks, but for a VAE that one lacks wholly;
    what is said of that."""
    notes: list[str] = []
    first = places[0].keys()
    for source, other in zip(sources[1:], places[1:]):
        differences = first ^ other.keys()
        vaes = [any(place[0] == "vae" for place in one) for one in (first, other.keys())]
        if not all(vaes):
            differences = {place for place in differences if place[0] != "vae"}
            if vaes[0]:
                note = Message(
                    "{name} has no VAE: that of {first} stays as it is.", name=source.name, first=sources[0].name
                )
            else:
                note = Message("{first} has no VAE, so the new checkpoint has none.", first=sources[0].name)
            notes += [note] if note not in notes and any(vaes) else []
        if differences:
            example = min(str(place[1][0]) for place in differences)
            raise BadCheckpoint(
                Message(
                    "{first} and {name} cannot be merged: {count} weights are in one of them only, such as {example}.",
                    first=sources[0].name,
                    name=source.name,
                    count=len(differences),
                    example=example[:80],
                )
            )
    return tuple(notes)


def _check_shapes(sources: Sequence[Source], name: str, first: TensorEntry, others: tuple[TensorEntry, ...]) -> None:
    if all(one.shape == first.shape for one in others):
        return
    shown = [one.shape for one in others]
    if name == _FIRST_CONVOLUTION and {first.shape[1:2], *(one[1:2] for one in shown)} == {(4,), (9,)}:
        if first.shape[1:2] == (9,) and set(shown) == {(first.shape[0], 4, *first.shape[2:])}:
            return  # an inpainting model takes up others in the channels that they have
        raise BadCheckpoint(
            Message("An inpainting model can be merged only as the first, or with other inpainting models alone.")
        )
    source, other = next((s, one) for s, one in zip(sources[1:], shown) if one != first.shape)
    raise BadCheckpoint(
        Message(
            "{first} and {name} cannot be merged: {tensor} has {shape} in the one and {other} in the other.",
            first=sources[0].name,
            name=source.name,
            tensor=name[:80],
            shape=_sides(first.shape),
            other=_sides(other),
        )
    )


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "1"


def _is_left_out(name: str) -> bool:
    return name.startswith(("model_ema.", EMA)) or is_stray(name)


def _is_weight(name: str, entry: TensorEntry) -> bool:
    """Whether a tensor that no picture needs is a weight of the model all the same, which other programs read: CLIP's
    projection, OpenCLIP's last layer."""
    return name not in _MARKERS and entry.dtype in READABLE and not name.startswith(VAE_PREFIX) and len(entry.shape) > 0


# --------------------------------------------------------------------------------------------------------- the new file


def _header(tensors: Sequence[_Tensor], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt", **metadata}}
    position = 0
    for one in tensors:
        end = position + one.size_bytes
        entries[one.name] = {"dtype": one.dtype, "shape": list(one.first.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(entries, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the weights begin where a number may
    return struct.pack("<Q", len(text)) + text


def _contents(plan: Plan, method: MergeMethod, weight: float) -> Iterator[memoryview]:
    """The bytes of every tensor, one after the other."""
    import torch

    from studio.checkpoints.reader import TORCH_DTYPES, WeightsFile

    with ExitStack() as stack:
        first, *others = [stack.enter_context(WeightsFile(source.path)) for source in plan.sources]
        cpu = torch.device("cpu")
        for one in plan.tensors:
            if one.others or one.dtype != one.first.dtype:
                value = first.read(one.first, device=cpu, dtype=torch.float32)
                if one.others:
                    more = [f.read(e, device=cpu, dtype=torch.float32) for f, e in zip(others, one.others)]
                    value = blend(value, more, method, weight)
                value = value.to(TORCH_DTYPES[one.dtype])
                if one.others and not bool(torch.isfinite(value.float()).all()):
                    raise BadCheckpoint(
                        Message(
                            "{tensor} would hold values that are not numbers, or too large for {precision}.",
                            tensor=one.name[:80],
                            precision=str(value.dtype).removeprefix("torch."),
                        )
                    )
            else:
                value = first.read(one.first, device=cpu)
            yield memoryview(value.contiguous().reshape(-1).view(torch.uint8).numpy())


def blend(first: torch.Tensor, others: Sequence[torch.Tensor], method: MergeMethod, weight: float) -> torch.Tensor:
    """float32 [...] of the checkpoints => of the new one. Of more channels than the others have, the rest is the
    first's."""
    taken = first if first.shape == others[0].shape else first[:, : others[0].shape[1]]
    if method == "weighted_sum":
        mixed = taken * (1 - weight) + others[0] * weight
    else:
        mixed = taken + (others[0] - others[1]) * weight
    if taken is first:
        return mixed
    first = first.clone()
    first[:, : mixed.shape[1]] = mixed
    return first
