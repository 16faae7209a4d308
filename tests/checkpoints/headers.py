"""Weights files that are a header and a hole."""

from __future__ import annotations

import json
import struct
from pathlib import Path


def header_file(
    path: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None, dtype: str = "F16"
) -> Path:
    """A whole file of these tensors whose data is a hole: gigabytes that take no room."""
    entries: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    position = 0
    width = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1}[dtype]
    for key, shape in shapes.items():
        size = width
        for side in shape:
            size *= side
        entries[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + position)
    return path
