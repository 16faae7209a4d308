"""What the noise viewer reads: what the U-Net was given and what it answered, at every evaluation of recent images.

Copies what the lanes have anyway: no hooks, nothing is asked of the model. What can be computed from that is computed
when somebody reads, not while the lanes run. Bounded memory; the recording that was looked at or written to longest ago
goes first, one that alone is too large keeps what fits, and a visitor who leaves takes theirs along. NumPy only, safe
from any thread; ownership is checked by the caller. docs/record.md has the format.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from studio.engine.branching import Source
from studio.engine.measures import in_scale_of, measured

MAX_BYTES = 256 * 2**20
MAX_RUNS = 512  # also bounds those that hold nothing yet
IDLE_SECONDS = 1800.0  # a recording that nobody has written to or read for so long is dropped
AWAY_SECONDS = 300.0  # the same once its visitor has closed the page: long enough for a reload, or a tunnel that breaks

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class RecordedAttention:
    """Where the U-Net looked: `groups` (rows, h, w) float16 by tensor name, of the prompt's text number `text`;
    `layers` are the shapes of its cross-attention layers."""

    groups: Mapping[str, Array]
    text: int
    layers: tuple[Mapping[str, object], ...]


@dataclass(frozen=True)
class Recorded:
    """One evaluation as the lane had it. `latents` (C, h, w) float32 in the scheduler's scale, `scale` times the
    model's input; `outputs` (branches, C, h, w), the negative prompt's first, float32 or float16.

    `guided` is the model output that the scheduler was given, where it is not u + w (c - u). `seconds` is the time of
    the U-Net call, which `rows` rows shared.
    """

    index: int
    stage: int
    step: int
    timestep: float
    sigma: float
    a: float
    s: float
    scale: float
    prediction_type: str
    guidance_scale: float
    latents: Array
    outputs: Array
    guided: Array | None = None
    seconds: float = 0.0
    rows: int = 1
    attention: RecordedAttention | None = None

    @property
    def nbytes(self) -> int:
        arrays = [self.latents, self.outputs, *([self.guided] if self.guided is not None else [])]
        return sum(array.nbytes for array in (*arrays, *(self.attention.groups.values() if self.attention else ())))


@dataclass
class _Run:
    facts: Mapping[str, object]
    preview: tuple[Array, Array] | None
    source: Source | None = None
    evaluations: list[Recorded] = field(default_factory=list)
    after: Array | None = None  # latents after the newest evaluation, as Recorded.latents
    told: dict[int, dict[str, object]] = field(default_factory=dict)  # what was computed for readers, by index
    owner: str = ""
    used: float = 0.0  # when it was last written to or read
    looks_every: int = 1  # evaluations between two that keep their attention
    full: bool = False  # nothing more of it is kept: alone it takes all the memory there is

    @property
    def nbytes(self) -> int:
        arrays = sum(e.nbytes for e in self.evaluations) + (self.after.nbytes if self.after is not None else 0)
        return arrays + (self.source.size_bytes if self.source is not None else 0)

    @property
    def kept(self) -> dict[str, object]:
        """What the header says of a recording that was too large to be kept whole."""
        return {"evaluations": len(self.evaluations), "attention_every": self.looks_every, "full": self.full}

    def thin(self) -> bool:
        """Keep the attention of half as many evaluations; False when there is none left to let go of."""
        if not any(e.attention is not None for e in self.evaluations[1:]):
            return False
        self.looks_every *= 2
        self.evaluations = [self.fitting(e) for e in self.evaluations]
        return True

    def fitting(self, evaluation: Recorded) -> Recorded:
        return evaluation if evaluation.index % self.looks_every == 0 else replace(evaluation, attention=None)


class Recorder:
    """The recordings of recent images by (job id, image)."""

    def __init__(self, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
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
        source: Source | None = None,
        owner: str = "",
    ) -> None:
        """Open a recording. `facts` goes into the header: total, width, height, prompt, seed, ... `preview` is the
        fast decoder's (weight, bias); `source` what a branch needs to begin as this image did."""
        with self._lock:
            self._runs[job_id, image] = run = _Run(facts, preview, source, owner=owner, used=self._clock())
            self._bytes += run.nbytes
            while len(self._runs) > MAX_RUNS:
                self._drop_oldest()

    def add(self, job_id: str, image: int, evaluation: Recorded, after: Array) -> None:
        """Append an evaluation and the latents that its step led to; nothing happens when the recording has been
        dropped meanwhile, or is full.

        The oldest recordings make room. One that is too large alone keeps the attention of every second evaluation, of
        every fourth, ...; then it ends with the evaluation before this one, and its header says so.
        """
        with self._lock:
            run = self._runs.get((job_id, image))
            if run is None or run.full:
                return
            self._bytes -= run.nbytes
            before = run.after
            run.evaluations.append(run.fitting(evaluation))
            run.after = after
            self._bytes += run.nbytes
            self._use(job_id, image)
            while self._bytes > self._max_bytes and len(self._runs) > 1:
                self._drop_oldest()
            if self._bytes > self._max_bytes:
                self._keep_what_fits(run, before)

    def past(self, job_id: str, image: int) -> tuple[Source, list[Recorded]] | None:
        """What an image was made from and its evaluations so far, for a branch; None when that is not known (any
        more)."""
        with self._lock:
            run = self._runs.get((job_id, image))
            if run is None or run.source is None:
                return None
            self._use(job_id, image)
            return run.source, list(run.evaluations)

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
                left = self._away.get(run.owner, math.inf)
                if now - run.used > IDLE_SECONDS or now - max(left, run.used) > AWAY_SECONDS:
                    self._drop(key)
            owners = {run.owner for run in self._runs.values()}
            self._away = {owner: left for owner, left in self._away.items() if owner in owners}

    def _use(self, job_id: str, image: int) -> None:
        """Make a recording the one used last. The lock is held."""
        self._runs.move_to_end((job_id, image))
        self._runs[job_id, image].used = self._clock()

    def _keep_what_fits(self, run: _Run, before: Array | None) -> None:
        """Make a recording that is too large alone smaller. `before` are the latents that its newest evaluation began
        with, None when it is its first. The lock is held."""
        self._bytes -= run.nbytes
        while run.nbytes > self._max_bytes and run.thin():
            pass
        if run.nbytes > self._max_bytes:
            run.evaluations.pop()
            run.after, run.full = before, True
            run.told.pop(len(run.evaluations) - 1, None)
        self._bytes += run.nbytes

    def _drop(self, key: tuple[str, int]) -> None:
        self._bytes -= self._runs.pop(key).nbytes

    def _drop_oldest(self) -> None:
        self._drop(next(iter(self._runs)))

    def get(self, job_id: str, image: int, since: int, state: str) -> bytes | None:
        """The evaluations `since`.. as bytes of a safetensors file (docs/record.md); None when there are none.

        An answer without evaluations has arrays of length 0, so that a reader may ask again for what comes next.
        """
        with self._lock:
            run = self._runs.get((job_id, image))
            if run is None or not run.evaluations:
                return None
            self._use(job_id, image)
            evaluations = list(run.evaluations)
            after = run.after
            kept = run.kept
        from safetensors.numpy import save  # imports no torch; here because the page's start should not wait for it

        since = max(0, since)
        assert after is not None
        guided = any(len(e.outputs) == 2 for e in evaluations)  # of a branch maybe some only
        tensors = _tensors(evaluations[0].latents.shape, guided, evaluations[since:])
        header: dict[str, object] = {
            "job_id": job_id,
            "image": image,
            "state": state,
            "since": since,
            "total": run.facts.get("total"),
            "kept": kept,
            "evaluations": [_told(run, evaluations, after, e.index) for e in evaluations[since:]],
        }
        if since == 0:
            header = dict(run.facts) | header
            if evaluations[0].attention is not None:
                header["attention_layers"] = evaluations[0].attention.layers
            if run.preview is not None:
                tensors["preview.weight"], tensors["preview.bias"] = run.preview
        if len(evaluations) == run.facts.get("total"):
            tensors["latents"] = after.astype(np.float16)
        return bytes(save(tensors, metadata={"run": json.dumps(header, allow_nan=False)}))


def _tensors(shape: tuple[int, ...], guided: bool, taken: list[Recorded]) -> dict[str, Array]:
    empty = np.zeros((0, *shape), np.float16)

    def stacked(arrays: list[Array]) -> Array:
        return np.stack(arrays).astype(np.float16) if arrays else empty

    tensors = {"x_t": stacked([e.latents / np.float32(e.scale) for e in taken])}
    tensors["model_cond"] = stacked([e.outputs[-1] for e in taken])
    if guided:  # the difference and not the other answer: it is small, and would drown in rounding
        tensors["model_difference"] = stacked([e.outputs[-1].astype(np.float32) - e.outputs[0] for e in taken])
    captured = [e.guided for e in taken if e.guided is not None]
    if captured:
        tensors["model_guided"] = stacked(captured)
    return tensors | _attention([e.attention for e in taken if e.attention is not None])


def _attention(taken: list[RecordedAttention]) -> dict[str, Array]:
    """Each group's maps (n, rows, h, w); where texts of a prompt differ in rows, the shorter ones end in zeros."""
    tensors = {}
    for name in taken[0].groups if taken else ():
        maps = [attention.groups[name] for attention in taken]
        stacked = np.zeros((len(maps), max(len(m) for m in maps), *maps[0].shape[1:]), np.float16)
        for place, one in enumerate(maps):
            stacked[place, : len(one)] = one
        tensors[name] = stacked
    return tensors


def _told(run: _Run, evaluations: list[Recorded], after: Array, index: int) -> dict[str, object]:
    """The numbers of one evaluation, computed for the first reader."""
    if index not in run.told:
        following = evaluations[index + 1].latents if index + 1 < len(evaluations) else after
        begun = [int(one["evaluation"]) for one in _schedulers(run.facts)]
        if index + 1 in begun and index + 1 < len(evaluations):
            following = in_scale_of(evaluations[index], evaluations[index + 1])
        place = sum(first <= index for first in begun) - 1
        adds_noise = bool(_schedulers(run.facts)[place]["adds_noise"])
        # A scheduler that took over knows nothing of the evaluations before.
        history = min(2, index - begun[place])
        run.told[index] = measured(evaluations[index - history : index + 1], following, adds_noise=adds_noise)
    seen = evaluations[index].attention  # may have been let go of since the numbers were computed
    return run.told[index] if seen is None else run.told[index] | {"attention_text": seen.text}


def _schedulers(facts: Mapping[str, object]) -> list[dict[str, Any]]:
    """The header's `schedulers` (docs/record.md); what has no header to speak of adds no noise."""
    known: Any = facts.get("schedulers", [{"evaluation": 0, "adds_noise": False}])
    return list(known)
