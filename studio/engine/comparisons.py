"""A comparison as one job: its cells are small jobs of its own, made side by side and watched in one place.

Each cell is an ordinary job, so it equals its single run, fails alone and is recorded like any other. Only the
comparison stands in the book, counts as one job of its owner, and is watched, stopped and found again. No torch.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from studio.answered.engine import ComparisonNow
from studio.answered.events import (
    AnyEvent,
    CellEvent,
    ComparisonEnded,
    Failed,
    Finished,
    JobSummary,
    Loading,
    Planned,
    Queued,
    Started,
    Step,
    Stopped,
)
from studio.answered.ids import HERE, engine_of
from studio.asked.compare import Comparison
from studio.asked.guest_rules import Rules
from studio.asked.requests import Request
from studio.engine.jobs import Job
from studio.picture.control_maps import ControlPicture
from studio.picture.framing import Start

# What a start from a picture depends on beside the picture: checkpoint (its native size), width, height.
StartKey = tuple[str, int | None, int | None]


def start_key(request: Request) -> StartKey:
    """Cells with equal keys share one decoded picture."""
    return request.checkpoint, request.width, request.height


class Cell(Job):
    """One cell: an ordinary job whose comparison hears what happens to it."""

    def __init__(
        self,
        comparison: ComparisonJob,
        index: int,
        request: Request,
        *,
        clock: Callable[[], float],
        start: Start | None,
        controls: Sequence[ControlPicture],
    ) -> None:
        super().__init__(
            request,
            owner=comparison.owner,
            origin=comparison.origin,
            clock=clock,
            engine=engine_of(comparison.id),
            start=start,
            controls=controls,
            ephemeral=comparison.ephemeral,
        )
        self.index = index
        self._comparison = comparison

    @property
    def part_of(self) -> str:
        return self._comparison.id

    def begin(self) -> None:
        self._comparison.begin()

    @property
    def rules(self) -> Rules:
        return self._comparison.rules

    @property
    def has_allowance(self) -> bool:
        return self._comparison.has_allowance

    @property
    def size_bytes(self) -> int:
        """The strip of a finished cell; the pictures it is made from are the comparison's."""
        return self._strip_bytes

    _strip_bytes = 0

    def publish(self, event: AnyEvent) -> bool:
        if not super().publish(event):
            return False
        if isinstance(event, Finished):
            self._strip_bytes = sum(len(jpeg) for picture in event.pictures for jpeg in picture.filmstrip)
        self._comparison.hear(self, event)
        return True


class ComparisonJob(Job):
    """The job of a comparison. `comparison` is what is compared, its seed decided; `starts` what its cells begin with;
    `controls` the pictures of its controls, which all cells share."""

    def __init__(
        self,
        comparison: Comparison,
        *,
        owner: str,
        origin: str,
        clock: Callable[[], float],
        engine: str = HERE,
        focus: int = 0,
        starts: Mapping[StartKey, Start] | None = None,
        controls: Sequence[ControlPicture] = (),
        ephemeral: bool = False,
        job_id: str | None = None,
    ) -> None:
        super().__init__(
            comparison.base,
            owner=owner,
            origin=origin,
            clock=clock,
            engine=engine,
            controls=controls,
            ephemeral=ephemeral,
            job_id=job_id,
        )
        self.comparison = comparison
        self.focus = focus
        self._starts = dict(starts or {})
        self._mutex = threading.Lock()  # of what follows
        self._order = list(comparison.order(focus))
        self._cells = {k: self._cell(k, clock) for k in self._order}
        self._open = set(self._order)  # cells that have not ended
        self._checkpoint = self._cells[self._order[0]].request.checkpoint
        self._priorities = itertools.count(1)
        self._finished_cells = self._failed_cells = 0
        self.publish(Planned(job_id=self.id, comparison=comparison, focus=focus))

    def _cell(self, index: int, clock: Callable[[], float]) -> Cell:
        request = self.comparison.request(index)
        assert request is not None
        return Cell(
            self, index, request, clock=clock, start=self._starts.get(start_key(request)), controls=self.controls
        )

    @property
    def size_bytes(self) -> int:
        starts = sum(start.size_bytes for start in self._starts.values())
        return super().size_bytes + starts + sum(cell.size_bytes for cell in self._cells.values())

    def parts(self) -> Sequence[Cell]:
        return tuple(self._cells.values())

    def cell(self, index: int) -> Cell | None:
        """The job of one cell; None for one that cannot be run, or no such cell."""
        return self._cells.get(index)

    def runnable(self) -> Sequence[Job]:
        """The cells of the checkpoint whose turn it is: the next one's come when these have all ended, so that each is
        loaded once, whatever is asked for in between."""
        if not self.ready:
            return ()
        with self._mutex:
            waiting = [self._cells[k] for k in self._order if k in self._open]
            if waiting and all(cell.request.checkpoint != self._checkpoint for cell in waiting):
                self._checkpoint = waiting[0].request.checkpoint
            return [cell for cell in waiting if cell.request.checkpoint == self._checkpoint]

    def raise_priority(self, index: int) -> bool:
        """Let a cell go before those that wait, and its lane before the others. False when it has ended."""
        with self._mutex:
            if index not in self._open:
                return False
            self._order.remove(index)
            self._order.insert(0, index)
            self._cells[index].priority = next(self._priorities)
            return True

    def now(self) -> ComparisonNow:
        """What is compared, and the newest event of every cell that has begun."""
        cells = {event.cell: event for event in self.mailbox.events() if isinstance(event, CellEvent)}
        return ComparisonNow(comparison=self.comparison, cells=cells)

    def summary(self) -> JobSummary:
        return replace(super().summary(), comparison=self.comparison)

    def stop(self, reason: str = "Stopped.") -> bool:
        """Ask every cell that has not ended to stop; what is finished is kept."""
        if self.ended is not None:
            return False
        self.stop_reason = self.stop_reason or reason
        for cell in self._cells.values():
            cell.stop(self.stop_reason)
        return True

    def abandon(self) -> None:
        self.stop()
        for cell in self._cells.values():
            cell.abandon()

    def hear(self, cell: Cell, event: AnyEvent) -> None:
        """Tell the comparison's watchers what has happened to a cell, and that all is over after the last one."""
        if isinstance(event, Queued):
            if self.state == "queued" and cell.index == self._order[0]:
                self.publish(replace(event, job_id=self.id))
        elif isinstance(event, Loading):
            self.publish(replace(event, job_id=self.id))
        elif isinstance(event, (Started, Step, Finished, Stopped, Failed)):
            self._begin(event)
            self.publish(CellEvent(job_id=self.id, cell=cell.index, event=event))
            if isinstance(event, (Finished, Stopped, Failed)):
                self._end(cell, event)

    def _begin(self, event: AnyEvent) -> None:
        if isinstance(event, (Started, Step)) and self._state == "queued":
            with self._lock:
                self._state = "running"

    def _end(self, cell: Cell, event: Finished | Stopped | Failed) -> None:
        with self._mutex:
            self._open.discard(cell.index)
            self._finished_cells += isinstance(event, Finished)
            self._failed_cells += isinstance(event, Failed)
            over = not self._open
            same_settings = []
            if isinstance(event, Failed) and event.kind == "bad_checkpoint":  # the others would try to load it again
                same = [
                    self._cells[k] for k in self._open if self._cells[k].request.checkpoint == cell.request.checkpoint
                ]
                same_settings = [c for c in same if c.state == "queued"]
        for other in same_settings:
            other.publish(replace(event, job_id=other.id))
        if over:
            self._starts.clear()
            self._forget_pictures()
            self.publish(
                ComparisonEnded(
                    job_id=self.id,
                    state="finished" if self.stop_reason is None else "stopped",
                    reason=self.stop_reason or "",
                    finished_cells=self._finished_cells,
                    failed_cells=self._failed_cells,
                    seconds=self._clock() - self.created,
                )
            )

    def _forget_pictures(self) -> None:
        """Nothing of an upload outlives its use."""
        self.comparison = self.comparison.without_pictures()
        self.mailbox.exchange(Planned(job_id=self.id, comparison=self.comparison, focus=self.focus))
