"""A job that has started: its images, what they have shown so far, and the events that say so.

Knows no thread, device or queue. The executor advances the lanes; what a visitor is told of them is counted here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from studio.answered.events import Finished, Picture, Preview, Started, Step, Stopped
from studio.asked.messages import Message
from studio.asked.resolved import Resolved
from studio.asked.schedulers import SCHEDULERS
from studio.asked.word_swap import WordSwap
from studio.checkpoints.own_vae import OwnVae
from studio.diffusion.controlnet import AppliedControl
from studio.diffusion.evaluation import Evaluation
from studio.diffusion.lane import Lane
from studio.diffusion.latents import Variation
from studio.diffusion.lora import AppliedAdapter
from studio.diffusion.prompt import Conditioning
from studio.engine.fairness import RunningLane
from studio.engine.jobs import Job
from studio.engine.run_files import RunFiles
from studio.picture.framing import Size, Start

_MEMORY = 0.8  # of a running mean
NO_STEPS = Message("Runs no steps: the result is the picture, encoded and decoded by the VAE.")


@dataclass(eq=False)
class ActiveImage:
    """One image of a run that has a lane."""

    run: Run
    image: int  # its number within the run
    lane: Lane
    running_lane: RunningLane  # the same lane as the scheduler knows it
    threads: set[int] = field(default_factory=set)  # numbers of threads that its calls were made with
    last_step: float = field(default_factory=time.monotonic)  # when its last evaluation was done, or it was admitted
    before: int = 0  # evaluations of its first pass, once it is in its second
    last_preview_time: float = -1.0  # when its last live preview was sent
    unshown: torch.Tensor | None = None  # predicted x0 (C, h, w) of the last evaluation while no preview shows it
    pending: list[torch.Tensor] = field(default_factory=list)  # predicted x0 that its filmstrip has no frame of yet

    @property
    def at_work(self) -> bool:
        """Whether its job has not ended."""
        return self.run.job.ended is None

    @property
    def size(self) -> tuple[int, ...]:
        """(C, h, w) of its latents."""
        return tuple(self.lane.latents.shape[1:])


@dataclass(frozen=True, eq=False)
class ImageConditions:
    """What steers the images of a run that have the same prompts: all of them, or one where a prompt is a template."""

    resolved: Resolved
    conditioning: Conditioning
    adapters: tuple[AppliedAdapter, ...] = ()  # the prompt's LoRAs
    second: ImageConditions | None = None  # of its second pass


def weights_note(facts: Mapping[str, Any]) -> Message:
    """What a picture says of the weights that its words have; `facts` are those of `Fork.weight_facts`."""
    words = ", ".join(f"{one['word']} {one['weight']:g}" for one in facts["words"])
    first = facts["first"] + 1
    if facts["until"] is None:
        return Message("Words are weighted from evaluation {first} on: {words}.", first=first, words=words)
    return Message(
        "Words are weighted from evaluation {first} to {last}: {words}.", first=first, last=facts["until"], words=words
    )


def swap_note(swap: WordSwap) -> Message:
    """What a picture says of a word that was swapped."""
    return Message(
        'From evaluation {first} on "{word}" is "{replacement}", in the former layout up to evaluation {last}.',
        first=swap.first + 1,
        word=swap.word,
        replacement=swap.replacement,
        last=swap.until,
    )


@dataclass(eq=False)
class Run:
    """A job at work."""

    job: Job
    resolved: Resolved
    images: tuple[ImageConditions, ...]  # one for each image, or one for all
    start: Start | None = None  # what a run from a picture begins with
    notes: tuple[str, ...] = ()  # what the loader had to say of the checkpoint
    strays: bool = False  # whether its scheduler ends far from the picture on these steps, whatever the model
    own_vae: OwnVae | None = None  # where the request names one
    files: RunFiles = field(default_factory=dict)
    controls: dict[Size, tuple[AppliedControl, ...]] = field(default_factory=dict)  # by the size that is made
    start_time: float = field(default_factory=time.monotonic)
    total: int = 0  # evaluations of one image
    facts: dict[ImageConditions, dict[str, object]] = field(default_factory=dict)  # what its recordings say of it
    active: dict[int, ActiveImage] = field(default_factory=dict)
    pictures: dict[int, Picture] = field(default_factory=dict)
    held_back: set[int] = field(default_factory=set)  # images that the safety checker has flagged
    previews: dict[int, Preview] = field(default_factory=dict)
    filmstrips: dict[int, list[bytes]] = field(default_factory=dict)
    _evaluations: int = 0  # done, over all images
    _step_seconds: float | None = None
    _evaluation_seconds: float | None = None  # of the whole job: less than a step where images share a call
    _last_tick: float | None = None

    @property
    def complete(self) -> bool:
        """Whether every image is a picture or is held back."""
        return len(self.pictures) + len(self.held_back) == len(self.seeds)

    def of(self, image: int) -> ImageConditions:
        """What steers an image."""
        return self.images[image] if len(self.images) > 1 else self.images[0]

    def variation(self, image: int) -> Variation | None:
        """On the way to which other noise an image begins; None where no variations are asked for."""
        return variation_of(self.resolved, image)

    @property
    def seeds(self) -> tuple[int, ...]:
        """One for each image."""
        return self.resolved.seeds

    @property
    def unseen(self) -> bool:
        """Whether its pictures are shown only once the safety checker has looked at them: no previews, no recording."""
        return self.job.rules.safety_checker

    @property
    def exact(self) -> bool:
        """Whether its lanes run alone."""
        return self.resolved.request.exact

    def started_event(self) -> Started:
        """What was resolved, and sentences worth knowing."""
        conditioning = max((one.conditioning for one in self.images), key=lambda one: one.chunks)
        notes = [*self.job.notes, *self.notes]
        if conditioning.chunks > 1:
            sizes = Message(
                "{chunks} chunks of {positions} tokens", chunks=conditioning.chunks, positions=conditioning.positions
            )
            notes.append(Message("The prompt was encoded in {sizes}; nothing was cut off.", sizes=sizes))
        notes += self._choices()
        scheduler = SCHEDULERS[self.resolved.scheduler].label
        notes += [
            Message("{field} does nothing with {scheduler}.", field=name, scheduler=scheduler)
            for name in self.resolved.idle_noise_fields
        ]
        notes += dict.fromkeys(notice for image in range(len(self.images)) for notice in self.prompt_notices(image))
        requested_steps, run = self.resolved.num_inference_steps, self.resolved.steps
        if run < requested_steps:
            notes.append(
                Message("Runs {run} of {requested_steps} steps.", run=run, requested_steps=requested_steps)
                if run
                else NO_STEPS
            )
        return Started(
            job_id=self.job.id,
            seeds=self.seeds,
            width=self.resolved.width,
            height=self.resolved.height,
            total=self.total,
            prompt_tokens=conditioning.prompt.count,
            negative_prompt_tokens=conditioning.negative_prompt.count if conditioning.negative_prompt else 0,
            chunks=conditioning.chunks,
            notes=tuple(notes),
        )

    def _choices(self) -> list[str]:
        """What has been chosen for each image."""
        if not self.resolved.words:
            return []
        notes: list[str] = []
        for number, words in enumerate(self.resolved.words, 1):
            notes.append(Message('Picture {number} is made of "{prompt}".', number=number, prompt=words.prompt))
            if words.negative_prompt != self.resolved.request.negative_prompt:
                sentence = Message('Its negative prompt is "{prompt}".', prompt=words.negative_prompt)
                notes.append(sentence)
        return notes

    def prompt_notices(self, image: int) -> list[str]:
        """What of an image's prompts is left out, does nothing, or is read in another way than it may be meant."""
        here = self.of(image)
        prompt, negative = here.conditioning.prompt, here.conditioning.negative_prompt
        notes = list(self.resolved.words[image].notices) if self.resolved.words else []
        notes += prompt.notices
        notes += (
            [Message("In the negative prompt, {notice}", notice=notice) for notice in negative.notices]
            if negative
            else []
        )
        notes += [
            Message('"{switch}" does not switch: that is after the last step.', switch=switch)
            for switch in here.resolved.idle_switches()
        ]
        weights = self.job.fork.weight_facts if self.job.fork is not None else None
        if weights is not None:
            notes.append(weights_note(weights))
        layout = self.job.fork.layout if self.job.fork is not None else None
        if layout is not None:
            notes.append(swap_note(layout.swap))
        if len(here.resolved.prompt.subprompts) > 1:
            notes.append(
                Message(
                    "AND: the noise viewer shows the first text's words and attention, and one conditional prediction "
                    "that adds up those of all texts."
                )
            )
        if negative is None and here.resolved.negative_prompt.words.strip():
            notes.append(
                Message(
                    "The negative prompt does nothing here: guidance scale 1, or a model that is told "
                    "its guidance, asks "
                    "with the prompt alone."
                )
            )
        return notes

    def begin(self, image: int, lane: Lane) -> ActiveImage:
        """An image has its lane; the evaluations that a branch shares with its run need not be made."""
        job = self.job
        self._evaluations += lane.index
        running_lane = RunningLane(
            owner=job.owner,
            job=job.id,
            key=None,  # decided when it joins the others
            rows=lane.rows,
            alone=self.exact,
            comparison=job.part_of or "",
        )
        active = self.active[image] = ActiveImage(self, image, lane, running_lane)
        return active

    def count(self, images: list[ActiveImage], now: float) -> None:
        """Keep the running means after a tick that advanced these images of the run."""
        for active in images:
            self._step_seconds = _mean(self._step_seconds, now - active.last_step)
            active.last_step = now
        since = now - (self._last_tick if self._last_tick is not None else self.start_time)
        self._evaluation_seconds = _mean(self._evaluation_seconds, since / len(images))
        self._last_tick = now
        self._evaluations += len(images)

    def step(self, active: ActiveImage, evaluation: Evaluation, ending_seconds: float) -> Step:
        """The event of one evaluation. `ending_seconds` is what decoding and saving one picture has cost so far."""
        images = len(self.seeds)
        seconds_left = (self.total * images - self._evaluations) * (self._evaluation_seconds or 0.0)
        return Step(
            job_id=self.job.id,
            image=active.image,
            index=active.before + evaluation.index,
            total=self.total,
            timestep=evaluation.timestep,
            sigma=evaluation.sigma,
            seconds_per_step=self._step_seconds or 0.0,
            seconds_left=max(0.0, seconds_left) + (images - len(self.pictures)) * ending_seconds,
            images_done=len(self.pictures),
            preview=self.previews.get(active.image),
        )

    def finished_event(self) -> Finished:
        return Finished(
            job_id=self.job.id,
            pictures=self._pictures(),
            seconds=time.monotonic() - self.start_time,
            exact=self.exact,
            notes=(*self._held_back_notes(), *self._file_notes()),
        )

    def _held_back_notes(self) -> list[Message]:
        return [
            Message(
                "The safety checker of this studio holds back picture {image} of {images} (seed {seed}).",
                image=image + 1,
                images=len(self.seeds),
                seed=self.seeds[image],
            )
            for image in sorted(self.held_back)
        ]

    def _file_notes(self) -> list[str]:
        """Why pictures are files of another format than the one that the owner has chosen, each reason once."""
        notes = (self.pictures[image].info.get("file_note") for image in sorted(self.pictures))
        return list(dict.fromkeys(note for note in notes if isinstance(note, str)))

    def stopped_event(self, reason: str) -> Stopped:
        """The pictures that were done, and the last look of those that were not."""
        active_images = [self.active[image] for image in sorted(self.active)]
        return Stopped(
            job_id=self.job.id,
            pictures=self._pictures(),
            last=tuple(self.previews[r.image] for r in active_images if r.image in self.previews),
            index=active_images[0].before + active_images[0].lane.index if active_images else 0,
            total=self.total,
            reason=reason,
        )

    def _pictures(self) -> tuple[Picture, ...]:
        return tuple(
            replace(self.pictures[image], filmstrip=tuple(self.filmstrips.get(image, ())))
            for image in sorted(self.pictures)
        )


def variation_of(resolved: Resolved, image: int) -> Variation | None:
    """On the way to which other noise an image of a run begins; None where no variations are asked for."""
    if not resolved.variation_seeds:
        return None
    return Variation(resolved.variation_seeds[image], resolved.request.variation_strength)


def _mean(old: float | None, new: float) -> float:
    return new if old is None else _MEMORY * old + (1 - _MEMORY) * new
