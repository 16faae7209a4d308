"""Switches the device to another checkpoint: everything that holds the former one lets it go first, and jobs that wait
see how far the load is."""

from __future__ import annotations

from studio.asked.messages import Message
from studio.engine import failures
from studio.engine.executor import Executor
from studio.engine.outside import Outside
from studio.engine.presenter import Presenter
from studio.engine.scheduler import Scheduler


class CheckpointSwitch:
    """Switches for the three parts of the engine together; only while no lane runs."""

    def __init__(self, scheduler: Scheduler, executor: Executor, presenter: Presenter, outside: Outside) -> None:
        self._scheduler = scheduler
        self._executor = executor
        self._presenter = presenter
        self._outside = outside

    def load(self, checkpoint: str, *, anew: bool = False, exact: bool = False) -> None:
        """Bring a checkpoint to the device, if it is not there, or `anew`: its file has been replaced, or it is there
        in another precision than a run has that is `exact`, or not. Raises BadCheckpoint, DoesNotFit."""
        if anew or self._executor.loaded != checkpoint:
            self.release()
            self._outside.loading(checkpoint, Message("Loading {checkpoint}", checkpoint=checkpoint), 0.0)
            try:
                self._executor.load(
                    checkpoint, lambda message, fraction: self._tell(checkpoint, message, fraction), exact=exact
                )
            finally:
                self._outside.on_load(self._executor.manager.loaded)
            self._scheduler.begin_checkpoint()
        # Released for another checkpoint that could not be loaded, the former one is looked after again.
        self._executor.settle()
        self._presenter.settle()

    def release(self) -> None:
        """Let go of everything that holds the loaded checkpoint."""
        self._presenter.release()
        self._executor.release()

    def _tell(self, checkpoint: str, message: str, fraction: float) -> None:
        if self._outside.closing.is_set():
            raise failures.Closing
        self._outside.loading(checkpoint, message, fraction)
        self._presenter.loading(checkpoint, message, fraction)
