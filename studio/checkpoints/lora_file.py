"""A LoRA file or one of its LyCORIS kin => `Adapter`: kohya's and diffusers' names, resolved to the modules at hand.

An adapter of another family is refused by name; what a file holds that no module wants is said, never passed over.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from studio.checkpoints.adapter_header import lora_family
from studio.checkpoints.identify import of_header
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry, read_whole_header
from studio.checkpoints.reader import WeightsFile
from studio.diffusion.components import VAE, Components
from studio.diffusion.lora import Adapter, Delta, Factors
from studio.diffusion.lycoris import Decomposed, Kronecker, Pair, Product
from studio.families.layout import unet_name
from studio.families.registry import FAMILIES, label_of

# Endings of a tensor's name, longest first, and which of an adapter's factors it is.
_ENDINGS: tuple[tuple[str, str], ...] = (
    (".lora_linear_layer.down.weight", "down"),
    (".lora_linear_layer.up.weight", "up"),
    (".lora_A.default.weight", "down"),
    (".lora_B.default.weight", "up"),
    (".lora_down.weight", "down"),
    (".lora_up.weight", "up"),
    (".lora_mid.weight", "mid"),
    (".lora.down.weight", "down"),
    (".lora.up.weight", "up"),
    ("_lora.down.weight", "down"),
    ("_lora.up.weight", "up"),
    (".lora_A.weight", "down"),
    (".lora_B.weight", "up"),
    *((f".hada_{name}", name) for name in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")),  # LoHa
    *((f".lokr_{name}", f"kr_{name}") for name in ("w1_a", "w1_b", "w1", "w2_a", "w2_b", "w2", "t2")),  # LoKr
    (".lora_magnitude_vector.weight", "row_lengths"),  # DoRA as peft names it, and as kohya and LyCORIS do
    (".lora_magnitude_vector", "row_lengths"),
    (".dora_scale", "lengths"),
    (".alpha", "alpha"),
)
_PREFIXES: tuple[tuple[str, str], ...] = (  # kohya's with underscores, diffusers' with dots
    ("lora_unet_", "unet"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te_", "text_encoder"),
    ("unet.", "unet"),
    ("text_encoder_2.", "text_encoder_2"),
    ("text_encoder.", "text_encoder"),
)


def load_adapter(path: Path, components: Components, identity: Hashable = None) -> Adapter:
    """Read an adapter for these components, to their device and precision.

    Raises BadCheckpoint, naming the file: no LoRA, another family's, or weights that do not fit the modules.
    """
    header = read_whole_header(path)
    facts = of_header(header, path.stem)
    if facts.kind != "lora":
        raise BadCheckpoint(f"{path.name} is no LoRA.")
    family = lora_family(header.tensors, header.metadata)
    if facts.reason and (family is not None or not facts.parts):  # without parts: of a form that is not run
        raise BadCheckpoint(f"{path.name}: {facts.reason}")
    here = FAMILIES[components.family.name]
    if family is not None and family not in (here.name, *here.runs_adapters_of) and not _narrow(components):
        made_for, is_here = label_of(family), here.label
        raise BadCheckpoint(f"{path.name} is a LoRA for {made_for}; {components.name} is {is_here}.")
    modules = {part: _modules(module) for part, module in components.parts.items() if part != VAE}
    found: dict[tuple[str, str], dict[str, TensorEntry]] = {}
    strangers: list[str] = []
    for key, entry in header.tensors.items():
        place = _place(key, modules)
        if place is None:
            strangers.append(key)
        else:
            found.setdefault(place[:2], {})[place[2]] = entry
    if not found:
        raise BadCheckpoint(
            f"{path.name} does not fit {components.name}, which is {here.label}: "
            f"none of its {len(strangers)} tensors belongs to it."
        )
    factors: dict[str, dict[str, Delta]] = {part: {} for part in modules}
    with WeightsFile(path) as file:

        def read(entry: TensorEntry) -> torch.Tensor:
            return file.read(entry, device=components.device, dtype=components.dtype)

        for (part, name), entries in found.items():
            module = components.part(part).get_submodule(name)
            make = _maker(entries)
            if make is None:
                strangers.append(name)
                continue
            delta = make(path, name, entries, tuple(module.weight.shape), read)
            if "lengths" in entries or "row_lengths" in entries:
                delta = _decomposed(path, name, entries, delta, module.weight, read)
            factors[part][name] = delta
    notes: tuple[str, ...] = ()
    if strangers:
        shown = ", ".join(name[:60] for name in sorted(strangers)[:3])
        notes = (f"{len(strangers)} tensors of the LoRA {path.name} fit nothing in the model ({shown}).",)
    return Adapter(path.stem, here.name, {p: f for p, f in factors.items() if f}, notes, identity)


def _narrow(components: Components) -> bool:
    """A model of other widths than its family's (the built-in one, tests): shapes alone say what fits."""
    return bool(components.unet.config.cross_attention_dim != FAMILIES[components.family.name].context_width)


def _modules(module: Any) -> dict[str, str]:
    """Names of a part's modules that have weights, by the name without dots that kohya's files use."""
    names = [n for n, m in module.named_modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))]
    return {name.removeprefix("text_model.").replace(".", "_"): name for name in names}


def _place(key: str, modules: Mapping[str, Mapping[str, str]]) -> tuple[str, str, str] | None:
    """(part, module name, which factor) of a tensor; None for a stranger."""
    ending = next(((end, what) for end, what in _ENDINGS if key.endswith(end)), None)
    prefix = next(((start, part) for start, part in _PREFIXES if key.startswith(start)), None)
    if ending is None or prefix is None:
        return None
    part = prefix[1]
    name = key[len(prefix[0]) : -len(ending[0])].replace(".processor.", ".").replace("base_model.model.", "")
    flat = name.replace(".", "_").removeprefix("text_model_")
    for candidate in (flat, f"{flat}_0", _todays(flat) if part == "unet" else ""):
        if candidate in modules.get(part, {}):
            return part, modules[part][candidate], ending[1]
    return None


def _todays(flat: str) -> str:
    """kohya's SDXL names are those of the original layout: input_blocks_4_1_... => down_blocks_1_attentions_0_..."""
    dotted = re.sub(r"^(input_blocks|output_blocks|middle_block)_(\d+)_(?:(\d)_)?", _dots, flat)
    dotted = re.sub(r"(in_layers|out_layers|emb_layers|time_embed|label_emb|^out)_(\d)", r"\1.\2", dotted)
    dotted = re.sub(r"(label_emb\.\d)_(\d)", r"\1.\2", dotted)
    return (unet_name(dotted) or "").replace(".", "_")


def _dots(match: re.Match[str]) -> str:
    return ".".join(group for group in match.groups() if group is not None) + "."


Read = Callable[[TensorEntry], torch.Tensor]
Make = Callable[[Path, str, Mapping[str, TensorEntry], tuple[int, ...], Read], Delta]


def _maker(entries: Mapping[str, TensorEntry]) -> Make | None:
    """What makes a change of these tensors; None where some are missing."""
    names = set(entries)
    if {"down", "up"} <= names:
        return _factors
    if {"w1_a", "w1_b", "w2_a", "w2_b"} <= names and ("t1" in names) == ("t2" in names):
        return _product
    left = "kr_w1" in names or {"kr_w1_a", "kr_w1_b"} <= names
    right = "kr_w2" in names or {"kr_w2_a", "kr_w2_b"} <= names
    return _kronecker if left and right else None


def _alpha(entries: Mapping[str, TensorEntry], rank: int, read: Read) -> float:
    return float(read(entries["alpha"]).float().reshape(-1)[0]) if "alpha" in entries else float(rank)


def _misfit(path: Path, name: str, weight: tuple[int, ...], made: tuple[int, ...]) -> BadCheckpoint:
    needed, given = ("x".join(map(str, shape)) for shape in (weight, made))
    return BadCheckpoint(f"{path.name} does not fit this model: {name} would need {needed}, the LoRA has {given}.")


def _product(path: Path, name: str, entries: Mapping[str, TensorEntry], weight: tuple[int, ...], read: Read) -> Product:
    """LoHa, its shapes compared with the module's weight."""
    a, b, cored = entries["w1_a"].shape, entries["w1_b"].shape, "t1" in entries
    made = (a[1], b[1], *entries["t1"].shape[2:]) if cored else (a[0], b[1])
    rank = b[0]
    alike = entries["w2_a"].shape == a and entries["w2_b"].shape == b and len(a) == len(b) == 2
    cores = {entries[t].shape[:2] for t in ("t1", "t2")} == {(rank, rank)} if cored else a[1] == rank
    if not alike or not cores or made != (weight if cored else (weight[0], math.prod(weight[1:]))):
        raise _misfit(path, name, weight, made)
    tensors = {key: read(entry) for key, entry in entries.items() if key != "alpha"}
    first, second = (tensors["w1_a"], tensors["w1_b"]), (tensors["w2_a"], tensors["w2_b"])
    pair = (tensors["t1"], tensors["t2"]) if cored else None
    return Product(first, second, _alpha(entries, rank, read) / rank, weight, pair)


def _kronecker(
    path: Path, name: str, entries: Mapping[str, TensorEntry], weight: tuple[int, ...], read: Read
) -> Kronecker:
    """LoKr, its shapes compared with the module's weight. Where both factors are whole, alpha means nothing."""
    tensors = {key: read(entry) for key, entry in entries.items() if key.startswith("kr_")}
    core = tensors.get("kr_t2")

    def side(which: str) -> torch.Tensor | Pair:
        whole = tensors.get(f"kr_{which}")
        return whole if whole is not None else (tensors[f"kr_{which}_a"], tensors[f"kr_{which}_b"])

    left, right = side("w1"), side("w2")
    ranks = [pair[1].shape[0] for pair in (left, right) if not isinstance(pair, torch.Tensor)]
    scale = _alpha(entries, ranks[-1], read) / ranks[-1] if ranks else 1.0
    made = Kronecker(left, right, scale, weight, core)
    try:
        made.dense()
    except RuntimeError as error:
        shapes = [entry.shape for key, entry in entries.items() if key.startswith("kr_w")]
        raise _misfit(path, name, weight, tuple(math.prod(sides) for sides in zip(*shapes))) from error
    return made


def _decomposed(
    path: Path, name: str, entries: Mapping[str, TensorEntry], delta: Delta, weight: torch.Tensor, read: Read
) -> Decomposed:
    """DoRA around any of the others: lengths of rows, or in older files of columns."""
    entry = entries.get("row_lengths") or entries["lengths"]
    by_row = "row_lengths" in entries or entry.shape[:1] == weight.shape[:1]
    if math.prod(entry.shape) != weight.shape[0 if by_row else 1]:
        raise _misfit(path, f"the lengths (dora_scale) of {name}", tuple(weight.shape[:2]), entry.shape)
    return Decomposed.of(delta, weight, read(entry).flatten(), by_row=by_row)


def _factors(
    path: Path,
    name: str,
    entries: Mapping[str, TensorEntry],
    weight: tuple[int, ...],
    read: Read,
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
    alpha = _alpha(entries, down[0], read)

    def shaped(tensor: torch.Tensor) -> torch.Tensor:
        if len(weight) == 2:
            return tensor.reshape(tensor.shape[:2])
        return tensor if tensor.ndim == 4 else tensor[..., None, None]

    middle = shaped(read(mid)) if mid is not None else None
    return Factors(shaped(read(entries["down"])), shaped(read(entries["up"])), alpha, middle)


def _all_one(sides: Iterable[int]) -> bool:
    return all(side == 1 for side in sides)
