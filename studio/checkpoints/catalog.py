"""What lies in the models folders: diffusers folders, found by their small JSON files. No tensor is read, no torch.

models/small-world-128/             the built-in one
models/checkpoints/<folder>/        the user's own
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from studio.events import Checkpoint

BUILT_IN = "small-world-128"
MAX_JSON_BYTES = 2**20
# What the loader can make pictures with; folders of other pipelines are not offered.
PIPELINES = frozenset({"StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"})
FAMILY_LABELS = {768: "SD 1", 1024: "SD 2"}  # by the width of the text embeddings


@dataclass(frozen=True)
class Entry:
    """A checkpoint and the folder it lies in; the folder never leaves the engine."""

    checkpoint: Checkpoint
    folder: Path


def scan(models_dirs: Sequence[Path]) -> dict[str, Entry]:
    """Every usable diffusers folder by the name a request calls it, the built-in one first.

    A folder that is no checkpoint, cannot be read or is a link to outside its models folder is left out. Where two
    have the same name the first keeps it and the next is called "name (2)".
    """
    found: dict[str, Entry] = {}
    for folder, built_in in _candidates(models_dirs):
        checkpoint = describe(folder, built_in=built_in)
        if checkpoint is None:
            continue
        name, copies = checkpoint.name, 1
        while name in found:
            copies += 1
            name = f"{checkpoint.name} ({copies})"
        if copies > 1:
            checkpoint = replace(checkpoint, name=name, label=f"{checkpoint.label} ({copies})", built_in=False)
        found[name] = Entry(checkpoint, folder)
    return found


def _candidates(models_dirs: Sequence[Path]) -> Iterable[tuple[Path, bool]]:
    for models_dir in models_dirs:
        yield models_dir / BUILT_IN, True
    for models_dir in models_dirs:
        root = models_dir.resolve()
        try:
            folders = sorted((models_dir / "checkpoints").iterdir(), key=lambda f: f.name.casefold())
        except OSError:
            continue
        for folder in folders:
            if folder.resolve().is_relative_to(root):
                yield folder, False


def describe(folder: Path, *, built_in: bool = False) -> Checkpoint | None:
    """The catalogue's entry of one diffusers folder, or None when it is none."""
    index = read_json(folder / "model_index.json")
    unet = read_json(folder / "unet" / "config.json")
    vae = read_json(folder / "vae" / "config.json")
    if index is None or unet is None or str(index.get("_class_name")) not in PIPELINES:
        return None
    blocks = (vae or {}).get("block_out_channels")
    factor = 2 ** (len(blocks) - 1) if isinstance(blocks, list) and 1 <= len(blocks) <= 8 else 8
    sample_size = unet.get("sample_size")
    side = sample_size * factor if isinstance(sample_size, int) and 1 <= sample_size * factor <= 4096 else 512
    world = read_json(folder / "world.json") or {}
    width = unet.get("cross_attention_dim")
    return Checkpoint(
        name=folder.name,
        label=_text(world.get("label")) or folder.name,
        family=FAMILY_LABELS.get(width, "SD 1") if isinstance(width, int) else "SD 1",
        native_width=side,
        native_height=side,
        size_bytes=_weights_bytes(folder),
        built_in=built_in,
        examples=_texts(world.get("examples")),
        words=_texts(world.get("words")),
        note=_text(world.get("note")),
    )


def read_json(path: Path) -> dict[str, object] | None:
    """A small JSON object, or None when there is none that can be read."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return None
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _weights_bytes(folder: Path) -> int:
    try:
        return sum(f.stat().st_size for f in folder.glob("*/*.safetensors"))
    except OSError:
        return 0


def _text(value: object) -> str:
    return value[:2000] if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str))[:2000] if isinstance(value, list) else ()
