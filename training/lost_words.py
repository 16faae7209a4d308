"""Does the noise viewer's measure of lost words predict which object of a prompt is missing? docs/viewer.md has the
figures.

    python -m training.lost_words                   # 200 two-object prompts in 8 steps, some minutes
    python -m training.lost_words --guidance 1      # the same without guidance, where more is lost

A word is predicted lost where the mean of its measure over the first half of the evaluations is above the limit. An
object is lost where the judge does not name it or finds it wrongly drawn. The last line: JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import OWNER, loaded_engine
from studio.asked.fields import TextToImage
from studio.engine.engine import DiffusionEngine
from studio.engine.viewer.lost_words import LOST_ABOVE
from training.evaluation_prompts import Prompt, draw_rows
from training.judge import judge

STEPS = 8


@dataclass(frozen=True)
class ObjectMeasure:
    """What was measured of one object of a prompt, and whether the judge misses it."""

    measure: float
    is_lost: bool


def measure_prompt(engine: DiffusionEngine, prompt: Prompt, checkpoint: str, guidance: float) -> list[ObjectMeasure]:
    """One run with its attention recorded, judged. Raises RuntimeError where it made no picture."""
    request = TextToImage(
        prompt=prompt.prompt,
        seed=prompt.seed,
        checkpoint=checkpoint,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
    )
    job = engine.submit(request, owner=OWNER, attention=True)
    path = engine._gallery.path(asyncio.run(_picture(engine, job)), OWNER)
    if path is None:
        raise RuntimeError(f"{prompt.prompt}: there is no picture")
    with Image.open(path) as picture:
        verdict = judge(picture)
    right = {one.name for one in verdict.objects_seen if one.score > 0}
    data = engine.record(job, owner=OWNER)
    run = json.loads(json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]["run"])
    words = prompt.prompt.split()
    measures = np.array([one["lost_words"] for one in run["evaluations"][: STEPS // 2]]).mean(axis=0)
    return [
        ObjectMeasure(float(measures[words.index(name.split()[-1])]), name not in right)
        for name in prompt.objects
        if name.split()[-1] in words and len(measures) == len(words)
    ]


async def _picture(engine: DiffusionEngine, job: str) -> str:
    async for event in engine.watch(job, owner=OWNER):
        last = event
    pictures = getattr(last, "pictures", ())
    if not pictures:
        raise RuntimeError(f"The run made no picture: {last}")
    return str(pictures[0].id)


def figures(measures: list[ObjectMeasure], limit: float = LOST_ABOVE) -> dict[str, float | int | None]:
    """Precision and recall at a limit, and how often a lost word's measure is above one that was not (chance: 0.5)."""
    lost = np.array([one.measure for one in measures if one.is_lost])
    others = np.array([one.measure for one in measures if not one.is_lost])
    hits, false = int((lost > limit).sum()), int((others > limit).sum())
    above = (
        (lost[:, None] > others).mean() + (lost[:, None] == others).mean() / 2 if len(lost) and len(others) else None
    )
    return {
        "objects": len(measures),
        "lost": len(lost),
        "marked": hits + false,
        "marked and lost": hits,
        "precision": hits / (hits + false) if hits + false else None,
        "recall": hits / len(lost) if len(lost) else None,
        "above": None if above is None else round(float(above), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--guidance", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        engine = loaded_engine(options.checkpoint.resolve(), Path(scratch), "cpu")
        measures = []
        for prompt in draw_rows(options.prompts)["pairs"]:
            measures += measure_prompt(engine, prompt, options.checkpoint.name, options.guidance)
        engine.close()
    print(json.dumps({"guidance": options.guidance, "limit": LOST_ABOVE} | figures(measures)))


if __name__ == "__main__":
    main()
