"""What runs on the engine's own thread: admit lanes, tick, emit. The only place where a U-Net is called.

Imports torch, so it is itself imported on that thread alone. Between ticks it looks at what has changed: new jobs,
stopped jobs, the checkpoint whose turn it is. Every error ends at the job it belongs to.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from studio.answered.engine import Refused
from studio.answered.events import Loading, Queued, RungName
from studio.asked.lora_tags import lora_tags
from studio.asked.questions import LookAgain
from studio.asked.requests import Control
from studio.asked.resolved import Resolved, resolve
from studio.checkpoints.catalog import memory_folder
from studio.checkpoints.extras import Extras, file_hashes
from studio.checkpoints.manager import ModelManager
from studio.checkpoints.preview_fits import PreviewFits
from studio.diffusion import vae
from studio.diffusion.attention import AttentionMaps, observed
from studio.diffusion.components import Components
from studio.diffusion.controlnet import AppliedControl, applied_control
from studio.diffusion.damage import first_damaged
from studio.diffusion.hires import scaled_up
from studio.diffusion.lane import Evaluation, Lane, start_lane
from studio.diffusion.lora import Applied
from studio.diffusion.prompt import Conditioning, encode_prompts
from studio.diffusion.schedule import make_schedule
from studio.diffusion.text_memory import TextMemory
from studio.diffusion.time_memory import TimeMemory
from studio.diffusion.unet_call import UnetCall
from studio.engine import failures, memory
from studio.engine.batching import Curve, Rota, Seat, waiting_order
from studio.engine.calls import call_unet
from studio.engine.device import Device
from studio.engine.forks import Fork
from studio.engine.jobs import Job, JobBook
from studio.engine.pace import Paces
from studio.engine.preview_fitter import PreviewFitter
from studio.engine.previews import PREVIEW_SECONDS, Frame, Ladder, is_small
from studio.engine.runs import Run, Running, variation_of
from studio.engine.viewer import answers, looking, recording
from studio.engine.viewer.branching import leave
from studio.engine.viewer.inquiries import Inquiries, Inquiry, Slices
from studio.engine.viewer.recorder import Recorder
from studio.picture import metadata
from studio.picture.control_maps import control_pictures
from studio.picture.gallery import Gallery

logger = logging.getLogger(__name__)

ACTIVE_OWNERS = 16  # visitors whose lanes take turns; the next ones wait, or nobody's picture would ever be done
LANES = 32  # admitted at once, but every active owner has one
KEPT_LANES = 4  # of these, not for the cells of a comparison: for its owner's other jobs, and a cell that is asked for
ADMIT_SECONDS = 0.1  # spent per tick on encoding prompts and first latents while lanes wait
SLICE_SECONDS = 30.0  # a checkpoint's turn while jobs wait for another one
CACHED_PROMPTS = 64


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What the worker needs of the engine around it."""

    book: JobBook
    gallery: Gallery
    recorder: Recorder
    inquiries: Inquiries
    paces: Paces
    exact: bool
    versions: dict[str, str]
    closing: threading.Event
    tokenizer_lock: threading.Lock  # the tokenizers library refuses to be borrowed twice
    loading: Callable[[str, str, float], None]  # checkpoint, message, fraction
    loaded: Callable[[Components | None], None]  # what is on the device now


class Worker:
    """Lanes and ticks on one device. The engine's thread calls `turn` again and again."""

    def __init__(self, device: Device, manager: ModelManager, outside: Outside) -> None:
        self.device = device
        self.manager = manager
        self.ticks = 0
        self._outside = outside
        self._rota = Rota()
        self._runs: dict[str, Run] = {}
        self._running: dict[int, Running] = {}  # by id of the seat
        self._curves: dict[Hashable, Curve] = {}
        self._ladder: Ladder | None = None  # of the hot checkpoint
        self._ending_seconds: dict[Hashable, float] = {}  # decoding and saving a picture of a size
        self._prompts: OrderedDict[Hashable, Conditioning] = OrderedDict()
        self._memory = TextMemory()  # of the running lanes
        self._times = TimeMemory()  # of the hot checkpoint
        self._extras = Extras(manager.catalog, manager)  # LoRAs and embeddings that prompts name, ControlNets
        self._fitter = PreviewFitter(PreviewFits(memory_folder(manager.catalog.models_dirs)), device)
        self._last_admitted: dict[str, int] = {}
        self._admitted = 0
        self._slice_began = 0.0
        self._swept = 0.0

    def turn(self, admit: bool = True) -> bool:
        """Look at the jobs, admit, tick once. False when there was nothing to do. Without `admit` the lanes that run go
        on and no new one joins them."""
        now = time.monotonic()
        if now - self._swept > 1.0:
            self._swept = now
            self._outside.book.sweep()
            self._outside.recorder.sweep()
            waiting = {job.owner for job in self._outside.book.active()}
            self._last_admitted = {o: n for o, n in self._last_admitted.items() if o in waiting}
        for run in list(self._runs.values()):
            if run.job.stop_reason is not None:
                self._stop(run, run.job.stop_reason)
        if admit:
            self._admit()
        answered = self._answer()
        if not len(self._rota):
            self._memory.forget()
            return answered
        self._tick()
        return True

    @property
    def _hot(self) -> Components:
        """What is on the device. Lanes that run are always of this checkpoint: it is never switched under them."""
        assert self.manager.hot is not None
        return self.manager.hot

    def preload(self, checkpoint: str) -> None:
        """Load a checkpoint before anybody asks for it. Raises BadCheckpoint."""
        self._load(checkpoint)

    def rest(self) -> None:
        """Let go of everything that holds the hot checkpoint; only while no lane runs."""
        self._ladder = None
        self._fitter.rest()
        self._prompts.clear()
        self._extras.forget()
        self._memory.forget()
        self._times.forget()
        self._curves.clear()

    def idle(self) -> bool:
        """Something of no hurry, in a slice as short as one decoding; only while no job is there. False when there is
        nothing."""
        return self._fitter.idle()

    # --------------------------------------------------------------------------------------------- admission

    def _admit(self) -> None:
        """Give lanes to those whose turn it is, tell the others their place in the queue."""
        began = time.monotonic()
        while not self._outside.closing.is_set():
            waiting = self._waiting()
            job = next((j for j in waiting if self._may_start(j, waiting)), None)
            if job is None:
                break
            with failures.ending(job, self._fail):
                self._admit_one(job)
            if len(self._rota) and time.monotonic() - began > ADMIT_SECONDS:
                break
        places: dict[str, int] = {}  # the cells of one comparison have one place
        for job in self._waiting():
            if job.id not in self._runs:
                place = places.setdefault(job.part_of or job.id, len(places))
                job.publish(Queued(job_id=job.id, ahead=place))

    def _waiting(self) -> list[Job]:
        """Jobs with images that have no lane yet, in the order of admission."""
        jobs = {
            j.id: j
            for j in self._outside.book.runnable()
            if j.stop_reason is None and (j.id not in self._runs or self._runs[j.id].waiting)
        }
        order = waiting_order([(j.id, j.owner) for j in jobs.values()], self._last_admitted)
        return [jobs[job_id] for job_id in order]

    def _may_start(self, job: Job, waiting: Sequence[Job]) -> bool:
        hot = self.manager.hot.name if self.manager.hot is not None else None
        over = time.monotonic() - self._slice_began > SLICE_SECONDS
        if job.request.checkpoint != hot:  # never a switch under running lanes, nor while the hot one's turn goes on
            return not len(self._rota) and (over or all(j.request.checkpoint != hot for j in waiting))
        if over and any(j.request.checkpoint != hot for j in waiting):
            return False  # the lanes that run end, then it is the other checkpoint's turn
        owners = self._rota.owners()
        if job.owner not in owners:
            return len(owners) < ACTIVE_OWNERS
        crowded = len(owners) >= ACTIVE_OWNERS and any(j.owner not in owners for j in waiting)
        many = job.part_of is not None and not job.hurry
        return len(self._rota) < (LANES - KEPT_LANES if many else LANES) and not crowded

    def _admit_one(self, job: Job) -> None:
        """Give the next image of a job its lane, and start the job if it is the first."""
        run = self._runs.get(job.id)
        components = self._load(job.request.checkpoint)
        if job.ended is not None or job.stop_reason is not None:  # stopped while its checkpoint was loaded
            return
        if run is None:
            run = self._runs[job.id] = self._resolved(job, components)
        rows = components.branches(run.resolved.guidance_scale)
        memory.check(components, self.device, run.resolved.largest, rows)
        image = run.waiting.pop(0)
        lane = start_lane(
            components,
            run.resolved if job.fork is None else job.fork.beginning(run.resolved),
            seed=run.seeds[image],
            conditioning=run.conditioning,
            picture=run.start.picture if run.start else None,
            mask=run.start.mask if run.start else None,
            variation=run.variation(image),
            adapters=run.adapters,
            controls=self._controls(run, run.resolved, components),
        )
        if job.fork is not None:
            leave(lane, job.fork, components)
            run.skip(lane.index)
        key = (components.name, lane.key)
        seat = Seat(owner=job.owner, job=job.part_of or job.id, key=key, rows=lane.branches, alone=run.exact)
        running = Running(run=run, image=image, lane=lane, seat=seat, last_step=time.monotonic())
        run.lanes[image] = running
        self._admitted += 1
        self._last_admitted[job.owner] = self._admitted
        if image == 0:
            run.total = lane.total + self._second_total(run, components)
            job.publish(run.started())
        self._begin_recording(running)
        if lane.done:  # nothing to denoise (strength 0): the picture goes through the VAE and back
            self._finish_image(running)
            return
        self._running[id(seat)] = running
        self._rota.enter(seat)
        self._curves.setdefault(key, Curve()).fit(memory.rows_that_fit(components, self.device, run.resolved))

    def _load(self, checkpoint: str) -> Components:
        """The checkpoint's components, hot or loaded now; everybody who waits for it is told how far it is."""
        hot = self.manager.hot
        if hot is not None and hot.name == checkpoint:
            if self._ladder is None:  # another checkpoint was to be loaded meanwhile, and could not be
                self._settle(hot)
            return hot
        hot = None
        self.rest()
        self._outside.loading(checkpoint, f"Loading {checkpoint}", 0.0)

        def progress(message: str, fraction: float) -> None:
            if self._outside.closing.is_set():
                raise failures.Closing
            self._outside.loading(checkpoint, message, fraction)
            for job in self._outside.book.runnable():
                if job.request.checkpoint == checkpoint and job.state == "queued":
                    job.publish(Loading(job_id=job.id, checkpoint=checkpoint, message=message, fraction=fraction))

        try:
            components = self.manager.get(checkpoint, progress)
        finally:
            self._outside.loaded(self.manager.hot)
        if components.tiny_vae is None:
            components.tiny_vae = self._extras.tiny_vae(components)
        self._settle(components)
        self._slice_began = time.monotonic()
        return components

    def _settle(self, components: Components) -> None:
        """What is kept of the hot checkpoint beside its components."""
        self._ladder = Ladder(components, self._fitter.learn)
        self._fitter.begin(components, self.manager.vae_entry)

    def _resolved(self, job: Job, components: Components) -> Run:
        """A run with everything random or automatic decided."""
        resolved = resolve(
            job.request,
            components.suits,
            size=job.start.picture.size if job.start is not None else None,
            exact=self._outside.exact or job.attention,
        )
        adapters = self._extras.applied(components, lora_tags(job.request.prompt))
        return Run(
            job=job,
            resolved=resolved,
            notes=(*components.notes, *(note for one in adapters for note in one.adapter.notes)),
            adapters=adapters,
            conditioning=self._encoded(resolved, components, adapters),
            start=job.start,
            waiting=list(range(len(resolved.seeds))),
        )

    def _encoded(self, resolved: Resolved, components: Components, adapters: Sequence[Applied]) -> Conditioning:
        """The prompts encoded, from the cache where the same words were encoded before."""
        request, steps = resolved.request, resolved.steps
        guided = components.branches(resolved.guidance_scale) == 2
        negative = request.negative_prompt if guided else ""
        scheduled = "[" in request.prompt or "[" in negative  # only prompt scheduling depends on the number of steps
        components.words = words = self._extras.words(components, (request.prompt, negative))
        parts = tuple((one.adapter.identity, one.text_scale) for one in adapters)
        key = (components.name, request.prompt, negative, guided, steps if scheduled else None, parts, words.version)
        if key not in self._prompts:
            with self._outside.tokenizer_lock:
                self._prompts[key] = encode_prompts(
                    components,
                    request.prompt,
                    negative,
                    num_steps=steps,
                    guidance_scale=resolved.guidance_scale,
                    adapters=adapters,
                )
        self._prompts.move_to_end(key)
        while len(self._prompts) > CACHED_PROMPTS:
            self._prompts.popitem(last=False)
        return self._prompts[key]

    def _controls(self, run: Run, part: Resolved, components: Components) -> tuple[AppliedControl, ...]:
        """The ControlNets of a run with their maps at the size that one of its passes makes."""
        job, size = run.job, part.size
        if size not in run.controls:
            found = []
            for control, picture in zip(part.request.controls, job.controls):
                if not self._extras.has_controlnet(control.model):
                    message = f"Loading the ControlNet {control.model}"
                    job.publish(Loading(job_id=job.id, checkpoint=components.name, message=message))
                found.append(self._control(components, control, picture.map_at(size, part.resize_mode, run.start)))
            run.controls[size] = tuple(found)
        return run.controls[size]

    def _control(self, components: Components, control: Control, guide: Image.Image) -> AppliedControl:
        """A ControlNet with its map at the size that is made."""
        return applied_control(components, self._extras.controlnet(components, control.model), control, guide)

    # -------------------------------------------------------------------------------------------------- tick

    @torch.inference_mode()
    def _tick(self) -> None:
        """One U-Net call for the lanes whose turn it is, and everything that follows from its answer."""
        began = time.perf_counter()
        limits = {key: curve.paying_rows() for key, curve in self._curves.items()}
        for running in self._running.values():
            running.seat.hurry = running.run.job.hurry
        asked: list[Running] = []
        calls: list[UnetCall] = []
        for running in [self._running[id(seat)] for seat in self._rota.next_tick(limits)]:
            with failures.ending(running.run.job, self._fail):
                calls.append(running.lane.call())
                asked.append(running)
        if not asked:
            return
        try:
            with self._observed(asked[0], calls[0]) as maps:
                answer = call_unet(self._hot, calls, self._memory, self._times)
        except Exception as error:
            self._call_failed(asked, error)
            return
        asked[0].maps = maps
        self.device.synchronize()
        seconds = time.perf_counter() - began
        self.ticks += 1
        rows = len(answer)
        if not asked[0].seat.alone:
            self._curves.setdefault(asked[0].seat.key, Curve()).record(rows, seconds)
        advanced: list[tuple[Running, Evaluation]] = []
        for running, rows_of_lane in zip(asked, answer.split([len(c.sample) for c in calls])):
            with failures.ending(running.run.job, self._fail):
                evaluation = running.lane.advance(rows_of_lane)
                failures.check_finite(running.lane, evaluation)
                advanced.append((running, evaluation))
        self._show(advanced, seconds, rows)
        taken = time.perf_counter() - began
        self._rota.charge([r.seat for r in asked if id(r.seat) in self._running], taken)
        resolved = asked[0].run.resolved
        self._outside.paces.record_call(resolved.request.checkpoint, resolved.width, resolved.height, rows, taken)
        for running, _ in advanced:
            if running.lane.done and self._goes_on(running):
                with failures.ending(running.run.job, self._fail):
                    if self._goes_to_second_pass(running):
                        continue
                if not self._goes_on(running):  # its second pass could not begin
                    continue
                self._leave(running)
                with failures.ending(running.run.job, self._fail):
                    self._finish_image(running)

    def _second_total(self, run: Run, components: Components) -> int:
        """Evaluations of the second pass of one image."""
        second = run.resolved.second_pass
        if second is None:
            return 0
        return make_schedule(
            second.scheduler,
            second.noise_schedule,
            second.num_inference_steps,
            components.scheduler_config,
            strength=second.strength,
            prediction_type=components.prediction_type,
            family=components.family,
        ).total

    def _goes_to_second_pass(self, running: Running) -> bool:
        """Scale a picture up that is to be made twice, and give it the lane of its second pass. False when the picture
        is done, also where the second pass has no step to run and its scaled picture is the result."""
        run = running.run
        second = run.resolved.second_pass
        if second is None or running.before:
            return False
        components = self._hot
        lane = start_lane(
            components,
            second,
            seed=run.seeds[running.image],
            conditioning=self._encoded(second, components, run.adapters),
            picture=scaled_up(components, running.lane.latents, second.size, run.resolved.hires_upscaler),
            variation=run.variation(running.image),
            adapters=run.adapters,
            controls=self._controls(run, second, components),
        )
        self._leave(running)
        running.before, running.lane = running.lane.total, lane
        if lane.done:
            self._running[id(running.seat)] = running  # as one that has just done its last evaluation
            self._rota.enter(running.seat)
            return False
        running.seat.key = (components.name, lane.key)
        self._running[id(running.seat)] = running
        self._rota.enter(running.seat)
        fits = memory.rows_that_fit(components, self.device, second)
        self._curves.setdefault(running.seat.key, Curve()).fit(fits)
        return True

    def _observed(self, running: Running, call: UnetCall) -> AbstractContextManager[AttentionMaps | None]:
        """Hooks for this call when its job asks where the U-Net looks; such a lane has the call for itself."""
        if not running.run.job.attention:
            return nullcontext()
        height, width = call.sample.shape[2:]
        most = recording.most_places(self._hot)
        return observed(self._hot.unet, len(call.sample) - 1, (height, width), most_places=most)

    def _call_failed(self, asked: list[Running], error: Exception) -> None:
        """A shared call fails everybody in it, so each lane is asked again alone; a lane alone fails its job."""
        too_large = self.device.is_out_of_memory(error)
        if too_large:
            rows = sum(r.seat.rows for r in asked)
            self._curves.setdefault(asked[0].seat.key, Curve()).ran_out_of_memory(rows)
        if len(asked) == 1:
            self._fail(asked[0].run.job, error)
            return
        logger.warning("A U-Net call of %d lanes failed: %s", len(asked), error)
        error.__traceback__ = None  # its frames hold the tensors that did not fit
        self._memory.forget()
        self._times.forget()
        self.device.release()
        if not too_large:
            for running in asked:
                running.seat.alone = True

    def _show(self, advanced: list[tuple[Running, Evaluation]], seconds: float, rows: int) -> None:
        """Record and publish what these evaluations have shown. Only copies are decoded."""
        now = time.monotonic()
        by_run: dict[str, list[Running]] = {}
        for running, _ in advanced:
            by_run.setdefault(running.run.job.id, []).append(running)
        for lanes in by_run.values():
            lanes[0].run.count(lanes, now)
        for running, evaluation in advanced:
            running.unseen = evaluation.denoised
            with failures.ending(running.run.job, self._fail):
                self._record(running, evaluation, seconds, rows)
        shown = [running for running, _ in advanced if id(running.seat) in self._running]
        assert self._ladder is not None
        for running in shown:
            self._ladder.record_step(_size(running), seconds / len(shown))
        self._preview(shown, now)
        for running, evaluation in advanced:
            if id(running.seat) in self._running and running.unseen is None:
                run = running.run
                run.job.publish(run.step(running, evaluation, self._ending_seconds.get(_size(running), 0.0)))

    def _preview(self, lanes: list[Running], now: float) -> None:
        """Decode the lanes' predicted x0 in as few calls as there are rungs; a lane that was shown has no `unseen`.

        Small fast frames that the live view has no time for wait for the next one that it shows: the call costs more
        than their pixels, and a filmstrip is asked for when the picture is there.
        """
        assert self._ladder is not None
        by_rung: dict[tuple[RungName, Hashable], list[Running]] = {}
        for running in lanes:
            rung = self._ladder.choose(running.run.resolved.request.preview, _size(running))
            if rung is None:
                running.unseen = None  # the step is told all the same, with the frame before
                continue
            assert running.unseen is not None
            running.undrawn.append(running.unseen)
            if self._due(running, now) or rung != "fast" or not self._is_small(running):
                by_rung.setdefault((rung, _size(running)), []).append(running)
        for (rung, size), group in by_rung.items():
            began = time.perf_counter()
            try:
                denoised = torch.stack([x0 for running in group for x0 in running.undrawn])
                frames = iter([Frame(pixels, rung) for pixels in self._ladder.decode(rung, denoised)])
            except Exception as error:
                for running in group:
                    self._fail(running.run.job, error)
                continue
            for running in group:
                drawn = [next(frames) for _ in running.undrawn]
                running.undrawn.clear()
                with failures.ending(running.run.job, self._fail):
                    self._keep_frames(running, drawn, now)
            self._ladder.record(rung, size, (time.perf_counter() - began) / len(denoised))

    def _due(self, running: Running, now: float) -> bool:
        return running.lane.done or now - running.last_shown >= PREVIEW_SECONDS

    def _is_small(self, running: Running) -> bool:
        height, width = running.lane.latents.shape[2:]
        return is_small((width * self._hot.vae_scale_factor, height * self._hot.vae_scale_factor))

    def _keep_frames(self, running: Running, frames: Sequence[Frame], now: float) -> None:
        """Into the filmstrip always, to the live view the last one and at most once in PREVIEW_SECONDS."""
        run, image, last = running.run, running.image, frames[-1]
        due = self._due(running, now)
        if due:
            run.previews[image] = last.preview()
            running.last_shown = now
            running.unseen = None
        strip = run.filmstrips.setdefault(image, [])
        strip += [frame.small() for frame in frames[:-1]]
        strip.append(run.previews[image].jpeg if due and is_small(last.size) else last.small())

    # ---------------------------------------------------------------------------------------------- recording

    def _begin_recording(self, running: Running) -> None:
        run = running.run
        if run.facts is None:
            with self._outside.tokenizer_lock:
                run.facts = recording.run_facts(run, self._hot)
        facts = run.facts | {
            "seed": run.seeds[running.image],
            "total": running.lane.total,
            "schedulers": recording.schedulers(run, running.lane.turns),
            "model_hash": self.manager.hash_of_hot(),
            "vae_hash": self._fitter.vae_hash,
            "versions": self._outside.versions,
        }
        recipe = recording.recipe(run, running.image, running.lane.turns)
        preview = recording.fast_decoder(self._hot)
        self._outside.recorder.begin(run.job.id, running.image, facts, preview, recipe, owner=run.job.owner)
        if run.job.fork is not None:
            past = run.job.fork.past
            last = recording.on_cpu(running.lane.latents[0])
            for evaluation, after in zip(past, [*(e.latents for e in past[1:]), last]):
                self._outside.recorder.add(run.job.id, running.image, evaluation, after)

    def _record(self, running: Running, evaluation: Evaluation, seconds: float, rows: int) -> None:
        if running.before:  # the viewer looks at the first pass: one recording has one size
            running.maps = None
            return
        attention = recording.attention(running.run, evaluation.step, running.maps) if running.maps else None
        running.maps = None
        recorded = recording.recorded(evaluation, seconds, rows, attention)
        after = recording.on_cpu(running.lane.latents[0])
        self._outside.recorder.add(running.run.job.id, running.image, recorded, after)

    # ---------------------------------------------------------------------------------------------- questions

    @torch.inference_mode()
    def _answer(self) -> bool:
        """One slice of the noise viewer's questions. False when there was none."""

        def begin(inquiry: Inquiry) -> Slices:
            hot = self.manager.hot
            if hot is None or hot.name != inquiry.question.checkpoint:
                raise Refused("Another checkpoint has been loaded meanwhile. Ask again.")
            if isinstance(inquiry.question, LookAgain):
                return looking.slices(inquiry, hot, self._lane_of, self._outside.tokenizer_lock)
            return answers.slices(inquiry, hot, self._outside.tokenizer_lock, self.device.synchronize)

        return self._outside.inquiries.work(begin, lambda error: failures.refused(error, self.device))

    def _lane_of(self, fork: Fork) -> Lane:
        """A lane of its own that stands where a fork leaves its run, about to ask what the run asked there."""
        components, recipe = self._hot, fork.recipe
        resolved = recipe.beginning(recipe.resolved)
        request = resolved.request
        adapters = self._extras.applied(components, lora_tags(request.prompt))
        maps = [
            picture.map_at(resolved.size, resolved.resize_mode, recipe.start) for picture in control_pictures(request)
        ]
        lane = start_lane(
            components,
            resolved,
            seed=resolved.seeds[0],
            conditioning=self._encoded(resolved, components, adapters),
            picture=recipe.start.picture if recipe.start else None,
            mask=recipe.start.mask if recipe.start else None,
            variation=variation_of(resolved, 0),
            adapters=adapters,
            controls=[self._control(components, one, guide) for one, guide in zip(request.controls, maps)],
        )
        leave(lane, fork, components)
        return lane

    # ------------------------------------------------------------------------------------------------ endings

    @torch.inference_mode()
    def _finish_image(self, running: Running) -> None:
        """Clean latents => picture on disk; the job is finished with its last picture."""
        run, image = running.run, running.image
        assert self._ladder is not None
        began = time.perf_counter()
        pixels = vae.decode(self._hot, running.lane.latents)
        self._fitter.learn(self._hot, running.lane.latents, pixels)
        picture = vae.to_pictures(pixels)[0]
        self._ladder.record("full", _size(running), time.perf_counter() - began)
        if run.start is not None and run.start.paste is not None:
            picture = run.start.paste.over(picture)
        facts: dict[str, Any] = {}
        if self._hot.vae_dtype is not None:  # half precision overflowed
            facts["vae_dtype"] = "float32"
        chosen = self.manager.vae_of_hot()
        if chosen is not None:
            facts["vae"], facts["vae_hash"] = chosen
        facts |= file_hashes(run.adapters, run.conditioning.embeddings)
        info = metadata.picture_info(
            run.resolved.request,
            seed=run.seeds[image],
            variation_seed=run.resolved.variation_seeds[image] if run.resolved.variation_seeds else None,
            width=picture.width,
            height=picture.height,
            image=image,
            evaluations=run.total,
            seconds=round(time.monotonic() - run.began, 3),
            model_hash=self.manager.hash_of_hot(),
            versions=self._outside.versions,
            **facts,
        )
        run.pictures[image] = self._outside.gallery.save(
            picture,
            info=info,
            parameters=metadata.parameters_text(info),
            owner=run.job.owner,
            part_of=run.job.part_of,
        )
        seconds = self._ending_seconds[_size(running)] = time.perf_counter() - began
        resolved = run.resolved
        self._outside.paces.record_picture(resolved.request.checkpoint, resolved.width, resolved.height, seconds)
        del run.lanes[image]
        if len(run.pictures) == len(run.seeds):
            run.job.publish(run.finished())
            self._drop(run)

    @torch.inference_mode()
    def _stop(self, run: Run, reason: str) -> None:
        """End a run where it is, with the newest look of every unfinished image."""
        for running in run.lanes.values():
            self._last_look(running)
        run.job.publish(run.stopped(reason))
        self._drop(run)

    def _last_look(self, running: Running) -> None:
        before = running.run.previews.get(running.image)
        if before is None or running.unseen is None or self._ladder is None:
            return
        try:
            pixels = self._ladder.decode(before.rung, running.unseen[None])[0]
        except Exception:
            logger.warning("The last preview of a stopped job could not be made", exc_info=True)
            return
        running.run.previews[running.image] = Frame(pixels, before.rung).preview()

    def _fail(self, job: Job, error: Exception) -> None:
        """End a job with what went wrong in one sentence; the log has the rest under the same id."""
        run = self._runs.get(job.id)
        if isinstance(error, vae.NotFinite) and not error.damaged and self.manager.hot is not None:
            error.damaged = first_damaged(self.manager.hot)
        if job.ended is None:  # of several lanes that fail together the first one speaks
            size = run.resolved.size if run is not None else None
            job.publish(failures.failed(job.id, job.request.checkpoint, error, self.device, size))
        if run is not None:
            self._drop(run)
        if self.device.is_out_of_memory(error):
            self.manager.spare()

    def fail_all(self, error: Exception) -> None:
        """End every job at work: an error that belongs to none of them. The engine goes on with the next ones."""
        for run in list(self._runs.values()):
            self._fail(run.job, error)

    def _goes_on(self, running: Running) -> bool:
        """Whether the lane is still at work and nobody has asked its job to stop."""
        return id(running.seat) in self._running and running.run.job.stop_reason is None

    def _drop(self, run: Run) -> None:
        for running in run.lanes.values():
            self._leave(running)
        run.lanes.clear()
        self._runs.pop(run.job.id, None)

    def _leave(self, running: Running) -> None:
        if self._running.pop(id(running.seat), None) is not None:
            self._rota.leave(running.seat)


def _size(running: Running) -> Hashable:
    return tuple(running.lane.latents.shape[1:])
