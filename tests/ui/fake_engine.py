"""An engine without a model: a thread that draws a disc out of noise, one step after the other.

It keeps the contract of `studio.answered.engine.Engine` (tests/engine/contract), so the page can be tested without
torch. The prompt steers it: "fail: oom" fails, "slow" takes longer, anything else picks the colour.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from typing import Any, NamedTuple

from studio.answered.engine import EngineStatus, Events, Refused, UnknownJob
from studio.answered.events import JobSummary, Loading, Queued
from studio.answered.models import Checkpoint
from studio.asked import orders
from studio.asked.branch import BranchNode
from studio.asked.compare import Comparison
from studio.asked.fields import ImageToImage
from studio.asked.problems import InvalidRequest, Problem
from studio.asked.question import Question
from studio.asked.requests import Request
from studio.asked.resolved import with_suitable_values
from studio.asked.upscale import Upscale
from studio.engine.comparisons import ComparisonJob
from studio.engine.jobs import Job, JobBook, Limits
from studio.engine.mailbox import Watcher
from studio.picture import decode
from studio.picture.gallery import Gallery
from studio.picture.saved_files import digest
from tests.ui.fake_models import CATALOG, SUITS, FakeModels
from tests.ui.fake_pictures import Drawing, RecordedStep, answer, enlarge, recording


class Asked(NamedTuple):
    """What came in, its pictures with it, and the job that it became."""

    request: Request
    job: Job
    comparison: Comparison | None = None


class FakeEngine:
    """One worker thread, first come first served; three cells of a comparison at a time."""

    id = "fake"

    def __init__(self, gallery: Gallery, *, seconds_per_step: float = 0.03, loading_seconds: float = 0.0) -> None:
        self.gallery, self.seconds_per_step, self.models = gallery, seconds_per_step, FakeModels()
        self.asked: list[Asked] = []
        self.visits: list[tuple[str, bool]] = []  # who opened (True) or closed the page
        self.prepared: list[str] = []
        self.switching = threading.Event()  # while set, the last prepared checkpoint is being loaded
        self._book = JobBook(Limits(unwatched_seconds=None), engine=self.id)
        self._records: dict[tuple[str, int], list[RecordedStep]] = {}  # by job and image
        self._parents: dict[str, dict[str, Any]] = {}  # of branches
        self._drawings: dict[str, Drawing] = {}
        self._closed = threading.Event()
        self._ready_at, self._loading_seconds = time.monotonic() + loading_seconds, loading_seconds
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def start(self) -> None:
        """It has begun already."""

    def close(self) -> None:
        self._closed.set()
        self._thread.join(3)
        for job in self._book.active():
            job.abandon()

    def status(self) -> EngineStatus:
        left, states = self._ready_at - time.monotonic(), [job.state for job in self._book.active()]
        loading = EngineStatus(
            state="loading", message="Loading Small World", checkpoint="small-world-128", device="CPU"
        )
        if left > 0:
            return replace(loading, fraction=1 - left / self._loading_seconds)
        if self.switching.is_set() and self.prepared:
            return replace(loading, message=f"Loading {self.prepared[-1]}", checkpoint=self.prepared[-1], fraction=0.4)
        counts = {"running": states.count("running"), "queued": states.count("queued")}
        return replace(loading, state="ready", message="Small World is ready", **counts)

    def catalog(self) -> tuple[Checkpoint, ...]:
        return CATALOG

    async def submit(self, job: orders.Submission, *, owner: str, origin: str = "api") -> str:
        if isinstance(job, orders.SubmitComparison):
            seed, clock = job.comparison.base.seed, self._book.clock
            comparison = job.comparison if seed is not None else job.comparison.with_seed(random.randrange(2**32))
            comparison = comparison.with_suits(SUITS)
            self._check(*filter(None, map(comparison.request, range(len(comparison)))))
            taken: Job = ComparisonJob(
                comparison,
                owner=owner,
                origin=origin,
                clock=clock,
                engine=self.id,
                focus=job.focus,
                ephemeral=job.ephemeral,
            )
            self._book.take(taken, job.allowance)
            self.asked.append(Asked(comparison.base, taken, comparison))
        elif isinstance(job, orders.SubmitBranch):
            await self.record(job.job_id, orders.RecordPart(image=job.image), owner=owner)
            names = ("prompt", "negative_prompt", "guidance_scale")
            changed = {name: value for name, value in job.branch.changes.items() if name in names}
            request = replace(self._book.get(job.job_id, owner=owner).request, **changed)  # type: ignore[arg-type]
            run = orders.SubmitRun(request=request, allowance=job.allowance)
            child = await self.submit(run, owner=owner, origin=origin)
            at = {"parent": job.job_id, "image": job.image, "evaluation": job.branch.evaluation, "changed": changed}
            self._parents[child] = at
            return child
        else:
            self._check(job.request)
            request = with_suitable_values(job.request, SUITS[job.request.checkpoint])
            taken = self._book.add(
                request, owner=owner, origin=origin, ephemeral=job.ephemeral, allowance=job.allowance
            )
            taken.live = job.live
            if job.live:
                self.gallery.live.go_on(digest(owner), origin)
            self.asked.append(Asked(request, taken))
        return taken.id

    def _check(self, *requests: Request) -> None:
        if self._closed.is_set():
            raise Refused("The studio is closing.")
        for request in requests:
            if request.checkpoint not in (names := [one.name for one in CATALOG]):
                raise InvalidRequest(Problem("checkpoint", repr(request.checkpoint), f"one of {', '.join(names)}"))
            if isinstance(request, ImageToImage):
                decode.read_picture(request.image)

    def watch(self, job_id: str, *, owner: str) -> Events:
        return Watcher(self._book.get(job_id, owner=owner).mailbox)

    async def cancel(self, job_id: str, *, owner: str) -> bool:
        return self._book.get(job_id, owner=owner).stop()

    async def prioritize(self, job_id: str, cell: int, *, owner: str) -> bool:
        return self._comparison(job_id, owner).raise_priority(cell)

    def _comparison(self, job_id: str, owner: str) -> ComparisonJob:
        if not isinstance(job := self._book.get(job_id, owner=owner), ComparisonJob):
            raise UnknownJob("This job is no comparison.")
        return job

    async def jobs(self, *, owner: str) -> tuple[JobSummary, ...]:
        return self._book.of(owner)

    async def record(self, job_id: str, part: orders.RecordPart = orders.WHOLE_RECORD, *, owner: str) -> bytes:
        job: Job | None = self._book.get(job_id, owner=owner)
        image = part.image
        if isinstance(job, ComparisonJob):
            job, image = job.cell(image), 0
        if job is None or (job.id, image) not in self._records:
            raise UnknownJob("Nothing was recorded of this image.")
        return recording(job, self._records[job.id, image], part.since)

    async def ask(self, question: Any, *, owner: str = "") -> Any:
        match question:
            case orders.Cells():
                return self._comparison(question.job_id, owner).now()
            case orders.BranchTree():
                return self._tree(self._book.get(question.job_id, owner=owner))
            case orders.Work():
                return self._book.work()
            case Upscale():
                return enlarge(question)
            case Question():
                return answer(question)
        return self.models.ask(question)

    def _tree(self, job: Job) -> tuple[BranchNode, ...]:
        def root(of: str) -> str:
            return root(self._parents[of]["parent"]) if of in self._parents else of

        mine = [self._book.get(one.job_id, owner=job.owner) for one in reversed(self._book.of(job.owner))]
        return tuple(
            replace(j.branch_node(), **self._parents.get(j.id, {})) for j in mine if root(j.id) == root(job.id)
        )

    async def order(self, order: orders.ModelOrder) -> None:
        if isinstance(order, orders.PrepareCheckpoint):
            self.prepared.append(order.checkpoint)
        else:
            self.models.order(order)

    def visitor(self, owner: str, *, here: bool) -> None:
        self.visits.append((owner, here))

    # -------------------------------------------------------------------------------------------- the thread

    def _work(self) -> None:
        while not self._closed.is_set():
            jobs = self._book.runnable()
            status = self.status()
            for ahead, job in enumerate(job for job in self._book.active() if job.state == "queued"):
                job.publish(Queued(job_id=job.id, ahead=ahead))
                if self._ready_at > time.monotonic():
                    name = job.request.checkpoint
                    event = Loading(job_id=job.id, checkpoint=name, message=status.message, fraction=status.fraction)
                    job.publish(event)
            now = [job for job in jobs if job.part_of == jobs[0].part_of][: 3 if jobs[0].part_of else 1] if jobs else []
            slow = 8 if any("slow" in job.request.prompt for job in now) else 1
            self._closed.wait(self.seconds_per_step * slow)
            self._book.charge({job.owner: self.seconds_per_step * slow / len(now) for job in now})
            for job in now if self._ready_at <= time.monotonic() else ():
                drawing = self._drawings.setdefault(job.id, Drawing(job, self.gallery))
                for image, recorded in drawing.step():
                    if job.ephemeral:
                        continue
                    self._records.setdefault((job.id, image), []).append(recorded)
            self._drawings = {job_id: one for job_id, one in self._drawings.items() if one.job.ended is None}
