"""The fast previews that were fitted to VAEs, kept by the VAE's hash: small files, written whole or not at all.

Two checkpoints with the same VAE share one; a studio that may not write beside its models remembers in memory alone.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from studio.checkpoints.catalog import Entry
from studio.checkpoints.inspect import BadCheckpoint, read_header
from studio.checkpoints.memo import Memo
from studio.diffusion.preview import FastFit

logger = logging.getLogger(__name__)

FOLDER = "previews"  # in the folder where the studio remembers what it found out about models
IN_MEMORY = 8  # fits of a few kilobytes


class PreviewFits:
    """What was learned of each VAE so far. Used from the engine's thread alone."""

    def __init__(self, folder: Path | None) -> None:
        """`folder`: where the studio remembers; None: in memory alone."""
        self._folder = folder / FOLDER if folder is not None else None
        self._names = Memo(folder / "vae_hashes.json" if folder is not None else None)  # which file holds which VAE
        self._in_memory: OrderedDict[str, FastFit] = OrderedDict()

    def hash_of(self, entry: Entry, dtype: torch.dtype) -> str | None:
        """The hash of the VAE in this file, loaded in this precision, if it was taken before."""
        entry_values = self._names.get(entry.file.key)
        stamp = [entry.file.size, entry.file.mtime_ns, str(dtype)]
        return str(entry_values[3]) if isinstance(entry_values, list) and entry_values[:3] == stamp else None

    def name(self, entry: Entry, dtype: torch.dtype, vae_hash: str) -> None:
        """Remember whose hash it is."""
        self._names.update({entry.file.key: [entry.file.size, entry.file.mtime_ns, str(dtype), vae_hash]})

    def get(self, vae_hash: str, like: FastFit) -> FastFit | None:
        """What was learned of this VAE, of the same shape as `like`; None where there is nothing, or it is damaged."""
        if vae_hash not in self._in_memory and self._folder is not None:
            file = self._folder / f"{vae_hash}.safetensors"
            try:
                read_header(file)
                tensors = load_file(file)
                self._keep(vae_hash, FastFit(tensors["normal"], tensors["moment"], float(tensors["rows"])))
            except FileNotFoundError:
                return None
            except (BadCheckpoint, KeyError, ValueError, RuntimeError, OSError):
                if file.exists():
                    logger.warning("The fast preview %s cannot be read; it is fitted anew", file.name, exc_info=True)
                return None
        fit_of_vae = self._in_memory.get(vae_hash)
        fits = (
            fit_of_vae is not None
            and fit_of_vae.normal.shape == like.normal.shape
            and fit_of_vae.moment.shape == like.moment.shape
            and bool(torch.isfinite(fit_of_vae.normal).all() and torch.isfinite(fit_of_vae.moment).all())
        )
        return (
            FastFit(fit_of_vae.normal, fit_of_vae.moment, fit_of_vae.rows) if fit_of_vae is not None and fits else None
        )

    def put(self, vae_hash: str, fit: FastFit) -> None:
        """Keep what is known of this VAE now."""
        self._keep(vae_hash, FastFit(fit.normal, fit.moment, fit.rows))
        if self._folder is None:
            return
        temporary = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._folder, suffix=".part")
            os.close(handle)
            rows = torch.tensor(fit.rows, dtype=torch.float64)
            save_file({"normal": fit.normal, "moment": fit.moment, "rows": rows}, temporary)
            os.replace(temporary, self._folder / f"{vae_hash}.safetensors")
        except OSError:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            logger.warning("The fast preview cannot be written; it is remembered until the end", exc_info=True)

    def _keep(self, vae_hash: str, fit: FastFit) -> None:
        self._in_memory[vae_hash] = fit
        self._in_memory.move_to_end(vae_hash)
        while len(self._in_memory) > IN_MEMORY:
            self._in_memory.popitem(last=False)


def hashing(vae: Any) -> Iterator[str | None]:
    """The sha256 of a loaded VAE's names, shapes and weights, a tensor at a time: None again and again, then it."""
    digest = hashlib.sha256()
    for name, tensor in sorted(vae.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().reshape(-1).contiguous().view(torch.uint8).cpu().numpy())
        yield None
    yield digest.hexdigest()
