"""Smaller facts in a header's entries and metadata: precision, notes worth showing, a thumbnail; and small JSON."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from studio.checkpoints.inspect import DTYPE_BITS, TensorEntry

MAX_JSON_BYTES = 2**20
MAX_TEXT = 2000  # characters of a metadata value that are readable_metadata, but for the thumbnail
MAX_THUMBNAIL = 400_000
MAX_TAG_TABLE = 2**22  # characters of a trainer's table of tags
MAX_TAG, MAX_TAGS = 100, 12

PRECISIONS = {
    "F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8 (e4m3)", "F8_E5M2": "fp8 (e5m2)",
}  # fmt: skip


def bytes_by_dtype(entries: Iterable[TensorEntry]) -> Counter[str]:
    numbers: Counter[str] = Counter()
    for dtype, shape, _ in entries:
        numbers[dtype] += math.prod(shape)
    return Counter({dtype: count * DTYPE_BITS[dtype] // 8 for dtype, count in numbers.items() if dtype in PRECISIONS})


def precision(entries: Iterable[TensorEntry]) -> str:
    entries = list(entries)
    kinds = {entry.dtype for entry in entries}
    if len(kinds) == 1:  # of nearly every file
        return PRECISIONS.get(kinds.pop(), "")
    return precision_label(bytes_by_dtype(entries))


def precision_label(counts: Counter[str]) -> str:
    return PRECISIONS[counts.most_common(1)[0][0]] if counts else ""


def short(text: str) -> str:
    return text[:MAX_TEXT]


def readable_metadata(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What a person may want to read: modelspec, and a trainer's notes without its long tables."""
    values = {k: v for k, v in metadata.items() if k.startswith(("modelspec.", "ss_")) and k != "modelspec.thumbnail"}
    return tuple((k[:80], short(v)) for k, v in sorted(values.items()) if len(v) <= MAX_TEXT)[:60]


def frequent_tags(text: str) -> tuple[str, ...]:
    """The most frequent tags of a trainer's `ss_tag_frequency`, {data set: {tag: count}} as JSON; none of what is not
    in this form."""
    try:
        sets = json.loads(text) if len(text) <= MAX_TAG_TABLE else None
    except (ValueError, RecursionError):
        return ()
    counts: Counter[str] = Counter()
    for tags in sets.values() if isinstance(sets, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int):
                counts[" ".join(tag.split())] += count
    return tuple(tag for tag, _ in counts.most_common() if tag and len(tag) <= MAX_TAG)[:MAX_TAGS]


def has_thumbnail(metadata: Mapping[str, str]) -> bool:
    """Whether a picture of a size worth showing is in it."""
    text = metadata.get("modelspec.thumbnail", "")
    good = re.fullmatch(r"data:image/(jpeg|png|webp);base64,[A-Za-z0-9+/=\s]+", text) and len(text) <= MAX_THUMBNAIL
    return bool(good)


def read_json(path: Path) -> dict[str, object] | None:
    """A small JSON object, or None when there is none that can be read."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return None
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def weights_files(part: Path) -> list[Path]:
    """The .safetensors files of one part of a diffusers folder: the plain one, else fp16's, shards together.

    Without an index file, everything that is no known variant belongs to the part.
    """
    try:
        files = sorted(
            f for f in part.iterdir() if f.suffix in (".safetensors", ".sft") and f.name != "fast_preview.safetensors"
        )
    except OSError:
        return []
    standard = ("diffusion_pytorch_model.", "diffusion_pytorch_model-", "model.", "model-")
    files = [f for f in files if f.name.startswith(standard)] or files
    by_variant: dict[str, list[Path]] = {}
    for file in files:
        match = re.search(r"\.(fp16|bf16|fp32|non_ema|ema)(?=[.-])", file.name)
        by_variant.setdefault(match[1] if match else "", []).append(file)
    for variant in ("", "fp16", "bf16", "fp32", "ema", "non_ema"):
        if variant in by_variant:
            return by_variant[variant]
    return []
