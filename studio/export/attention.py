"""Where the U-Net looked for each word of a run, as pictures: a ZIP of PNG files. NumPy and Pillow.

One picture a word, drawn over the last predicted x0: the mean over evaluations and over the layers of the down and up
blocks (Tang et al. 2023, DAAM, without its rescaling of each map). All words of the run share one colour scale.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from typing import Any

import numpy as np
from PIL import Image

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem
from studio.export.colours import colour
from studio.export.replay import Replay

Array = np.ndarray[Any, np.dtype[Any]]

OPACITY = 0.62  # as on the page


def pictures(replay: Replay, *_: object) -> bytes:
    """The ZIP. Raises InvalidRequest for a run that did not record where the U-Net looked."""
    by_word = words(replay)
    if not by_word:
        raise InvalidRequest(Problem("kind", "attention", Message("a run of the noise viewer, which records it")))
    width, height = replay.run["width"], replay.run["height"]
    under = replay.picture(replay.of(len(replay) - 1, "denoised")).resize((width, height))
    high = max(float(values.max()) for values in by_word.values()) or 1.0
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as whole:
        for place, (word, values) in enumerate(by_word.items(), start=1):
            large = Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
            heat = Image.fromarray(colour(np.asarray(large) / high))
            file = io.BytesIO()
            Image.blend(under, heat, OPACITY).save(file, "PNG")
            name = re.sub(r"[^\w-]+", "_", word)[:40]
            whole.writestr(f"{place:02d}-{name}.png", file.getvalue())
        scale = {
            "scale": [0.0, high],
            "what": "probability, mean over evaluations, layers of down and up blocks, heads",
        }
        whole.writestr("scale.json", json.dumps(scale | {"words": list(by_word)}, indent=1))
    return out.getvalue()


def words(replay: Replay) -> dict[str, Array]:
    """The mean map (h, w) of each word of the prompt on the finest grid, in the order of the prompt; where a prompt has
    several texts, of the first one's words. Empty without attention."""
    rows = replay.run.get("attention_rows")
    groups = {
        n: t for n, t in replay.tensors.items() if n.startswith("attention.") and not n.startswith("attention.mid")
    }
    attention_maps = [e["attention_text"] for e in replay.evaluations if "attention_text" in e]
    if not rows or not groups:
        return {}
    first = [place for place, text in enumerate(attention_maps) if text == 0]
    size = max((t.shape[2:] for t in groups.values()), key=lambda s: int(s[0] * s[1]))
    layers = Counter(
        f"attention.{one['place']}.{one['height']}x{one['width']}" for one in replay.run["attention_layers"]
    )
    total = sum(layers[name] for name in groups)
    by_word: dict[str, Array] = {}
    chunks = replay.run["tokens"]["prompt"][0]["chunks"]
    for word, its in _rows_of_words(rows[0], chunks).items():
        whole = np.zeros(size, np.float64)
        for name, maps in groups.items():
            mean = maps[first][:, its].astype(np.float64).sum(axis=1).mean(axis=0)
            picture = Image.fromarray(mean.astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR)
            whole += np.asarray(picture) * layers[name] / total
        by_word[word] = whole
    return by_word


def _rows_of_words(rows: list[dict[str, Any]], chunks: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The rows of each word's pieces; a word that comes twice has its number behind it."""
    pieces: dict[tuple[int, int], list[int]] = {}
    for place, row in enumerate(rows):
        chunk, position = row["chunk"], row["position"]
        if position is not None and chunk < len(chunks) and chunks[chunk]["kinds"][position] == "content":
            pieces.setdefault((chunk, chunks[chunk]["words"][position]), []).append(place)
    by_word: dict[str, list[int]] = {}
    for (chunk, _), its in pieces.items():
        word = "".join(chunks[chunk]["text"][rows[place]["position"]] for place in its)
        times = sum(name.split(" (")[0] == word for name in by_word)
        by_word[f"{word} ({times + 1})" if times else word] = its
    return by_word
