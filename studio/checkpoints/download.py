"""Downloads files from the Hugging Face hub into the models folder: listed, resumed, verified, and only then moved into
place.

A download is written beside the models, in a folder that no listing looks into, and moved into place by one rename when
every byte and its sha256 are right; so what is listed is whole. One thread, one download at a time. No torch.

    from pathlib import Path
    from studio.checkpoints.download import Hub
    Hub(Path("models")).fetch("owner/name", ("model.safetensors",))
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx
from huggingface_hub import constants, get_token

from studio.answered.engine import Refused
from studio.answered.models import Download, HubFile, NoSuchModel
from studio.asked.messages import Message
from studio.asked.orders import ModelKind
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.checkpoints.memo import FOLDER, Memo
from studio.checkpoints.repository import hub_file, is_folder, mark_suggestions, parse_repository, refusal
from studio.checkpoints.transfer import Cancelled, DownloadError, Job, Transfer, cause, partial, size_on_disk

logger = logging.getLogger(__name__)

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
TIMEOUT = httpx.Timeout(30.0, connect=15.0)
STALL_SECONDS = 30.0  # without one byte of a file, and the connection counts as broken
SPARE_BYTES = 256 * 2**20  # of the disk, that stay free


class Hub:
    """Downloads into one models folder. Safe for several threads."""

    def __init__(
        self,
        models_dir: Path,
        *,
        endpoint: str | None = None,
        on_arrival: Callable[[], object] = lambda: None,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        wait: Callable[[threading.Event, float], object] = lambda event, seconds: event.wait(seconds),
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        """`endpoint`: the hub's address, HF_ENDPOINT or huggingface.co if not given. `on_arrival` is called when a file
        is in its place; `free_bytes` and `wait` are the disk and the clock, for tests, as is `stall_seconds`."""
        self._models_dir = models_dir
        self._origins = Memo(models_dir / FOLDER / "origins.json")
        self._endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._on_arrival = on_arrival
        self._free_bytes = free_bytes
        self._wait = wait
        self._stall = httpx.Timeout(stall_seconds, connect=15.0)
        self._jobs: dict[str, Job] = {}
        self._queue: list[Job] = []
        self._condition = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def origin(self, key: str, size: int) -> str:
        """The repository that a model was fetched from, by the catalogue's key and size of it, with the revision where
        that was not the main one; "" for one that came another way, or is another one by now."""
        origin = self._origins.get(key)
        fits = isinstance(origin, dict) and origin.get("size") == size
        return str(origin.get("from", "")) if fits else ""

    # -------------------------------------------------------------------------------------------------- asking

    def repository(self, repository: str, *, revision: str = "main", token: str | None = None) -> tuple[HubFile, ...]:
        """See `studio.answered.models.Models.repository`."""
        name, revision = parse_repository(repository, revision)
        path = f"/api/models/{name}/revision/{quote(revision, safe='')}"
        try:
            with self._client(token) as client:
                answer = client.get(self._endpoint + path, params={"blobs": "true"})
        except httpx.HTTPError as error:
            raise Refused(
                Message(
                    "The hub at {endpoint} cannot be reached ({cause}).", endpoint=self._endpoint, cause=cause(error)
                )
            ) from error
        if answer.status_code != 200:
            raise Refused(refusal(answer.status_code, name))
        try:
            siblings = answer.json()["siblings"]
            files = [hub_file(entry) for entry in siblings]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(
                Message("The hub at {endpoint} gave an answer that is no list of files.", endpoint=self._endpoint)
            ) from error
        return mark_suggestions([file for file in files if file is not None])

    def download(
        self,
        repository: str,
        files: tuple[str, ...],
        *,
        kind: ModelKind = "checkpoint",
        revision: str = "main",
        token: str | None = None,
    ) -> str:
        """See `studio.answered.models.Models.download`. Asks the hub for sizes and hashes before it returns."""
        name, revision = parse_repository(repository, revision)
        if kind not in KIND_FOLDERS:
            raise InvalidRequest(
                Problem("kind", quoted_value(kind), Message("one of {names}", names=", ".join(KIND_FOLDERS)))
            )
        files_by_path = {file.path: file for file in self.repository(name, revision=revision, token=token)}
        missing = [path for path in files if path not in files_by_path]
        if missing or not files:
            expectation = Message("files of the repository that are safetensors, JSON or text")
            raise InvalidRequest(Problem("files", quoted_value(missing[0] if missing else ()), expectation))
        choice = tuple(files_by_path[path] for path in dict.fromkeys(files))
        target = self._target(name, choice, kind)
        if target.exists():
            raise Refused(
                Message(
                    "{target} lies in the models folder already. Move it away to fetch it again.", target=target.name
                )
            )
        size = sum(file.size or 0 for file in choice)
        job = Job(
            Download(
                id=secrets.token_hex(8),
                repository=name,
                files=tuple(file.path for file in choice),
                kind=kind,
                state="waiting",
                total_bytes=size or None,
            ),
            revision,
            token or get_token(),
            choice,
        )
        with self._condition:
            if self._is_closed:
                raise Refused(Message("The studio is closing."))
            same = [j for j in self._jobs.values() if not j.end.is_set() and j.download.repository == name]
            if any(set(j.download.files) & set(job.download.files) for j in same):
                raise Refused(Message("These files are on their way already."))
            self._jobs[job.download.id] = job
            self._queue.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="hub-download", daemon=True)
                self._thread.start()
            self._condition.notify_all()
        return job.download.id

    def fetch(self, repository: str, files: tuple[str, ...], **rest: Any) -> Path:
        """Download and wait; where it lies then. Raises Refused with the reason when it does not arrive."""
        job = self._jobs[self.download(repository, files, **rest)]
        job.end.wait()
        if job.download.state != "done":
            raise Refused(job.download.message)
        return self._target(job.download.repository, job.files, job.download.kind)

    def downloads(self) -> tuple[Download, ...]:
        """See `studio.answered.models.Models.downloads`."""
        return tuple(job.download for job in reversed(list(self._jobs.values())))

    def cancel(self, download_id: str) -> None:
        """See `studio.answered.models.Models.cancel_download`."""
        job = self._jobs.get(download_id)
        if job is None:
            raise NoSuchModel(Message("There is no such download."))
        job.stop.set()
        with self._condition:
            if job in self._queue:
                self._queue.remove(job)
                self._end(job, "cancelled", "Cancelled.")

    def close(self) -> None:
        """Stop at the next block; what has come is kept for resuming."""
        with self._condition:
            self._is_closed = True
            for job in self._jobs.values():
                job.stop.set()
            self._condition.notify_all()

    # ------------------------------------------------------------------------------------------------- fetching

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._queue and not self._is_closed:
                    self._condition.wait()
                if self._is_closed:
                    return
                job = self._queue.pop(0)
            try:
                self._fetch(job)
            except Cancelled:
                self._end(
                    job, "cancelled", Message("Cancelled. What has come is kept, and the next try goes on from there.")
                )
            except DownloadError as error:
                self._end(job, "failed", str(error))
            except OSError as error:
                logger.exception("A download could not be written")
                self._end(
                    job, "failed", Message("The file could not be written: {value}.", value=error.strerror or error)
                )
            except Exception:
                logger.exception("A download failed")
                self._end(job, "failed", Message("The download failed inside the studio; its log has the details."))
            else:
                self._end(job, "done", Message("In the models folder."))
                self._on_arrival()

    def _fetch(self, job: Job) -> None:
        target = self._target(job.download.repository, job.files, job.download.kind)
        folder = self._models_dir / FOLDER / DOWNLOADS
        folder.mkdir(parents=True, exist_ok=True)
        # The place of what is on its way depends only on what it is, so a second try finds it.
        mark = f"{self._endpoint}|{job.download.repository}|{job.revision}|{target.name}"
        staging = folder / hashlib.sha256(mark.encode()).hexdigest()[:24]
        staging.mkdir(exist_ok=True)
        have = sum(size_on_disk(partial(staging, file)) or size_on_disk(staging / file.path) for file in job.files)
        self._check_disk(job, have)
        with self._client(job.token) as client:
            transfer = Transfer(
                client,
                job,
                staging,
                endpoint=self._endpoint,
                arrived_bytes=have,
                stall=self._stall,
                wait=self._wait,
            )
            for file in job.files:
                transfer.fetch(file)
        if target.exists():
            raise DownloadError(
                Message(
                    "{target} has appeared in the models folder meanwhile; nothing was overwritten.", target=target.name
                )
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_folder(job.files):
            os.replace(staging, target)
        else:
            os.replace(staging / job.files[0].path, target)
            shutil.rmtree(staging, ignore_errors=True)
        weights = [path for path in (target, *target.rglob("*.safetensors")) if path.suffix == ".safetensors"]
        size = sum(size_on_disk(path) for path in weights)
        source = job.download.repository + (f" @ {job.revision}" if job.revision != "main" else "")
        self._origins.update({target.as_posix(): {"from": source, "size": size}})

    def _check_disk(self, job: Job, have: int) -> None:
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

    # -------------------------------------------------------------------------------------------------- details

    def _client(self, token: str | None) -> httpx.Client:
        headers = {"user-agent": "latent-studio"}
        token = token or get_token()
        if token:  # httpx drops it where the hub redirects to another host
            headers["authorization"] = f"Bearer {token}"
        return httpx.Client(headers=headers, timeout=TIMEOUT, follow_redirects=True)

    def _target(self, repository: str, files: Iterable[HubFile], kind: ModelKind) -> Path:
        """Where it will lie: a file under its own name, several as a folder named after the repository."""
        files = tuple(files)
        name = repository.rsplit("/", 1)[-1] if is_folder(files) else PurePosixPath(files[0].path).name
        return self._models_dir / KIND_FOLDERS[kind] / name

    def _end(self, job: Job, state: Any, message: str) -> None:
        done_bytes = (
            job.download.total_bytes if state == "done" and job.download.total_bytes else job.download.done_bytes
        )
        job.download = replace(
            job.download, state=state, message=message, done_bytes=done_bytes, bytes_per_second=0.0, seconds_left=None
        )
        job.token = None
        job.end.set()
