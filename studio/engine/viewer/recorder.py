"""What the noise viewer reads: what the U-Net was given and what it answered, at every evaluation of recent images.

Copies what the lanes have anyway: no hooks, nothing is asked of the model. What can be computed from that is computed
when somebody reads, not while the lanes run. Memory is bounded. The recording that was looked at or written to longest
ago goes to disk first and comes back when it is asked for. One that alone is too large keeps what fits. When a visitor
leaves, their recordings go. NumPy only, safe from any thread; ownership is checked by the caller. docs/record.md has
the format.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from studio.engine.forks import ImageRecipe
from studio.engine.recorded_evaluation import Array, RecordedAttention, RecordedEvaluation
from studio.engine.viewer.lost_words import lost_measures
from studio.engine.viewer.measures import in_scale_of, measures_of
from studio.engine.viewer.overflow import Overflow
from studio.engine.viewer.record_format import Recording, to_bytes

MAX_BYTES = 256 * 2**20
MAX_RUNS = 512  # also bounds those that hold nothing yet
IDLE_SECONDS = 1800.0  # a recording that nobody has written to or read for so long is dropped
GROWING_SECONDS = 10.0  # one that was written to so lately may go on growing, and is not put on disk
AWAY_SECONDS = 300.0  # the same once its visitor has closed the page: long enough for a reload, or a tunnel that breaks


@dataclass
class _Run:
    facts: Mapping[str, object]
    preview: tuple[Array, Array] | None
    recipe: ImageRecipe | None = None
    evaluations: list[RecordedEvaluation] = field(default_factory=list)
    after: Array | None = None  # latents after the newest evaluation, as Recorded.latents
    picture: Array | None = None  # (height, width, 3) uint8, once it is finished
    measures: dict[int, dict[str, object]] = field(default_factory=dict)  # what was computed for readers, by index
    lost_words: dict[int, list[float] | None] = field(default_factory=dict)  # the same of its attention
    owner: str = ""
    last_use: float = 0.0  # when it was last written to or read
    looks_every: int = 1  # evaluations between two that keep their attention
    full: bool = False  # nothing more of it is kept: alone it takes all the memory there is
    last_write: float = 0.0  # when it was last written to
    away: bool = False  # its numbers are on disk alone
    file: int | None = None  # where they are on disk
    evaluations_in_file: int = -1  # evaluations in that file

    @property
    def array_bytes(self) -> int:
        """Its numbers, which can go to disk."""
        others = sum(array.nbytes for array in (self.after, self.picture) if array is not None)
        return sum(e.nbytes for e in self.evaluations) + others

    @property
    def nbytes(self) -> int:
        return self.array_bytes + (self.recipe.size_bytes if self.recipe is not None else 0)

    @property
    def complete(self) -> bool:
        return len(self.evaluations) == self.facts.get("total")

    @property
    def limits(self) -> dict[str, object]:
        """What the header says of a recording that was too large to be kept whole."""
        return {"evaluations": len(self.evaluations), "attention_every": self.looks_every, "full": self.full}

    def thin(self) -> bool:
        """Keep the attention of half as many evaluations; False when there is none left to let go of."""
        if not any(e.attention is not None for e in self.evaluations[1:]):
            return False
        self.looks_every *= 2
        self.evaluations = [self.fitting(e) for e in self.evaluations]
        return True

    def fitting(self, evaluation: RecordedEvaluation) -> RecordedEvaluation:
        return evaluation if evaluation.index % self.looks_every == 0 else replace(evaluation, attention=None)


class Recorder:
    """The recordings of recent images by (job id, image)."""

    def __init__(
        self,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
        overflow: Overflow | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._overflow = overflow if overflow is not None else Overflow()
        self._clock = clock
        self._bytes = 0
        self._lock = threading.Lock()
        self._runs: OrderedDict[tuple[str, int], _Run] = OrderedDict()
        self._away: dict[str, float] = {}  # visitors who have closed the page, and when

    def begin(
        self,
        job_id: str,
        image: int,
        facts: Mapping[str, object],
        preview: tuple[Array, Array] | None = None,
        recipe: ImageRecipe | None = None,
        owner: str = "",
    ) -> None:
        """Open a recording. `facts` goes into the header: total, width, height, prompt, seed, ... `preview` is the
        fast decoder's (weight, bias); `recipe` what a branch needs to begin as this image did."""
        with self._lock:
            self._runs[job_id, image] = run = _Run(facts, preview, recipe, owner=owner, last_use=self._clock())
            self._bytes += run.nbytes
            while len(self._runs) > MAX_RUNS:
                self._drop_oldest()

    def add(self, job_id: str, image: int, evaluation: RecordedEvaluation, after: Array) -> None:
        """Append an evaluation and the latents that its step led to; nothing happens when the recording has been
        dropped meanwhile, or is full.

        The oldest recordings make room: on disk, where they can. One that is too large alone keeps the attention of
        every second evaluation, of every fourth, ...; then it ends with the evaluation before this one, and its header
        says so.
        """
        with self._lock:
            run = self._here(job_id, image)
            if run is None or run.full:
                return
            run.last_write = self._clock()
            before = run.after
            run_evaluation = run.fitting(evaluation)
            run.evaluations.append(run_evaluation)
            run.after = after
            self._bytes += run_evaluation.nbytes + after.nbytes - (before.nbytes if before is not None else 0)
            self._use(job_id, image)
            self._make_room(run)
            if self._bytes > self._max_bytes:
                self._keep_what_fits(run, before)

    def finish(self, job_id: str, image: int, picture: Array) -> None:
        """Add the finished picture (height, width, 3), uint8. One that does not fit is left out, as is that of a
        recording that is full or has been dropped meanwhile."""
        with self._lock:
            run = self._here(job_id, image)
            if run is None or run.full or run.after is None or run.nbytes + picture.nbytes > self._max_bytes:
                return
            run.picture = picture
            run.evaluations_in_file = -1  # what is on disk lacks it
            self._bytes += picture.nbytes
            self._use(job_id, image)
            self._make_room(run)

    def past(self, job_id: str, image: int) -> tuple[ImageRecipe, list[RecordedEvaluation]] | None:
        """What an image was made from and its evaluations so far, for a branch; None when that is not known (any
        more)."""
        with self._lock:
            run = self._here(job_id, image)
            if run is None or run.recipe is None:
                return None
            self._use(job_id, image)
            self._make_room(run)
            return run.recipe, list(run.evaluations)

    def visitor(self, owner: str, *, here: bool) -> None:
        """Whether a visitor has the page open. One of whom nothing was ever said (an API has no page) is not away."""
        with self._lock:
            if here:
                self._away.pop(owner, None)
            else:
                self._away[owner] = self._clock()

    def sweep(self) -> None:
        """Drop the recordings that nobody has used for long, or whose visitors have left."""
        with self._lock:
            now = self._clock()
            for key, run in list(self._runs.items()):
                left_at = self._away.get(run.owner, math.inf)
                if now - run.last_use > IDLE_SECONDS or now - max(left_at, run.last_use) > AWAY_SECONDS:
                    self._drop(key)
            owners = {run.owner for run in self._runs.values()}
            self._away = {owner: left_at for owner, left_at in self._away.items() if owner in owners}

    def close(self) -> None:
        """Let go of everything, on disk too."""
        with self._lock:
            self._runs.clear()
            self._bytes = 0
            self._overflow.close()

    def _here(self, job_id: str, image: int) -> _Run | None:
        """A recording with its numbers in memory, brought back from disk if they are there. The lock is held."""
        run = self._runs.get((job_id, image))
        if run is None or not run.away:
            return run
        assert run.file is not None
        arrays = self._overflow.get(run.file)
        if arrays is None:
            self._drop((job_id, image))
            return None
        self._bytes -= run.nbytes
        run.evaluations = [_with_numbers(e, arrays) for e in run.evaluations]
        run.after, run.picture = arrays.get("after"), arrays.get("picture")
        run.away = False
        self._bytes += run.nbytes
        return run

    def _make_room(self, run_in_use: _Run) -> None:
        """Put recordings on disk, those that were used longest ago first, until the others fit in memory; `run_in_use`
        stays. Where that is not possible the oldest is dropped. The lock is held."""
        while self._bytes > self._max_bytes:
            others = [(key, run) for key, run in self._runs.items() if run is not run_in_use and run.array_bytes]
            if not others:
                break
            now = self._clock()
            candidates = [one for one in others if one[1].complete or now - one[1].last_write > GROWING_SECONDS]
            key, run = (candidates or others)[0]
            if not candidates or not self._put_away(run):
                self._drop(key)

    def _put_away(self, run: _Run) -> bool:
        """Move a recording's numbers to disk. The lock is held."""
        if run.evaluations_in_file != len(run.evaluations):
            if run.file is not None:
                self._overflow.drop(run.file)
            arrays = _arrays(run)
            while not self._overflow.fits(sum(a.nbytes for a in arrays.values())):
                run_key = next(
                    (key for key, one in self._runs.items() if one.file is not None and one is not run), None
                )
                if run_key is None:
                    break
                self._drop(run_key)
            run.file = self._overflow.put(arrays)
            if run.file is None:
                return False
            run.evaluations_in_file = len(run.evaluations)
        self._bytes -= run.nbytes
        run.evaluations = [_without_numbers(e) for e in run.evaluations]
        run.after = run.picture = None
        run.away = True
        self._bytes += run.nbytes
        return True

    def _use(self, job_id: str, image: int) -> None:
        """Make a recording the one used last. The lock is held."""
        self._runs.move_to_end((job_id, image))
        self._runs[job_id, image].last_use = self._clock()

    def _keep_what_fits(self, run: _Run, before: Array | None) -> None:
        """Make a recording that is too large alone smaller. `before` are the latents that its newest evaluation began
        with, None when it is its first. The lock is held."""
        self._bytes -= run.nbytes
        while run.nbytes > self._max_bytes and run.thin():
            pass
        if run.nbytes > self._max_bytes:
            run.evaluations.pop()
            run.after, run.full = before, True
            run.measures.pop(len(run.evaluations) - 1, None)
        self._bytes += run.nbytes

    def _drop(self, key: tuple[str, int]) -> None:
        run = self._runs.pop(key)
        self._bytes -= run.nbytes
        if run.file is not None:
            self._overflow.drop(run.file)

    def _drop_oldest(self) -> None:
        self._drop(next(iter(self._runs)))

    def get(
        self, job_id: str, image: int, since: int, state: str, *, until: int | None = None, lean: bool = False
    ) -> bytes | None:
        """The evaluations `since`.. (before `until`) as bytes of a safetensors file (docs/record.md); None when there
        are none. `lean` takes eight bits a number of a large run.

        An answer without evaluations has arrays of length 0, so that a reader may ask again for what comes next.
        """
        with self._lock:
            run = self._here(job_id, image)
            if run is None or not run.evaluations:
                return None
            self._use(job_id, image)
            self._make_room(run)
            assert run.after is not None
            evaluations, after, limits, picture = list(run.evaluations), run.after, run.limits, run.picture
        since = max(0, since)
        numbers = [_measures(run, evaluations, after, e.index) for e in evaluations[since:until]]
        recording = Recording(run.facts, evaluations, after, limits, run.preview, picture)
        return to_bytes(
            recording, numbers, job_id=job_id, image=image, state=state, since=since, until=until, lean=lean
        )


_NOTHING = np.zeros(0, np.float32)


def _arrays(run: _Run) -> dict[str, Array]:
    """A recording's numbers by name, as `_with_numbers` finds them."""
    assert run.after is not None
    arrays = {"after": run.after} | ({"picture": run.picture} if run.picture is not None else {})
    for e in run.evaluations:
        arrays[f"{e.index}.latents"], arrays[f"{e.index}.outputs"] = e.latents, e.outputs
        if e.guided is not None:
            arrays[f"{e.index}.guided"] = e.guided
        if e.attention is not None:
            arrays |= {f"{e.index}.{name}": values for name, values in e.attention.groups.items()}
    return arrays


def _without_numbers(e: RecordedEvaluation) -> RecordedEvaluation:
    """An evaluation while its numbers are on disk."""
    attention = e.attention and replace(e.attention, groups=dict.fromkeys(e.attention.groups, _NOTHING))
    guided_output = None if e.guided is None else _NOTHING
    return replace(e, latents=_NOTHING, outputs=_NOTHING, guided=guided_output, attention=attention)


def _with_numbers(e: RecordedEvaluation, arrays: Mapping[str, Array]) -> RecordedEvaluation:
    """An evaluation with its numbers again."""
    groups = {name: arrays[f"{e.index}.{name}"] for name in (e.attention.groups if e.attention else ())}
    return replace(
        e,
        latents=arrays[f"{e.index}.latents"],
        outputs=arrays[f"{e.index}.outputs"],
        guided=None if e.guided is None else arrays[f"{e.index}.guided"],
        attention=e.attention and replace(e.attention, groups=groups),
    )


def _measures(run: _Run, evaluations: list[RecordedEvaluation], after: Array, index: int) -> dict[str, object]:
    """The numbers of one evaluation, computed for the first reader."""
    if index not in run.measures:
        following = evaluations[index + 1].latents if index + 1 < len(evaluations) else after
        beginnings = [int(one["evaluation"]) for one in _schedulers(run.facts)]
        if index + 1 in beginnings and index + 1 < len(evaluations):
            following = in_scale_of(evaluations[index], evaluations[index + 1])
        place = sum(first <= index for first in beginnings) - 1
        adds_noise = bool(_schedulers(run.facts)[place]["adds_noise"])
        # A scheduler that took over knows nothing of the evaluations before.
        history = min(2, index - beginnings[place])
        run.measures[index] = measures_of(evaluations[index - history : index + 1], following, adds_noise=adds_noise)
    maps = evaluations[index].attention  # may have been let go of since the numbers were computed
    if maps is None:
        return run.measures[index]
    if index not in run.lost_words:
        run.lost_words[index] = _lost_words(run.facts, maps)
    return run.measures[index] | {"attention_text": maps.text, "lost_words": run.lost_words[index]}


def _lost_words(facts: Mapping[str, Any], maps: RecordedAttention) -> list[float] | None:
    rows, tokens = facts.get("attention_rows"), facts.get("tokens")
    return lost_measures(maps, rows[maps.text], tokens["prompt"][maps.text]["chunks"]) if rows and tokens else None


def _schedulers(facts: Mapping[str, object]) -> list[dict[str, Any]]:
    """The header's `schedulers` (docs/record.md); what has no header to speak of adds no noise."""
    schedulers: Any = facts.get("schedulers", [{"evaluation": 0, "adds_noise": False}])
    return list(schedulers)
