"""The engine on one device of this machine: takes jobs, lets them be watched and stopped, owns the device's thread.

Safe to call from any thread. Imports no torch: the page answers before torch is there. What the page holds of it is
`studio.engine.local.LocalEngine`, or one in another process.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from studio.answered.engine import (
    Answer,
    ComparisonNow,
    EngineStatus,
    Events,
    Pace,
    TokensAnswer,
    UnknownJob,
    WorkNow,
)
from studio.answered.events import AnyEvent, ComparisonEvent, Event, JobSummary
from studio.answered.ids import HERE
from studio.answered.models import Checkpoint
from studio.asked import orders
from studio.asked.branch import Branch, BranchNode
from studio.asked.compare import Comparison
from studio.asked.messages import Message
from studio.asked.orders import Allowance, Tokens
from studio.asked.question import Question
from studio.asked.requests import Request
from studio.asked.upscale import Upscale
from studio.checkpoints.catalog import BUILT_IN
from studio.checkpoints.options import ModelOptions
from studio.engine.asking import NOT_RECORDED, Asking
from studio.engine.comparisons import ComparisonJob
from studio.engine.device import Device, check_dtype, check_name
from studio.engine.device_thread import CLOSING, DeviceThread, Surroundings
from studio.engine.history import History
from studio.engine.intake import Intake
from studio.engine.jobs import JobBook, Limits
from studio.engine.mailbox import Watcher
from studio.engine.models import ModelService
from studio.engine.pace import Paces
from studio.engine.reception import Reception
from studio.engine.store.store import JobStore
from studio.engine.upscales import Upscales
from studio.engine.viewer.inquiries import Inquiries
from studio.engine.viewer.recorder import Recorder
from studio.picture.gallery import Gallery
from studio.picture.saved_files import digest

if TYPE_CHECKING:
    from studio.diffusion.components import Components


class DiffusionEngine:
    """Jobs, models and questions of one device. Nothing is loaded before `start`."""

    def __init__(
        self,
        models_dirs: Sequence[Path],
        gallery: Gallery,
        device: str = "auto",
        dtype: str = "auto",
        exact: bool = False,
        preload: str | None = BUILT_IN,
        limits: Limits | None = None,
        make_device: Callable[[str, str], Device] = Device,
        options: ModelOptions | None = None,
        name: str = HERE,
        store: JobStore | None = None,
    ) -> None:
        """`models_dirs` are models folders in any layout that `studio.checkpoints.folders` knows. `preload` names the
        checkpoint that is loaded at once. `name` stands in front of its ids. With a `store` jobs outlive this process,
        and those of an earlier one go on.

        Raises ValueError, in one sentence, for an unknown device or dtype.
        """
        check_name(device)
        check_dtype(dtype)
        self.name = name
        self._gallery = gallery
        self._book = JobBook(limits, engine=name)
        self._store = store or JobStore(None)
        self._history = History(self._store, self._book, gallery, CLOSING)
        self._recorder = Recorder()
        self._inquiries = Inquiries()
        self._paces = Paces()
        surroundings = Surroundings(
            book=self._book,
            gallery=gallery,
            recorder=self._recorder,
            inquiries=self._inquiries,
            paces=self._paces,
            tokenizer_lock=threading.Lock(),
            exact=exact,
        )
        self._thread = DeviceThread(
            lambda: _device(make_device, device, dtype, exact), lambda: self.models, surroundings, preload=preload
        )
        self.models = ModelService(
            models_dirs, options, busy=lambda: bool(self._book.active()), wake=self._thread.wake.set, engine=name
        )
        intake = Intake(self.models.catalog, self._book.clock, name)
        self._asking = Asking(
            self.models.catalog,
            self._book,
            self._recorder,
            self._inquiries,
            components=lambda: self._thread.components,
            tokenizer_lock=surroundings.tokenizer_lock,
            wake=self._thread.wake.set,
        )
        self._upscales = Upscales(self.models.catalog, self._inquiries, self._thread.wake.set)
        self._reception = Reception(self._book, intake, self._recorder, self._history, self._thread, name)
        self._reception.restore()
        self._store.on_heartbeat = lambda: self._reception.restore(at_start=False)

    # ------------------------------------------------------------------------------------------- jobs that come

    def submit(
        self,
        request: Request,
        *,
        owner: str,
        origin: str = "api",
        attention: bool = False,
        ephemeral: bool = False,
        allowance: Allowance | None = None,
    ) -> str:
        """Take a run and return its id. Decodes an uploaded picture on the caller's thread. Raises InvalidRequest or
        Refused."""
        order = orders.SubmitRun(request=request, attention=attention, ephemeral=ephemeral, allowance=allowance)
        return self.take(order, owner=owner, origin=origin)

    def branch(
        self, job_id: str, branch: Branch, *, owner: str, image: int = 0, origin: str = "api",
        allowance: Allowance | None = None,
    ) -> str:  # fmt: skip
        """Go on from an evaluation of a recorded run: see `SubmitBranch`. Raises UnknownJob also when it is not
        recorded any more."""
        order = orders.SubmitBranch(job_id=job_id, branch=branch, image=image, allowance=allowance)
        return self.take(order, owner=owner, origin=origin)

    def submit_comparison(
        self, comparison: Comparison, *, owner: str, origin: str = "api", focus: int = 0, ephemeral: bool = False,
        allowance: Allowance | None = None,
    ) -> str:  # fmt: skip
        """Take a comparison as one job: see `SubmitComparison`. Raises as `submit`."""
        order = orders.SubmitComparison(comparison=comparison, focus=focus, ephemeral=ephemeral, allowance=allowance)
        return self.take(order, owner=owner, origin=origin)

    def take(self, order: orders.Submission, *, owner: str, origin: str = "api") -> str:
        """See `Engine.submit`. Decodes uploaded pictures on the caller's thread, and waits for the disk."""
        if isinstance(order, orders.SubmitRun) and order.live:
            self._gallery.live.go_on(digest(owner), origin)
        return self._reception.take(order, owner=owner, origin=origin)

    # ---------------------------------------------------------------------------------------- jobs that are there

    def watch_any(self, job_id: str, *, owner: str) -> Events:
        """Events of a run or of a comparison. May be read on any event loop. Raises UnknownJob."""
        return self._history.watch(job_id, owner)

    def watch(self, job_id: str, *, owner: str) -> AsyncIterator[Event]:
        """Events of a run. Raises UnknownJob, also for a comparison."""
        job = self._book.get(job_id, owner=owner)
        if isinstance(job, ComparisonJob):
            raise UnknownJob(Message("This job is a comparison."))
        return cast(AsyncIterator[Event], Watcher(job.mailbox))

    def watch_comparison(self, job_id: str, *, owner: str) -> AsyncIterator[ComparisonEvent]:
        """Events of a comparison. Raises UnknownJob, also for a run."""
        return cast(AsyncIterator[ComparisonEvent], Watcher(self._comparison(job_id, owner).mailbox))

    def comparison(self, job_id: str, *, owner: str) -> ComparisonNow:
        """A comparison as it is now. Raises UnknownJob."""
        return self._history.comparison(job_id, owner) or self._comparison(job_id, owner).now()

    def prioritize(self, job_id: str, cell: int, *, owner: str) -> bool:
        """Make a cell before the others. False when it has ended. Raises UnknownJob."""
        if self._history.is_elsewhere(job_id, owner):
            return False
        first = self._comparison(job_id, owner).raise_priority(cell)
        self._thread.wake.set()
        return first

    def _comparison(self, job_id: str, owner: str) -> ComparisonJob:
        job = self._book.get(job_id, owner=owner)
        if not isinstance(job, ComparisonJob):
            raise UnknownJob(Message("This job is no comparison."))
        return job

    def cancel(self, job_id: str, *, owner: str) -> bool:
        """See `studio.answered.engine.Engine.cancel`."""
        elsewhere = self._history.cancel(job_id, owner)
        if elsewhere is not None:
            return elsewhere
        stopping = self._book.get(job_id, owner=owner).stop()
        self._thread.wake.set()
        return stopping

    @property
    def keeps_jobs(self) -> bool:
        """Whether jobs outlive this process, so that taking one in waits for the disk."""
        return self._store.is_on_disk

    def active_jobs(self) -> tuple[str, ...]:
        """The ids of all jobs that wait or run."""
        return tuple(job.id for job in self._book.active())

    def work(self) -> WorkNow:
        """What waits and runs, whoever's it is, and who had the device."""
        return self._book.work()

    def jobs(self, *, owner: str) -> tuple[JobSummary, ...]:
        """This owner's jobs, newest first; those of earlier processes stand last."""
        return self._history.of(owner)

    def job_so_far(self, job_id: str, *, owner: str) -> tuple[JobSummary, tuple[AnyEvent, ...]]:
        """A job as it is listed, and what a late watcher hears of it. Raises UnknownJob."""
        job = self._book.get(job_id, owner=owner)
        return job.summary(), job.mailbox.events()

    def branches(self, job_id: str, *, owner: str) -> tuple[BranchNode, ...]:
        """The tree of branches that this job belongs to, its root first. Raises UnknownJob."""
        return self._book.branches(job_id, owner=owner)

    def record(
        self,
        job_id: str,
        *,
        owner: str,
        image: int = 0,
        since: int = 0,
        until: int | None = None,
        lean: bool = False,
    ) -> bytes:
        """See `studio.answered.engine.Engine.record`."""
        job, image = self._asking.image_of(job_id, owner, image)
        recording = self._recorder.get(job.id, image, since, job.state, until=until, lean=lean)
        if recording is None:
            raise UnknownJob(NOT_RECORDED)
        return recording

    def visitor(self, owner: str, *, here: bool) -> None:
        """See `studio.answered.engine.Engine.visitor`."""
        self._recorder.visitor(owner, here=here)

    # ------------------------------------------------------------------------------------- models, questions

    def catalog(self) -> tuple[Checkpoint, ...]:
        """Installed checkpoints with the ControlNets that fit them, the built-in one first."""
        return self.models.checkpoints()

    def status(self) -> EngineStatus:
        """What the engine is doing now."""
        states = [job.state for job in self._book.active()]
        now, coming = self._thread.status, self._thread.next
        coming = coming if now.checkpoint != coming else None
        return replace(now, running=states.count("running"), queued=states.count("queued"), next=coming)

    def prepare(self, checkpoint: str) -> None:
        """See `PrepareCheckpoint`."""
        if checkpoint in self.models.catalog.checkpoints():
            self._thread.prepare(checkpoint)

    def pace(self, checkpoint: str, width: int | None = None, height: int | None = None) -> Pace | None:
        """The measured speed of a checkpoint at this size if it was used, else at another; None before any run."""
        entry = self.models.catalog.checkpoints().get(checkpoint)
        if entry is not None and (width is None or height is None):
            width, height = width or entry.checkpoint.native_width, height or entry.checkpoint.native_height
        return self._paces.of(checkpoint, width, height)

    def wildcard_names(self) -> tuple[str, ...]:
        """See `WildcardNames`. Looks through the folders."""
        return self._asking.wildcard_names()

    async def ask(self, question: Tokens) -> TokensAnswer:
        """How a text is tokenized. Raises InvalidRequest or Refused."""
        return await self._asking.tokens(question)

    async def inquire(self, question: Question, *, owner: str) -> Answer:
        """A question of the noise viewer. Raises InvalidRequest, UnknownJob or Refused."""
        return await self._asking.inquire(question, owner=owner)

    async def upscale(self, order: Upscale, *, owner: str) -> Answer:
        """A picture, enlarged: a PNG file. Needs no checkpoint. Raises InvalidRequest or Refused."""
        return await self._upscales.answer(order, owner=owner)

    @property
    def components(self) -> Components | None:
        """What is on the device now, for measurements."""
        return self._thread.components

    @property
    def ticks(self) -> int:
        """U-Net calls since the start, for measurements."""
        return self._thread.worker.ticks if self._thread.worker is not None else 0

    # ------------------------------------------------------------------------------------------ begin and end

    def start(self) -> None:
        """Start the thread that owns the device. It imports torch, loads the preloaded checkpoint, then works."""
        self._thread.start()

    def close(self) -> None:
        """Stop every job that has not ended, and tell its watchers. Returns within three seconds."""
        self._thread.closing.set()
        self._inquiries.close()
        for job in self._book.active():
            job.stop(CLOSING)
        self._thread.close()
        self.models.close()
        for job in self._book.active():  # the thread is stuck in a long call; nobody waits for it
            job.abandon()
        self._recorder.close()
        self._history.close()
        self._gallery.live.close()


def _device(make: Callable[[str, str], Device], name: str, dtype: str, exact: bool) -> Device:
    """The device; what must be bit-equal everywhere stays in the precision that needs no measuring."""
    device = make(name, dtype)
    device.measures_precision = device.measures_precision and not exact
    return device
