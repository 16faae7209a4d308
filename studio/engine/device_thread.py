"""The one thread that owns the device: it imports torch, loads the first checkpoint, then runs the worker's loop.

What it is doing can be read from any thread; whoever has something for it calls `wake`.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata as packages
from typing import TYPE_CHECKING

from studio.answered.engine import EngineStatus
from studio.asked.messages import Message
from studio.engine.device import Device
from studio.engine.jobs import JobBook
from studio.engine.models import ModelService
from studio.engine.pace import Paces
from studio.engine.viewer.inquiries import Inquiries
from studio.engine.viewer.recorder import Recorder
from studio.picture.gallery import Gallery

if TYPE_CHECKING:
    from studio.diffusion.components import Components
    from studio.engine.worker import Worker

logger = logging.getLogger(__name__)

IDLE_SECONDS = 1.0  # the thread looks up this often when nobody wakes it
CLOSE_SECONDS = 2.5
SWITCH_SECONDS = (
    0.0002  # of Python's threads while torch is imported; the default, 0.005, makes the page wait 25 times as long
)
CLOSING = Message("Stopped: the studio is closing.")


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the thread works on, shared with those who fill it from other threads."""

    book: JobBook
    gallery: Gallery
    recorder: Recorder
    inquiries: Inquiries
    paces: Paces
    tokenizer_lock: threading.Lock  # the tokenizers library refuses to be borrowed twice
    exact: bool


class DeviceThread:
    """Owns the device from `start` to `close`."""

    def __init__(
        self,
        make_device: Callable[[], Device],
        models: Callable[[], ModelService],
        surroundings: Surroundings,
        *,
        preload: str | None,
    ) -> None:
        """`preload`: the checkpoint that is loaded at once; None lets the first job load one."""
        self.wake = threading.Event()
        self.closing = threading.Event()
        self.status = EngineStatus(state="starting", message=Message("Starting PyTorch"))
        self.components: Components | None = None  # what is on the device
        self.next: str | None = None  # the checkpoint to be loaded when nothing else is to be done
        self.worker: Worker | None = None
        self._make_device = make_device
        self._models = models
        self._with = surroundings
        self._preload = preload
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises RuntimeError when it was started before."""
        if self._thread is not None:
            raise RuntimeError("The engine was started before.")
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def has_failed(self) -> bool:
        """Whether it ended for a fault, so that nothing is taken any more."""
        return self.status.state == "failed" and self._thread is not None and not self._thread.is_alive()

    def close(self) -> None:
        """Let it end what it does, and wait for it a little."""
        self.closing.set()
        self.wake.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def prepare(self, checkpoint: str) -> None:
        """Load this checkpoint when nothing else is to be done; not in a studio that loads nothing beforehand."""
        if self._preload is not None:
            self.next = checkpoint
            self.wake.set()

    # -------------------------------------------------------------------------------------------- on the thread

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            logger.exception("The engine stopped")
            message = (
                str(error) if isinstance(error, ValueError) else Message("The engine stopped; the log has the cause.")
            )
            self.status = EngineStatus(state="failed", message=message)
        self._with.inquiries.close()
        for job in self._with.book.active():
            job.stop(CLOSING if self.closing.is_set() else self.status.message)
            job.abandon()

    def _work(self) -> None:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)  # the import runs Python for seconds; the page must get its turns
        try:
            from studio.checkpoints.manager import ModelManager
            from studio.engine.failures import Closing
            from studio.engine.outside import Outside
            from studio.engine.worker import Worker

            device = self._make_device()
        finally:
            sys.setswitchinterval(interval)
        models = self._models()
        manager = ModelManager(models.catalog, device=device, hasher=models.hasher, options=models.options)
        models.attach(device, manager)
        ready = EngineStatus(state="ready", message=Message("Ready"), device=device.label)

        def loading(checkpoint: str, message: str, fraction: float) -> None:
            self.components = None  # the last hold on the old ones, or both would be on the device for a while
            self.status = replace(ready, state="loading", message=message, checkpoint=checkpoint, fraction=fraction)

        def note_checkpoint(components: Components | None) -> None:
            self.components = components
            self.status = replace(ready, checkpoint=components.name if components is not None else None)

        outside = Outside(
            book=self._with.book,
            gallery=self._with.gallery,
            recorder=self._with.recorder,
            inquiries=self._with.inquiries,
            paces=self._with.paces,
            exact=self._with.exact,
            versions=_versions(),
            closing=self.closing,
            tokenizer_lock=self._with.tokenizer_lock,
            loading=loading,
            on_load=note_checkpoint,
        )
        worker = self.worker = Worker(device, manager, outside)
        try:
            self._load_first(worker, models, ready)
            while not self.closing.is_set():
                try:
                    busy = worker.turn(admit=not models.has_orders)
                    if models.has_orders and not busy:
                        self.components = None
                        worker.rest()
                        models.carry_out(worker.preload)
                        note_checkpoint(manager.loaded)
                    elif self.next is not None and not busy and not self._with.book.active():
                        self._load_next(worker, models)
                    elif not busy and not self._with.book.active():
                        busy = worker.idle()
                except Closing:
                    raise
                except Exception as error:  # a fault of ours: it may end these jobs, never the engine
                    worker.fail_all(error)
                    busy = False
                if not busy:
                    self.wake.wait(IDLE_SECONDS)
                self.wake.clear()
            worker.turn()  # ends the jobs that `close` has stopped
        except Closing:
            return
        finally:
            self.components = None
            manager.unload()

    def _load_first(self, worker: Worker, models: ModelService, ready: EngineStatus) -> None:
        from studio.checkpoints.device_memory import DoesNotFit
        from studio.checkpoints.inspect import BadCheckpoint

        checkpoints = models.catalog.checkpoints()
        if not checkpoints:
            self.status = replace(
                ready, state="failed", message=Message("There is no checkpoint in the models folder.")
            )
        elif self._preload is None or self._preload not in checkpoints:
            self.status = ready
        else:
            try:
                worker.preload(self._preload)
            except (BadCheckpoint, DoesNotFit) as error:
                self.status = replace(ready, state="failed", message=str(error))

    def _load_next(self, worker: Worker, models: ModelService) -> None:
        """Load what somebody will probably ask for. What cannot be loaded is told as it will be told again then."""
        from studio.checkpoints.device_memory import DoesNotFit
        from studio.checkpoints.inspect import BadCheckpoint

        checkpoint, problem = self.next, ""
        try:
            if checkpoint is not None and checkpoint in models.catalog.checkpoints():
                worker.preload(checkpoint)
        except (BadCheckpoint, DoesNotFit) as error:
            problem = str(error)
        finally:
            if self.next == checkpoint:  # nobody has chosen another one meanwhile
                self.next = None
        if problem:
            self.status = replace(self.status, message=problem)


def _versions() -> dict[str, str]:
    """What is needed beside the weights to make the same picture again."""
    names = {"Latent Studio": "latent-studio", "torch": "torch", "diffusers": "diffusers"}
    versions = {}
    for label, package in names.items():
        try:
            versions[label] = packages.version(package)
        except packages.PackageNotFoundError:
            continue
    return versions
