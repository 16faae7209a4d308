"""A recording as the bytes of a safetensors file, as docs/record.md has it. NumPy only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from studio.engine.recorded_evaluation import Array, RecordedAttention, RecordedEvaluation

LEAN_BYTES = 32 * 2**20  # of a run's latents in half precision: a reader who agrees is sent larger ones in eight bits


@dataclass(frozen=True)
class Recording:
    """One recording as it stands. `after` (C, h, w) are the latents after its newest evaluation; `limits` says what of
    it was too large to be kept; `preview` is the fast decoder's (weight, bias); `picture` (height, width, 3), uint8, is
    the finished one."""

    facts: Mapping[str, object]
    evaluations: list[RecordedEvaluation]
    after: Array
    limits: Mapping[str, object]
    preview: tuple[Array, Array] | None
    picture: Array | None = None


def to_bytes(
    recording: Recording,
    measures: list[dict[str, object]],
    *,
    job_id: str,
    image: int,
    state: str,
    since: int,
    until: int | None,
    lean: bool,
) -> bytes:
    """The evaluations `since`.. (before `until`), whose numbers are `measures`. `lean` takes eight bits a number of a
    large run."""
    from safetensors.numpy import save  # imports no torch; here because the page's start should not wait for it

    evaluations, facts = recording.evaluations, recording.facts
    is_guided = any(len(e.outputs) == 2 for e in evaluations)  # of a branch maybe some only
    tensors = _tensors(evaluations[0].latents.shape, is_guided, evaluations[since:until])
    large = 3 * 2 * evaluations[0].latents.size * int(str(facts.get("total") or 0)) > LEAN_BYTES
    if lean and large:
        tensors = in_eight_bits(tensors)
    header: dict[str, object] = {
        "job_id": job_id,
        "image": image,
        "state": state,
        "since": since,
        "total": facts.get("total"),
        "kept": recording.limits,
        "bits": 8 if lean and large else 16,
        "evaluations": measures,
    }
    if since == 0:
        header = dict(facts) | header
        if evaluations[0].attention is not None:
            header["attention_layers"] = evaluations[0].attention.layers
        if recording.preview is not None:
            tensors["preview.weight"], tensors["preview.bias"] = recording.preview
    if len(evaluations) == facts.get("total") and until is None:
        tensors["latents"] = recording.after.astype(np.float16)
    if recording.picture is not None and state not in ("queued", "running") and until is None:
        tensors["picture"] = recording.picture  # once: a reader asks until the job has ended
    return bytes(save(tensors, metadata={"run": json.dumps(header, allow_nan=False)}))


def _tensors(shape: tuple[int, ...], guided: bool, evaluations: list[RecordedEvaluation]) -> dict[str, Array]:
    empty = np.zeros((0, *shape), np.float16)

    def stack(arrays: list[Array]) -> Array:
        return np.stack(arrays).astype(np.float16) if arrays else empty

    tensors = {"x_t": stack([e.latents / np.float32(e.scale) for e in evaluations])}
    tensors["model_cond"] = stack([e.outputs[-1] for e in evaluations])
    if guided:  # the difference and not the other answer: it is small, and would drown in rounding
        tensors["model_difference"] = stack([e.outputs[-1].astype(np.float32) - e.outputs[0] for e in evaluations])
    guided_outputs = [e.guided for e in evaluations if e.guided is not None]
    if guided_outputs:
        tensors["model_guided"] = stack(guided_outputs)
    return tensors | _attention([e.attention for e in evaluations if e.attention is not None])


def _attention(recordings: list[RecordedAttention]) -> dict[str, Array]:
    """Each group's maps (n, rows, h, w); where texts of a prompt differ in rows, the shorter ones end in zeros."""
    tensors = {}
    for name in recordings[0].groups if recordings else ():
        maps = [attention.groups[name] for attention in recordings]
        stack = np.zeros((len(maps), max(len(m) for m in maps), *maps[0].shape[1:]), np.float16)
        for place, one in enumerate(maps):
            stack[place, : len(one)] = one
        tensors[name] = stack
    return tensors


def in_eight_bits(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Each tensor (n, C, h, w) as uint8 and its `.range` (n, C, 2): every channel of every evaluation between its own
    least and greatest value."""
    small = {}
    for name, values in tensors.items():
        wide = values.astype(np.float32)
        if not len(wide):
            small[name], small[f"{name}.range"] = wide.astype(np.uint8), np.zeros((*wide.shape[:2], 2), np.float32)
            continue
        low, high = wide.min(axis=(2, 3), keepdims=True), wide.max(axis=(2, 3), keepdims=True)
        span = np.where(high > low, high - low, 1)
        small[name] = ((wide - low) / span * 255).round().astype(np.uint8)
        small[f"{name}.range"] = np.concatenate([low[..., 0], high[..., 0]], axis=-1)
    return small
