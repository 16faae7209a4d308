"""Downloads that wait: one thread, one at a time; what became of each. No torch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from studio.answered.engine import Refused
from studio.answered.models import Download, NoSuchModel
from studio.asked.messages import Message
from studio.checkpoints.transfer import Cancelled, DownloadError, Job

logger = logging.getLogger(__name__)


class DownloadQueue:
    """What was asked for since the start, from whatever server. Safe for several threads."""

    def __init__(self, on_arrival: Callable[[], object] = lambda: None) -> None:
        """`on_arrival` is called when a file is in its place."""
        self._on_arrival = on_arrival
        self._jobs: dict[str, Job] = {}
        self._queue: list[tuple[Job, Callable[[Job], str]]] = []
        self._condition = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def add(self, job: Job, fetch: Callable[[Job], str]) -> str:
        """Fetch this when those before it are there; its id. `fetch` says at the end what is worth saying, and raises
        DownloadError, Cancelled or OSError. Raises Refused for what is on its way already."""
        with self._condition:
            if self._is_closed:
                raise Refused(Message("The studio is closing."))
            name = job.download.repository
            same = [j for j in self._jobs.values() if not j.end.is_set() and j.download.repository == name]
            if any(set(j.download.files) & set(job.download.files) for j in same):
                raise Refused(Message("These files are on their way already."))
            self._jobs[job.download.id] = job
            self._queue.append((job, fetch))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="model-download", daemon=True)
                self._thread.start()
            self._condition.notify_all()
        return job.download.id

    def job(self, download_id: str) -> Job:
        """The job of an id. Raises NoSuchModel."""
        job = self._jobs.get(download_id)
        if job is None:
            raise NoSuchModel(Message("There is no such download."))
        return job

    def newest_first(self) -> tuple[Download, ...]:
        """See `studio.answered.models.ModelsNow.downloads`."""
        return tuple(job.download for job in reversed(list(self._jobs.values())))

    def cancel(self, download_id: str) -> None:
        """Stop a download; what has come is kept for resuming. Raises NoSuchModel."""
        job = self.job(download_id)
        job.stop.set()
        with self._condition:
            waiting = [one for one in self._queue if one[0] is job]
            for one in waiting:
                self._queue.remove(one)
                _end(job, "cancelled", Message("Cancelled."))

    def close(self) -> None:
        """Stop at the next block; what has come is kept for resuming."""
        with self._condition:
            self._is_closed = True
            for job in self._jobs.values():
                job.stop.set()
            self._condition.notify_all()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._queue and not self._is_closed:
                    self._condition.wait()
                if self._is_closed:
                    return
                job, fetch = self._queue.pop(0)
            try:
                said = fetch(job)
            except Cancelled:
                kept = Message("Cancelled. What has come is kept, and the next try goes on from there.")
                _end(job, "cancelled", kept)
            except DownloadError as error:
                _end(job, "failed", str(error))
            except OSError as error:
                logger.exception("A download could not be written")
                reason = Message("The file could not be written: {value}.", value=error.strerror or error)
                _end(job, "failed", reason)
            except Exception:
                logger.exception("A download failed")
                _end(job, "failed", Message("The download failed inside the studio; its log has the details."))
            else:
                _end(job, "done", said)
                self._on_arrival()


def _end(job: Job, state: Any, message: str) -> None:
    done_bytes = job.download.total_bytes if state == "done" and job.download.total_bytes else job.download.done_bytes
    job.download = replace(
        job.download, state=state, message=message, done_bytes=done_bytes, bytes_per_second=0.0, seconds_left=None
    )
    job.token = None
    job.end.set()
