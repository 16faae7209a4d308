"""Which upscaler a file holds, as its header shows it: network, scale, sizes, and what its tensors are called here.

Told by the names and shapes of the tensors alone, never by the file's name. No torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal

from studio.answered.model_facts import ModelFacts
from studio.asked.messages import Message
from studio.checkpoints.inspect import BadCheckpoint, Header, TensorEntry

SPANDREL = "spandrel"  # the package that reads the other architectures
NETWORKS = {"rrdb": "ESRGAN", "compact": "Real-ESRGAN Compact", "span": "SPAN"}
NetworkName = Literal["rrdb", "compact", "span"]
SCALES = (1, 2, 3, 4, 8, 16)
COLOURS = 3
# How training programs call the table of weights that they write beside others; the average comes first.
_TABLES = ("params_ema.", "params-ema.", "params.", "state_dict.", "model_state_dict.", "module.", "generator.")
_COUNTERS = (".total_ops", ".total_params")  # of a program that measures networks, left in some files

# Names of other architectures, by patterns that must all be found in names of their tensors: the more particular first.
_OTHERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("HAT", (r"^layers\.0\.residual_group\.overlap_attn\.",)),
    ("DRCT", (r"^layers\.0\.swin1\.", r"^layers\.0\.adjust1\.")),
    ("DAT", (r"^layers\.0\.blocks\.0\.attn\.attns\.0\.", r"^conv_first\.")),
    ("ATD", (r"^layers\.0\.residual_group\.layers\.0\.", r"^conv_first\.")),
    ("Swin2SR", (r"^layers\.0\.residual_group\.blocks\.0\.attn\.cpb_mlp\.",)),
    ("SwinIR", (r"^layers\.0\.residual_group\.blocks\.0\.",)),
    ("OmniSR", (r"^residual_layer\.0\.residual_layer\.0\.",)),
    ("PLKSR", (r"^feats\.1\.lk\.conv\.", r"^feats\.1\.refine\.")),
    ("SPANPlus", (r"^feats\.0\.eval_conv\.",)),
    ("MoSR", (r"^gblocks\.0\.weight",)),
    ("SAFMN", (r"^to_feat\.weight", r"^feats\.0\.safm\.")),
    ("SCUNet", (r"^m_head\.0\.weight", r"^m_tail\.0\.weight")),
    ("Real-CUGAN", (r"^unet1\.conv1\.conv\.0\.weight",)),
)


@dataclass(frozen=True, kw_only=True)
class UpscalerLayout:
    """What is built and filled. `scale`: of the result to the picture. `names`: the network's name of a weight => the
    file's; of SPAN the names of convolutions without their last part, since several tensors make one weight."""

    network: NetworkName
    scale: int
    width: int
    names: Mapping[str, str]
    blocks: int = 0
    growth: int = 0
    doublings: int = 0
    unshuffle: int = 1
    plus: bool = False
    normalized: bool = True


def layout_of(tensors: Mapping[str, TensorEntry]) -> UpscalerLayout | None:
    """The layout of one of the networks; None for what is none of them. Raises BadCheckpoint, with a sentence, for one
    that works on other pictures than the studio's, or in a way that the keys do not show."""
    keys = weights_of(tensors)
    shapes = {name: tensors[key].shape for name, key in keys.items()}
    if "conv_first.weight" in shapes and _has(shapes, r"^(body|RRDB_trunk)\.0\.(rdb|RDB)1\.conv1\.weight$"):
        return _rrdb(keys, shapes)
    if "model.0.weight" in shapes and _has(shapes, r"^model\.1\.sub\.0\.RDB1\.conv1(x1)?\.(0\.)?weight$"):
        return _rrdb(keys, shapes)
    if {"conv_cat.weight", "upsampler.0.weight"} <= shapes.keys() and _has(shapes, r"^block_1\.c1_r\."):
        return _span(keys, shapes)
    if shapes and all(re.fullmatch(r"body\.\d+\.(weight|bias)", name) for name in shapes):
        return _compact(keys, shapes)
    return None


def weights_of(tensors: Mapping[str, TensorEntry]) -> dict[str, str]:
    """The names of the network's weights => the file's keys: without the name of the table that they lie in."""
    for table in _TABLES:
        if any(key.startswith(table) for key in tensors):
            inside = {key.removeprefix(table): key for key in tensors if key.startswith(table)}
            return {name: key for name, key in inside.items() if not name.endswith(_COUNTERS)}
    return {key: key for key in tensors if not key.endswith(_COUNTERS)}


def as_upscaler(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    """The facts of an upscaler, of whatever architecture; None for what is none."""
    try:
        layout = layout_of(header.tensors)
    except BadCheckpoint as error:
        return replace(facts, kind="upscaler", reason=str(error))
    if layout is not None:
        architecture = NETWORKS[layout.network]
        return replace(facts, kind="upscaler", architecture=architecture, scale=layout.scale, alias=facts.title)
    other = other_architecture(header.tensors)
    if other is None:
        return None
    facts = replace(facts, kind="upscaler", architecture=other)
    return facts if has_spandrel() else replace(facts, reason=needs_spandrel(other))


def other_architecture(tensors: Mapping[str, TensorEntry]) -> str | None:
    """The name of an upscaler's architecture that is not written here; None where the keys show none."""
    names = "\n".join(weights_of(tensors))
    for what, patterns in _OTHERS:
        if all(re.search(pattern, names, re.MULTILINE) for pattern in patterns):
            return what
    return None


def has_spandrel() -> bool:
    """Whether the user has installed the package that reads the other architectures. Does not import it."""
    return find_spec(SPANDREL) is not None


def needs_spandrel(architecture: str) -> str:
    """Why a file of another architecture cannot be used here."""
    return Message(
        "This is an upscaler of the architecture {architecture}. The studio reads ESRGAN, Real-ESRGAN Compact and "
        "SPAN, and this one too where the package spandrel is installed.",
        architecture=architecture,
    )


def _has(names: Mapping[str, object], pattern: str) -> bool:
    return any(re.match(pattern, name) for name in names)


def _bad(what: str) -> BadCheckpoint:
    return BadCheckpoint(Message("This upscaler is not complete: {what} is missing.", what=what))


def _check_colours(inputs: int, outputs: int) -> None:
    if (inputs, outputs) != (COLOURS, COLOURS):
        raise BadCheckpoint(
            Message(
                "This upscaler makes {outputs} channels of {inputs}; the studio's pictures have {colours}.",
                inputs=inputs,
                outputs=outputs,
                colours=COLOURS,
            )
        )


def _shuffled_scale(inputs: int, shuffled: int) -> int:
    """The scale of a network that ends with `shuffled` channels, which become the pixels of the enlarged picture.
    Raises BadCheckpoint where they do not for three colours."""
    scale = math.isqrt(shuffled // COLOURS)
    if inputs != COLOURS or scale not in SCALES or COLOURS * scale**2 != shuffled:
        side = math.isqrt(max(1, shuffled // max(1, inputs)))
        _check_colours(inputs, shuffled // side**2 if side else shuffled)
        raise BadCheckpoint(
            Message(
                "This upscaler ends with {count} channels, which is no known scale.",
                count=shuffled,
            )
        )
    return scale


def _conv_shape(shapes: Mapping[str, tuple[int, ...]], name: str) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None or len(shape) != 4 or not all(shape):
        raise _bad(name)
    return shape


def _compact(keys: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> UpscalerLayout | None:
    numbers = {int(name.split(".")[1]) for name in shapes}
    last = max(numbers)
    first = shapes.get("body.0.weight", ())
    if len(first) != 4 or last < 2:
        return None
    if "body.1.weight" not in shapes:
        raise BadCheckpoint(
            Message("This Compact upscaler has no PReLU, and its file does not say which activation it has instead.")
        )
    scale = _shuffled_scale(first[1], _conv_shape(shapes, f"body.{last}.weight")[0])
    names = {f"body.{number}.{leaf}": "" for number in numbers for leaf in ("weight", "bias")}
    names = {name: keys[name] for name in names if name in keys}
    return UpscalerLayout(
        network="compact", scale=scale, width=first[0], blocks=max(0, (len(numbers) - 3) // 2), names=names
    )


def _rrdb(keys: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> UpscalerLayout:
    names = {new: key for old, key in keys.items() if (new := _rrdb_name(old, shapes)) is not None}
    ours = {new: shapes[old] for old in keys if (new := _rrdb_name(old, shapes)) is not None}
    first, last = _conv_shape(ours, "conv_first.weight"), _conv_shape(ours, "conv_last.weight")
    groups = {name.split(".")[1] for name in ours if name.startswith("body.")}
    doublings = len({name for name in ours if re.fullmatch(r"conv_up\d+\.weight", name)})
    # Real-ESRGAN's networks for 2 and 1 are those for 4 on pictures whose pixels were made channels.
    unshuffle = {COLOURS * 4: 2, COLOURS * 16: 4}.get(first[1], 1)
    _check_colours(first[1] // unshuffle**2, last[0])
    scale = 2**doublings // unshuffle
    if scale not in SCALES:
        raise BadCheckpoint(Message("This ESRGAN makes pictures smaller, which is no upscaler."))
    return UpscalerLayout(
        network="rrdb",
        scale=scale,
        width=first[0],
        blocks=len(groups),
        growth=_conv_shape(ours, "body.0.rdb1.conv1.weight")[0],
        doublings=doublings,
        unshuffle=unshuffle,
        plus="body.0.rdb1.conv1x1.weight" in ours,
        names=names,
    )


_RRDB_PARTS = {"trunk_conv": "conv_body", "HRconv": "conv_hr", "conv_first": "conv_first", "conv_last": "conv_last"}


def _rrdb_name(name: str, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """What we call a weight of ESRGAN: the newest files' name. Three generations of names are known: those numbered by
    places in a sequence, those of BSRGAN's time, and Real-ESRGAN's. None for what is no weight of it."""
    dense = re.fullmatch(
        r"(?:model\.1\.sub|RRDB_trunk|body)\.(\d+)\.(?:RDB|rdb)(\d)\.(conv\d|conv1x1)(?:\.0)?\.(weight|bias)", name
    )
    if dense:
        return f"body.{dense[1]}.rdb{dense[2]}.{dense[3]}.{dense[4]}"
    part, _, leaf = name.rpartition(".")
    if part.startswith("model."):
        known = _numbered_part(part, shapes)
        return f"{known}.{leaf}" if known is not None else name
    raised = re.fullmatch(r"(?:upconv|conv_up)(\d)", part)
    return f"conv_up{raised[1]}.{leaf}" if raised else f"{_RRDB_PARTS.get(part, part)}.{leaf}"


def _numbered_part(part: str, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Of the oldest files: the first is the first convolution, the last two are the last, those between enlarge."""
    if re.fullmatch(r"model\.1\.sub\.\d+", part):
        return "conv_body"
    places = sorted({int(m[1]) for name in shapes if (m := re.fullmatch(r"model\.(\d+)\.weight", name))})
    match = re.fullmatch(r"model\.(\d+)", part)
    if match is None or int(match[1]) not in places or len(places) < 3:
        return None
    place = places.index(int(match[1]))
    if place == 0:
        return "conv_first"
    return {len(places) - 1: "conv_last", len(places) - 2: "conv_hr"}.get(place, f"conv_up{place}")


def _span(keys: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> UpscalerLayout:
    first = next((shapes[name] for name in _span_weights("conv_1") if name in shapes), ())
    if len(first) != 4:
        raise _bad("conv_1")
    scale = _shuffled_scale(first[1], _conv_shape(shapes, "upsampler.0.weight")[0])
    return UpscalerLayout(
        network="span", scale=scale, width=first[0], names=dict(keys), normalized="no_norm" not in shapes
    )


def _span_weights(part: str) -> tuple[str, ...]:
    return f"{part}.sk.weight", f"{part}.eval_conv.weight", f"{part}.weight"
