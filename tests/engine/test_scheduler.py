"""What is done next: admissions, ticks and switches of the checkpoint, decided without a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from studio.asked.compare import Comparison
from studio.asked.fields import TextToImage
from studio.asked.orders import Allowance
from studio.engine import batching
from studio.engine import scheduler as limits
from studio.engine.comparisons import ComparisonJob
from studio.engine.fairness import RunningLane
from studio.engine.jobs import Job
from studio.engine.scheduler import Plan, Scheduler


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Machine:
    """A scheduler with what would be around it: jobs, and a loaded checkpoint; every lane needs `steps` ticks."""

    def __init__(self, *, loaded: str | None = "fox", steps: int = 3) -> None:
        self.clock = Clock()
        self.scheduler = Scheduler(self.clock)
        self.scheduler.begin_checkpoint()
        self.loaded = loaded
        self.steps = steps
        self.jobs: list[Job] = []
        self.admitted: list[tuple[Job, int]] = []
        self.switches: list[str] = []
        self.left: dict[RunningLane, int] = {}

    def job(self, owner: str = "anna", *, checkpoint: str = "fox", images: int = 1, guest: bool = False) -> Job:
        request = TextToImage(prompt="", checkpoint=checkpoint, num_images_per_prompt=images)
        job = Job(request, owner=owner, origin="page", clock=self.clock)
        job.allowance = Allowance(group="g") if guest else None
        self.jobs.append(job)
        return job

    def plan(self, **options: Any) -> Plan:
        return self.scheduler.schedule([j for j in self.jobs if j.stop_reason is None], self.loaded, **options)

    def admit(self, *, seconds: float = 0.0) -> Plan:
        """Admit as planned until a tick is planned; each admission takes `seconds`."""
        while (plan := self.plan()).admit is not None:
            job, image = plan.admit.job, plan.admit.image
            if plan.admit.switch:
                assert not self.scheduler.lanes, "a switch under running lanes"
                self.loaded = job.request.checkpoint
                self.switches.append(self.loaded)
                self.scheduler.begin_checkpoint()
            self.clock.now += seconds
            self.admitted.append((job, image))
            lane = RunningLane(owner=job.owner, job=job.id, key=self.loaded, rows=2, comparison=job.part_of or "")
            self.scheduler.enter(lane, None)
            self.left[lane] = self.steps
        return plan

    def tick(self, plan: Plan, seconds: float = 1.0) -> None:
        self.clock.now += seconds
        for lane in plan.tick:
            self.left[lane] -= 1
            if not self.left[lane]:
                self.scheduler.leave(lane)
                del self.left[lane]
        self.jobs = [j for j in self.jobs if self.unfinished(j)]
        self.scheduler.update(plan, rows=2 * len(plan.tick), call_seconds=seconds, seconds=seconds)

    def unfinished(self, job: Job) -> bool:
        started = sum(one is job for one, _ in self.admitted)
        return started < job.request.num_images_per_prompt or any(lane.job == job.id for lane in self.left)

    def run(self, ticks: int = 1000, *, until: Callable[[], bool] = lambda: False) -> int:
        """Admit and tick until nothing is left to do or `until` says so; how many ticks it took."""
        for number in range(ticks):
            plan = self.admit()
            if not plan.tick or until():
                return number
            self.tick(plan)
        raise AssertionError("it goes on and on")


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_nothing_to_do_is_an_empty_plan(machine: Machine) -> None:
    assert machine.plan() == Plan()


def test_images_of_a_job_are_admitted_in_order_and_each_once(machine: Machine) -> None:
    job = machine.job(images=3)
    plan = machine.admit()
    assert machine.admitted == [(job, 0), (job, 1), (job, 2)]
    assert {lane.job for lane in plan.tick} == {job.id}
    assert machine.run() < 12
    assert len(machine.admitted) == 3


def test_the_owner_admitted_longest_ago_comes_first(machine: Machine) -> None:
    many, first = machine.job("anna", images=4), machine.job("ben")
    machine.admit()
    assert [job for job, _ in machine.admitted[:2]] == [many, first]
    second, newcomer = machine.job("ben"), machine.job("cleo")
    machine.admit()
    assert [job for job, _ in machine.admitted[-2:]] == [newcomer, second]


def test_without_admission_the_lanes_that_run_go_on(machine: Machine) -> None:
    machine.job()
    machine.admit()
    waiting = machine.job("ben")
    plan = machine.plan(admit=False)
    assert len(plan.tick) == 1
    assert plan.places == ()
    assert machine.admit().tick
    assert machine.admitted[-1] == (waiting, 0)


def test_a_stopped_job_gets_no_lane(machine: Machine) -> None:
    job = machine.job(images=5)
    job.stop()
    assert machine.plan() == Plan()


def test_a_tick_is_not_kept_waiting_by_many_admissions(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ADMIT_SECONDS", 0.1)
    machine.job(images=10)
    plan = machine.admit(seconds=0.04)
    assert len(machine.admitted) == 3
    machine.tick(plan)
    machine.admit(seconds=0.04)
    assert len(machine.admitted) == 6


def test_every_visitor_has_a_lane_before_anybody_has_them_all(machine: Machine) -> None:
    machine.job("anna", images=9)
    visitors = {f"visitor {k}" for k in range(6)}
    for visitor in visitors:
        machine.job(visitor)
    machine.admit()
    assert {job.owner for job, _ in machine.admitted[:7]} == visitors | {"anna"}


def test_lanes_and_owners_are_limited_and_nobody_starves(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LANES", 4)
    monkeypatch.setattr(limits, "ACTIVE_OWNERS", 2)
    late = machine.job("late")
    jobs = [machine.job(owner, images=6) for owner in ("anna", "ben", "cleo")]
    machine.jobs = [*jobs, late]
    plan = machine.admit()
    assert len(machine.scheduler.lanes) == 2, "others wait: who runs has one lane each"
    assert {lane.owner for lane in machine.scheduler.lanes} == {"anna", "ben"}
    assert list(plan.places) == [(jobs[2], 0), (late, 1)]
    machine.run()
    assert not machine.jobs
    assert len(machine.admitted) == 19


def test_guests_with_long_jobs_do_not_keep_the_owner_waiting(machine: Machine) -> None:
    machine.steps = 1000
    for k in range(limits.ACTIVE_OWNERS + 4):
        machine.job(f"guest {k}", images=3, guest=True)
    machine.admit()
    assert len(machine.scheduler.lanes) == limits.ACTIVE_OWNERS
    mine = [machine.job("owner", images=2), comparison(machine, "1-2", owner="owner").parts()[0]]
    plan = machine.admit()
    admitted = [job for job, _ in machine.admitted[limits.ACTIVE_OWNERS :]]
    assert {job.owner for job in admitted} == {"owner"}, "the other guests wait"
    assert {job.id for job in admitted} >= {job.id for job in mine}
    assert admitted.count(mine[0]) == 2, "whoever is in beside the guests has all their lanes"
    assert len(plan.places) == 4


def test_the_owner_keeps_no_guest_waiting_either(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACTIVE_OWNERS", 2)
    for visitor in ("anna", "ben", "cleo"):
        machine.job(visitor)
    cells = comparison(machine, "1-3", owner="guest", guest=True)
    machine.admit()
    owners = [job.owner for job, _ in machine.admitted]
    assert owners.count("guest") == len(cells.parts())
    assert set(owners) == {"anna", "ben", "guest"}


def test_device_time_is_shared_by_owner_whatever_each_asks_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "MAX_ROWS", 2)
    machine.steps = 50
    machine.job("anna", images=10)
    machine.job("ben")
    served = {"anna": 0.0, "ben": 0.0}
    for _ in range(20):
        plan = machine.admit()
        for lane in plan.tick:
            served[lane.owner] += 1 / len(plan.tick)
        machine.tick(plan)
    assert served == {"anna": 10, "ben": 10}


def test_a_checkpoint_is_switched_only_when_no_lane_runs_and_nobody_waits_for_it(machine: Machine) -> None:
    machine.job(checkpoint="fox", images=2)
    other = machine.job("ben", checkpoint="owl")
    plan = machine.admit()
    assert machine.switches == []
    assert [(job.id, ahead) for job, ahead in plan.places] == [(other.id, 0)]
    machine.run()
    assert machine.switches == ["owl"]
    assert len(machine.admitted) == 3


def test_checkpoints_take_turns_in_slices(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SLICE_SECONDS", 10.0)
    monkeypatch.setattr(limits, "LANES", 1)
    machine.job("anna", checkpoint="fox", images=9)
    machine.job("ben", checkpoint="owl", images=9)
    machine.run()
    assert machine.switches == ["owl", "fox", "owl", "fox", "owl"]
    order = [job.request.checkpoint for job, _ in machine.admitted]
    assert order[:4] == ["fox"] * 4, "a slice of ten seconds is three pictures, and the one that is under way"
    assert order.count("owl") == order.count("fox") == 9


def test_a_loaded_checkpoint_does_not_wait_for_one_that_nobody_asks_for_any_more(machine: Machine) -> None:
    other = machine.job("ben", checkpoint="owl")
    machine.job("anna", images=2)
    machine.clock.now += 1000  # the slice is over
    other.stop()
    machine.run()
    assert machine.switches == []


def comparison(machine: Machine, values: str = "1-9", *, owner: str = "anna", guest: bool = False) -> ComparisonJob:
    given = {"prompt": "", "checkpoint": "fox", "seed": 1, "x": "guidance_scale", "x_values": values}
    job = ComparisonJob(Comparison.parse(given), owner=owner, origin="page", clock=machine.clock)
    job.allowance = Allowance(group="g") if guest else None
    machine.jobs += job.runnable()
    return job


def test_a_comparison_leaves_lanes_for_its_owners_other_jobs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LANES", 5)
    monkeypatch.setattr(limits, "RESERVED_LANES", 2)
    cells = comparison(machine)
    plan = machine.admit()
    assert len(machine.scheduler.lanes) == 3
    assert {ahead for _, ahead in plan.places} == {0}, "its cells stand in one place"
    single = machine.job()
    machine.admit()
    assert machine.admitted[-1] == (single, 0)
    assert cells.raise_priority(8)
    machine.admit()
    assert machine.admitted[-1] == (cells.cell(8), 0)


def test_a_cell_with_priority_goes_before_its_owners_other_lanes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "MAX_ROWS", 2)
    cells = comparison(machine)
    plan = machine.admit()
    last = plan.tick[0]
    assert cells.raise_priority(7)
    plan = machine.admit()
    chosen = cells.cell(7)
    assert chosen is not None
    assert [lane.job for lane in plan.tick] == [chosen.id]
    assert plan.tick[0] is not last


def test_a_call_that_fails_is_made_again_lane_by_lane_and_one_without_memory_smaller(machine: Machine) -> None:
    machine.job(images=4)
    plan = machine.admit()
    while len(plan.tick) < 4:  # a size is tried once the smaller ones are known
        machine.tick(plan, seconds=0.0001)
        machine.left = dict.fromkeys(machine.left, 3)
        plan = machine.admit()
    machine.scheduler.report_failure(plan, out_of_memory=True)
    assert 1 <= len(machine.plan().tick) <= 2
    machine.scheduler.report_failure(plan, out_of_memory=False)
    assert [len(machine.plan().tick) for _ in range(3)] == [1, 1, 1]


def test_a_job_waits_until_its_replaced_checkpoint_is_loaded_anew_and_what_has_begun_goes_on() -> None:
    machine = Machine()
    first = machine.job(images=2)
    plan = machine.plan()
    assert plan.admit is not None
    assert not plan.admit.switch
    machine.scheduler.enter(RunningLane(owner="anna", job=first.id, key="fox", rows=2, comparison=""), None)
    second = machine.job("bob")
    replaced = {"is_replaced": lambda: True}
    plan = machine.plan(**replaced)
    assert plan.admit is not None
    assert (plan.admit.job, plan.admit.image, plan.admit.switch) == (first, 1, False)
    machine.scheduler.enter(RunningLane(owner="anna", job=first.id, key="fox", rows=2, comparison=""), None)
    assert machine.plan(**replaced).admit is None, "no switch under running lanes"
    for lane in list(machine.scheduler.lanes):
        machine.scheduler.leave(lane)
    plan = machine.plan(**replaced)
    assert plan.admit is not None
    assert (plan.admit.job, plan.admit.switch) == (second, True)


def test_a_job_that_needs_another_precision_waits_until_the_checkpoint_is_loaded_anew() -> None:
    machine = Machine()
    first = machine.job()
    plan = machine.plan(suits=lambda job: job is first)
    assert plan.admit is not None
    assert (plan.admit.job, plan.admit.switch) == (first, False)
    machine.scheduler.enter(RunningLane(owner="anna", job=first.id, key="fox", rows=2, comparison=""), None)
    second = machine.job("bob")
    assert machine.plan(suits=lambda job: job is first).admit is None, "no switch under running lanes"
    for lane in list(machine.scheduler.lanes):
        machine.scheduler.leave(lane)
    plan = machine.plan(suits=lambda job: job is first)
    assert plan.admit is not None
    assert (plan.admit.job, plan.admit.switch) == (second, True)


def test_nobody_looks_at_the_file_while_nothing_new_waits() -> None:
    machine = Machine()
    machine.job()
    looked = []

    def is_replaced() -> bool:
        looked.append(True)
        return False

    machine.plan(is_replaced=is_replaced)
    assert looked == [True]
    machine.plan(is_replaced=is_replaced)
    assert looked == [True]
