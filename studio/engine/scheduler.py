"""What to do next: which image gets a lane, which lanes share the next U-Net call, when another checkpoint is loaded.

Jobs and running lanes in, a plan out. Decides and computes nothing; no torch. The worker carries the plan out and says
how long it took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence, Set
from dataclasses import dataclass

from studio.engine.batching import Curve
from studio.engine.fairness import FairShare, RunningLane, waiting_order
from studio.engine.jobs import Job

# Visitors whose lanes take turns; the next ones wait, or nobody's picture would ever be done. So many with an allowance
# and as many without one: guests with long jobs must not keep the studio's owner waiting.
ACTIVE_OWNERS = 16
LANES = 32  # admitted at once, but every active owner has one
RESERVED_LANES = 4  # of these, not for the cells of a comparison: for its owner's other jobs, and a cell with priority
ADMIT_SECONDS = 0.1  # spent per tick on encoding prompts and first latents while lanes wait
SLICE_SECONDS = 30.0  # a checkpoint's turn while jobs wait for another one


@dataclass(frozen=True)
class Admission:
    """The next image of a job gets its lane. `switch`: the job's checkpoint is loaded first, in place of the one that
    is on the device."""

    job: Job
    image: int
    switch: bool


@dataclass(frozen=True)
class Plan:
    """What to do next: an admission, and then to plan again; or a U-Net call for the lanes of `tick`, none where no
    lane runs. `places` are the jobs that have not started, each with how many stand before it."""

    admit: Admission | None = None
    tick: tuple[RunningLane, ...] = ()
    places: tuple[tuple[Job, int], ...] = ()


class Scheduler:
    """Knows which images have been admitted, which lanes run and what their calls have cost."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lanes = FairShare()
        self._curves: dict[Hashable, Curve] = {}
        self._images: dict[str, int] = {}  # admitted of each job, by its id
        self._admission_numbers: dict[str, int] = {}  # by owner
        self._admissions = 0
        self._limited_owners: set[str] = set()  # of those with lanes, the owners whose last job has an allowance
        self._admitting_since: float | None = None  # when the admissions before the next tick began
        self._slice_start = 0.0

    @property
    def lanes(self) -> Sequence[RunningLane]:
        """Those that run, in the order of their admission."""
        return self._lanes.lanes

    def schedule(
        self,
        jobs: Sequence[Job],
        loaded: str | None,
        *,
        admit: bool = True,
        may_switch: bool = True,
        is_replaced: Callable[[], bool] = lambda: False,
        suits: Callable[[Job], bool] = lambda job: True,
    ) -> Plan:
        """The next plan. `jobs` are those that may have lanes, as they came; `loaded` is the checkpoint on the device.
        Without `admit` the lanes that run go on and no new one joins them; without `may_switch` the loaded checkpoint
        stays: something else than a lane needs it. Where `is_replaced` says that the file of
        the loaded checkpoint is another now, jobs that have begun go on with what is loaded. The others wait until it
        is loaded anew. `suits` says whether a job of the loaded checkpoint can have it in the precision that it is in;
        for one that cannot it is loaded anew, as another one would be."""
        self._forget_past_jobs(jobs)
        waiting = self._waiting(jobs)
        now = self._clock()
        if admit and not self._admitted_long_enough(now):
            new = [job.id for job in waiting if job.id not in self._images and job.request.checkpoint == loaded]
            stale = set(new) if new and is_replaced() else set()
            switching = {job.id for job in waiting if job.request.checkpoint != loaded or not suits(job)} | stale
            job = next((job for job in waiting if self._may_start(job, waiting, switching, now, may_switch)), None)
            if job is not None:
                self._admitting_since = now if self._admitting_since is None else self._admitting_since
                return Plan(admit=self._admission(job, switch=job.id in switching))
        self._admitting_since = None
        limits = {key: curve.paying_rows() for key, curve in self._curves.items()}
        return Plan(tick=tuple(self._lanes.next_tick(limits)), places=self._places(waiting) if admit else ())

    def enter(self, lane: RunningLane, rows_that_fit: int | None) -> None:
        """A lane has been started; a call of its key may have so many rows by the free memory (None: unknown)."""
        self._lanes.enter(lane)
        self._curve(lane).fit(rows_that_fit)

    def leave(self, lane: RunningLane) -> None:
        """A lane is done or gone."""
        self._lanes.leave(lane)

    def update(self, plan: Plan, *, rows: int, call_seconds: float, seconds: float) -> dict[str, float]:
        """A plan's call has been made, of so many rows. `call_seconds` is the time of the call alone, `seconds` with
        everything that followed from it; those lanes pay for it that still run."""
        if not plan.tick[0].alone:
            self._curve(plan.tick[0]).record(rows, call_seconds)
        return self._lanes.charge([lane for lane in plan.tick if lane in self._lanes.lanes], seconds)

    def report_failure(self, plan: Plan, *, out_of_memory: bool) -> None:
        """A plan's call has failed. Calls of its key become smaller where it ran out of memory; where it did not, each
        of its lanes is asked again alone, so that the one at fault is found."""
        if out_of_memory:
            self._curve(plan.tick[0]).ran_out_of_memory(sum(lane.rows for lane in plan.tick))
        elif len(plan.tick) > 1:
            for lane in plan.tick:
                lane.alone = True

    def begin_checkpoint(self) -> None:
        """Another checkpoint is on the device: its turn begins, and nothing is known of what its calls cost."""
        self._curves.clear()
        self._slice_start = self._clock()

    def _curve(self, lane: RunningLane) -> Curve:
        return self._curves.setdefault(lane.key, Curve())

    def _forget_past_jobs(self, jobs: Sequence[Job]) -> None:
        ids, owners = {job.id for job in jobs}, {job.owner for job in jobs} | self._lanes.owners()
        self._images = {job_id: images for job_id, images in self._images.items() if job_id in ids}
        self._admission_numbers = {owner: n for owner, n in self._admission_numbers.items() if owner in owners}
        self._limited_owners &= owners
        priorities = {job.id: job.priority for job in jobs}
        for lane in self._lanes.lanes:
            lane.priority = priorities.get(lane.job, lane.priority)

    def _waiting(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs with images that have no lane yet, in the order of admission."""
        waiting = {j.id: j for j in jobs if self._images.get(j.id, 0) < j.request.num_images_per_prompt}
        order = waiting_order([(job.id, job.owner) for job in waiting.values()], self._admission_numbers)
        return [waiting[job_id] for job_id in order]

    def _admitted_long_enough(self, now: float) -> bool:
        since = self._admitting_since
        return since is not None and len(self._lanes) > 0 and now - since > ADMIT_SECONDS

    def _may_start(self, job: Job, waiting: Sequence[Job], switching: Set[str], now: float, may_switch: bool) -> bool:
        """`switching` are the jobs for which a checkpoint is loaded first."""
        over = now - self._slice_start > SLICE_SECONDS
        if job.id in switching:  # never a switch under running lanes, nor within the loaded one's turn
            return may_switch and not len(self._lanes) and (over or all(j.id in switching for j in waiting))
        if over and any(j.id in switching for j in waiting):
            return False  # the lanes that run end, then it is the other checkpoint's turn
        active = self._lanes.owners()
        owners = {owner for owner in active if (owner in self._limited_owners) == job.has_allowance}
        if job.owner not in active:
            return len(owners) < ACTIVE_OWNERS
        waits = any(j.owner not in active and j.has_allowance == job.has_allowance for j in waiting)
        is_full = len(owners) >= ACTIVE_OWNERS and waits
        is_cell = job.part_of is not None and not job.priority
        return len(self._lanes) < (LANES - RESERVED_LANES if is_cell else LANES) and not is_full

    def _admission(self, job: Job, *, switch: bool) -> Admission:
        image = self._images.get(job.id, 0)
        self._images[job.id] = image + 1
        self._admissions += 1
        self._admission_numbers[job.owner] = self._admissions
        self._limited_owners -= {job.owner}
        self._limited_owners |= {job.owner} if job.has_allowance else set()
        return Admission(job, image, switch=switch)

    def _places(self, waiting: Sequence[Job]) -> tuple[tuple[Job, int], ...]:
        """The jobs that have not started, and how many stand before each; a comparison's cells stand in one place."""
        places: dict[str, int] = {}
        new_jobs = [job for job in waiting if job.id not in self._images]
        return tuple((job, places.setdefault(job.part_of or job.id, len(places))) for job in new_jobs)
