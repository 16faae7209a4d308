"""The loop on the engine's own thread: the scheduler plans, the executor computes, the presenter tells.

Imports torch, so it is itself imported on that thread alone. Every error ends at the job it belongs to.
"""

from __future__ import annotations

import time
from functools import partial

import torch
from PIL import Image

from studio.checkpoints.cpu_precision import suits_exact
from studio.checkpoints.manager import ModelManager
from studio.engine import failures
from studio.engine.active_runs import ActiveRuns
from studio.engine.admissions import Admissions
from studio.engine.between_ticks import BetweenTicks
from studio.engine.checkpoint_switch import CheckpointSwitch
from studio.engine.compute_threads import ComputeThreads
from studio.engine.device import Device
from studio.engine.executor import Executor
from studio.engine.forecasts import forecast
from studio.engine.jobs import Job
from studio.engine.outside import Outside
from studio.engine.presenter import Presenter
from studio.engine.runs import ActiveImage
from studio.engine.scheduler import Plan, Scheduler


class Worker:
    """Lanes and ticks on one device. The engine's thread calls `turn` again and again."""

    def __init__(self, device: Device, manager: ModelManager, outside: Outside) -> None:
        self.ticks = 0
        self._outside = outside
        self._scheduler = Scheduler()
        self._threads = ComputeThreads.of(device)
        self._executor = Executor(device, manager, outside.tokenizer_lock)
        self._presenter = Presenter(self._executor, outside, self._fail)
        self._runs = ActiveRuns(self._scheduler)
        self._checkpoint = CheckpointSwitch(self._scheduler, self._executor, self._presenter, outside)
        self._admissions = Admissions(
            self._executor, self._runs, self._checkpoint, self._threads, self._presenter, outside, self._finish
        )
        self._between = BetweenTicks(self._executor, outside, self._fail)

    def turn(self, admit: bool = True) -> bool:
        """Look at the jobs, admit, answer, tick once. False when there was nothing to do. Without `admit` the lanes
        that run go on and no new one joins them."""
        self._between.sweep()
        self._threads.settle()
        for run in [run for run in self._runs.all() if run.job.stop_reason is not None]:
            self._presenter.stop(run)
            self._runs.drop(run)
        plan = self._plan(admit)
        while plan.admit is not None:
            with failures.ending(plan.admit.job, self._fail):
                self._admissions.admit(plan.admit)
            plan = self._plan(admit)
        self._presenter.tell_places(plan.places)
        has_worked = self._between.work(beside_lanes=bool(plan.tick))
        if not plan.tick:
            self._executor.forget_texts()
            return has_worked
        self._tick(plan)
        return True

    def preload(self, checkpoint: str) -> None:
        """Load a checkpoint before it is asked for. Raises BadCheckpoint, DoesNotFit."""
        self._checkpoint.load(checkpoint, anew=self._executor.manager.is_replaced())

    def rest(self) -> None:
        """Let go of everything that holds the loaded checkpoint; only while no lane runs."""
        self._checkpoint.release()

    def idle(self) -> bool:
        """One short slice of work that can wait; only while no job is there. False when there is none."""
        return self._executor.fitter.idle()

    def fail_all(self, error: Exception) -> None:
        """End every job at work: an error that belongs to none of them. The engine goes on with the next ones."""
        for run in self._runs.all():
            self._fail(run.job, error)

    def _plan(self, admit: bool) -> Plan:
        jobs = [job for job in self._outside.book.runnable() if job.stop_reason is None]
        manager = self._executor.manager
        return self._scheduler.schedule(
            jobs,
            self._executor.loaded,
            admit=admit and not self._outside.closing.is_set(),
            may_switch=not len(self._between.enlarging),
            is_replaced=manager.is_replaced,
            suits=lambda job: suits_exact(manager.loaded, job.has_exact_weights),
        )

    @torch.inference_mode()
    def _tick(self, plan: Plan) -> None:
        images = forecast(self._runs.images(plan.tick), self._presenter.show, self._fail)
        self._threads.settle(exact=any(active.run.exact for active in images))
        start = time.perf_counter()
        results = self._executor.evaluate(images)
        if results.has_call_failed:
            self._scheduler.report_failure(plan, out_of_memory=results.out_of_memory)
        for active, error in results.failures:
            self._fail(active.run.job, error)
        if not results.rows:
            return
        self.ticks += 1
        self._threads.record(plan.tick[0].key, results.rows, results.seconds)
        for active in results.callers:
            active.threads.add(self._threads.number)
        self._presenter.show(results)
        seconds = time.perf_counter() - start
        self._between.ticked(seconds)
        shares = self._scheduler.update(plan, rows=results.rows, call_seconds=results.seconds, seconds=seconds)
        self._outside.book.charge(shares)
        self._presenter.measure(results.callers[0], results.rows, seconds)
        for active, _ in results.evaluations:
            active.running_lane.rows = active.lane.rows  # one more or less where guidance begins or ends
            if active.lane.is_finished and active.at_work and active.run.job.stop_reason is None:
                with failures.ending(active.run.job, self._fail):
                    self._next_pass(active)

    def _next_pass(self, active: ActiveImage, picture: Image.Image | None = None) -> None:
        """An image has run its last step: it is made anew, larger, of an upscaler's `picture` perhaps, or done."""
        self._runs.leave(active)
        if picture is None and self._between.enlarging.begin(active, partial(self._next_pass, active)):
            return
        lane = self._executor.second_pass(active, picture)
        if lane is not None:
            active.before, active.lane = active.lane.total, lane
        if lane is None or lane.is_finished:
            self._finish(active)
        else:
            self._runs.enter(active, self._executor.rows_that_fit(active.run.resolved.largest))

    def _finish(self, active: ActiveImage) -> None:
        self._presenter.finish(active, self._between.enlarging.finish, self._runs.drop_complete)

    def _fail(self, job: Job, error: Exception) -> None:
        run = self._runs.get(job.id)
        self._presenter.fail(job, run, error)
        if run is not None:
            self._runs.drop(run)
        if self._executor.device.is_out_of_memory(error):
            self._executor.manager.spare()
