"""A recorded run in numbers and pictures: what the noise viewer shows, for a reader who has no page."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from studio.export import attention
from studio.export.colours import colour
from studio.export.replay import Replay

MAX_ROWS = 30  # of the table: of a longer run every second evaluation, or every third, ...
MAX_WORDS = 8
MAX_STATES = 20  # of predicted x0
COLUMNS = 5  # of the states' sheet
MAP_SIDE = 256  # pixels
OPACITY = 0.62  # as on the page

_COLUMNS = (
    ("evaluation", "index"), ("timestep", "timestep"), ("sigma", "sigma"), ("|x_t|", "norm_x_t"),
    ("|x0|", "norm_denoised"), ("|noise|", "norm_noise_pred"), ("guidance ratio", "guidance_ratio"),
    ("cosine", "cosine"),
)  # fmt: skip
_MEANINGS = (
    "sigma is the noise level, noise over signal. |x_t|, |x0| and |noise| are the Euclidean norms of what the U-Net "
    "was given, of the clean picture that it predicts and of the noise that it predicts. The guidance ratio says how "
    "large the prompt's pull is beside the prediction without it; the cosine is 1 where both predictions agree."
)


@dataclass(frozen=True)
class Explanation:
    """`text` for a reader, the same `numbers` for a program, and `pictures` as PNG files, each with what it shows."""

    text: str
    numbers: dict[str, Any]
    pictures: tuple[tuple[str, bytes], ...]


def explain(recording: bytes) -> Explanation:
    """The numbers of every evaluation, predicted x0 over the run, and where the U-Net looked for each word."""
    replay = Replay(recording)
    run = replay.run
    every = -(-len(replay) // MAX_ROWS)
    lines = [" | ".join(name for name, _ in _COLUMNS)]
    lines += [
        " | ".join(_short(facts.get(key)) for _, key in _COLUMNS)
        for index, facts in enumerate(replay.evaluations)
        if index % every == 0 or index == len(replay) - 1
    ]
    maps = attention.words(replay)
    shares = {word: float(values.mean()) for word, values in maps.items()}
    head = (
        f"{run['scheduler_label']}, {run['noise_schedule']}, {run['steps']} steps, guidance {run['guidance_scale']:g}, "
        f"seed {run['seed']}, {run['width']}x{run['height']}, checkpoint {run['checkpoint']}"
    )
    text_lines = [head, "", *lines, *([f"(every {every}th evaluation)"] if every > 1 else []), "", _MEANINGS]
    if shares:
        words = ", ".join(f"{word} {share:.1%}" for word, share in shares.items())
        text_lines += ["", f"Share of the U-Net's attention for each word, mean over pixels and evaluations: {words}."]
    text_lines += list(run.get("prompt_notes") or ())
    pictures = [_states(replay), *_maps(replay, maps)]
    numbers = {"evaluations": replay.evaluations, "words": shares}
    return Explanation("\n".join(text_lines), numbers, tuple(pictures))


def _states(replay: Replay) -> tuple[str, bytes]:
    """Predicted x0 over the run, at so many evaluations at most, in reading order."""
    last = len(replay) - 1
    count = min(len(replay), MAX_STATES)
    indices = sorted({round(k * last / max(1, count - 1)) for k in range(count)})
    width, height = _small(replay)
    whole = Image.new("RGB", (min(COLUMNS, len(indices)) * width, -(-len(indices) // COLUMNS) * height))
    for place, index in enumerate(indices):
        state = replay.picture(replay.of(index, "denoised")).resize((width, height))
        whole.paste(state, (place % COLUMNS * width, place // COLUMNS * height))
    file = io.BytesIO()
    whole.save(file, "PNG")
    return f"Predicted x0 after evaluations {', '.join(map(str, indices))}", file.getvalue()


def _small(replay: Replay) -> tuple[int, int]:
    """The run's shape, with the longer side as long as a map's."""
    width, height = replay.run["width"], replay.run["height"]
    scale = MAP_SIDE / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _maps(replay: Replay, maps: dict[str, attention.Array]) -> list[tuple[str, bytes]]:
    """The words that are looked at most, in the order of the prompt, over the last predicted x0; one colour scale."""
    most = sorted(maps, key=lambda word: float(maps[word].max()), reverse=True)[:MAX_WORDS]
    high = max((float(values.max()) for values in maps.values()), default=0.0) or 1.0
    size = _small(replay)
    under = replay.picture(replay.of(len(replay) - 1, "denoised")).resize(size) if maps else None
    pictures = []
    for word in (word for word in maps if word in most and under is not None):
        large = Image.fromarray(maps[word].astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
        file = io.BytesIO()
        Image.blend(under, Image.fromarray(colour(np.asarray(large) / high)), OPACITY).save(file, "PNG")
        pictures.append((f"Where the U-Net looked for: {word}", file.getvalue()))
    return pictures


def _short(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
