"""A TAESD file => AutoencoderTiny, the *tiny* rung of the preview ladder: diffusers' names, or the original decoder's.

Only the decoder is looked at; an encoder that is in the file is not used.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny

from studio.checkpoints.identify import weights_files
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry, read_header
from studio.checkpoints.reader import WeightsFile


def load_tiny_vae(path: Path, *, device: torch.device, dtype: torch.dtype) -> Any:
    """Read a small VAE's decoder, a file or a diffusers folder. Raises BadCheckpoint, naming the file, for others."""
    if path.is_dir():
        files = weights_files(path)
        if not files:
            raise BadCheckpoint(f"There is no .safetensors file in the folder {path.name}.")
        path = files[0]
    names = {name: key for key in read_header(path) if (name := decoder_name(key)) is not None}
    tensors: dict[str, TensorEntry] = {name: read_header(path)[key] for name, key in names.items()}
    with torch.device("meta"):
        module = AutoencoderTiny()
    del module.encoder
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if {name: entry.shape for name, entry in tensors.items()} != expected:
        raise BadCheckpoint(f"{path.name} is no decoder of a TAESD: its tensors have other names or shapes.")
    with WeightsFile(path) as file:
        for name, entry in tensors.items():
            owner, leaf = module.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
            tensor = file.read(entry, device=device, dtype=dtype)
            owner._parameters[leaf] = torch.nn.Parameter(tensor, requires_grad=False)
    return module.eval()


def decoder_name(key: str) -> str | None:
    """diffusers' name of a decoder's tensor; None for one of the encoder or of nothing.

    The original decoder counts a clamp at its beginning as its layer 0, diffusers does not.
    """
    if re.match(r"(taesd_)?encoder\.", key):
        return None
    if key.startswith("decoder.layers."):
        return key
    match = re.fullmatch(r"(?:(?:taesd_)?decoder\.)?(\d+)\.(.+)", key)
    return f"decoder.layers.{int(match[1]) - 1}.{match[2]}" if match and int(match[1]) > 0 else None
