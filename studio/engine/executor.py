"""What computes: the loaded components and what is kept beside them. The one place where a lane is started, and the one
where the U-Net is called.

Knows no queue and no page; decides nothing about whose turn it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from studio.answered.events import Loading
from studio.asked.resolved import Resolved, resolve
from studio.checkpoints.catalog import memory_folder
from studio.checkpoints.manager import ModelManager
from studio.checkpoints.own_vae import OwnVae, with_vae
from studio.checkpoints.preview_fits import PreviewFits
from studio.checkpoints.wildcards import WildcardFiles
from studio.diffusion import drift, vae
from studio.diffusion.attention import RecordMaps
from studio.diffusion.attention_edits import AttentionEdit
from studio.diffusion.components import Components
from studio.diffusion.controlnet import AppliedControl
from studio.diffusion.denoisers import DENOISERS
from studio.diffusion.evaluation import Evaluation
from studio.diffusion.hires import scaled_up
from studio.diffusion.lane import Lane, schedule_of, start_lane
from studio.diffusion.latents import Variation
from studio.diffusion.lora import AppliedAdapter
from studio.diffusion.prompt import Conditioning
from studio.diffusion.text_cache import TextCache
from studio.diffusion.time_cache import TimeCache
from studio.diffusion.unet_call import UnetCall
from studio.engine import failures, memory
from studio.engine.conditioning import Conditioner
from studio.engine.device import Device
from studio.engine.forks import Fork
from studio.engine.guidance_notes import guidance_notes
from studio.engine.jobs import Job
from studio.engine.preview_fitter import PreviewFitter
from studio.engine.run_files import RunFiles, check_unchanged, run_files
from studio.engine.runs import ActiveImage, ImageConditions, Run, variation_of
from studio.engine.safety import Safety
from studio.engine.viewer import recording
from studio.engine.viewer.branching import leave
from studio.engine.viewer.steering import steer
from studio.picture.control_maps import control_pictures

logger = logging.getLogger(__name__)


@dataclass
class TickResult:
    """What one U-Net call has led to. Where the call itself failed for several images (`has_call_failed`), each has to
    be asked again; where it failed for one, that image is among the `failures`."""

    callers: list[ActiveImage] = field(default_factory=list)
    evaluations: list[tuple[ActiveImage, Evaluation]] = field(default_factory=list)
    failures: list[tuple[ActiveImage, Exception]] = field(default_factory=list)
    has_call_failed: bool = False
    out_of_memory: bool = False
    rows: int = 0
    seconds: float = 0.0  # of the call alone


class Executor:
    """The components on one device. Used from the engine's thread alone."""

    def __init__(self, device: Device, manager: ModelManager, tokenizer_lock: AbstractContextManager[Any]) -> None:
        self.device = device
        self.manager = manager
        self.conditioner = Conditioner(manager.catalog, manager, tokenizer_lock)
        self.fitter = PreviewFitter(PreviewFits(memory_folder(manager.catalog.models_dirs)), device)
        self.safety = Safety(manager, device)
        self._wildcards = WildcardFiles(manager.catalog.models_dirs)
        self._texts = TextCache()  # of the running lanes
        self._times = TimeCache()  # of the loaded checkpoint

    # ------------------------------------------------------------------------------------------ the checkpoint

    @property
    def components(self) -> Components:
        """What is on the device. Lanes that run are always of this checkpoint: it is never switched under them."""
        assert self.manager.loaded is not None
        return self.manager.loaded

    @property
    def loaded(self) -> str | None:
        """The name of the checkpoint on the device."""
        return self.manager.loaded.name if self.manager.loaded is not None else None

    def load(self, checkpoint: str, progress: Callable[[str, float], None], *, exact: bool = False) -> None:
        """Bring a checkpoint to the device; `exact`: as `ModelManager.get`. Raises BadCheckpoint, DoesNotFit."""
        self.conditioner.extras.bring_tiny_vae(self.manager.get(checkpoint, progress, exact=exact))

    def settle(self) -> None:
        """Look after the fast preview of what is on the device."""
        entry = self.manager.entry
        self.fitter.begin(self.components, entry.vae or entry if entry is not None else None)

    def release(self) -> None:
        """Let go of everything that holds the components; only while no lane runs."""
        self.fitter.rest()
        self.conditioner.forget()
        self.forget_texts()
        self._times.forget()

    def forget_texts(self) -> None:
        """Free what is kept of the running lanes' texts: none runs."""
        self._texts.forget()

    # ------------------------------------------------------------------------------------- the start of a lane

    def begin(self, job: Job, *, exact: bool) -> Run:
        """The run of a job: everything random or automatic decided, the prompts encoded. `exact`: its lanes run alone,
        even where the request does not ask for it. Raises what the prompts' encoding does."""
        job.begin()
        components = self.components
        self.conditioner.extras.bring_tiny_vae(components)
        resolved = resolve(
            job.request,
            components.suits,
            size=job.start.picture.size if job.start is not None else None,
            exact=exact or job.attention,
            wildcards=self._wildcards.for_visitor(job.rules),
        )
        images = tuple(self._image_conditions(one, job.rules.models) for one in resolved.images)
        files: dict[str, Hashable] = {}
        for one in (part for image in images for part in (image, image.second) if part is not None):
            files |= self._files(one.adapters, one.conditioning, resolved)
        own_vae = self._own_vae(resolved)
        if job.fork is not None:
            check_unchanged(job.fork.recipe.files, files)
        strays = drift.drift_of(components, resolved)
        adapters = dict.fromkeys(adapter.adapter for image in images for adapter in image.adapters)
        notes = (*components.notes, *(n for one in adapters for n in one.notes), *guidance_notes(components, resolved))
        return Run(
            job=job,
            resolved=resolved,
            notes=(*notes, failures.drifts(resolved, strays)) if strays > drift.MOST else notes,
            strays=strays > drift.MOST,
            images=images,
            start=job.start,
            own_vae=own_vae,
            files=files,
        )

    def _image_conditions(self, resolved: Resolved, models: Sequence[str] | None) -> ImageConditions:
        adapters = self.conditioner.adapters(self.components, resolved.prompt, models)
        conditioning = self.conditioner.encode(self.components, resolved, adapters, models)
        second = resolved.second_pass
        return ImageConditions(
            resolved, conditioning, adapters, self._image_conditions(second, models) if second is not None else None
        )

    def _own_vae(self, resolved: Resolved) -> OwnVae | None:
        """The VAE that a run names instead of the checkpoint's. Raises as `Extras.own_vae`."""
        return self.conditioner.extras.own_vae(self.components, resolved.request.vae_name)

    def components_of(self, run: Run) -> Components:
        """The components that a run goes through, with its own VAE where it names one."""
        return with_vae(self.components, run.own_vae)

    def components_at(self, fork: Fork) -> Components:
        """The same of a recorded run. Raises BadCheckpoint where it was made with other weights than those here."""
        vaes = self.conditioner.extras.vae_files(fork.recipe.resolved.request.vae_name)
        check_unchanged(fork.recipe.files, run_files(self.components.name, self.manager.identity, vaes=vaes))
        return with_vae(self.components, self._own_vae(fork.recipe.resolved))

    def _files(
        self, adapters: Sequence[AppliedAdapter], conditioning: Conditioning, with_controls: Resolved | None = None
    ) -> RunFiles:
        """The files of a run as they are now. `with_controls`: where its ControlNets and its VAE are to be read."""
        request = with_controls.request if with_controls is not None else None
        nets = self.conditioner.controlnet_files(request.controls) if request else {}
        vaes = self.conditioner.extras.vae_files(request.vae_name) if request else {}
        return run_files(self.components.name, self.manager.identity, adapters, conditioning.embeddings, nets, vaes)

    def check_memory(self, run: Run) -> None:
        """Raises MemoryError when an image of a run will not fit into what a CPU has free."""
        passes = [part.resolved for one in run.images for part in (one, one.second) if part is not None]
        rows = max(one.prompt.rows(self.components.branches(one.guidance_scale)) for one in passes)
        rows += run.job.fork is not None and run.job.fork.layout is not None
        memory.check(self.components_of(run), self.device, run.resolved.largest, rows)

    def rows_that_fit(self, resolved: Resolved) -> int | None:
        """Rows of a run's size that one call may have; None where nobody can say."""
        return memory.rows_that_fit(self.components, self.device, resolved)

    def first_pass(self, run: Run, image: int) -> Lane:
        """The lane of an image, which a branch begins where it leaves its run. Raises BadCheckpoint where the weights
        have been replaced since."""
        here = run.of(image)
        check_unchanged(run.files, self._files(here.adapters, here.conditioning))
        fork = run.job.fork
        return self._start(
            self.components_of(run),
            here.resolved if fork is None else fork.beginning(here.resolved),
            seed=run.seeds[image],
            conditioning=here.conditioning,
            picture=run.start.picture if run.start else None,
            mask=run.start.mask if run.start else None,
            variation=run.variation(image),
            adapters=here.adapters,
            controls=self._controls(run, run.resolved),
            edits=_edits(self.components, run),
            fork=fork,
        )

    def second_pass(self, active: ActiveImage, picture: Image.Image | None = None) -> Lane | None:
        """The lane that makes an image anew, larger, from its first pass, or from `picture`, which an upscaler has made
        of that; None where it is not made twice or has been already."""
        run, second = active.run, active.run.of(active.image).second
        if second is None or active.before:
            return None
        check_unchanged(run.files, self._files(second.adapters, second.conditioning))
        components, size = self.components_of(run), second.resolved.size
        return self._start(
            components,
            second.resolved,
            seed=run.seeds[active.image],
            conditioning=second.conditioning,
            picture=picture or scaled_up(components, active.lane.latents, size, run.resolved.hires_upscaler),
            variation=run.variation(active.image),
            adapters=second.adapters,
            controls=self._controls(run, second.resolved),
        )

    def lane_at(self, fork: Fork) -> Lane:
        """A lane of its own that stands where a fork leaves its run, about to ask what the run asked there."""
        components, recipe = self.components, fork.recipe
        resolved = recipe.beginning(recipe.resolved)
        request = resolved.request
        adapters = self.conditioner.adapters(components, resolved.prompt, recipe.models)
        conditioning = self.conditioner.encode(components, resolved, adapters, recipe.models)
        check_unchanged(recipe.files, self._files(adapters, conditioning, resolved))
        return self._start(
            with_vae(components, self._own_vae(resolved)),
            resolved,
            seed=resolved.seeds[0],
            conditioning=conditioning,
            picture=recipe.start.picture if recipe.start else None,
            mask=recipe.start.mask if recipe.start else None,
            variation=variation_of(resolved, 0),
            adapters=adapters,
            controls=self.conditioner.controls(components, resolved, control_pictures(request), recipe.start),
            fork=fork,
        )

    def _start(
        self,
        components: Components,
        resolved: Resolved,
        *,
        seed: int,
        conditioning: Conditioning,
        picture: Image.Image | torch.Tensor | None,
        mask: Image.Image | None = None,
        variation: Variation | None,
        adapters: tuple[AppliedAdapter, ...],
        controls: tuple[AppliedControl, ...],
        edits: Sequence[AttentionEdit] = (),
        fork: Fork | None = None,
    ) -> Lane:
        lane = start_lane(
            components,
            resolved,
            seed=seed,
            conditioning=conditioning,
            picture=picture,
            mask=mask,
            variation=variation,
            adapters=adapters,
            controls=controls,
            edits=edits,
        )
        if fork is not None:
            leave(lane, fork, components)
            steer(lane, fork, self.conditioner, components, resolved, adapters)
        return lane

    def _controls(self, run: Run, one_pass: Resolved) -> tuple[AppliedControl, ...]:
        """The ControlNets of a run with their maps at the size that one of its passes makes. Raises BadCheckpoint where
        one has been replaced on disk before the run has read it."""
        size, job = one_pass.size, run.job

        def loading(message: str) -> None:
            job.publish(Loading(job_id=job.id, checkpoint=self.components.name, message=message))

        if size not in run.controls:
            earlier = next(iter(run.controls.values()), ())
            controls = self.conditioner.controls(
                self.components, one_pass, job.controls, run.start, loading, earlier=earlier
            )
            if not earlier:
                first = run.of(0)
                check_unchanged(run.files, self._files(first.adapters, first.conditioning, one_pass))
            run.controls[size] = controls
        return run.controls[size]

    def second_evaluations(self, run: Run) -> int:
        """Evaluations of the second pass of one image; 0 where there is none."""
        second = run.resolved.second_pass
        return schedule_of(self.components, second).total if second is not None else 0

    # --------------------------------------------------------------------------------------------------- calls

    @torch.inference_mode()
    def evaluate(self, images: Sequence[ActiveImage]) -> TickResult:
        """One U-Net call for the lanes of these images, each of which goes one evaluation on."""
        start = time.perf_counter()
        result = TickResult()
        calls: list[UnetCall] = []
        for active in images:
            try:
                calls.append(active.lane.call())
                result.callers.append(active)
            except Exception as error:
                result.failures.append((active, error))
        if not calls:
            return result
        try:
            answers = self._answers(calls, self._texts, self._times)
        except Exception as error:
            self._record_failure(result, error)
            return result
        self.device.synchronize()
        result.seconds, result.rows = time.perf_counter() - start, sum(len(rows) for rows in answers)
        for active, rows in zip(result.callers, answers):
            try:
                result.evaluations.append((active, checked(active.lane, active.lane.advance(rows))))
            except Exception as error:
                result.failures.append((active, error))
        return result

    def denoise(self, calls: Sequence[UnetCall]) -> torch.Tensor:
        """Rows (sum of branches, C, h, w) in the order of the calls, for a question beside the running lanes."""
        return torch.cat(self._answers(calls))

    def _answers(
        self, calls: Sequence[UnetCall], texts: TextCache | None = None, times: TimeCache | None = None
    ) -> list[torch.Tensor]:
        """One call of the denoiser, in the way of its family: an answer for each of `calls`."""
        return DENOISERS[self.components.family.denoiser].answers(self.components, calls, texts, times)

    def _record_failure(self, result: TickResult, error: Exception) -> None:
        result.has_call_failed, result.out_of_memory = True, self.device.is_out_of_memory(error)
        if len(result.callers) == 1:
            result.failures.append((result.callers[0], error))
            return
        logger.warning("A U-Net call of %d lanes failed: %s", len(result.callers), error)
        error.__traceback__ = None  # its frames hold the tensors that did not fit
        self._texts.forget()
        self._times.forget()
        self.device.release()

    @torch.inference_mode()
    def decode(self, run: Run, latents: torch.Tensor) -> torch.Tensor:
        """Clean latents (1, C, h, w) of a run => pixels (1, 3, H, W) in [-1, 1] by its VAE."""
        components = self.components_of(run)
        pixels = vae.decode(components, latents)
        self.fitter.learn(components, latents, pixels)
        return pixels


def checked(lane: Lane, evaluation: Evaluation) -> Evaluation:
    """An evaluation that a lane has just made. Raises NotFinite where it holds no numbers."""
    failures.check_finite(lane, evaluation)
    return evaluation


def _edits(components: Components, run: Run) -> tuple[AttentionEdit, ...]:
    """What the lanes of a run change in their attention, or look at: a record of it, if the job asks for one."""
    return (RecordMaps(most_places=recording.most_places(components)),) if run.job.attention else ()
