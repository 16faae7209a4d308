"""Files from the Hugging Face hub into the models folder: listed, fetched, resumed, verified, and only then put there.

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
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx
from huggingface_hub import constants, get_token

from studio.answered.engine import Refused
from studio.answered.models import Download, HubFile, ModelKind, NoSuchModel
from studio.asked.requests import InvalidRequest, Problem, shown
from studio.checkpoints.memo import FOLDER, Memo

logger = logging.getLogger(__name__)

PARTS = "downloads"  # below FOLDER: what is on its way
KIND_FOLDERS: Mapping[ModelKind, str] = {
    "checkpoint": "checkpoints",
    "vae": "vae",
    "lora": "loras",
    "embedding": "embeddings",
    "preview_decoder": "vae_approx",
    "controlnet": "controlnet",
}
SUFFIXES = (".safetensors", ".json", ".txt")  # weights that are never run, and what describes them
INDEX = "model_index.json"
BLOCK = 2**20
TRIES = 6  # connections that bring not one byte, one after the other
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
LONGEST_WAIT = 120.0  # of what a busy hub may ask for
TIMEOUT = httpx.Timeout(30.0, connect=15.0)
STALL_SECONDS = 30.0  # without one byte of a file, and the connection counts as broken
SPARE_BYTES = 256 * 2**20  # of the disk, that stay free
RATE_SECONDS = 5.0  # the speed is the mean of this long
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"(?:https?://[^/\s]+/)?({_PART}(?:/{_PART})?)(?:/(?:tree|blob|resolve)/.*)?/?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_HASH = re.compile(r"[0-9a-f]{64}")


class _Stop(Exception):
    """Cancelled, or the studio is closing."""


class _Failed(Exception):
    """The download cannot go on; the text is for the page."""


@dataclass
class _Job:
    """A download and what must not be shown of it."""

    shown: Download
    revision: str
    token: str | None = field(repr=False)
    files: tuple[HubFile, ...]
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


class Hub:
    """Downloads into one models folder. Safe for several threads."""

    def __init__(
        self,
        models_dir: Path,
        *,
        endpoint: str | None = None,
        arrived: Callable[[], object] = lambda: None,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        wait: Callable[[threading.Event, float], object] = lambda event, seconds: event.wait(seconds),
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        """`endpoint`: the hub's address, HF_ENDPOINT or huggingface.co if not given. `arrived` is called when a file is
        in its place; `free_bytes` and `wait` are the disk and the clock, for tests, as is `stall_seconds`."""
        self._models_dir = models_dir
        self._origins = Memo(models_dir / FOLDER / "origins.json")
        self._endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._arrived = arrived
        self._free_bytes = free_bytes
        self._wait = wait
        self._stall = httpx.Timeout(stall_seconds, connect=15.0)
        self._jobs: dict[str, _Job] = {}
        self._queue: list[_Job] = []
        self._condition = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def origin(self, key: str, size: int) -> str:
        """The repository that a model was fetched from, by the catalogue's key and size of it, with the revision where
        that was not the main one; "" for one that came another way, or is another one by now."""
        kept = self._origins.get(key)
        fits = isinstance(kept, dict) and kept.get("size") == size
        return str(kept.get("from", "")) if fits else ""

    # -------------------------------------------------------------------------------------------------- asking

    def repository(self, repository: str, *, revision: str = "main", token: str | None = None) -> tuple[HubFile, ...]:
        """See `studio.answered.models.Models.repository`."""
        name, revision = _checked(repository, revision)
        path = f"/api/models/{name}/revision/{quote(revision, safe='')}"
        try:
            with self._client(token) as client:
                answer = client.get(self._endpoint + path, params={"blobs": "true"})
        except httpx.HTTPError as error:
            raise Refused(f"The hub at {self._endpoint} cannot be reached ({_cause(error)}).") from error
        if answer.status_code != 200:
            raise Refused(_refusal(answer.status_code, name))
        try:
            siblings = answer.json()["siblings"]
            files = [_hub_file(entry) for entry in siblings]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"The hub at {self._endpoint} gave an answer that is no list of files.") from error
        return suggested([file for file in files if file is not None])

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
        name, revision = _checked(repository, revision)
        if kind not in KIND_FOLDERS:
            raise InvalidRequest(Problem("kind", shown(kind), f"one of {', '.join(KIND_FOLDERS)}"))
        known = {file.path: file for file in self.repository(name, revision=revision, token=token)}
        missing = [path for path in files if path not in known]
        if missing or not files:
            allowed = "files of the repository that are safetensors, JSON or text"
            raise InvalidRequest(Problem("files", shown(missing[0] if missing else ()), allowed))
        wanted = tuple(known[path] for path in dict.fromkeys(files))
        target = self._target(name, wanted, kind)
        if target.exists():
            raise Refused(f"{target.name} lies in the models folder already. Move it away to fetch it again.")
        size = sum(file.size or 0 for file in wanted)
        job = _Job(
            Download(
                id=secrets.token_hex(8),
                repository=name,
                files=tuple(file.path for file in wanted),
                kind=kind,
                state="waiting",
                total_bytes=size or None,
            ),
            revision,
            token or get_token(),
            wanted,
        )
        with self._condition:
            if self._closed:
                raise Refused("The studio is closing.")
            same = [j for j in self._jobs.values() if not j.ended.is_set() and j.shown.repository == name]
            if any(set(j.shown.files) & set(job.shown.files) for j in same):
                raise Refused("These files are on their way already.")
            self._jobs[job.shown.id] = job
            self._queue.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="hub-download", daemon=True)
                self._thread.start()
            self._condition.notify_all()
        return job.shown.id

    def fetch(self, repository: str, files: tuple[str, ...], **rest: Any) -> Path:
        """Download and wait; where it lies then. Raises Refused with the reason when it does not arrive."""
        job = self._jobs[self.download(repository, files, **rest)]
        job.ended.wait()
        if job.shown.state != "done":
            raise Refused(job.shown.message)
        return self._target(job.shown.repository, job.files, job.shown.kind)

    def downloads(self) -> tuple[Download, ...]:
        """See `studio.answered.models.Models.downloads`."""
        return tuple(job.shown for job in reversed(list(self._jobs.values())))

    def cancel(self, download_id: str) -> None:
        """See `studio.answered.models.Models.cancel_download`."""
        job = self._jobs.get(download_id)
        if job is None:
            raise NoSuchModel("There is no such download.")
        job.stop.set()
        with self._condition:
            if job in self._queue:
                self._queue.remove(job)
                self._end(job, "cancelled", "Cancelled.")

    def close(self) -> None:
        """Stop at the next block; what has come is kept for resuming."""
        with self._condition:
            self._closed = True
            for job in self._jobs.values():
                job.stop.set()
            self._condition.notify_all()

    # ------------------------------------------------------------------------------------------------- fetching

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._queue and not self._closed:
                    self._condition.wait()
                if self._closed:
                    return
                job = self._queue.pop(0)
            try:
                self._fetch(job)
            except _Stop:
                self._end(job, "cancelled", "Cancelled. What has come is kept, and the next try goes on from there.")
            except _Failed as error:
                self._end(job, "failed", str(error))
            except OSError as error:
                logger.exception("A download could not be written")
                self._end(job, "failed", f"The file could not be written: {error.strerror or error}.")
            except Exception:
                logger.exception("A download failed")
                self._end(job, "failed", "The download failed inside the studio; its log has the details.")
            else:
                self._end(job, "done", "In the models folder.")
                self._arrived()

    def _fetch(self, job: _Job) -> None:
        target = self._target(job.shown.repository, job.files, job.shown.kind)
        folder = self._models_dir / FOLDER / PARTS
        folder.mkdir(parents=True, exist_ok=True)
        # The place of what is on its way depends only on what it is, so a second try finds it.
        mark = f"{self._endpoint}|{job.shown.repository}|{job.revision}|{target.name}"
        staging = folder / hashlib.sha256(mark.encode()).hexdigest()[:24]
        staging.mkdir(exist_ok=True)
        have = sum(_size(_partial(staging, file)) or _size(staging / file.path) for file in job.files)
        self._check_disk(job, have)
        progress = _Progress(job, have)
        with self._client(job.token) as client:
            for file in job.files:
                self._fetch_file(client, job, file, staging, progress)
        if target.exists():
            raise _Failed(f"{target.name} has appeared in the models folder meanwhile; nothing was overwritten.")
        target.parent.mkdir(parents=True, exist_ok=True)
        if _is_folder(job.files):
            os.replace(staging, target)
        else:
            os.replace(staging / job.files[0].path, target)
            shutil.rmtree(staging, ignore_errors=True)
        size = sum(_size(path) for path in [target, *target.rglob("*.safetensors")] if path.suffix == ".safetensors")
        source = job.shown.repository + (f" @ {job.revision}" if job.revision != "main" else "")
        self._origins.update({target.as_posix(): {"from": source, "size": size}})

    def _check_disk(self, job: _Job, have: int) -> None:
        needed = sum(file.size or 0 for file in job.files) - have
        free = self._free_bytes(self._models_dir)
        if needed + SPARE_BYTES > free:
            raise _Failed(
                f"The disk is too small: {needed / 2**30:.1f} GB are still to come, {free / 2**30:.1f} GB are free. "
                "Free some space and try again."
            )

    def _fetch_file(self, client: httpx.Client, job: _Job, file: HubFile, staging: Path, progress: _Progress) -> None:
        """One file, in as many connections as it takes as long as each brings something."""
        whole, part = staging / file.path, _partial(staging, file)
        if whole.exists():  # of an earlier try, verified then
            return
        part.parent.mkdir(parents=True, exist_ok=True)
        address = f"{self._endpoint}/{job.shown.repository}/resolve/{quote(job.revision, safe='')}/{quote(file.path)}"
        fruitless = 0
        while file.size is None or _size(part) < file.size or not part.exists():
            before = _size(part)
            try:
                wait = self._connect(client, job, address, file, part, progress)
            except httpx.HTTPError as error:
                logger.info("The connection to the hub broke: %s", _cause(error))
                wait = None
            else:
                if wait is None:
                    break
            fruitless = 0 if _size(part) > before else fruitless + 1
            if fruitless >= TRIES:
                raise _Failed("The hub does not answer any more. What has come is kept: try again later.")
            seconds = RETRY_SECONDS[min(fruitless, len(RETRY_SECONDS) - 1)] if wait is None else wait
            progress.say(f"The connection broke; going on in {seconds:.0f} s." if wait is None else "The hub is busy.")
            self._wait(job.stop, seconds)
            if job.stop.is_set():
                raise _Stop
        self._verify(job, file, part, progress)
        os.replace(part, whole)

    def _connect(
        self, client: httpx.Client, job: _Job, address: str, file: HubFile, part: Path, progress: _Progress
    ) -> float | None:
        """Read on from what is there. None: the file is at its end; else the seconds the hub asks to wait."""
        begin = _size(part)
        headers = {"range": f"bytes={begin}-"} if begin else {}
        with client.stream("GET", address, headers=headers, timeout=self._stall) as answer:
            if answer.status_code == 429 or answer.status_code >= 500:
                return _retry_after(answer)
            if answer.status_code == 416:  # begin is at or behind the end: what lies there is not this file
                progress.add(-begin)
                part.unlink()
                return 0.0
            if answer.status_code not in (200, 206):
                raise _Failed(_refusal(answer.status_code, job.shown.repository, file.path))
            resumed = answer.status_code == 206 and _range_begin(answer) == begin
            if begin and not resumed:  # the hub sends it from the beginning
                progress.add(-begin)
                begin = 0
            progress.say("")
            with part.open("ab" if resumed else "wb") as out:
                for block in answer.iter_bytes(BLOCK):
                    out.write(block)
                    progress.add(len(block))
                    begin += len(block)
                    if file.size is not None and begin > file.size:
                        raise _Failed(f"The hub sends more than {file.path} has. Nothing of it is kept.")
                    if job.stop.is_set():
                        raise _Stop
                out.flush()
                os.fsync(out.fileno())
            said = answer.headers.get("content-length")
        complete = file.size == begin if file.size is not None else said is not None
        return None if complete else 0.0

    def _verify(self, job: _Job, file: HubFile, part: Path, progress: _Progress) -> None:
        """The sha256 that the hub gave for the file, where it knows one. What is wrong is thrown away."""
        if file.size is not None and _size(part) != file.size:
            part.unlink(missing_ok=True)
            raise _Failed(f"{file.path} came with another length than the hub says. Try again.")
        if file.sha256 is None:
            return
        progress.verifying()
        digest = hashlib.sha256()
        with part.open("rb") as data:
            while block := data.read(8 * BLOCK):
                digest.update(block)
                if job.stop.is_set():
                    raise _Stop
        if digest.hexdigest() != file.sha256:
            part.unlink()
            raise _Failed(f"{file.path} is not what the hub says it is (its sha256 is another). It was thrown away.")

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
        name = repository.rsplit("/", 1)[-1] if _is_folder(files) else PurePosixPath(files[0].path).name
        return self._models_dir / KIND_FOLDERS[kind] / name

    def _end(self, job: _Job, state: Any, message: str) -> None:
        done = job.shown.total_bytes if state == "done" and job.shown.total_bytes else job.shown.done_bytes
        job.shown = replace(
            job.shown, state=state, message=message, done_bytes=done, bytes_per_second=0.0, seconds_left=None
        )
        job.token = None
        job.ended.set()


class _Progress:
    """Counts bytes of a job and tells its speed, the mean of the last seconds."""

    def __init__(self, job: _Job, done: int) -> None:
        self._job = job
        self._done = done
        self._marks: list[tuple[float, int]] = [(time.monotonic(), done)]
        self.add(0)

    def add(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._marks[-1][0] > 0.25:
            self._marks.append((now, self._done))
            while now - self._marks[0][0] > RATE_SECONDS:
                self._marks.pop(0)
        began, before = self._marks[0]
        speed = max(0.0, (self._done - before) / max(now - began, 0.25))
        total = self._job.shown.total_bytes
        left = (total - self._done) / speed if total is not None and speed > 0 else None
        self._job.shown = replace(
            self._job.shown, state="running", done_bytes=self._done, bytes_per_second=speed, seconds_left=left
        )

    def say(self, message: str) -> None:
        self._job.shown = replace(self._job.shown, message=message)

    def verifying(self) -> None:
        self._job.shown = replace(self._job.shown, state="verifying", message="Comparing its sha256 with the hub's.")


def suggested(files: list[HubFile]) -> tuple[HubFile, ...]:
    """The same files, with `suggested` for those that make one model: the only weights file of the repository, or a
    diffusers folder's JSON and one variant of every part's weights, fp16 before the rest."""
    weights = [file.path for file in files if file.path.endswith(".safetensors")]
    if not any(file.path == INDEX for file in files):
        only = weights[:1] if len(weights) == 1 else []
        return tuple(replace(file, suggested=file.path in only) for file in files)
    by_part: dict[str, list[str]] = {}
    for path in weights:
        folder, _, name = path.rpartition("/")
        if folder and "/" not in folder and name.startswith(("model", "diffusion_pytorch_model")):
            by_part.setdefault(folder, []).append(path)
    chosen = set()
    for paths in by_part.values():
        half = [path for path in paths if re.search(r"\.fp16[.-]", path)]
        plain = [path for path in paths if not re.search(r"\.(fp16|bf16|fp32|ema|non_ema)[.-]", path)]
        chosen |= set(half or plain or paths)
    chosen |= {f.path for f in files if not f.path.endswith(".safetensors") and f.path.count("/") <= 1}
    parts = {*by_part, "scheduler", "tokenizer", "tokenizer_2", "feature_extractor", ""} - {"safety_checker"}
    return tuple(replace(f, suggested=f.path in chosen and f.path.rpartition("/")[0] in parts) for f in files)


def _hub_file(entry: Mapping[str, Any]) -> HubFile | None:
    """A file that may be fetched; None for every other (code, pickles, pictures, names that lead elsewhere)."""
    path, size, lfs = str(entry["rfilename"]), entry.get("size"), entry.get("lfs") or {}
    parts = path.split("/")
    safe = all(re.fullmatch(r"[A-Za-z0-9_+()\[\] -][A-Za-z0-9._+()\[\] -]{0,150}", part) for part in parts)
    if not safe or len(parts) > 4 or not path.endswith(SUFFIXES):
        return None
    sha256 = str(lfs.get("sha256") or "")
    return HubFile(
        path=path,
        size=size if isinstance(size, int) and size >= 0 else None,
        sha256=sha256 if _HASH.fullmatch(sha256) else None,
    )


def _checked(repository: str, revision: str) -> tuple[str, str]:
    """The repository's name out of what was typed or pasted. Raises InvalidRequest."""
    match = _REPOSITORY.fullmatch(repository.strip()) if isinstance(repository, str) else None
    if match is None or ".." in match[1]:
        raise InvalidRequest(Problem("repository", shown(repository), "a name such as owner/model, or its address"))
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision) or ".." in revision:
        raise InvalidRequest(Problem("revision", shown(revision), "a branch, tag or commit, such as main"))
    return match[1], revision


def _refusal(status: int, repository: str, path: str = "") -> str:
    what = f"{path} of {repository}" if path else repository
    if status in (401, 403):
        return f"{what} is gated, private or not there. Accept its terms on the hub and give a token that may read it."
    if status == 404:
        return f"{what} is not on the hub."
    if status == 429:
        return "The hub is busy and asks to come back later."
    return f"The hub answered {what} with the status {status}."


def _retry_after(answer: httpx.Response) -> float:
    try:
        return min(LONGEST_WAIT, max(0.5, float(answer.headers.get("retry-after", "2"))))
    except ValueError:
        return 5.0


def _range_begin(answer: httpx.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", answer.headers.get("content-range", ""))
    return int(match[1]) if match else None


def _cause(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__


def _is_folder(files: Iterable[HubFile]) -> bool:
    return any(file.path == INDEX for file in files) or len(tuple(files)) > 1


def _partial(staging: Path, file: HubFile) -> Path:
    whole = staging / file.path
    return whole.with_name(whole.name + ".part")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
