"""Keeps the hot checkpoint, loads another when asked, frees all of the old one first.

Holds at most one set of components; knows no job. Names come from the catalogue, never paths from outside.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from studio.checkpoints import catalog, loader
from studio.checkpoints.inspect import BadCheckpoint
from studio.diffusion.families import Components

logger = logging.getLogger(__name__)


class ModelManager:
    """One checkpoint on the device at a time. Used from the engine's thread alone, but for `hash_of`."""

    def __init__(
        self, models_dirs: Sequence[Path], *, device: torch.device, dtype: torch.dtype, release: Callable[[], None]
    ) -> None:
        self._models_dirs = tuple(models_dirs)
        self._device = device
        self._dtype = dtype
        self._release = release
        self._hot: Components | None = None
        self._hashes: dict[tuple[Path, int, int], str] = {}
        self._previews: dict[tuple[Path, int, int], loader.FastPreview] = {}  # a fit takes many decodes, so once
        self._hot_folder: Path | None = None

    @property
    def hot(self) -> Components | None:
        """What is on the device now."""
        return self._hot

    def get(self, name: str, progress: loader.Progress) -> Components:
        """The components of a checkpoint, loaded if need be. Raises BadCheckpoint; the device is then empty."""
        if self._hot is not None and self._hot.name == name:
            return self._hot
        entry = catalog.scan(self._models_dirs).get(name)
        if entry is None:
            raise BadCheckpoint(f"The checkpoint {name[:80]} is not in the models folder any more.")
        self.unload()
        identity = _identity(entry.folder)
        try:
            self._hot = loader.load(
                entry.folder,
                name=name,
                device=self._device,
                dtype=self._dtype,
                progress=progress,
                fast_preview=self._previews.get(identity),
            )
        finally:
            self._release()
        if self._hot.fast_preview is not None:
            self._previews[identity] = self._hot.fast_preview
        self._hot_folder = entry.folder
        threading.Thread(target=self._hash, args=(entry.folder,), name="checkpoint-hash", daemon=True).start()
        return self._hot

    def unload(self) -> None:
        """Let the hot checkpoint go, and its memory with it. The caller holds no components any more."""
        self._hot = None
        self._hot_folder = None
        self._release()

    def hash_of_hot(self) -> str | None:
        """sha256 over the hot checkpoint's weights files in the order of their names; None until it is computed."""
        if self._hot_folder is None:
            return None
        return self._hashes.get(_identity(self._hot_folder))

    def _hash(self, folder: Path) -> None:
        try:
            identity = _identity(folder)
            if identity in self._hashes:
                return
            digest = hashlib.sha256()
            for file in _weights(folder):
                with file.open("rb") as data:
                    while block := data.read(2**20):
                        digest.update(block)
            self._hashes[identity] = digest.hexdigest()
        except OSError:
            logger.warning("The weights of %s could not be hashed", folder.name, exc_info=True)


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"), key=lambda f: f.relative_to(folder).as_posix())


def _identity(folder: Path) -> tuple[Path, int, int]:
    """What changes when the weights change: total size and newest change of the files."""
    stats = [f.stat() for f in _weights(folder)]
    return folder, sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)
