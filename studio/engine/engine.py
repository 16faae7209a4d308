"""The handle everybody holds: takes jobs, lets them be watched and stopped, answers questions; owns the one thread.

Imports no torch: the page answers before torch is there. The thread imports it, then `studio.engine.worker` takes over.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, cast

from PIL import Image

from studio.answered.engine import Answer, EngineStatus, Pace, Refused, Tokens, TokensAnswer, UnknownJob
from studio.answered.events import CellEvent, Event, JobSummary, Loading, Queued, SurfaceEvent
from studio.answered.models import Checkpoint
from studio.asked.branch import Branch, BranchNode
from studio.asked.compare import Surface
from studio.asked.prompt import parse_prompt
from studio.asked.questions import LookAgain, NoisedStart, Question, ScheduleCurves
from studio.asked.requests import (
    MAX_PROMPT_CHARACTERS,
    RANDOM_SEEDS,
    ImageToImage,
    InvalidRequest,
    Problem,
    Request,
    clean_text,
    shown,
)
from studio.asked.resolved import suited
from studio.checkpoints.catalog import BUILT_IN, Entry
from studio.checkpoints.lookup import in_listing
from studio.checkpoints.options import ModelOptions
from studio.engine.device import Device, check_dtype, check_name
from studio.engine.forks import Fork, fork
from studio.engine.jobs import Job, JobBook, Limits, Watcher
from studio.engine.pace import Paces
from studio.engine.shelf import Shelf
from studio.engine.surfaces import StartKey, SurfaceJob, start_key
from studio.engine.viewer.inquiries import Inquiries, Inquiry
from studio.engine.viewer.recorder import Recorder
from studio.picture import decode
from studio.picture.control_maps import control_pictures
from studio.picture.framing import Start, made, start_of
from studio.picture.gallery import Gallery

if TYPE_CHECKING:
    from studio.diffusion.components import Components
    from studio.engine.worker import Worker

logger = logging.getLogger(__name__)

NOT_RECORDED = "Nothing was recorded of this image, or it has been dropped meanwhile."
IDLE_SECONDS = 1.0  # the thread looks up this often when nobody wakes it
CLOSE_SECONDS = 2.5
SWITCH_SECONDS = (
    0.0002  # of Python's threads while torch is imported; the default, 0.005, makes the page wait 25 times as long
)


class DiffusionEngine:
    """Implements `studio.answered.engine.Engine` on one device of this machine."""

    def __init__(
        self,
        models_dirs: Sequence[Path],
        gallery: Gallery,
        device: str = "auto",
        dtype: str = "auto",
        exact: bool = False,
        preload: str | None = BUILT_IN,
        limits: Limits | None = None,
        make_device: Callable[[str, str], Device] = Device,
        options: ModelOptions | None = None,
    ) -> None:
        """Nothing is loaded yet; `start` does that.

        `models_dirs` are models folders in any layout that `studio.checkpoints.folders` knows. `preload` names the
        checkpoint that is loaded at once. Raises ValueError, in one sentence, for an unknown device or dtype.
        """
        check_name(device)
        check_dtype(dtype)
        self._device_name, self._dtype, self._make_device = device, dtype, make_device
        self._gallery = gallery
        self._exact = exact
        self._preload = preload
        self._book = JobBook(limits)
        self._recorder = Recorder()
        self._inquiries = Inquiries()
        self._paces = Paces()
        self._components: Components | None = None
        self._worker: Worker | None = None
        self._tokenizer_lock = threading.Lock()
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._next: str | None = None  # the checkpoint to be loaded when nothing else is to be done
        self._thread: threading.Thread | None = None
        self._status = EngineStatus(state="starting", message="Starting PyTorch")
        self._shelf = Shelf(models_dirs, options, busy=lambda: bool(self._book.active()), wake=self._wake.set)

    # ------------------------------------------------------------------------------------------------- jobs

    def submit(self, request: Request, *, owner: str, origin: str = "api", attention: bool = False) -> str:
        """See `Engine.submit`. Decodes an uploaded picture on the caller's thread."""
        request = self._check(request, "checkpoint")
        request = suited(request, self._entries()[request.checkpoint].checkpoint.suits)
        start = self._start(request)
        controls = control_pictures(request)
        job = self._book.add(request, owner=owner, origin=origin, start=start, attention=attention, controls=controls)
        self._announce(job)
        return job.id

    def branch(self, job_id: str, branch: Branch, *, owner: str, image: int = 0, origin: str = "api") -> str:
        """See `Engine.branch`."""
        job = self._book.get(job_id, owner=owner)
        past = self._recorder.past(job.id, image)
        if past is None:
            raise UnknownJob(NOT_RECORDED)
        leaving = fork(job.id, image, branch, *past)
        request = self._check(leaving.request(), "checkpoint")
        child = self._book.add(
            request,
            owner=owner,
            origin=origin,
            start=leaving.recipe.start,
            attention=leaving.recipe.attention,
            fork=leaving,
            controls=control_pictures(request),
        )
        self._announce(child)
        return child.id

    def branches(self, job_id: str, *, owner: str) -> tuple[BranchNode, ...]:
        """See `Engine.branches`."""
        return self._book.branches(job_id, owner=owner)

    def submit_surface(self, surface: Surface, *, owner: str, origin: str = "api", focus: int = 0) -> str:
        """See `Engine.submit_surface`. Decodes an uploaded picture on the caller's thread."""
        if surface.base.seed is None:
            surface = surface.with_seed(secrets.randbelow(RANDOM_SEEDS))
        cells = [cell for cell in map(surface.request, range(len(surface))) if cell is not None]
        on_axis = [name for name, axis in zip(("x_values", "y_values"), surface.axes) if axis.field == "checkpoint"]
        known = [(cell, self._check(cell, on_axis[0] if on_axis else "checkpoint")) for cell in cells]
        checkpoints = {cell.checkpoint: listed.checkpoint for cell, listed in known}
        surface = surface.with_names(checkpoints, known[0][1].controls)
        surface = surface.with_suits({name: entry.checkpoint.suits for name, entry in self._entries().items()})
        cells = [cell for cell in map(surface.request, range(len(surface))) if cell is not None]
        starts: dict[StartKey, Start] = {}
        for cell in cells:
            if isinstance(cell, ImageToImage) and start_key(cell) not in starts:
                start = self._start(cell)
                assert start is not None
                starts[start_key(cell)] = start
        focus = focus if 0 <= focus < len(surface) else 0
        job = SurfaceJob(
            surface,
            owner=owner,
            origin=origin,
            clock=self._book.clock,
            focus=focus,
            starts=starts,
            controls=control_pictures(surface.base),
        )
        self._book.take(job)
        self._announce(job)
        return job.id

    def _check(self, request: Request, field: str) -> Request:
        """The request with the listing's names of its checkpoint and ControlNets. Raises InvalidRequest, naming the
        field, for an unknown one; Refused when nothing is taken now."""
        request = in_listing(request, self._shelf.catalog.entries(), field=field)
        status = self._status
        if self._closing.is_set():
            raise Refused("The studio is closing.")
        if status.state == "failed" and self._thread is not None and not self._thread.is_alive():
            raise Refused(status.message)
        return request

    def _start(self, request: Request) -> Start | None:
        """What a run from a picture begins with, decoded. Raises InvalidRequest for a file that is no picture."""
        if not isinstance(request, ImageToImage):
            return None
        chosen = self._entries()[request.checkpoint].checkpoint
        return start_of(request, (chosen.native_width, chosen.native_height))

    def _announce(self, job: Job) -> None:
        """Say where a new job stands, and let the thread look at it."""
        status = self._status
        job.publish(Queued(job_id=job.id, ahead=max(0, len(self._book.active()) - 1)))
        if status.state in ("starting", "loading"):
            job.publish(
                Loading(
                    job_id=job.id,
                    checkpoint=job.request.checkpoint,
                    message=status.message,
                    fraction=status.fraction,
                )
            )
        self._wake.set()

    def watch(self, job_id: str, *, owner: str) -> AsyncIterator[Event]:
        """See `Engine.watch`. May be read on any event loop."""
        job = self._book.get(job_id, owner=owner)
        if isinstance(job, SurfaceJob):
            raise UnknownJob("This job is a comparison.")
        return cast(AsyncIterator[Event], Watcher(job))

    def watch_surface(self, job_id: str, *, owner: str) -> AsyncIterator[SurfaceEvent]:
        """See `Engine.watch_surface`. May be read on any event loop."""
        return cast(AsyncIterator[SurfaceEvent], Watcher(self._surface(job_id, owner)))

    def surface(self, job_id: str, *, owner: str) -> tuple[Surface, dict[int, CellEvent]]:
        """See `Engine.surface`."""
        return self._surface(job_id, owner).now()

    def hurry(self, job_id: str, cell: int, *, owner: str) -> bool:
        """See `Engine.hurry`."""
        hurried = self._surface(job_id, owner).raise_priority(cell)
        self._wake.set()
        return hurried

    def pace(self, checkpoint: str, width: int | None = None, height: int | None = None) -> Pace | None:
        """See `Engine.pace`."""
        entry = self._entries().get(checkpoint)
        if entry is not None and (width is None or height is None):
            width, height = width or entry.checkpoint.native_width, height or entry.checkpoint.native_height
        return self._paces.of(checkpoint, width, height)

    def _surface(self, job_id: str, owner: str) -> SurfaceJob:
        job = self._book.get(job_id, owner=owner)
        if not isinstance(job, SurfaceJob):
            raise UnknownJob("This job is no comparison.")
        return job

    def cancel(self, job_id: str, *, owner: str) -> bool:
        """See `Engine.cancel`."""
        stopping = self._book.get(job_id, owner=owner).stop()
        self._wake.set()
        return stopping

    def jobs(self, *, owner: str) -> tuple[JobSummary, ...]:
        """See `Engine.jobs`."""
        return self._book.of(owner)

    # ------------------------------------------------------------------------------------- models, questions

    @property
    def models(self) -> Shelf:
        """See `Engine.models`."""
        return self._shelf

    def catalog(self) -> tuple[Checkpoint, ...]:
        """See `Engine.catalog`."""
        nets = [entry for entry in self.models.catalog.entries() if entry.facts.kind == "controlnet"]
        known = []
        for entry in self._entries().values():
            fitting = [net for net in nets if net.controls(entry)]
            palettes = tuple((net.name, net.facts.palette) for net in fitting if net.facts.palette)
            names = tuple(net.name for net in fitting)
            known.append(replace(entry.checkpoint, controlnets=names, palettes=palettes))
        return tuple(known)

    def status(self) -> EngineStatus:
        """See `Engine.status`."""
        states = [job.state for job in self._book.active()]
        coming = self._next if self._status.checkpoint != self._next else None
        return replace(self._status, running=states.count("running"), queued=states.count("queued"), next=coming)

    def prepare(self, checkpoint: str) -> None:
        """See `Engine.prepare`. A studio that was told to load nothing beforehand does not."""
        if self._preload is None or checkpoint not in self._entries():
            return
        self._next = checkpoint
        self._wake.set()

    @property
    def ticks(self) -> int:
        """U-Net calls since the start, for measurements."""
        return self._worker.ticks if self._worker is not None else 0

    async def ask(self, question: Tokens) -> TokensAnswer:
        """See `Engine.ask`. Answered beside the ticks: a tokenizer needs no device."""
        text = question.text
        if not isinstance(text, str) or text != clean_text(text) or len(text) > MAX_PROMPT_CHARACTERS:
            allowed = f"text of at most {MAX_PROMPT_CHARACTERS:,} characters, without control characters"
            raise InvalidRequest(Problem("text", shown(text), allowed))
        if question.checkpoint not in self._entries():
            raise InvalidRequest(Problem("checkpoint", shown(question.checkpoint), "an installed checkpoint"))
        components = self._components
        if components is None or components.name != question.checkpoint:
            raise Refused("Tokens are counted once the checkpoint is loaded.")
        return await asyncio.to_thread(self._tokens, components, question)

    def _tokens(self, components: Components, question: Tokens) -> TokensAnswer:
        from studio.diffusion.tokens import tokenize  # torch: there already, since components are

        with self._tokenizer_lock:
            answer = tokenize(components, parse_prompt(question.text, negative=question.negative))
        return TokensAnswer(**dataclasses.asdict(answer))

    async def inquire(self, question: Question, *, owner: str) -> Answer:
        """See `Engine.inquire`. An uploaded picture is decoded on a thread of its own."""
        if question.checkpoint not in self._entries():
            raise InvalidRequest(Problem("checkpoint", shown(question.checkpoint), "an installed checkpoint"))
        picture = await asyncio.to_thread(self._picture_of, question) if question.needs_image else None
        looked_at = self._looked_at(question, owner) if isinstance(question, LookAgain) else None
        components = self._components
        if components is None or components.name != question.checkpoint:
            raise Refused("This can be seen once the checkpoint is loaded. Make a picture with it first.")
        if isinstance(question, ScheduleCurves):
            return await asyncio.to_thread(self._schedule, question, components)
        inquiry = Inquiry(question, owner, picture, looked_at)
        self._inquiries.add(inquiry)
        self._wake.set()
        return await asyncio.wrap_future(inquiry.future)

    def _looked_at(self, question: LookAgain, owner: str) -> Fork:
        """The evaluation that a question is about, in the run in which it was made: a branch shares its first ones with
        the run that it left. Raises UnknownJob or InvalidRequest."""
        job, image = self._of_job(question.job, owner, question.which)
        while job.node is not None and job.node.parent is not None and question.evaluation < job.node.evaluation:
            job, image = self._of_job(job.node.parent, owner, job.node.image)
        past = self._recorder.past(job.id, image)
        if past is None:
            raise UnknownJob(NOT_RECORDED)
        found = fork(job.id, image, Branch(evaluation=question.evaluation), *past)
        if found.recipe.resolved.request.checkpoint != question.checkpoint:
            allowed = f"the run's own, {found.recipe.resolved.request.checkpoint}"
            raise InvalidRequest(Problem("checkpoint", shown(question.checkpoint), allowed))
        return found

    def _of_job(self, job_id: str, owner: str, image: int) -> tuple[Job, int]:
        """The job that made an image, and which of its images: the image of a comparison is a job of its own."""
        job = self._book.get(job_id, owner=owner)
        if not isinstance(job, SurfaceJob):
            return job, image
        cell = job.cell(image)
        if cell is None:
            raise UnknownJob("There is no such cell.")
        return cell, 0

    def _picture_of(self, question: Question) -> Image.Image:
        picture = decode.read_picture(question.image)
        if not isinstance(question, NoisedStart):
            return picture
        chosen = self._entries()[question.checkpoint].checkpoint
        native = chosen.native_width, chosen.native_height
        return made(picture, question.resize_mode, question.width, question.height, native)

    def _schedule(self, question: ScheduleCurves, components: Components) -> Answer:
        from studio.engine.viewer.answers import schedule_answer  # torch: there already, since components are

        try:
            return schedule_answer(question, components)
        except ValueError as error:  # a scheduler that cannot run what this checkpoint predicts
            raise Refused(str(error)) from None

    def record(
        self,
        job_id: str,
        *,
        owner: str,
        image: int = 0,
        since: int = 0,
        until: int | None = None,
        lean: bool = False,
    ) -> bytes:
        """See `Engine.record`."""
        job, image = self._of_job(job_id, owner, image)
        recording = self._recorder.get(job.id, image, since, job.state, until=until, lean=lean)
        if recording is None:
            raise UnknownJob(NOT_RECORDED)
        return recording

    def visitor(self, owner: str, *, here: bool) -> None:
        """See `Engine.visitor`."""
        self._recorder.visitor(owner, here=here)

    def _entries(self) -> Mapping[str, Entry]:
        return self._shelf.catalog.checkpoints()

    # ------------------------------------------------------------------------------------------------ thread

    def start(self) -> None:
        """Start the thread that owns the device. It imports torch, loads the preloaded checkpoint, then works."""
        if self._thread is not None:
            raise RuntimeError("The engine was started before.")
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """See `Engine.close`. Every job that has not ended is stopped, and its watchers are told."""
        self._closing.set()
        self._wake.set()
        self._inquiries.close()
        for job in self._book.active():
            job.stop("Stopped: the studio is closing.")
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
        self._shelf.close()
        for job in self._book.active():  # the thread is stuck in a long call; nobody waits for it
            job.abandon()
        self._recorder.close()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            logger.exception("The engine stopped")
            message = str(error) if isinstance(error, ValueError) else "The engine stopped; the log has the cause."
            self._status = EngineStatus(state="failed", message=message)
        self._inquiries.close()
        for job in self._book.active():
            job.stop("Stopped: the studio is closing." if self._closing.is_set() else self._status.message)
            job.abandon()

    def _work(self) -> None:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)  # the import runs Python for seconds; the page must get its turns
        try:
            from studio.checkpoints.device_memory import DoesNotFit
            from studio.checkpoints.inspect import BadCheckpoint
            from studio.checkpoints.manager import ModelManager
            from studio.engine.failures import Closing
            from studio.engine.outside import Outside
            from studio.engine.worker import Worker

            device = self._make_device(self._device_name, self._dtype)
        finally:
            sys.setswitchinterval(interval)
        shelf = self._shelf
        manager = ModelManager(shelf.catalog, device=device, hasher=shelf.hasher, options=shelf.options)
        shelf.attach(device, manager)
        ready = EngineStatus(state="ready", message="Ready", device=device.label)

        def loading(checkpoint: str, message: str, fraction: float) -> None:
            self._components = None  # the last hold on the old ones, or both would be on the device for a while
            self._status = replace(ready, state="loading", message=message, checkpoint=checkpoint, fraction=fraction)

        def loaded(components: Components | None) -> None:
            self._components = components
            self._status = replace(ready, checkpoint=components.name if components is not None else None)

        outside = Outside(
            book=self._book,
            gallery=self._gallery,
            recorder=self._recorder,
            inquiries=self._inquiries,
            paces=self._paces,
            exact=self._exact,
            versions=_versions(),
            closing=self._closing,
            tokenizer_lock=self._tokenizer_lock,
            loading=loading,
            loaded=loaded,
        )
        worker = self._worker = Worker(device, manager, outside)
        try:
            if not self._entries():
                self._status = replace(ready, state="failed", message="There is no checkpoint in the models folder.")
            elif self._preload is None or self._preload not in self._entries():
                self._status = ready
            else:
                try:
                    worker.preload(self._preload)
                except (BadCheckpoint, DoesNotFit) as error:
                    self._status = replace(ready, state="failed", message=str(error))
            while not self._closing.is_set():
                try:
                    busy = worker.turn(admit=not shelf.has_orders)
                    if shelf.has_orders and not busy:
                        self._components = None
                        worker.rest()
                        shelf.carry_out(worker.preload)
                        loaded(manager.hot)
                    elif self._next is not None and not busy and not self._book.active():
                        self._load_next(worker)
                    elif not busy and not self._book.active():
                        busy = worker.idle()
                except Closing:
                    raise
                except Exception as error:  # a fault of ours: it may end these jobs, never the engine
                    worker.fail_all(error)
                    busy = False
                if not busy:
                    self._wake.wait(IDLE_SECONDS)
                self._wake.clear()
            worker.turn()  # ends the jobs that `close` has stopped
        except Closing:
            return
        finally:
            self._components = None
            manager.unload()

    def _load_next(self, worker: Worker) -> None:
        """Load what somebody will probably ask for. What cannot be loaded is told as it will be told again then."""
        from studio.checkpoints.device_memory import DoesNotFit
        from studio.checkpoints.inspect import BadCheckpoint

        checkpoint, problem = self._next, ""
        try:
            if checkpoint is not None and checkpoint in self._entries():
                worker.preload(checkpoint)
        except (BadCheckpoint, DoesNotFit) as error:
            problem = str(error)
        finally:
            if self._next == checkpoint:  # nobody has chosen another one meanwhile
                self._next = None
        if problem:
            self._status = replace(self._status, message=problem)


def _versions() -> dict[str, str]:
    """What is needed beside the weights to make the same picture again."""
    names = {"Latent Studio": "latent-studio", "torch": "torch", "diffusers": "diffusers"}
    found = {}
    for label, package in names.items():
        try:
            found[label] = packages.version(package)
        except packages.PackageNotFoundError:
            continue
    return found
