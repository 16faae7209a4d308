"""What a weights file says about itself, told from its first bytes: no tensor is read, nothing is run, no torch.

Owns the checks that stand before any loading: format by magic bytes, header size, offsets, lengths.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

MAX_HEADER_BYTES = 8 * 2**20  # SDXL's is 0.35 MB; an 80 MB header costs the safetensors library 8 s and 1 GB
MAX_TENSORS = 65_536

DTYPE_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip


class BadCheckpoint(ValueError):
    """A checkpoint that cannot be used. The text is one sentence for the page: which part, what is wrong."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a header."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of a .safetensors file by name, every offset checked against the file's length.

    Raises BadCheckpoint for anything else: pickles, pointers of Git LFS, web pages, truncated or padded files.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
            _refuse_other_formats(path.name, start, size)
            length = int.from_bytes(start[:8], "little")
            if length > MAX_HEADER_BYTES:
                raise BadCheckpoint(f"{path.name} is no safetensors file: its header claims {length:,} bytes.")
            if 8 + length > size:
                raise BadCheckpoint(f"{path.name} is truncated: {size:,} of at least {8 + length:,} bytes are there.")
            file.seek(8)
            header = file.read(length)
    except OSError as error:
        raise BadCheckpoint(f"{path.name} cannot be read: {error.strerror}.") from error
    entries = _parse(path.name, header)
    return _checked(path.name, entries, size - 8 - length)


def _refuse_other_formats(name: str, start: bytes, size: int) -> None:
    if size == 0:
        raise BadCheckpoint(f"{name} is empty: the download did not finish.")
    if start.startswith(b"version https://git-lfs"):
        raise BadCheckpoint(f"{name} is a Git LFS pointer, not the weights themselves. Fetch them with 'git lfs pull'.")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise BadCheckpoint(f"{name} is a web page, not a weights file: the download went wrong.")
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")) and start[8:9] != b"{":
        raise BadCheckpoint(f"{name} is a pickle, which could run code when it is read. Only safetensors are loaded.")
    if start.startswith(b"GGUF"):
        raise BadCheckpoint(f"{name} is a GGUF file. Only safetensors are loaded.")
    if size < 8 or start[8:9] != b"{":
        raise BadCheckpoint(f"{name} is not a safetensors file.")


def _parse(name: str, header: bytes) -> dict[str, object]:
    def no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise BadCheckpoint(f"{name} is damaged: its header names a tensor twice.")
        return found

    if header.count(b'"dtype"') > MAX_TENSORS:  # before parsing: a million small entries cost seconds and a gigabyte
        raise BadCheckpoint(f"{name} claims more than {MAX_TENSORS:,} tensors.")
    try:
        parsed = json.loads(header, object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadCheckpoint):
            raise
        raise BadCheckpoint(f"{name} is damaged: its header cannot be read.") from error
    if not isinstance(parsed, dict):
        raise BadCheckpoint(f"{name} is damaged: its header is no table of tensors.")
    parsed.pop("__metadata__", None)
    return parsed


def _checked(name: str, entries: dict[str, object], data_bytes: int) -> dict[str, TensorEntry]:
    """Every entry well-formed, the data without holes or overlaps, and exactly as long as the file."""
    tensors: dict[str, TensorEntry] = {}
    spans: list[tuple[int, int]] = []
    for key, entry in entries.items():
        try:
            dtype, shape = entry["dtype"], tuple(entry["shape"])  # type: ignore[index]
            begin, end = entry["data_offsets"]  # type: ignore[index]
            numbers = [*shape, begin, end]
            good = all(type(n) is int and n >= 0 for n in numbers) and dtype in DTYPE_BYTES
        except (KeyError, TypeError, ValueError):
            good = False
        if not good or end - begin != math.prod(shape) * DTYPE_BYTES[dtype]:
            raise BadCheckpoint(f"{name} is damaged: the entry of {key[:80]!r} makes no sense.")
        tensors[key] = TensorEntry(dtype, shape)
        spans.append((begin, end))
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise BadCheckpoint(f"{name} is damaged: its tensors overlap or leave holes.")
        position = end
    if position > data_bytes:
        raise BadCheckpoint(f"{name} is truncated: {data_bytes:,} of {position:,} bytes of weights are there.")
    if position < data_bytes:
        raise BadCheckpoint(f"{name} is damaged: {data_bytes - position:,} bytes too many.")
    return tensors
