"""Where a job leaves the recorded run that it branches from, and what it shares with it: plain data, no torch.

docs/viewer.md has it in words.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from studio.asked.branch import SPACINGS, Branch, BranchNode
from studio.asked.fields import TextToImage
from studio.asked.messages import Message, listed
from studio.asked.problems import InvalidRequest, Problem, one_of, quoted_value
from studio.asked.requests import Request
from studio.asked.resolved import Resolved
from studio.asked.schedulers import SCHEDULERS, NoiseScheduleName, SchedulerName, resolve_noise_schedule
from studio.asked.upscale import NO_UPSCALER
from studio.asked.word_swap import WordSwap
from studio.asked.word_weights import WordWeights
from studio.engine.recorded_evaluation import Array, RecordedEvaluation
from studio.engine.word_layouts import WordLayout, check_change
from studio.picture.framing import Start

if TYPE_CHECKING:
    from studio.diffusion.scheduler_switch import SchedulerSwitch

# Changes that no field of a request says.
_NO_FIELDS = ("noise_seed", "poke", "word_weights", "weights_until", "swap", "swap_until")


@dataclass(frozen=True)
class ImageRecipe:
    """All that one recorded image was made from, besides the checkpoint. `resolved` is for that image alone;
    `noise_seeds` are the seeds of replaced noise by evaluation, `painted_evaluations` the evaluations whose latents
    were painted on. `switches` are those at which another scheduler took over; `beginning_curve` is the scheduler it
    began with, where there are any: the request names the last one."""

    resolved: Resolved
    start: Start | None = None
    attention: bool = False
    noise_seeds: Mapping[int, int] = field(default_factory=dict)
    painted_evaluations: frozenset[int] = frozenset()
    switches: Mapping[int, SchedulerSwitch] = field(default_factory=dict)
    beginning_curve: tuple[SchedulerName, NoiseScheduleName] | None = None
    files: Mapping[str, Hashable] = field(default_factory=dict)  # studio.engine.run_files
    models: tuple[str, ...] | None = None  # ids of those that its prompts could name; None: all
    has_exact_weights: bool = False  # see Job
    words: tuple[tuple[int, tuple[str, ...]], ...] = ()  # of each text of the prompt, until which step it holds
    word_weights: WordWeights | None = None  # those in force at its end
    layout: WordLayout | None = None  # of another run, whose word was swapped
    forecast_begin: int = 0  # the evaluation from which on it forecasts from its own

    def scheduling(self, evaluation: int = 0) -> tuple[SchedulerName, NoiseScheduleName]:
        """The scheduler and the noise schedule that are in force at an evaluation, as far as the latter has a name."""
        scheduling_now = self.beginning_curve or (self.resolved.scheduler, self.resolved.noise_schedule)
        for index, switch in sorted(self.switches.items()):
            if index <= evaluation:
                scheduling_now = (
                    switch.scheduler,
                    switch.noise_schedule or self.same_levels(scheduling_now, switch.scheduler),
                )
        return scheduling_now

    def same_levels(
        self, former: tuple[SchedulerName, NoiseScheduleName], scheduler: SchedulerName
    ) -> NoiseScheduleName:
        """What to call the noise schedule of a scheduler that goes on at another one's levels: as before, or where it
        has none of that name, nothing in particular."""
        name = resolve_noise_schedule(*former, self.resolved.prediction_type)
        return name if name in SCHEDULERS[scheduler].noise_schedules else "automatic"

    def words_at(self, step: int) -> tuple[str, ...]:
        """The words of the text that holds at a 0-based step."""
        return next((words for until, words in self.words if step < until), self.words[-1][1] if self.words else ())

    def beginning(self, resolved: Resolved) -> Resolved:
        """A run as its lane begins, before it is brought to where it is: by the first scheduler."""
        return resolved if self.beginning_curve is None else resolved.with_scheduler(*self.beginning_curve)

    @property
    def size_bytes(self) -> int:
        """The pictures that it began with, as files and decoded, and what it keeps of another run."""
        kept = self.layout.nbytes if self.layout is not None else 0
        return self.resolved.request.file_bytes + (self.start.size_bytes if self.start is not None else 0) + kept


@dataclass(frozen=True)
class Fork:
    """Where a job leaves the run it comes from: `past` are the evaluations that it shares, `evaluation` the first one
    that it makes anew, as it was."""

    parent: str  # job id
    image: int
    branch: Branch
    recipe: ImageRecipe
    past: Sequence[RecordedEvaluation]
    evaluation: RecordedEvaluation
    layout: WordLayout | None = None  # by which it goes on, or had gone on

    @property
    def noise_seeds(self) -> dict[int, int]:
        """The seeds of replaced noise of the new run, by evaluation."""
        seeds = {k: seed for k, seed in self.recipe.noise_seeds.items() if k <= self.branch.evaluation}
        if self.branch.noise_seed is not None and self.branch.evaluation > 0:
            seeds[self.branch.evaluation] = self.branch.noise_seed
        return seeds

    @property
    def painted_evaluations(self) -> frozenset[int]:
        """The evaluations of the new run whose latents were painted on."""
        here = self.branch.evaluation
        own = {here} if self.branch.poke is not None else set()
        return frozenset({k for k in self.recipe.painted_evaluations if k <= here} | own)

    @property
    def switches(self) -> dict[int, SchedulerSwitch]:
        """Where another scheduler took over in what the new run shares with the old one, its first own evaluation
        included."""
        return {k: switch for k, switch in self.recipe.switches.items() if k <= self.branch.evaluation}

    @property
    def word_weights(self) -> WordWeights | None:
        """The weights of words of the new run: its own, else those of the run that it leaves, whose words it has."""
        own, branch = self.branch.weights, self.branch
        has_other_words = branch.prompt is not None or branch.swap is not None
        return own if own is not None or has_other_words else self.recipe.word_weights

    @property
    def weight_facts(self) -> dict[str, object] | None:
        """The weights of words as a picture says them, JSON-able: `words`, each `number`, `word` and `weight`; `first`
        and `until` as in `WordWeights`."""
        weights = self.word_weights
        if weights is None:
            return None
        labels = self.recipe.words_at((*self.past, self.evaluation)[min(weights.first, len(self.past))].step)
        words = [
            {"number": word, "word": labels[word], "weight": weight}
            for word, weight in weights.weights
            if word < len(labels)
        ]
        return {"words": words, "first": weights.first, "until": weights.until}

    @property
    def word_facts(self) -> dict[str, object]:
        """What a picture's facts say of words that are weighted or swapped (studio.picture.metadata)."""
        layout = self.layout
        facts = {"word_weights": self.weight_facts, "word_swap": layout.facts if layout is not None else None}
        return {name: value for name, value in facts.items() if value is not None}

    @property
    def beginning_curve(self) -> tuple[SchedulerName, NoiseScheduleName]:
        """The scheduler and the noise schedule that the new run begins with."""
        return self.recipe.scheduling(-1)

    def beginning(self, resolved: Resolved) -> Resolved:
        """The new run as its lane begins, before it is brought to the fork."""
        return resolved.with_scheduler(*self.beginning_curve)

    @property
    def forecast_begin(self) -> int:
        """From which evaluation on the forecasts of the new run are its own: a change makes those before worthless."""
        return self.branch.evaluation if self.branch.changes else self.recipe.forecast_begin

    def node(self) -> BranchNode:
        """Its place in the tree; job id and state are for the job to say."""
        branch = self.branch
        return BranchNode(
            job_id="",
            state="",
            prompt=self.recipe.resolved.request.prompt,
            guidance_scale=self.recipe.resolved.guidance_scale,
            parent=self.parent,
            image=self.image,
            evaluation=branch.evaluation,
            changed=branch.changes,
        )

    def request(self) -> Request:
        """The branch as a request of one image, in calls of its own. Raises InvalidRequest."""
        changes = {k: v for k, v in self.branch.changes.items() if k not in _NO_FIELDS}
        former = self.recipe.scheduling(self.branch.evaluation)
        scheduler = self.branch.scheduler or former[0]
        noise_schedule = former[1] if self.branch.scheduler is None else self.recipe.same_levels(former, scheduler)
        changes |= {"scheduler": scheduler, "noise_schedule": self.branch.noise_schedule or noise_schedule}
        if self.branch.noise_seed is not None and self.branch.evaluation == 0:
            changes["seed"] = self.branch.noise_seed
        swap = self.branch.word_swap
        if swap is not None:
            changes["prompt"] = swap.prompt(self.recipe.resolved.request.prompt)
        if isinstance(self.recipe.resolved.request, TextToImage):
            changes["upscale"] = NO_UPSCALER  # a branch is looked at beside its run, at the size of its record
        return replace(self.recipe.resolved.request, exact=True, **changes)  # type: ignore[arg-type]


def fork(
    parent: str, image: int, branch: Branch, recipe: ImageRecipe, evaluations: Sequence[RecordedEvaluation]
) -> Fork:
    """A fork of a recorded run. Raises InvalidRequest for an evaluation that it has not (yet), a poke of another shape
    than its latents, a scheduler that cannot go on with it, weights of words that it has not, or as `_layout_of`."""
    if branch.evaluation >= len(evaluations):
        expectation = Message("whole numbers from 0 to {count}", count=len(evaluations) - 1)
        raise InvalidRequest(Problem("evaluation", str(branch.evaluation), expectation))
    shape = evaluations[branch.evaluation].latents.shape
    if branch.poke is not None and len(branch.poke) != 4 * math.prod(shape):
        expectation = Message(
            "{count} float32 numbers, {numbers}", count=math.prod(shape), numbers=" × ".join(map(str, shape))
        )
        raise InvalidRequest(Problem("poke", Message("{count} bytes", count=f"{len(branch.poke):,}"), expectation))
    weights = branch.weights
    if weights is not None:
        weights.check(recipe.words_at(evaluations[branch.evaluation].step))
    if branch.switches_scheduler:
        scheduler = branch.scheduler or recipe.scheduling(branch.evaluation)[0]
        _check_switch(branch, scheduler, evaluations[0].prediction_type)
    layout = _layout_of(branch, recipe, evaluations)
    past = tuple(evaluations[: branch.evaluation])
    return Fork(parent, image, branch, recipe, past, evaluations[branch.evaluation], layout)


def _layout_of(branch: Branch, recipe: ImageRecipe, evaluations: Sequence[RecordedEvaluation]) -> WordLayout | None:
    """The layout that a branch of a recorded run has: its own, else that of the run, unless its prompt is another.

    Raises InvalidRequest for a word that the run's prompt has not, an end that is not recorded, a prompt of several
    texts, weights of words that hold there, and for what cannot be changed while an earlier swap's layout holds.
    """
    swap, kept = branch.word_swap, recipe.layout
    if branch.prompt is not None:
        return None
    for name in ("swap", "word_weights", "scheduler", "noise_schedule"):
        if (value := getattr(branch, name)) is not None:
            check_change(kept, branch.evaluation, name, value)
    if swap is None:
        return kept
    here = evaluations[branch.evaluation : swap.until]
    problem = _swap_problem(swap, recipe, evaluations)
    if problem is not None:
        raise InvalidRequest(problem)
    return WordLayout(swap, recipe.resolved.request.prompt, tuple(_x_t(one) for one in here))


def _swap_problem(swap: WordSwap, recipe: ImageRecipe, evaluations: Sequence[RecordedEvaluation]) -> Problem | None:
    if recipe.resolved.prompt.is_composed or not recipe.resolved.prompt.is_plain:
        sentence = Message("a run whose prompt is one text, without AND, [a:b:when] and [a|b]")
        return Problem("swap", quoted_value(str(swap)), sentence)
    words = recipe.words_at(evaluations[swap.first].step)
    prompt = recipe.resolved.request.prompt
    is_there = swap.label in (word.lower() for word in words)
    if not is_there or (swap.prompt(prompt) == prompt and swap.replacement.lower() != swap.label):
        sentence = Message("a word of the prompt: {words}", words=listed(list(dict.fromkeys(words))))
        return Problem("swap", quoted_value(swap.word), sentence)
    # Where another scheduler took over later, the run has other noise levels than a branch from before.
    last = min([len(evaluations), *(k for k in recipe.switches if k > swap.first)])
    if swap.until > last:
        sentence = Message("whole numbers from {low} to {high}", low=swap.first + 1, high=last)
        return Problem("swap_until", str(swap.until), sentence)
    weights = recipe.word_weights
    if weights is not None and any(weights.holds(k) for k in range(swap.first, swap.until)):
        sentence = Message("a run whose words have no weights at these evaluations")
        return Problem("swap", quoted_value(str(swap)), sentence)
    return None


def _x_t(evaluation: RecordedEvaluation) -> Array:
    x_t: Array = evaluation.latents / evaluation.latents.dtype.type(evaluation.scale)
    return x_t


def _check_switch(branch: Branch, name: SchedulerName, prediction_type: str) -> None:
    """Raises InvalidRequest where a scheduler has no such noise schedule, or cannot run what the model predicts."""
    from studio.diffusion.predictions import path_of_prediction
    from studio.diffusion.schedulers import (  # torch: there already, since something was recorded
        able,
        kind_of_checkpoint,
    )

    facts, names = SCHEDULERS[name], able(prediction_type)
    if branch.noise_schedule is not None and branch.noise_schedule not in facts.noise_schedules:
        choices = one_of({s: label for s, label in SPACINGS.items() if s in facts.noise_schedules})
        raise InvalidRequest(
            Problem(
                "noise_schedule",
                SPACINGS[branch.noise_schedule],
                Message("with {scheduler} {choices}", scheduler=facts.label, choices=choices),
            )
        )
    if name not in names:
        choices = one_of({s: SCHEDULERS[s].label for s in names})
        raise InvalidRequest(
            Problem(
                "scheduler",
                facts.label,
                Message(
                    "for {kind} {choices}",
                    kind=kind_of_checkpoint(prediction_type),
                    choices=choices,
                ),
            )
        )
    if branch.noise_schedule == "ays" and path_of_prediction(prediction_type) != "preserving":
        raise InvalidRequest(
            Problem(
                "noise_schedule",
                "AYS",
                Message("for {kind} any other", kind=kind_of_checkpoint(prediction_type)),
            )
        )
