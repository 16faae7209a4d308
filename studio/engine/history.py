"""Jobs beyond this process: writes down what becomes of each, and knows those of earlier starts.

The bridge between the book, which holds what waits and runs here, and the jobs file (`studio.engine.store`). No torch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from studio.answered.codec import BadMessage, decode, encode
from studio.answered.engine import ComparisonNow, Events, UnknownJob
from studio.answered.events import (
    ENDS,
    AnyEvent,
    CellEvent,
    ComparisonEnded,
    Failed,
    Finished,
    JobSummary,
    Picture,
    Planned,
    Queued,
    Started,
    Stopped,
)
from studio.asked import orders
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest
from studio.engine.distant import DistantEvents
from studio.engine.jobs import Job, JobBook
from studio.engine.mailbox import Mailbox, Watcher
from studio.engine.store.store import JobStore, StoredJob, StoredState
from studio.picture.gallery import Gallery

logger = logging.getLogger(__name__)

INTERRUPTED = Message("Interrupted: the studio or its engine ended while this run was made.")
BRANCH_WITHOUT_RUN = Message("Stopped: the recorded run that it branches from was gone when the studio started again.")
SHARE_OVER = Message("Stopped: the studio ended, and with it the share that this was asked for through.")
OTHER_VERSION = Message(
    "Another version of the studio asked for this run, and this one cannot read it. Ask for it again."
)
OTHER_SERVER = Message("Stopped: another studio on the same outputs folder makes this run.")

Lasting = orders.SubmitRun | orders.SubmitComparison  # what can go on in another process
Restore = Callable[[StoredJob, Lasting], None]  # raises InvalidRequest


class History:
    """What this server writes into the jobs file, and reads from it. Safe from any thread."""

    def __init__(self, store: JobStore, book: JobBook, gallery: Gallery, closing: str) -> None:
        """`closing`: the reason of jobs that are stopped since the studio ends."""
        self._store = store
        self._book = book
        self._gallery = gallery
        self._closing = closing
        self._seeds: dict[str, tuple[int, ...]] = {}  # jobs that run here, whose begin has been written down: seeds

    # ------------------------------------------------------------------------------------------ of this process

    def enter(self, job: Job, order: orders.Submission) -> None:
        """Write down a job that has been taken; until then it is not `ready`. A note says where that is not possible.
        One that nobody can come back to is left out."""
        if job.ephemeral or not self._store.is_on_disk:
            return
        allowance = order.allowance
        try:
            row = StoredJob(
                id=job.id,
                studio=self._store.studio,
                state="waiting",
                owner=job.owner,
                guest=allowance is not None,
                passing=allowance is not None and allowance.ends_with_studio,
                origin=job.origin,
                submitted=time.time(),
                summary=encode(_brief(job.summary())),
                submission=encode(order),
            )
        except BadMessage as error:  # a fault of ours: the run is made all the same
            logger.exception("A job could not be written down")
            problem: str = Message("It does not outlive the studio: {cause}.", cause=str(error))
        else:
            problem = self._store.add(row)
        if problem:
            job.notes = (*job.notes, problem)
        else:
            job.witness = self

    def begin(self, job: Job) -> None:
        """See `Witness`. Another server may have the lease by now, where this one was silent for long."""
        if job.id not in self._seeds:
            self._seeds[job.id] = ()
            self._store.claim(job.id, lambda: job.stop(OTHER_SERVER))

    def hear(self, job: Job, event: AnyEvent) -> None:
        """See `Witness`."""
        if isinstance(event, Started):
            seeds = self._seeds[job.id] = event.seeds
            self._store.remember_seeds(job.id, lambda: encode(seeds))
        elif isinstance(event, CellEvent) and isinstance(event.event, (Finished, Failed)):
            cell_event = event
            self._store.end_cell(job.id, event.cell, lambda: encode(_lean(cell_event)))
        elif isinstance(event, ENDS):
            self._end(job.summary(), event, self._seeds.pop(job.id, ()))

    def _end(self, summary: JobSummary, event: AnyEvent, seeds: tuple[int, ...] = ()) -> None:
        closed, last = False, event
        if isinstance(event, (Stopped, ComparisonEnded)) and event.reason == self._closing:
            closed, last = True, replace(event, reason=INTERRUPTED, interrupted=True)
            summary = replace(summary, state="interrupted")
        if summary.state == "interrupted" and summary.request.seed is None and seeds:
            summary = replace(summary, request=replace(summary.request, seed=seeds[0]))
        state: StoredState = summary.state  # type: ignore[assignment]  # of one that is over

        def events() -> bytes:
            comparison = summary.comparison
            plans = (Planned(job_id=summary.job_id, comparison=comparison.without_pictures()),) if comparison else ()
            return encode((*plans, _lean(last)))

        self._store.end(summary.job_id, state, events, lambda: encode(_brief(summary)), closed=closed)

    # --------------------------------------------------------------------------------------- of earlier starts

    def restore(self, restore: Restore, *, at_start: bool = True) -> None:
        """Take over the jobs of servers that have ended: what waits is given to `restore`, what ran is interrupted."""
        counts = {"waiting": 0, "interrupted": 0, "dropped": 0}
        for row in self._store.take_over(at_start=at_start):
            try:
                counts[self._restore(row, restore)] += 1
            except (BadMessage, InvalidRequest) as error:
                sentence = str(error) if isinstance(error, InvalidRequest) else OTHER_VERSION
                self._refuse(row, Failed(job_id=row.id, kind="bad_request", message=sentence, error_id=""), "failed")
                counts["dropped"] += 1
        sentences = {
            "waiting": "%d waited and go on",
            "interrupted": "%d interrupted, to be run again on the page",
            "dropped": "%d dropped, since their share is over or what they need is gone",
        }
        sentences_with_counts = [sentences[name] % count for name, count in counts.items() if count]
        if sentences_with_counts:
            logger.info("Jobs from before: %s.", "; ".join(sentences_with_counts))

    def _restore(self, row: StoredJob, restore: Restore) -> str:
        """What became of a job: a key of the counts above."""
        summary = _summary(row.summary)
        pictures = tuple(self._gallery.of_job(row.id, row.owner))
        if pictures and len(pictures) == summary.request.num_images_per_prompt:  # the end came just after the last one
            seconds = float(str(pictures[-1].info.get("seconds") or 0))
            exact = bool(pictures[0].info.get("exact"))
            self._end(
                replace(summary, state="finished"),
                Finished(job_id=row.id, pictures=pictures, seconds=seconds, exact=exact),
            )
            return "waiting"
        if row.passing and row.studio != self._store.studio:
            self._refuse(row, _stopped_event(row.id, SHARE_OVER, pictures), "stopped", summary)
            return "dropped"
        if row.state == "running" or pictures:
            self._interrupt(row, summary, pictures)
            return "interrupted"
        order = decode(row.submission or b"")
        if not isinstance(order, Lasting):
            self._refuse(row, _stopped_event(row.id, BRANCH_WITHOUT_RUN, pictures), "stopped", summary)
            return "dropped"
        restore(row, order)
        return "waiting"

    def _interrupt(self, row: StoredJob, summary: JobSummary, pictures: tuple[Picture, ...]) -> None:
        event: AnyEvent
        if summary.comparison is not None:
            cell_events = [cell.event for cell in self._cells(row.id)]
            event = ComparisonEnded(
                job_id=row.id,
                state="stopped",
                reason=INTERRUPTED,
                finished_cells=sum(isinstance(one, Finished) for one in cell_events),
                failed_cells=sum(isinstance(one, Failed) for one in cell_events),
                seconds=0.0,
                interrupted=True,
            )
        else:
            event = replace(_stopped_event(row.id, INTERRUPTED, pictures), interrupted=True)
        self._end(replace(summary, state="interrupted"), event, decode(row.seeds) if row.seeds else ())

    def _refuse(
        self, row: StoredJob, event: Stopped | Failed, state: StoredState, summary: JobSummary | None = None
    ) -> None:
        if summary is None:
            try:
                summary = _summary(row.summary)
            except BadMessage:
                summary = None
        if summary is None:
            self._store.forget(row.id)
            return
        end: AnyEvent = event
        if summary.comparison is not None:
            reason = event.reason if isinstance(event, Stopped) else event.message
            end = ComparisonEnded(
                job_id=row.id, state="stopped", reason=reason, finished_cells=0, failed_cells=0, seconds=0.0
            )
            state = "stopped"
        self._end(replace(summary, state=state), end)  # type: ignore[arg-type]

    def close(self) -> None:
        """The studio ends: what waits is nobody's until the next start."""
        waiting = self._store.close()
        if waiting:
            logger.info("%d waiting job%s on at the next start.", waiting, "s go" if waiting > 1 else " goes")

    # ------------------------------------------------------------------------------------------- what is over

    def of(self, owner: str) -> tuple[JobSummary, ...]:
        """One owner's jobs, newest first; those that only the file knows stand last."""
        here = self._book.of(owner)
        ids_here = {job.job_id for job in here}
        others = []
        for row in self._store.of_owner(owner):
            if row.id in ids_here:
                continue
            try:
                summary = _summary(row.summary)
            except BadMessage:
                continue
            state = "queued" if row.state == "waiting" else row.state
            others.append(replace(summary, state=state))
        return (*here, *others)

    def watch(self, job_id: str, owner: str) -> Events:
        """The events of a job that is there, what a late watcher hears of one that is over, or how far one is that
        another server has. Raises UnknownJob."""
        here = self._here(job_id, owner)
        if here is not None:
            return here
        events = self._events(job_id, owner)
        if events is None:
            row = self._row(job_id, owner)
            comparison = _summary(row.summary).comparison
            plans = (Planned(job_id=job_id, comparison=comparison),) if comparison is not None else ()
            return DistantEvents(
                (*plans, Queued(job_id=job_id, ahead=0)),
                lambda: self._events(job_id, owner),
                lambda: self._here(job_id, owner),
            )
        mailbox = Mailbox(self._book.clock)
        for event in events:
            mailbox.put(event)
        return Watcher(mailbox)

    def _here(self, job_id: str, owner: str) -> Watcher | None:
        """The events of a job of this server. Raises UnknownJob for another owner's."""
        if isinstance(job_id, str) and not self._book.has(job_id):
            return None
        return Watcher(self._book.get(job_id, owner=owner).mailbox)

    def cancel(self, job_id: str, owner: str) -> bool | None:
        """Stop a job that another server has and that waits, or offer one no more that was interrupted. False where it
        is over, or runs there; None for a job of this server, or an unknown one."""
        if not isinstance(job_id, str) or self._book.has(job_id) or (row := self._store.get(job_id, owner)) is None:
            return None
        if row.state == "interrupted":
            self._store.dismiss(job_id)
            return True
        return row.state == "waiting" and self._store.withdraw(
            job_id, encode((_stopped_event(job_id, "Stopped.", ()),))
        )

    def order(self, job_id: str, owner: str) -> tuple[Lasting, str]:
        """What an interrupted job was asked for, with the seed that it had, and its origin. Raises UnknownJob."""
        row = self._store.get(job_id, owner) if isinstance(job_id, str) else None
        if row is None or row.state != "interrupted" or row.submission is None:
            raise UnknownJob("This job does not exist any more.")
        try:
            order = decode(row.submission)
            seeds = decode(row.seeds) if row.seeds else ()
        except BadMessage as error:
            raise UnknownJob(OTHER_VERSION) from error
        if not isinstance(order, Lasting):
            raise UnknownJob(BRANCH_WITHOUT_RUN)
        if isinstance(order, orders.SubmitRun) and order.request.seed is None and seeds:
            order = replace(order, request=replace(order.request, seed=seeds[0]))
        return order, row.origin

    def dismiss(self, job_id: str) -> None:
        """An interrupted job has been asked for again, or is not wanted any more."""
        self._store.dismiss(job_id)

    def is_elsewhere(self, job_id: str, owner: str) -> bool:
        """Whether it is one owner's job that only the file knows."""
        return isinstance(job_id, str) and not self._book.has(job_id) and self._store.get(job_id, owner) is not None

    def _row(self, job_id: str, owner: str) -> StoredJob:
        row = self._store.get(job_id, owner)
        if row is None:
            raise UnknownJob("This job does not exist any more.")
        return row

    def _events(self, job_id: str, owner: str) -> tuple[AnyEvent, ...] | None:
        """What a late watcher hears of a job that only the file knows; None while it is not over. Raises UnknownJob."""
        row = self._row(job_id, owner)
        if row.ended is None:
            return None
        try:
            events: tuple[AnyEvent, ...] = decode(row.events or b"")
            return (*events[:-1], *self._cells(job_id), *events[-1:])
        except BadMessage as error:
            raise UnknownJob(OTHER_VERSION) from error

    def _cells(self, job_id: str) -> list[CellEvent]:
        """The cells of a comparison that were over, none of any other job. Raises BadMessage."""
        return [decode(event) for event in self._store.cells(job_id)]

    def comparison(self, job_id: str, owner: str) -> ComparisonNow | None:
        """A comparison that only the file knows, as far as it was made; None where there is none."""
        if not self.is_elsewhere(job_id, owner):
            return None
        comparison = _summary(self._row(job_id, owner).summary).comparison
        if comparison is None:
            return None
        return ComparisonNow(comparison=comparison, cells={event.cell: event for event in self._cells(job_id)})


@lru_cache(maxsize=1000)
def _summary(summary_bytes: bytes) -> JobSummary:
    """Raises BadMessage for what another version has written."""
    summary: JobSummary = decode(summary_bytes)
    return summary


def _brief(summary: JobSummary) -> JobSummary:
    comparison = summary.comparison.without_pictures() if summary.comparison is not None else None
    return replace(summary, request=summary.request.without_pictures(), comparison=comparison)


def _stopped_event(job_id: str, reason: str, pictures: tuple[Picture, ...]) -> Stopped:
    return Stopped(job_id=job_id, pictures=pictures, last=(), index=0, total=0, reason=reason)


def _lean(event: AnyEvent) -> AnyEvent:
    """Without the frames of the strips and the last looks: they are for whoever watched."""
    if isinstance(event, CellEvent):
        return replace(event, event=_lean(event.event))  # type: ignore[arg-type]
    if isinstance(event, (Finished, Stopped)):
        event = replace(event, pictures=tuple(replace(picture, filmstrip=()) for picture in event.pictures))
    return replace(event, last=()) if isinstance(event, Stopped) else event
