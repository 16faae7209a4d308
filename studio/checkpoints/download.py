"""Downloads files from the Hugging Face hub into the models folder: listed, resumed, verified, and only then moved into
place.

A download is written beside the models, in a folder that no listing looks into, and moved into place by one rename when
every byte and its sha256 are right; so what is listed is whole. One thread, one download at a time. No torch.

    from pathlib import Path
    from studio.checkpoints.download import Hub
    Hub(Path("models")).fetch("owner/name", ("model.safetensors",))
"""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx
from huggingface_hub import constants, get_token

from studio.answered.engine import Refused
from studio.answered.models import Download, HubFile
from studio.asked.messages import Message
from studio.asked.orders import ModelKind
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.checkpoints.download_place import KIND_FOLDERS, DownloadPlace
from studio.checkpoints.download_queue import DownloadQueue
from studio.checkpoints.repository import hub_file, is_folder, mark_suggestions, parse_repository, refusal
from studio.checkpoints.transfer import Job, Transfer, cause

logger = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(30.0, connect=15.0)
STALL_SECONDS = 30.0  # without one byte of a file, and the connection counts as broken


class Hub:
    """Downloads into one models folder. Safe for several threads."""

    def __init__(
        self,
        models_dir: Path,
        *,
        endpoint: str | None = None,
        queue: DownloadQueue | None = None,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        wait: Callable[[threading.Event, float], object] = lambda event, seconds: event.wait(seconds),
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        """`endpoint`: the hub's address, HF_ENDPOINT or huggingface.co if not given. `queue`: where downloads wait, one
        of its own if not given. `free_bytes` and `wait` are the disk and the clock, for tests, as `stall_seconds`."""
        self.queue = queue or DownloadQueue()
        self.place = DownloadPlace(models_dir, free_bytes)
        self._endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._wait = wait
        self._stall = httpx.Timeout(stall_seconds, connect=15.0)

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
        return self.queue.add(job, self._fetch)

    def fetch(self, repository: str, files: tuple[str, ...], **rest: Any) -> Path:
        """Download and wait; where it lies then. Raises Refused with the reason when it does not arrive."""
        job = self.queue.job(self.download(repository, files, **rest))
        job.end.wait()
        if job.download.state != "done":
            raise Refused(job.download.message)
        return self._target(job.download.repository, job.files, job.download.kind)

    def downloads(self) -> tuple[Download, ...]:
        """See `studio.answered.models.ModelsNow.downloads`."""
        return self.queue.newest_first()

    def cancel(self, download_id: str) -> None:
        """Stop a download. Raises NoSuchModel."""
        self.queue.cancel(download_id)

    def close(self) -> None:
        """Stop at the next block; what has come is kept for resuming."""
        self.queue.close()

    # ------------------------------------------------------------------------------------------------- fetching

    def _fetch(self, job: Job) -> str:
        target = self._target(job.download.repository, job.files, job.download.kind)
        staging, have = self.place.begin(
            job, f"{self._endpoint}|{job.download.repository}|{job.revision}|{target.name}"
        )
        revision = quote(job.revision, safe="")
        address = f"{self._endpoint}/{job.download.repository}/resolve/{revision}/"
        with self._client(job.token) as client:
            transfer = Transfer(
                client,
                job,
                staging,
                address_of=lambda file: address + quote(file.path),
                refusal_of=lambda status, file: refusal(status, job.download.repository, file.path),
                server=Message("The hub"),
                arrived_bytes=have,
                stall=self._stall,
                wait=self._wait,
            )
            for file in job.files:
                transfer.fetch(file)
        source = job.download.repository + (f" @ {job.revision}" if job.revision != "main" else "")
        self.place.move(staging, target, job.files, source)
        return Message("In the models folder.")

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
        return self.place.folder(kind) / name
