"""What tells: starts, evaluations and endings become previews, steps, recordings, files and events.

Reads the executor's components and changes none of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from studio.answered.events import Loading, Queued
from studio.asked.messages import Message
from studio.asked.schedulers import SCHEDULERS
from studio.checkpoints.cpu_precision import dtypes_of
from studio.checkpoints.extras import file_hashes
from studio.diffusion import vae
from studio.diffusion.damage import damaged_component
from studio.diffusion.evaluation import Evaluation
from studio.engine import failures
from studio.engine.executor import Executor, TickResult
from studio.engine.forecast_notes import forecast_notes
from studio.engine.jobs import Job
from studio.engine.live_previews import LivePreviews
from studio.engine.outside import Outside
from studio.engine.runs import ActiveImage, Run
from studio.engine.viewer import recording
from studio.picture import infotext, metadata

# Takes an image, its picture, and what is given the large one; False where nothing is to enlarge it.
Enlarge = Callable[[ActiveImage, Image.Image, Callable[[Image.Image], None]], bool]


class Presenter:
    """Tells of the jobs at work. Used from the engine's thread alone."""

    def __init__(self, executor: Executor, outside: Outside, fail: Callable[[Job, Exception], None]) -> None:
        """`fail` ends a job with an error that it alone is to hear of."""
        self._executor = executor
        self._outside = outside
        self._fail = fail
        self._previews: LivePreviews | None = None
        self._ending_seconds: dict[tuple[int, ...], float] = {}  # decoding and saving a picture, by latent size

    # ------------------------------------------------------------------------------------------ the checkpoint

    def settle(self) -> None:
        """Show previews by the decoders of the checkpoint that is on the device."""
        components = self._executor.components
        if self._previews is None or self._previews.components is not components:
            self._previews = LivePreviews(components, self._executor.fitter.learn, self._fail)

    def release(self) -> None:
        """Let go of the components."""
        self._previews = None

    def loading(self, checkpoint: str, message: str, fraction: float) -> None:
        """Tell every job that waits for a checkpoint how far its loading is."""
        for job in self._outside.book.runnable():
            if job.request.checkpoint == checkpoint and job.state == "queued":
                job.publish(Loading(job_id=job.id, checkpoint=checkpoint, message=message, fraction=fraction))

    def tell_places(self, places: Sequence[tuple[Job, int]]) -> None:
        """Tell jobs how many stand before them."""
        for job, ahead in places:
            job.publish(Queued(job_id=job.id, ahead=ahead))

    # ---------------------------------------------------------------------------------------------- on the way

    def begin(self, active: ActiveImage) -> None:
        """An image has its lane: its recording begins, and its job with the first one."""
        run = active.run
        if active.image == 0:
            run.total = active.lane.total + self._executor.second_evaluations(run)
            run.notes = (*run.notes, *forecast_notes(active.lane, run.resolved))
            run.job.publish(run.started_event())
        self._begin_recording(active)

    def _begin_recording(self, active: ActiveImage) -> None:
        if active.run.job.ephemeral or active.run.unseen:  # nobody can ask for it, or may look at it
            return
        run, image, components = active.run, active.image, self._executor.components_of(active.run)
        here = run.of(image)
        if here not in run.facts:
            with self._outside.tokenizer_lock:
                run.facts[here] = recording.run_facts(run, image, components)
        facts = run.facts[here] | {
            "seed": run.seeds[image],
            "total": active.lane.total,
            "schedulers": recording.schedulers(run, active.lane.switches),
            "model_hash": self._executor.manager.loaded_hash(),
            "vae_hash": self._executor.fitter.vae_hash if run.own_vae is None else run.own_vae.sha256 or None,
            "versions": self._outside.versions,
        }
        recipe = recording.recipe(run, image, active.lane.switches)
        preview = recording.fast_decoder(self._executor.components)  # near enough for every VAE of these latents
        self._outside.recorder.begin(run.job.id, image, facts, preview, recipe, owner=run.job.owner)
        if run.job.fork is not None:
            past = run.job.fork.past
            last = recording.on_cpu(active.lane.latents[0])
            for evaluation, after in zip(past, [*(e.latents for e in past[1:]), last]):
                self._outside.recorder.add(run.job.id, image, evaluation, after)

    def show(self, result: TickResult) -> None:
        """Record and publish what these evaluations have shown."""
        now = time.monotonic()
        by_run: dict[str, list[ActiveImage]] = {}
        for active, _ in result.evaluations:
            by_run.setdefault(active.run.job.id, []).append(active)
        for images in by_run.values():
            images[0].run.count(images, now)
        for active, evaluation in result.evaluations:
            active.unshown = evaluation.denoised
            with failures.ending(active.run.job, self._fail):
                self._record(active, evaluation, result.seconds, result.rows)
        active_images = [active for active, _ in result.evaluations if active.at_work]
        assert self._previews is not None
        for active in active_images:
            self._previews.decoders.record_step(active.size, result.seconds / len(active_images))
        self._previews.show([active for active in active_images if not active.run.unseen], now)
        for active, evaluation in result.evaluations:
            if active.at_work and (active.unshown is None or active.run.unseen):
                run = active.run
                run.job.publish(run.step(active, evaluation, self._ending_seconds.get(active.size, 0.0)))

    def measure(self, active: ActiveImage, rows: int, seconds: float) -> None:
        """Remember what a call of so many rows of this image's kind has cost."""
        resolved = active.run.resolved
        self._outside.paces.record_call(resolved.request.checkpoint, resolved.width, resolved.height, rows, seconds)

    def _record(self, active: ActiveImage, evaluation: Evaluation, seconds: float, rows: int) -> None:
        if active.run.job.ephemeral or active.run.unseen:
            return
        if active.before:  # the viewer looks at the first pass: one recording has one size
            return
        maps = active.lane.recorded_maps() if not evaluation.is_forecast else None  # the U-Net did not look
        attention = recording.attention(active, evaluation.step, maps) if maps is not None else None
        record = recording.record_of(evaluation, seconds, rows, attention)
        after = recording.on_cpu(active.lane.latents[0])
        self._outside.recorder.add(active.run.job.id, active.image, record, after)

    # ------------------------------------------------------------------------------------------------- endings

    @torch.inference_mode()
    def finish(self, active: ActiveImage, enlarge: Enlarge, then: Callable[[Run], None]) -> None:
        """Clean latents => picture on disk; the job is finished with its last picture. `enlarge` takes a picture that
        an upscaler is to enlarge before; `then` is told of the run once the image is done."""
        run, image = active.run, active.image
        assert self._previews is not None
        start = time.perf_counter()
        picture = vae.to_pictures(self._final_pixels(active))[0]
        self._previews.decoders.record("full", active.size, time.perf_counter() - start)
        if run.start is not None and run.start.paste is not None:
            picture = run.start.paste.over(picture)
        if run.unseen and self._executor.safety.flags(picture):
            self._hold_back(active)
            then(run)
            return
        if not run.unseen and not run.job.ephemeral:
            self._outside.recorder.finish(run.job.id, image, np.array(picture.convert("RGB")))
        self._ending_seconds[active.size] = time.perf_counter() - start

        def save(picture: Image.Image) -> None:
            self._save(active, picture)
            then(run)

        if not enlarge(active, picture, save):
            save(picture)

    def _save(self, active: ActiveImage, picture: Image.Image) -> None:
        run, image = active.run, active.image
        start = time.perf_counter()
        notes = run.prompt_notices(image)
        info = metadata.picture_info(
            run.resolved.of_image(image),
            width=picture.width,
            height=picture.height,
            image=image,
            evaluations=run.total,
            seconds=round(time.monotonic() - run.start_time, 3),
            model_hash=self._executor.manager.loaded_hash(),
            versions=self._outside.versions,
            **({"prompt_notes": notes} if notes else {}),
            **self._file_facts(run, image),
            **(run.job.fork.word_facts if run.job.fork else {}),
            **({"threads": sorted(active.threads)} if self._executor.device.is_cpu else {}),
        )
        run.pictures[image] = self._outside.gallery.save(
            picture,
            info=info,
            parameters=infotext.parameters_text(info),
            owner=run.job.owner,
            part_of=run.job.part_of,
            job=run.job.id,
            live_tab=run.job.origin if run.job.live else "",
        )
        seconds = self._ending_seconds[active.size] = self._ending_seconds[active.size] + time.perf_counter() - start
        resolved = run.resolved
        self._outside.paces.record_picture(resolved.request.checkpoint, resolved.width, resolved.height, seconds)
        del run.active[image]
        if run.complete:
            run.job.publish(run.finished_event())

    def _hold_back(self, active: ActiveImage) -> None:
        """An image that the safety checker has flagged is never shown; the other pictures of its job are."""
        run = active.run
        run.held_back.add(active.image)
        del run.active[active.image]
        if run.complete and not run.pictures:
            raise failures.HeldBack
        if run.complete:
            run.job.publish(run.finished_event())

    def _final_pixels(self, active: ActiveImage) -> torch.Tensor:
        """The pixels of a finished image. Raises NotFinite; where the scheduler itself has left the picture, it is the
        scheduler's fault and not the VAE's."""
        try:
            return self._executor.decode(active.run, active.lane.latents)
        except vae.NotFinite as error:
            if error.part == "vae" and active.run.strays:
                label = SCHEDULERS[active.run.resolved.scheduler].label
                raise vae.NotFinite(
                    Message("the {total} evaluations by {label}", total=active.lane.total, label=label), "scheduler"
                ) from error
            raise

    @torch.inference_mode()
    def stop(self, run: Run) -> None:
        """End a run where it is, with the newest look of every unfinished image."""
        if self._previews is not None:
            for active in run.active.values():
                if not run.unseen:
                    self._previews.last_look(active)
        run.job.publish(run.stopped_event(run.job.stop_reason or ""))

    def fail(self, job: Job, run: Run | None, error: Exception) -> None:
        """End a job with what went wrong in one sentence; the log has the rest under the same id. Of several errors of
        one job the first counts."""
        if isinstance(error, vae.NotFinite) and not error.damaged and self._executor.loaded is not None:
            loaded = self._executor.components
            error.damaged = damaged_component(self._executor.components_of(run) if run is not None else loaded)
        if job.ended is None:
            size = run.resolved.size if run is not None else None
            job.publish(failures.failed_event(job.id, job.request.checkpoint, error, self._executor.device, size))

    def _file_facts(self, run: Run, image: int) -> dict[str, Any]:
        """What a picture says of the LoRAs and embeddings that it is made with, of what the owner says of the
        checkpoint, and of a VAE that is not the checkpoint's own, and the precision of its parts."""
        here = run.of(image)
        facts: dict[str, Any] = dict(file_hashes(here.adapters, here.conditioning.embeddings))
        dtypes = dtypes_of(self._executor.components_of(run))
        facts["dtype"] = dtypes["unet"]
        facts |= {f"{part}_dtype": dtypes[part] for part in ("vae", "text") if dtypes[part] != dtypes["unet"]}
        own_vae = run.own_vae.facts() if run.own_vae is not None else {}
        between = run.resolved.upscaler_name if run.resolved.second_pass is not None else ""
        facts |= self._executor.conditioner.extras.upscaler_facts(
            upscaler_hash=between, upscale_hash=run.resolved.finishing_upscaler
        )
        return facts | self._executor.manager.owner_choices() | own_vae
