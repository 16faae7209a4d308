"""One file of the hub or of another server => the disk: in as many connections as it takes, resumed where one broke,
compared with the sha256 that is known, and only then under its own name."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from studio.answered.models import Download, HubFile
from studio.asked.messages import Message

logger = logging.getLogger(__name__)

BLOCK = 2**20
TRIES = 6  # connections that bring not one byte, one after the other
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
LONGEST_WAIT = 120.0  # of what a busy hub may ask for
RATE_SECONDS = 5.0  # the speed is the mean of this long


class Cancelled(Exception):
    """The owner has stopped the download, or the studio is closing."""


class DownloadError(Exception):
    """The download cannot go on; the text is for the page."""


@dataclass
class Job:
    """A download and what must not be shown of it."""

    download: Download
    revision: str
    token: str | None = field(repr=False)
    files: tuple[HubFile, ...]
    stop: threading.Event = field(default_factory=threading.Event)
    end: threading.Event = field(default_factory=threading.Event)


class Progress:
    """Counts bytes of a job and tells its speed, the mean of the last seconds."""

    def __init__(self, job: Job, received_bytes: int) -> None:
        self._job = job
        self._received_bytes = received_bytes
        self._marks: list[tuple[float, int]] = [(time.monotonic(), received_bytes)]
        self.add(0)

    def add(self, count: int) -> None:
        self._received_bytes += count
        now = time.monotonic()
        if now - self._marks[-1][0] > 0.25:
            self._marks.append((now, self._received_bytes))
            while now - self._marks[0][0] > RATE_SECONDS:
                self._marks.pop(0)
        start, before = self._marks[0]
        speed = max(0.0, (self._received_bytes - before) / max(now - start, 0.25))
        total = self._job.download.total_bytes
        seconds_left = (total - self._received_bytes) / speed if total is not None and speed > 0 else None
        self._job.download = replace(
            self._job.download,
            state="running",
            done_bytes=self._received_bytes,
            bytes_per_second=speed,
            seconds_left=seconds_left,
        )

    def say(self, message: str) -> None:
        self._job.download = replace(self._job.download, message=message)

    def verifying(self) -> None:
        self._job.download = replace(self._job.download, state="verifying", message=Message("Comparing its sha256."))


class Transfer:
    """The files of one download, one after the other, into its staging folder."""

    def __init__(
        self,
        client: httpx.Client,
        job: Job,
        staging: Path,
        *,
        address_of: Callable[[HubFile], str],
        refusal_of: Callable[[int, HubFile], str],
        server: str,
        arrived_bytes: int,
        stall: httpx.Timeout,
        wait: Callable[[threading.Event, float], object],
    ) -> None:
        """`address_of` a file; `refusal_of`: what a status of the server means, a sentence; `server`: what a person
        calls it. `arrived_bytes` lie in `staging` from an earlier try; `stall` bounds the time without one byte."""
        self._client = client
        self._job = job
        self._staging = staging
        self._address_of = address_of
        self._refusal_of = refusal_of
        self._server = server
        self._stall = stall
        self._wait = wait
        self._progress = Progress(job, arrived_bytes)

    def fetch(self, file: HubFile) -> None:
        """One file, in as many connections as it takes as long as each brings something."""
        whole, part = self._staging / file.path, partial(self._staging, file)
        if whole.exists():  # of an earlier try, verified then
            return
        part.parent.mkdir(parents=True, exist_ok=True)
        address = self._address_of(file)
        fruitless = 0
        while file.size is None or size_on_disk(part) < file.size or not part.exists():
            before = size_on_disk(part)
            try:
                wait = self._connect(address, file, part)
            except httpx.HTTPError as error:
                logger.info("The connection of a download broke: %s", cause(error))
                wait = None
            else:
                if wait is None:
                    break
            fruitless = 0 if size_on_disk(part) > before else fruitless + 1
            if fruitless >= TRIES:
                raise DownloadError(
                    Message(
                        "{server} does not answer any more. What has come is kept: try again later.",
                        server=self._server,
                    )
                )
            seconds = RETRY_SECONDS[min(fruitless, len(RETRY_SECONDS) - 1)] if wait is None else wait
            message = Message("The connection broke; going on in {seconds} s.", seconds=f"{seconds:.0f}")
            self._progress.say(message if wait is None else Message("{server} is busy.", server=self._server))
            self._wait(self._job.stop, seconds)
            if self._job.stop.is_set():
                raise Cancelled
        self._verify(file, part)
        os.replace(part, whole)

    def _connect(self, address: str, file: HubFile, part: Path) -> float | None:
        """Read on from what is there. None: the file is at its end; else the seconds the hub asks to wait."""
        begin = size_on_disk(part)
        headers = {"range": f"bytes={begin}-"} if begin else {}
        version = part.with_name(part.name + ".etag")  # of what lies there: no sha256 would show two files in one
        if begin and file.sha256 is None and version.exists():
            headers["if-range"] = version.read_text()
        with self._client.stream("GET", address, headers=headers, timeout=self._stall) as answer:
            if answer.status_code == 429 or answer.status_code >= 500:
                return _retry_after(answer)
            if answer.status_code == 416:  # begin is at or behind the end: what lies there is not this file
                self._progress.add(-begin)
                part.unlink()
                return 0.0
            if answer.status_code not in (200, 206):
                raise DownloadError(self._refusal_of(answer.status_code, file))
            resumes = answer.status_code == 206 and _range_begin(answer) == begin
            if begin and not resumes:  # the hub sends it from the beginning
                self._progress.add(-begin)
                begin = 0
            self._progress.say("")
            etag = answer.headers.get("etag", "")
            if file.sha256 is None and etag.startswith('"') and not begin:
                version.write_text(etag)
            with part.open("ab" if resumes else "wb") as out:
                for block in answer.iter_bytes(BLOCK):
                    out.write(block)
                    self._progress.add(len(block))
                    begin += len(block)
                    if file.size is not None and begin > file.size:
                        raise DownloadError(
                            Message(
                                "{server} sends more than {file} has. Nothing of it is kept.",
                                server=self._server,
                                file=file.path,
                            )
                        )
                    if self._job.stop.is_set():
                        raise Cancelled
                out.flush()
                os.fsync(out.fileno())
            length_text = answer.headers.get("content-length")
        complete = file.size == begin if file.size is not None else length_text is not None
        return None if complete else 0.0

    def _verify(self, file: HubFile, part: Path) -> None:
        """The sha256 that is known of the file, if any. What is wrong is thrown away."""
        if file.size is not None and size_on_disk(part) != file.size:
            part.unlink(missing_ok=True)
            raise DownloadError(
                Message("{file} came with another length than was announced. Try again.", file=file.path)
            )
        if file.sha256 is None:
            return
        self._progress.verifying()
        digest = hashlib.sha256()
        with part.open("rb") as data:
            while block := data.read(8 * BLOCK):
                digest.update(block)
                if self._job.stop.is_set():
                    raise Cancelled
        if digest.hexdigest() != file.sha256:
            part.unlink()
            raise DownloadError(
                Message("{file} is not what was announced (its sha256 is another). It was thrown away.", file=file.path)
            )


def _retry_after(answer: httpx.Response) -> float:
    try:
        return min(LONGEST_WAIT, max(0.5, float(answer.headers.get("retry-after", "2"))))
    except ValueError:
        return 5.0


def _range_begin(answer: httpx.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", answer.headers.get("content-range", ""))
    return int(match[1]) if match else None


def cause(error: Exception) -> str:
    """The first line of an error, shortened, for a message."""
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__


def partial(staging: Path, file: HubFile) -> Path:
    """Where a file lies while it is not whole."""
    whole = staging / file.path
    return whole.with_name(whole.name + ".part")


def size_on_disk(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
