"""Where the encoder lies that belongs to a tiny autoencoder's decoder. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from studio.checkpoints.details import weights_files
from studio.checkpoints.inspect import BadCheckpoint, read_header


def encoder_of(path: Path) -> Path | None:
    """The file with the encoder of a tiny autoencoder whose decoder is this file or folder: the same one, or the one
    that is called "encoder" where this is called "decoder", as TAESD comes. None where there is none."""
    files = weights_files(path) if path.is_dir() else [path]
    try:
        if any(re.match(r"(taesd_)?encoder\.", key) for key in read_header(files[0])):
            return files[0]
    except (BadCheckpoint, OSError, IndexError):
        return None
    beside = path.with_name(path.name.replace("decoder", "encoder"))
    return beside if beside != path and beside.is_file() else None
