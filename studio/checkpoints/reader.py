"""Reads tensors from a checked .safetensors file, directly to their device and in the target precision.

Where the file can be mapped under a lease (leased_map.py), what needs no change stays where it lies in the file, and
what is converted or goes to another device is copied from there. Else the file is read, since a mapped one that
somebody truncates ends the whole process: what needs no change into its own memory, the rest through one small buffer.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from studio.asked.messages import Message
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry
from studio.checkpoints.leased_map import LeasedMap

BUFFER_BYTES = 16 * 2**20

TORCH_DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


class WeightsFile:
    """An open weights file. Used as a `with` block, from one thread; `mapped` may serve several."""

    def __init__(self, path: Path, mapping: LeasedMap | None = None) -> None:
        self.path = path
        self._mapping = mapping
        self._file: Any = None
        self._buffer: torch.Tensor | None = None

    def __enter__(self) -> WeightsFile:
        try:
            self._file = self.path.open("rb", buffering=0)
        except OSError as error:
            raise BadCheckpoint(
                Message("{file} cannot be read: {error}.", file=self.path.name, error=error.strerror)
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._buffer = None

    def read(
        self,
        entry: TensorEntry,
        *,
        device: torch.device,
        dtype: torch.dtype | None = None,
        third: int | None = None,
    ) -> torch.Tensor:
        """One tensor on `device`, in `dtype` (None: as stored), or one third of its rows.

        Raises BadCheckpoint when the file has become shorter since its header was checked.
        """
        file_dtype = TORCH_DTYPES.get(entry.dtype)
        if file_dtype is None:
            raise BadCheckpoint(
                Message(
                    "{file} holds weights of the type {dtype}, which cannot be loaded.",
                    file=self.path.name,
                    dtype=entry.dtype,
                )
            )
        shape, offset, size = entry.shape, entry.offset, entry.size_bytes
        if third is not None:
            shape, size = (shape[0] // 3, *shape[1:]), size // 3
            offset += third * size
        target_dtype = dtype if dtype is not None else file_dtype
        in_file = self._in_file(offset, shape, file_dtype)
        if device.type == "cpu" and target_dtype == file_dtype:
            if in_file is not None:
                return in_file
            tensor = torch.empty(shape, dtype=file_dtype)
            self._fill(_bytes_of(tensor), offset)
            return tensor
        tensor = torch.empty(shape, dtype=target_dtype, device=device)
        if in_file is not None:
            return tensor.copy_(in_file)
        flat, step = tensor.view(-1), BUFFER_BYTES // file_dtype.itemsize
        if self._buffer is None:
            self._buffer = torch.empty(BUFFER_BYTES, dtype=torch.uint8)
        for begin in range(0, flat.numel(), step):
            count = min(step, flat.numel() - begin)
            block = self._buffer[: count * file_dtype.itemsize]
            self._fill(_bytes_of(block), offset + begin * file_dtype.itemsize)
            flat[begin : begin + count].copy_(block.view(file_dtype))
        return tensor

    def _in_file(self, offset: int, shape: tuple[int, ...], file_dtype: torch.dtype) -> torch.Tensor | None:
        try:
            return self._mapping.tensor(offset, shape, file_dtype) if self._mapping is not None else None
        except OSError as error:
            raise BadCheckpoint(
                Message("{file} cannot be read: {error}.", file=self.path.name, error=error.strerror)
            ) from error

    def _fill(self, memory: memoryview, offset: int) -> None:
        self._file.seek(offset)
        while memory:
            count = self._file.readinto(memory)
            if not count:
                raise BadCheckpoint(
                    Message("{file} became shorter while it was read; is it being replaced?", file=self.path.name)
                )
            memory = memory[count:]


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def finite(path: Path, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor. Raises BadCheckpoint, naming the file, where it holds a value that is no number: at the end of a run
    the model would be blamed for it."""
    if not bool(torch.isfinite(tensor).all()):
        precision = str(tensor.dtype).removeprefix("torch.")
        raise BadCheckpoint(
            Message(
                "{file} holds values that are not numbers, or too large for {precision}.",
                file=path.name,
                precision=precision,
            )
        )
    return tensor
