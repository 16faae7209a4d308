"""The tensors that an adapter's file has for one module => its change of that module, every shape compared first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

import torch

from studio.asked.messages import Message
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry
from studio.diffusion.lora import Change, Delta, Factors
from studio.diffusion.lycoris import Difference, Kronecker, Pair, Product, Rotation, WeightDecomposition

Read = Callable[[TensorEntry], torch.Tensor]
Make = Callable[[Path, str, Mapping[str, TensorEntry], tuple[int, ...], float | None, Read], Change]


def change_of(
    path: Path, name: str, entries: Mapping[str, TensorEntry], module: torch.nn.Module, alpha: float | None, read: Read
) -> Change | None:
    """What the tensors of one module make of it; None where some are missing. `alpha` counts where no tensor says it.
    Raises BadCheckpoint for shapes that do not fit the module's weight."""
    if any(0 in entry.shape for entry in entries.values()):
        raise BadCheckpoint(Message("{file} is damaged: a tensor of {name} is empty.", file=path.name, name=name))
    make = _maker(entries)
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    lengths = {"lengths", "row_lengths"} & entries.keys()
    if make is None or (lengths and make in (_rotation, _difference)):
        return None
    change = make(path, name, entries, tuple(weight.shape), alpha, read)
    return _decomposition(path, name, entries, cast(Delta, change), weight, read) if lengths else change


def _maker(entries: Mapping[str, TensorEntry]) -> Make | None:
    """What makes a change of these tensors; None where some are missing."""
    names = set(entries)
    if {"down", "up"} <= names:
        return _factors
    if {"oft_blocks", "oft_diag"} & names:
        return _rotation
    if {"diff", "diff_b"} & names:
        return _difference
    if {"w1_a", "w1_b", "w2_a", "w2_b"} <= names and ("t1" in names) == ("t2" in names):
        return _product
    left = "kr_w1" in names or {"kr_w1_a", "kr_w1_b"} <= names
    right = "kr_w2" in names or {"kr_w2_a", "kr_w2_b"} <= names
    return _kronecker if left and right else None


def _alpha(entries: Mapping[str, TensorEntry], default: float | None, read: Read) -> float | None:
    return float(read(entries["alpha"]).float().reshape(-1)[0]) if "alpha" in entries else default


def _scale(entries: Mapping[str, TensorEntry], alpha: float | None, rank: int, read: Read) -> float:
    """alpha / rank; 1 where neither the file nor its config says alpha."""
    alpha = _alpha(entries, alpha, read)
    return 1.0 if alpha is None else alpha / rank


def _misfit(path: Path, name: str, weight: tuple[int, ...], shape: tuple[int, ...]) -> BadCheckpoint:
    expected_text, actual_text = ("x".join(map(str, shape)) for shape in (weight, shape))
    return BadCheckpoint(
        Message(
            "{file} does not fit this model: {name} would need {expected_text}, the LoRA has {actual_text}.",
            file=path.name,
            name=name,
            expected_text=expected_text,
            actual_text=actual_text,
        )
    )


def _product(
    path: Path, name: str, entries: Mapping[str, TensorEntry], weight: tuple[int, ...], alpha: float | None, read: Read
) -> Product:
    """LoHa, its shapes compared with the module's weight."""
    a, b, has_core = entries["w1_a"].shape, entries["w1_b"].shape, "t1" in entries
    product_shape = (a[1], b[1], *entries["t1"].shape[2:]) if has_core else (a[0], b[1])
    rank = b[0]
    alike = entries["w2_a"].shape == a and entries["w2_b"].shape == b and len(a) == len(b) == 2
    cores = {entries[t].shape[:2] for t in ("t1", "t2")} == {(rank, rank)} if has_core else a[1] == rank
    if not alike or not cores or product_shape != (weight if has_core else (weight[0], math.prod(weight[1:]))):
        raise _misfit(path, name, weight, product_shape)
    tensors = {key: read(entry) for key, entry in entries.items() if key != "alpha"}
    first, second = (tensors["w1_a"], tensors["w1_b"]), (tensors["w2_a"], tensors["w2_b"])
    pair = (tensors["t1"], tensors["t2"]) if has_core else None
    return Product(first, second, _scale(entries, alpha, rank, read), weight, pair)


def _kronecker(
    path: Path, name: str, entries: Mapping[str, TensorEntry], weight: tuple[int, ...], alpha: float | None, read: Read
) -> Kronecker:
    """LoKr, its shapes compared with the module's weight. Where both factors are whole, alpha means nothing."""
    tensors = {key: read(entry) for key, entry in entries.items() if key.startswith("kr_")}
    core = tensors.get("kr_t2")

    def side(which: str) -> torch.Tensor | Pair:
        whole = tensors.get(f"kr_{which}")
        return whole if whole is not None else (tensors[f"kr_{which}_a"], tensors[f"kr_{which}_b"])

    left, right = side("w1"), side("w2")
    ranks = [pair[1].shape[0] for pair in (left, right) if not isinstance(pair, torch.Tensor)]
    scale = _scale(entries, alpha, ranks[-1], read) if ranks else 1.0
    change = Kronecker(left, right, scale, weight, core)
    try:
        change.dense()
    except RuntimeError as error:
        shapes = [entry.shape for key, entry in entries.items() if key.startswith("kr_w")]
        raise _misfit(path, name, weight, tuple(math.prod(sides) for sides in zip(*shapes))) from error
    return change


def _rotation(
    path: Path, name: str, entries: Mapping[str, TensorEntry], weight: tuple[int, ...], alpha: float | None, read: Read
) -> Rotation:
    """OFT or BOFT, its blocks compared with the module's outputs. Its alpha is not a scale: times the number of outputs
    it is the largest norm of what turns."""
    blocks = entries.get("oft_blocks") or entries["oft_diag"]
    if len(blocks.shape) not in (3, 4):
        raise _misfit(path, name, weight, blocks.shape)
    *stages, count, size, other = blocks.shape
    rescale = entries.get("rescale")
    fits = (
        size == other
        and count * size == weight[0]
        and (not stages or (size % 2 == 0 and stages[0] < 64 and weight[0] % (2 ** stages[0] * (size // 2)) == 0))
        and (rescale is None or math.prod(rescale.shape) == weight[0])
    )
    if not fits:
        raise _misfit(path, name, weight, blocks.shape)
    if "oft_diag" in entries:
        return Rotation.whole(read(blocks))
    constraint = (_alpha(entries, None, read) or 0.0) * weight[0]
    return Rotation.of(read(blocks), constraint, read(rescale).flatten() if rescale is not None else None)


def _difference(
    path: Path, name: str, entries: Mapping[str, TensorEntry], weight: tuple[int, ...], alpha: float | None, read: Read
) -> Difference:
    """The whole change of weight and bias, their shapes compared with the module's."""
    whole, bias = entries.get("diff"), entries.get("diff_b")
    for entry, shape in ((whole, weight), (bias, weight[:1])):
        if entry is not None and math.prod(entry.shape) != math.prod(shape):
            raise _misfit(path, name, shape, entry.shape)
    return Difference(
        read(whole).reshape(weight) if whole is not None else None, read(bias).flatten() if bias is not None else None
    )


def _decomposition(
    path: Path, name: str, entries: Mapping[str, TensorEntry], delta: Delta, weight: torch.Tensor, read: Read
) -> WeightDecomposition:
    """DoRA around any of the others: lengths of rows, or in older files of columns."""
    entry = entries.get("row_lengths") or entries["lengths"]
    by_row = "row_lengths" in entries or entry.shape[:1] == weight.shape[:1]
    if math.prod(entry.shape) != weight.shape[0 if by_row else 1]:
        raise _misfit(
            path, Message("the lengths (dora_scale) of {name}", name=name), tuple(weight.shape[:2]), entry.shape
        )
    return WeightDecomposition.of(delta, weight, read(entry).flatten(), by_row=by_row)


def _factors(
    path: Path, name: str, entries: Mapping[str, TensorEntry], weight: tuple[int, ...], alpha: float | None, read: Read
) -> Factors:
    """The factors of one module, their shapes compared with its weight's (out, in[, k, k])."""
    down, up, mid = entries["down"].shape, entries["up"].shape, entries.get("mid")
    kernel = mid.shape[2:] if mid is not None else down[2:]
    fits = (
        len(down) >= 2
        and len(up) >= 2
        and up[0] == weight[0]
        and down[1] == weight[1]
        and (up[1] == down[0] if mid is None else mid.shape[:2] == (up[1], down[0]))
        and (tuple(kernel) == weight[2:] or _all_one([*kernel, *weight[2:]]))
    )
    if not fits:
        raise _misfit(path, name, weight, (up[0], *down[1:]))
    scale = _scale(entries, alpha, down[0], read)

    def reshape(tensor: torch.Tensor) -> torch.Tensor:
        if len(weight) == 2:
            return tensor.reshape(tensor.shape[:2])
        return tensor if tensor.ndim == 4 else tensor[..., None, None]

    middle = reshape(read(mid)) if mid is not None else None
    return Factors(reshape(read(entries["down"])), reshape(read(entries["up"])), scale * down[0], middle)


def _all_one(sides: Iterable[int]) -> bool:
    return all(side == 1 for side in sides)
