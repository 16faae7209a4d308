"""Checkpoints of real architecture with random weights, written where a machine without a network measures.

Speed and memory do not depend on what a model has learned. The tiny ones have the same parts, for tests of the
measurements themselves.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAMILIES = {"sd15": "sd1", "sdxl": "sdxl"}  # name of the checkpoint, name of its family


@dataclass(frozen=True)
class Work:
    """How much each measurement does."""

    tiny: bool
    steps: int
    rounds: int
    visitors: int
    rows: tuple[int, ...]  # of U-Net calls
    compare_steps: tuple[int, ...]
    calls: int  # of one U-Net for each figure


FULL = Work(
    tiny=False,
    steps=25,
    rounds=5,
    visitors=16,
    rows=(1, 2, 4, 6, 8, 12, 16, 32),
    compare_steps=(5, 10, 20, 40),
    calls=20,
)
TINY = Work(tiny=True, steps=3, rounds=1, visitors=3, rows=(1, 2), compare_steps=(1, 2, 3, 4), calls=2)


def checkpoint(models: Path, name: str, tiny: bool) -> Path:
    """The diffusers folder of a checkpoint below a models folder, in half precision unless `tiny`; written at the
    first call. A write that was cut leaves nothing that looks whole."""
    from tests.checkpoints.original import save_folder

    folder = models / "checkpoints" / name
    if not folder.exists():
        part = models / "unfinished" / name
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_folder(part, FAMILIES[name], modules(name, tiny), shard="20GB")
        _write_fast_preview(part / "vae" / "fast_preview.safetensors")
        folder.parent.mkdir(parents=True, exist_ok=True)
        part.rename(folder)
    return folder


def modules(name: str, tiny: bool) -> dict[str, Any]:
    """The parts of a checkpoint by name, on the CPU."""
    from tests.checkpoints.original import full_family, tiny_family

    return tiny_family(FAMILIES[name]) if tiny else full_family(FAMILIES[name])


def native_side(folder: Path) -> int:
    """Latent cells of a side of the checkpoint's native picture."""
    return int(json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))["sample_size"])


def _write_fast_preview(path: Path) -> None:
    """Some fast preview: without one the engine fits it beside the first pictures, which a checkpoint pays once."""
    import torch
    from safetensors.torch import save_file

    weight = torch.randn((192, 4, 3, 3), generator=torch.Generator().manual_seed(7)) / 6
    save_file({"weight": weight, "bias": torch.zeros(192)}, path)
