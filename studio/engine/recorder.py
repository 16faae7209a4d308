"""What the noise viewer shows: x_t, predicted x0 and predicted noise of every evaluation, in half precision.

Copies what the lanes computed anyway: no hooks, nothing is asked of the model. Bounded memory; the recording that was
looked at or written to longest ago goes first. NumPy only, safe from any thread; ownership is checked by the caller.
"""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_BYTES = 256 * 2**20
MAX_RUNS = 512  # also bounds those that hold nothing yet
TENSORS = ("x_t", "denoised", "noise_pred")

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Recorded:
    """One evaluation: `arrays` (3, C, h, w) float16 in the order of TENSORS, and what is known of it."""

    arrays: Array
    index: int
    timestep: float
    sigma: float
    a: float
    s: float


@dataclass
class _Run:
    facts: Mapping[str, object]
    preview: tuple[Array, Array] | None
    evaluations: list[Recorded] = field(default_factory=list)


class Recorder:
    """The recordings of recent images by (job id, image)."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._runs: OrderedDict[tuple[str, int], _Run] = OrderedDict()

    def begin(
        self, job_id: str, image: int, facts: Mapping[str, object], preview: tuple[Array, Array] | None = None
    ) -> None:
        """Open a recording. `facts` goes into the header: total, width, height, prompt, seed, ... `preview` is the
        fast decoder's (weight, bias)."""
        with self._lock:
            self._runs[job_id, image] = _Run(facts, preview)
            while len(self._runs) > MAX_RUNS:
                self._drop_oldest()

    def add(self, job_id: str, image: int, evaluation: Recorded) -> None:
        """Append an evaluation; nothing happens when the recording has been dropped meanwhile."""
        with self._lock:
            run = self._runs.get((job_id, image))
            if run is None:
                return
            run.evaluations.append(evaluation)
            self._bytes += evaluation.arrays.nbytes
            self._runs.move_to_end((job_id, image))
            while self._bytes > self._max_bytes and self._runs:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, dropped = self._runs.popitem(last=False)
        self._bytes -= sum(e.arrays.nbytes for e in dropped.evaluations)

    def get(self, job_id: str, image: int, since: int, state: str) -> bytes | None:
        """The evaluations `since`.. as bytes of a safetensors file (events.Engine.record); None when there are none.

        An answer without evaluations has arrays of length 0, so that a reader may ask again for what comes next.
        """
        with self._lock:
            run = self._runs.get((job_id, image))
            if run is None or not run.evaluations:
                return None
            self._runs.move_to_end((job_id, image))
            shape = run.evaluations[0].arrays.shape[1:]
            taken = run.evaluations[max(0, since) :]
        from safetensors.numpy import save  # imports no torch; here because the page's start should not wait for it

        stacked = np.stack([e.arrays for e in taken], axis=1) if taken else np.zeros((3, 0, *shape), np.float16)
        tensors = dict(zip(TENSORS, np.ascontiguousarray(stacked)))
        if run.preview is not None:
            tensors["preview.weight"], tensors["preview.bias"] = run.preview
        header = {
            **run.facts,
            "job_id": job_id,
            "image": image,
            "state": state,
            "since": since,
            "evaluations": [_facts(e) for e in taken],
        }
        return bytes(save(tensors, metadata={"run": json.dumps(header, allow_nan=False)}))


def _facts(evaluation: Recorded) -> dict[str, object]:
    norms = [float(np.linalg.norm(array.astype(np.float32))) for array in evaluation.arrays]
    return {
        "index": evaluation.index,
        "timestep": evaluation.timestep,
        "sigma": _finite(evaluation.sigma),
        "a": evaluation.a,
        "s": evaluation.s,
        "log_snr": _finite(2 * math.log(evaluation.a / evaluation.s) if evaluation.a and evaluation.s else -math.inf),
        **{f"norm_{name}": _finite(norm) for name, norm in zip(TENSORS, norms)},
    }


def _finite(value: float) -> float | None:
    """JSON has no infinity: pure noise (a = 0) has no finite sigma, and says null."""
    return value if math.isfinite(value) else None
