"""Where downloads lie in the models folder: on their way in a folder that no listing looks into, then in that of their
kind, by one rename. And where each came from."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from studio.answered.models import HubFile
from studio.asked.messages import Message
from studio.asked.orders import ModelKind
from studio.checkpoints.memo import FOLDER, Memo
from studio.checkpoints.repository import is_folder
from studio.checkpoints.transfer import DownloadError, Job, partial, size_on_disk

DOWNLOADS = "downloads"  # below FOLDER: what is on its way
KIND_FOLDERS: Mapping[ModelKind, str] = {
    "checkpoint": "checkpoints",
    "vae": "vae",
    "lora": "loras",
    "embedding": "embeddings",
    "preview_decoder": "vae_approx",
    "controlnet": "controlnet",
    "safety_checker": "safety_checker",
    "upscaler": "upscalers",
}
SPARE_BYTES = 256 * 2**20  # of the disk, that stay free


class DownloadPlace:
    """The folders of one models folder."""

    def __init__(
        self, models_dir: Path, free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free
    ) -> None:
        """`free_bytes` of the disk, for tests."""
        self._models_dir = models_dir
        self._free_bytes = free_bytes
        self._origins = Memo(models_dir / FOLDER / "origins.json")

    def folder(self, kind: ModelKind) -> Path:
        """Where models of a kind lie."""
        return self._models_dir / KIND_FOLDERS[kind]

    def origin(self, key: str, size: int) -> str:
        """What a model was fetched from, by the catalogue's key and size of it: a repository, with the revision where
        that was not the main one, or an address; "" for one that came another way, or is another one by now."""
        origin = self._origins.get(key)
        fits = isinstance(origin, dict) and origin.get("size") == size
        return str(origin.get("from", "")) if fits else ""

    def begin(self, job: Job, mark: str) -> tuple[Path, int]:
        """The folder for what is on its way, which depends on `mark` alone, so that a second try finds it; and the
        bytes that lie there. Raises DownloadError where the disk is too small for the rest."""
        staging = self._models_dir / FOLDER / DOWNLOADS / hashlib.sha256(mark.encode()).hexdigest()[:24]
        staging.mkdir(parents=True, exist_ok=True)
        have = sum(size_on_disk(partial(staging, file)) or size_on_disk(staging / file.path) for file in job.files)
        needed_bytes = sum(file.size or 0 for file in job.files) - have
        free = self._free_bytes(self._models_dir)
        if needed_bytes + SPARE_BYTES > free:
            raise DownloadError(
                Message(
                    "The disk is too small: {needed} GB are still to come, "
                    "{free} GB are free. Free some space and try again.",
                    needed=f"{needed_bytes / 2**30:.1f}",
                    free=f"{free / 2**30:.1f}",
                )
            )
        return staging, have

    def move(self, staging: Path, target: Path, files: Sequence[HubFile], source: str) -> None:
        """Bring what has come to its place, and remember where it is from. Raises DownloadError where something lies
        there."""
        if target.exists():
            raise DownloadError(
                Message(
                    "{target} has appeared in the models folder meanwhile; nothing was overwritten.", target=target.name
                )
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_folder(files):
            os.replace(staging, target)
        else:
            os.replace(staging / files[0].path, target)
            shutil.rmtree(staging, ignore_errors=True)
        weights = [path for path in (target, *target.rglob("*.safetensors")) if path.suffix == ".safetensors"]
        size = sum(size_on_disk(path) for path in weights)
        self._origins.update({target.as_posix(): {"from": source, "size": size}})
