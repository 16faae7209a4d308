"""How an image that the scheduler admits becomes a lane: its checkpoint, its run, its memory, its first pass."""

from __future__ import annotations

from collections.abc import Callable

from studio.engine.active_runs import ActiveRuns
from studio.engine.checkpoint_switch import CheckpointSwitch
from studio.engine.compute_threads import ComputeThreads
from studio.engine.executor import Executor
from studio.engine.outside import Outside
from studio.engine.presenter import Presenter
from studio.engine.runs import ActiveImage
from studio.engine.scheduler import Admission


class Admissions:
    """Lets images in, one after the other, on the engine's thread."""

    def __init__(
        self,
        executor: Executor,
        runs: ActiveRuns,
        checkpoint: CheckpointSwitch,
        threads: ComputeThreads,
        presenter: Presenter,
        outside: Outside,
        finish: Callable[[ActiveImage], None],
    ) -> None:
        """`finish`: what becomes of an image that has nothing to denoise."""
        self._executor = executor
        self._runs = runs
        self._checkpoint = checkpoint
        self._threads = threads
        self._presenter = presenter
        self._outside = outside
        self._finish = finish

    def admit(self, admission: Admission) -> None:
        """Begin an image. Raises what makes its job fail."""
        job, image, executor = admission.job, admission.image, self._executor
        self._checkpoint.load(job.request.checkpoint, anew=admission.switch, exact=job.has_exact_weights)
        if job.ended is not None or job.stop_reason is not None:  # stopped while its checkpoint was loaded
            return
        exact = self._outside.exact or job.attention or job.request.exact
        self._threads.settle(exact=exact)
        run = self._runs.get(job.id)
        if run is None:
            run = executor.begin(job, exact=exact)
            self._runs.add(run)
        executor.check_memory(run)
        lane = executor.first_pass(run, image)
        active = run.begin(image, lane)
        active.threads.add(self._threads.number)
        self._presenter.begin(active)
        if lane.is_finished:  # nothing to denoise (strength 0): the picture goes through the VAE and back
            self._finish(active)
        else:
            self._runs.enter(active, executor.rows_that_fit(run.resolved))
