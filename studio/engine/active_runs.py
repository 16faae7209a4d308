"""The runs at work, and which lane of the scheduler belongs to which of their images."""

from __future__ import annotations

from collections.abc import Sequence

from studio.engine.fairness import RunningLane
from studio.engine.runs import ActiveImage, Run
from studio.engine.scheduler import Scheduler


class ActiveRuns:
    """Keeps runs and the scheduler's lanes in step. Used from the engine's thread alone."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._runs: dict[str, Run] = {}  # by job id
        self._images: dict[RunningLane, ActiveImage] = {}

    def all(self) -> list[Run]:
        return list(self._runs.values())

    def get(self, job_id: str) -> Run | None:
        """The run of a job, None before it has started and after its end."""
        return self._runs.get(job_id)

    def add(self, run: Run) -> None:
        """A job has started."""
        self._runs[run.job.id] = run

    def images(self, lanes: Sequence[RunningLane]) -> list[ActiveImage]:
        """The images of these lanes."""
        return [self._images[lane] for lane in lanes]

    def enter(self, active: ActiveImage, rows_that_fit: int | None) -> None:
        """An image's lane joins those that run; a call of its kind may have so many rows."""
        active.running_lane.key = (active.run.resolved.request.checkpoint, active.lane.key)
        active.running_lane.rows = active.lane.rows  # a second pass may have other ones
        self._images[active.running_lane] = active
        self._scheduler.enter(active.running_lane, rows_that_fit)

    def leave(self, active: ActiveImage) -> None:
        """An image's lane asks for nothing more."""
        if self._images.pop(active.running_lane, None) is not None:
            self._scheduler.leave(active.running_lane)

    def drop_complete(self, run: Run) -> None:
        """Forget a run if all of its images are done."""
        if run.complete:
            self.drop(run)

    def drop(self, run: Run) -> None:
        """A job has ended, with all its lanes."""
        for active in run.active.values():
            self.leave(active)
        run.active.clear()
        self._runs.pop(run.job.id, None)
