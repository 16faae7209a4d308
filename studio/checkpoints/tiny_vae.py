"""A small VAE's decoder => AutoencoderTiny, the *tiny* decoder of previews: diffusers' names, or TAESD's own.

A file alone is a TAESD, 64 channels wide. A folder's config.json may say other widths: the built-in checkpoint has its
own tiny decoder beside its VAE. Only the decoder is looked at; an encoder that is in the file is not used.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeGuard

import torch
from diffusers import AutoencoderTiny

from studio.asked.messages import Message
from studio.checkpoints.details import read_json, weights_files
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry, read_header
from studio.checkpoints.reader import WeightsFile

MAX_WIDTH, MAX_BLOCKS, LEVELS = 1024, 64, 4  # four levels: 8 pixels per latent and side, as all Stable Diffusion VAEs


def load_tiny_vae(path: Path, *, device: torch.device, dtype: torch.dtype) -> Any:
    """Read a small VAE's decoder, a file or a diffusers folder. Raises BadCheckpoint, naming the file, for others."""
    widths: dict[str, Any] = {}
    if path.is_dir():
        files = weights_files(path)
        if not files:
            raise BadCheckpoint(Message("There is no .safetensors file in the folder {file}.", file=path.name))
        widths = _widths(path)
        path = files[0]
    header = read_header(path)
    names = {name: key for key in header if (name := decoder_name(key)) is not None}
    tensors: dict[str, TensorEntry] = {name: header[key] for name, key in names.items()}
    with torch.device("meta"):
        module = AutoencoderTiny(**widths)
    del module.encoder
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if {name: entry.shape for name, entry in tensors.items()} != shapes:
        raise BadCheckpoint(
            Message("{file} is no decoder of a TAESD: its tensors have other names or shapes.", file=path.name)
        )
    with WeightsFile(path) as file:
        for name, entry in tensors.items():
            owner, leaf = module.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
            tensor = file.read(entry, device=device, dtype=dtype)
            owner._parameters[leaf] = torch.nn.Parameter(tensor, requires_grad=False)
    return module.eval()


def _widths(folder: Path) -> dict[str, Any]:
    """What config.json says of the decoder's shape; nothing where it is silent. Raises BadCheckpoint for nonsense."""
    config = read_json(folder / "config.json") or {}
    widths: dict[str, Any] = {}
    for name, lowest, highest in (("decoder_block_out_channels", 1, MAX_WIDTH), ("num_decoder_blocks", 0, MAX_BLOCKS)):
        values = config.get(name)
        if values is None:
            continue
        if not _is_shape(values, lowest, highest):
            raise BadCheckpoint(
                Message(
                    "{folder}/config.json: {name} is {values}, allowed are {levels} numbers from "
                    "{lowest} "
                    "to {highest}.",
                    folder=folder.name,
                    name=name,
                    values=str(values)[:60],
                    levels=LEVELS,
                    lowest=lowest,
                    highest=highest,
                )
            )
        widths[name] = tuple(values)
    channels = config.get("latent_channels", 4)
    if channels != 4:
        raise BadCheckpoint(
            Message(
                "{folder}/config.json: latent_channels is {channels}, allowed is 4.",
                folder=folder.name,
                channels=str(channels)[:60],
            )
        )
    return widths


def _is_shape(values: object, lowest: int, highest: int) -> TypeGuard[list[int]]:
    return (
        isinstance(values, list)
        and len(values) == LEVELS
        and all(isinstance(value, int) and lowest <= value <= highest for value in values)
    )


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
