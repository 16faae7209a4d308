"""What a weights file says about itself, told from its first bytes: no tensor is read, nothing is run, no torch.

Owns the checks that stand before any loading: format by magic bytes, header size, offsets, lengths. What the tensors
mean (family, prediction type) is in identify.py.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from studio.asked.messages import Message

MAX_HEADER_BYTES = 100_000_000  # as the safetensors library has it: trainers put whole tables into the metadata
MAX_STRUCTURE_BYTES = 8 * 2**20  # of it without its texts; SDXL's is 0.35 MB, and small values cost most to read
MAX_TENSORS = 65_536

DTYPE_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
}  # fmt: skip


class BadCheckpoint(ValueError):
    """A checkpoint that cannot be used. The text is one sentence for the page: which part, what is wrong. Names come
    from unknown_names' files, so what does not print is replaced."""

    def __init__(self, text: str) -> None:
        super().__init__("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


class PickleFile(BadCheckpoint):
    """A pickle, whatever its name says: it is never read as it is, but can be converted safely (convert.py)."""


class TensorEntry(NamedTuple):
    """One tensor of a header. `offset` is where its first byte lies in the file. (A tuple, since listing two thousand
    files makes two million of them.)"""

    dtype: str
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * DTYPE_BITS[self.dtype] // 8


@dataclass(frozen=True)
class Header:
    """The checked header of one .safetensors file; `metadata` holds only what is text."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    size_bytes: int  # of the whole file


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of a .safetensors file by name; see `read_whole_header`."""
    return dict(read_whole_header(path).tensors)


def read_whole_header(path: Path) -> Header:
    """Tensors and metadata of a .safetensors file, every offset checked against the file's length.

    Raises PickleFile for a pickle, BadCheckpoint for everything else that is no whole safetensors file: pointers of
    Git LFS, web pages, truncated or padded files.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(300)
            refuse_other_formats(path.name, start, size)
            length = int.from_bytes(start[:8], "little")
            if length > MAX_HEADER_BYTES:
                raise BadCheckpoint(
                    Message(
                        "{file} is no safetensors file: its header claims {length} bytes.",
                        file=path.name,
                        length=f"{length:,}",
                    )
                )
            if 8 + length > size:
                raise BadCheckpoint(
                    Message(
                        "{file} is truncated: {size} of at least {value} bytes are there.",
                        file=path.name,
                        size=f"{size:,}",
                        value=f"{8 + length:,}",
                    )
                )
            file.seek(8)
            header = file.read(length)
    except OSError as error:
        raise BadCheckpoint(Message("{file} cannot be read: {error}.", file=path.name, error=error.strerror)) from error
    entries = _parse(path.name, header)
    strings = entries.pop("__metadata__", None)
    metadata = {k: v for k, v in strings.items() if isinstance(v, str)} if isinstance(strings, dict) else {}
    return Header(_check_entries(path.name, entries, size, 8 + length), metadata, size)


def refuse_other_formats(name: str, start: bytes, size: int) -> None:
    """Raises BadCheckpoint, or PickleFile, where the first bytes (300 are enough) are no safetensors file's."""
    if size == 0:
        raise BadCheckpoint(Message("{name} is empty: the download did not finish.", name=name))
    if start.startswith(b"version https://git-lfs"):
        raise BadCheckpoint(
            Message(
                "{name} is a Git LFS pointer, not the weights themselves. Fetch them with 'git lfs pull'.", name=name
            )
        )
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise BadCheckpoint(Message("{name} is a web page, not a weights file: the download went wrong.", name=name))
    if is_pickle(start):
        raise PickleFile(
            Message("{name} is a pickle, which could run code when it is read. Only safetensors are loaded.", name=name)
        )
    if start.startswith(b"GGUF"):
        raise BadCheckpoint(Message("{name} is a GGUF file. Only safetensors are loaded.", name=name))
    if size < 8 or start[8:9] != b"{":
        raise BadCheckpoint(Message("{name} is not a safetensors file.", name=name))


def is_pickle(start: bytes) -> bool:
    """Whether the first bytes (300 are enough) are those of a pickle in any of the forms that PyTorch has written."""
    if start[8:9] == b"{" and not start.startswith(b"PK"):  # safetensors: its length may begin like a pickle
        return False
    return (
        start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))
        or start[257:262] == b"ustar"
    )  # a tar, of the first versions


def _parse(name: str, header: bytes) -> dict[str, object]:
    if len(header) > MAX_STRUCTURE_BYTES and len(_TEXT.sub(b"", header)) > MAX_STRUCTURE_BYTES:
        raise BadCheckpoint(Message("{name} is damaged: its header is no table of tensors.", name=name))
    if header.count(b'"dtype"') > MAX_TENSORS:  # before parsing: a million small entries cost seconds and a gigabyte
        raise BadCheckpoint(Message("{name} claims more than {most} tensors.", name=name, most=f"{MAX_TENSORS:,}"))

    def no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
        table = dict(pairs)
        if len(table) != len(pairs):
            raise BadCheckpoint(Message("{name} is damaged: its header names a tensor twice.", name=name))
        return table

    try:
        entries = json.loads(header)
        if not isinstance(entries, dict):
            raise BadCheckpoint(Message("{name} is damaged: its header is no table of tensors.", name=name))
        if _count_strings(header) != _expected_strings(entries):
            json.loads(header, object_pairs_hook=no_duplicates)  # which takes three times as long
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadCheckpoint):
            raise
        raise BadCheckpoint(Message("{name} is damaged: its header cannot be read.", name=name)) from error
    return entries


_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')


def _count_strings(header: bytes) -> int:
    """How many strings a JSON text holds: quotes that no backslash stands before, two a string."""
    if b"\\" in header:
        header = header.replace(rb"\\", b"").replace(rb"\"", b"")
    return header.count(b'"') // 2


def _expected_strings(table: dict[str, object]) -> int:
    """How many strings the text of this table holds where every entry has the three keys of a tensor and no key is
    there twice. An entry has a name, three keys and a type; a line of metadata has two. With fewer no entry would be
    accepted, and a second key adds to those that are written; so where both numbers are equal there is none. -1: it has
    to be looked at more closely."""
    metadata = table.get("__metadata__")
    if metadata is None:
        return 5 * len(table)
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return -1
    return 5 * (len(table) - 1) + 1 + 2 * len(metadata)


def _check_entries(name: str, entries: dict[str, object], size: int, data_start: int) -> dict[str, TensorEntry]:
    """Every entry well-formed, the data without holes or overlaps, and exactly as long as the file."""
    data_bytes = size - data_start
    tensors: dict[str, TensorEntry] = {}
    position, in_order = 0, True
    for key, entry in entries.items():
        try:
            dtype, shape = entry["dtype"], tuple(entry["shape"])  # type: ignore[index]
            begin, end = entry["data_offsets"]  # type: ignore[index]
            bits = DTYPE_BITS[dtype]
            for side in shape:
                if type(side) is not int or side < 0:
                    raise ValueError
                bits *= side
            if type(begin) is not int or type(end) is not int or begin < 0 or 8 * (end - begin) != bits:
                raise ValueError
        except (KeyError, TypeError, ValueError) as error:
            raise BadCheckpoint(
                Message("{name} is damaged: the entry of {key} makes no sense.", name=name, key=f"{key[:80]!r}")
            ) from error
        tensors[key] = TensorEntry(dtype, shape, data_start + begin)
        in_order = in_order and begin == position
        position = end
    if not in_order:  # safetensors writes them one behind the other, but any order is allowed
        position = 0
        for entry in sorted(tensors.values(), key=lambda entry: (entry.offset, entry.size_bytes)):
            if entry.offset != data_start + position:
                raise BadCheckpoint(Message("{name} is damaged: its tensors overlap or leave holes.", name=name))
            position += entry.size_bytes
    if position > data_bytes:
        raise BadCheckpoint(
            Message(
                "{name} is truncated: {data_bytes} of {position} bytes of weights are there.",
                name=name,
                data_bytes=f"{data_bytes:,}",
                position=f"{position:,}",
            )
        )
    if position < data_bytes:
        raise BadCheckpoint(
            Message(
                "{name} is damaged: {data_bytes} bytes too many.", name=name, data_bytes=f"{data_bytes - position:,}"
            )
        )
    return tensors
