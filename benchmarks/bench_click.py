"""How long a click on Generate takes to reach the engine, with 24 earlier pictures of 2048 x 2048 and without any.

    python -m benchmarks.bench_click

The bar: with the pictures at most 1.05 of the time without. The engine is asked before the pictures are looked up, and
that lookup, which is told too, reads the chunks of the files that hold their metadata, and no pixel.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from studio.answered.engine import Refused
from studio.asked.fields import TextToImage
from studio.asked.resolved import Suits, resolve
from studio.picture.gallery import Gallery
from studio.picture.infotext import parameters_text
from studio.picture.metadata import picture_info
from studio.ui import session

PICTURES, SIDE, OWNER, CLICKS = 24, 2048, "0" * 32, 25


class Stub:
    """An engine that only notes when it is asked."""

    async def submit(self, *_: object, **__: object) -> str:
        self.time_of_order = time.perf_counter()
        raise Refused("asked")


async def click(gallery: Gallery) -> tuple[float, float]:
    """Seconds from a click to the engine, and to the first view of the page."""
    engine, fields = Stub(), {"prompt": "a fox in the snow", "seed": 7}
    start = time.perf_counter()
    views = session.run(engine, gallery, OWNER, "text_to_image", lambda: TextToImage.parse(fields))  # type: ignore[arg-type]
    await anext(aiter(views))
    return engine.time_of_order - start, time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        empty, full = Gallery(Path(folder) / "empty"), Gallery(Path(folder) / "full")
        noise = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        run = resolve(TextToImage(prompt="a fox in the snow", seed=7), Suits(width=SIDE, height=SIDE))
        info = picture_info(run, width=SIDE, height=SIDE)
        for _ in range(PICTURES):
            full.save(Image.fromarray(noise), info=info, parameters=parameters_text(info), owner=OWNER)
        times: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
        for _ in range(CLICKS):
            for name, gallery in (("without", empty), ("with", full)):
                times[name].append(asyncio.run(click(gallery)))
    for name, pairs in times.items():
        engine, view = (statistics.median(one) * 1000 for one in zip(*pairs))
        print(f"{name} earlier pictures: to the engine {engine:.2f} ms, to the first view {view:.2f} ms")


if __name__ == "__main__":
    main()
