"""Takes orders in: what is asked for becomes a job of the book, is written down, and is announced. Any thread."""

from __future__ import annotations

from dataclasses import replace

from studio.answered.engine import Refused, UnknownJob
from studio.answered.events import Loading, Queued
from studio.asked import orders
from studio.asked.messages import Message
from studio.engine.asking import NOT_RECORDED
from studio.engine.device_thread import DeviceThread
from studio.engine.forks import fork
from studio.engine.history import History, Lasting
from studio.engine.intake import Intake, rules_of
from studio.engine.jobs import Job, JobBook
from studio.engine.store.store import StoredJob
from studio.engine.viewer.recorder import Recorder
from studio.picture.control_maps import control_pictures

ANOTHER_CHECKPOINT = Message("Another checkpoint is being loaded")  # one that the reader may not know of


class Reception:
    """Whatever comes to a `DiffusionEngine` to be made."""

    def __init__(
        self, book: JobBook, intake: Intake, recorder: Recorder, history: History, thread: DeviceThread, engine: str
    ) -> None:
        """`engine` stands in front of the ids of its jobs."""
        self._book = book
        self._intake = intake
        self._recorder = recorder
        self._history = history
        self._thread = thread
        self._engine = engine

    def take(self, order: orders.Submission, *, owner: str, origin: str) -> str:
        """Take an order in and return the id of its job. Decodes uploaded pictures on the caller's thread, and waits
        for the disk. Raises InvalidRequest, Refused, or UnknownJob where it goes on from a job that is gone."""
        again = order.job_id if isinstance(order, orders.RunAgain) else None
        if isinstance(order, orders.RunAgain):
            past, origin = self._history.order(order.job_id, owner)
            order = replace(past, allowance=order.allowance)
        self._check_open()
        job: Job
        match order:
            case orders.SubmitRun():
                job, order = self._intake.run(order, owner, origin)
            case orders.SubmitComparison():
                job, order = self._intake.comparison(order, owner, origin)
            case orders.SubmitBranch():
                job = self._branch(order, owner, origin)
        job.ready = False  # it gets no lane before it is on the disk
        self._book.take(job, order.allowance)
        self._history.enter(job, order)
        job.ready = True
        if again is not None:
            self._history.dismiss(again)
        self._announce(job)
        return job.id

    def restore(self, *, at_start: bool = True) -> None:
        """Go on with the jobs of servers that have ended (`History.restore`)."""
        self._history.restore(self._restore, at_start=at_start)

    def _branch(self, order: orders.SubmitBranch, owner: str, origin: str) -> Job:
        parent = self._book.get(order.job_id, owner=owner)
        past = self._recorder.past(parent.id, order.image)
        if past is None:
            raise UnknownJob(NOT_RECORDED)
        leaving = fork(parent.id, order.image, order.branch, *past)
        request = self._intake.branch(leaving.request(), order.branch, rules_of(order.allowance))
        return Job(
            request,
            owner=owner,
            origin=origin,
            clock=self._book.clock,
            engine=self._engine,
            start=leaving.recipe.start,
            attention=leaving.recipe.attention,
            fork=leaving,
            controls=control_pictures(request),
        )

    def _restore(self, row: StoredJob, order: Lasting) -> None:
        job: Job
        if isinstance(order, orders.SubmitComparison):
            job, _ = self._intake.comparison(order, row.owner, row.origin, row.id)
        else:
            job, _ = self._intake.run(order, row.owner, row.origin, row.id)
        job.witness = self._history
        self._book.restore(job, order.allowance)
        self._announce(job)

    def _check_open(self) -> None:
        """Raises Refused when nothing is taken now."""
        if self._thread.closing.is_set():
            raise Refused(Message("The studio is closing."), kind="unavailable")
        if self._thread.has_failed:
            raise Refused(self._thread.status.message, kind="unavailable")

    def _announce(self, job: Job) -> None:
        """Say where a new job stands, and let the thread look at it."""
        status = self._thread.status
        job.publish(Queued(job_id=job.id, ahead=max(0, len(self._book.active()) - 1)))
        if status.state in ("starting", "loading"):
            may_name = self._intake.may_name(status.checkpoint, job.rules)
            job.publish(
                Loading(
                    job_id=job.id,
                    checkpoint=job.request.checkpoint,
                    message=status.message if may_name else ANOTHER_CHECKPOINT,
                    fraction=status.fraction,
                )
            )
        self._thread.wake.set()
