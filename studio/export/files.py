"""Which files a recording can become, and how each is made."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import save

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, Range, one_of, quoted_value
from studio.asked.quantities import DEFAULT_QUANTITIES, QUANTITIES, STATE_DECODERS
from studio.export import animation, attention, scalars
from studio.export.replay import Replay

FPS = Range(low=1, high=30)
DEFAULT_FPS = 8.0


@dataclass(frozen=True)
class Kind:
    """A file format: its name's ending, its media type, and what makes it of a replay, quantities, frame rate and how
    they are drawn."""

    ending: str
    media_type: str
    make: Callable[[Replay, Sequence[str], float, str], bytes]


@dataclass(frozen=True)
class File:
    """A file to be saved."""

    name: str
    media_type: str
    content: bytes


def tensors(replay: Replay, *_: object) -> bytes:
    """The recording itself with predicted x0 and predicted noise written out, float16; zeros where undefined."""
    tensors_by_name = {}
    for name in ("denoised", "noise_pred"):
        values = [replay.of(index, name) for index in range(len(replay))]
        empty = np.zeros(replay.tensors["x_t"].shape[1:], np.float32)
        tensors_by_name[name] = np.stack([f if f is not None else empty for f in values]).astype(np.float16)
    return bytes(save({**replay.tensors, **tensors_by_name}, metadata={"run": json.dumps(replay.run, allow_nan=False)}))


def _sheet(replay: Replay, quantities: Sequence[str], _: float, how: str) -> bytes:
    out = io.BytesIO()
    animation.sheet(replay, quantities[1] if len(quantities) > 1 else quantities[0], how).save(out, "PNG")
    return out.getvalue()


EXPORT_KINDS: Mapping[str, Kind] = {
    "mp4": Kind("mp4", "video/mp4", animation.mp4),
    "webp": Kind("webp", "image/webp", animation.webp),
    "gif": Kind("gif", "image/gif", animation.gif),
    "sheet": Kind("png", "image/png", _sheet),
    "tensors": Kind("safetensors", "application/octet-stream", tensors),
    "attention": Kind("zip", "application/zip", attention.pictures),
    "json": Kind("json", "application/json", lambda replay, *_: json.dumps(replay.run, indent=1).encode()),
    "csv": Kind("csv", "text/csv; charset=utf-8", lambda replay, *_: scalars.table(replay)),
}


def export(recording: bytes, kind: str, parameters: Mapping[str, str]) -> File:
    """A recording as a file. Raises InvalidRequest.

    `parameters` may hold `quantities` (names, commas between), `fps`, and `how` states are drawn.

    A contact sheet shows one quantity: the second of several, which by default is predicted x0.
    """
    problems = [
        Problem(name, quoted_value(parameters[name]), Message("the fields quantities, fps, how"))
        for name in parameters
        if name not in _FIELDS
    ]
    quantities = tuple(parameters["quantities"].split(",")) if "quantities" in parameters else DEFAULT_QUANTITIES
    if len(set(quantities)) != len(quantities) or any(name not in QUANTITIES for name in quantities):
        problems.append(
            Problem(
                "quantities",
                quoted_value(parameters["quantities"]),
                Message("any of {quantities}, once each", quantities=", ".join(QUANTITIES)),
            )
        )
    how = parameters.get("how", "fast")
    if how not in STATE_DECODERS:
        problems.append(Problem("how", quoted_value(how), one_of(STATE_DECODERS)))
    try:
        fps = float(parameters.get("fps", DEFAULT_FPS))
    except ValueError:
        fps = 0.0
    if not FPS.holds(fps):
        problems.append(Problem("fps", quoted_value(parameters["fps"]), FPS.describe()))
    if kind not in EXPORT_KINDS:
        problems.append(Problem("kind", quoted_value(kind), ", ".join((*EXPORT_KINDS, "html"))))
    if problems:
        raise InvalidRequest(*problems)
    replay = Replay(recording)
    exporter = EXPORT_KINDS[kind]
    return File(name_of(replay.run, exporter.ending), exporter.media_type, exporter.make(replay, quantities, fps, how))


_FIELDS = ("quantities", "fps", "how")


def name_of(run: Mapping[str, object], ending: str) -> str:
    """What an exported file is called."""
    return f"latent-studio-{run['seed']}.{ending}"
