"""How long a click on Generate takes to reach the engine, with 24 earlier pictures of 2048 x 2048 and without any.

    python -m benchmarks.bench_click

The bar: with the pictures at most 1.05 of the time without, and the listing itself in milliseconds. It reads the chunks
of the files that hold their metadata, and no pixel.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from studio.asked.requests import TextToImage
from studio.asked.resolved import Suits, resolve
from studio.picture.gallery import Gallery
from studio.picture.metadata import parameters_text, picture_info

PICTURES, SIDE, OWNER, CLICKS = 24, 2048, "0" * 32, 15


def click(gallery: Gallery) -> float:
    """Seconds of what a click does before the engine is asked: the visitor's pictures listed, the fields parsed."""
    began = time.perf_counter()
    gallery.earlier(OWNER, PICTURES)
    resolve(TextToImage.parse({"prompt": "a fox in the snow", "seed": 7}), Suits())
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        empty, full = Gallery(Path(folder) / "empty"), Gallery(Path(folder) / "full")
        noise = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        run = resolve(TextToImage(prompt="a fox in the snow", seed=7), Suits(width=SIDE, height=SIDE))
        info = picture_info(run, width=SIDE, height=SIDE)
        for _ in range(PICTURES):
            full.save(Image.fromarray(noise), info=info, parameters=parameters_text(info), owner=OWNER)
        without, with_them = (statistics.median(click(g) for _ in range(CLICKS)) for g in (empty, full))
    print(f"without earlier pictures {without * 1000:.2f} ms, with {PICTURES} of {SIDE} px {with_them * 1000:.2f} ms")


if __name__ == "__main__":
    main()
