"""How long does a comparison of 16 pictures take, against 16 runs of diffusers' pipeline one after another?

    python -m benchmarks.bench_compare --checkpoint models/small-world-128

Engine: from `submit_comparison` to `ComparisonEnded`, steps {5, 10, 20, 40} x guidance {1, 3, 5, 8} with the same
prompt and seed. Every cell has previews, its recording and its PNG on disk. diffusers: 16 calls of
`StableDiffusionPipeline` without previews, giving PIL pictures that nobody saves. Both in this process in turn, on the
engine's thread, round after round; the ratio is the median over the rounds of engine / diffusers. The bar is 0.65 on
two CPU cores and 0.35 on a GPU. One line more says how far the cost line of the page was off. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench_engine import pipeline
from benchmarks.common import OWNER, loaded_engine, native_settings, on_engine_thread, peak_rss_mib
from studio.answered.events import ComparisonEnded
from studio.asked.compare import Comparison
from studio.asked.fields import TextToImage
from studio.engine.engine import DiffusionEngine

STEPS, GUIDANCE = (5, 10, 20, 40), (1, 3, 5, 8)
BARS = {"cpu": 0.65, "cuda": 0.35}


def comparison(checkpoint: str, seed: int, steps: Sequence[int] = STEPS) -> Comparison:
    """The comparison of one round: a prompt that the engine knows from the round before, another seed."""
    return Comparison.parse(
        {
            "prompt": "a fox in the snow",
            "checkpoint": checkpoint,
            "seed": seed,
            "x": "num_inference_steps",
            "x_values": list(steps),
            "y": "guidance_scale",
            "y_values": list(GUIDANCE),
        }
    )


def comparison_seconds(engine: DiffusionEngine, comparison: Comparison) -> float:
    """Seconds from `submit_comparison` until every cell has ended."""

    async def wait(job: str) -> None:
        async for event in engine.watch_comparison(job, owner=OWNER):
            last = event
        if not isinstance(last, ComparisonEnded) or last.finished_cells != len(comparison):
            raise SystemExit(f"The engine did not finish: {last}")

    start = time.perf_counter()
    asyncio.run(wait(engine.submit_comparison(comparison, owner=OWNER)))
    return time.perf_counter() - start


def diffusers_seconds(pipe: Any, comparison: Comparison) -> float:
    """Seconds of the same pictures, one pipeline call after the other."""
    import torch

    start = time.perf_counter()
    for request in map(comparison.request, range(len(comparison))):
        assert isinstance(request, TextToImage)
        pipe(
            request.prompt,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator().manual_seed(request.seed or 0),
        )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        engine = loaded_engine(options.checkpoint, Path(scratch), options.device)
        pipe = on_engine_thread(engine, lambda: pipeline(options.checkpoint, engine))
        assert engine.components is not None
        result: dict[str, Any] = {"bench": "compare", "rounds": options.rounds, **native_settings(engine.components)}
        name = engine.components.name
        comparison_seconds(engine, comparison(name, 0))  # both are warm from here on
        short = Comparison.parse({"prompt": "a fox", "x": "num_inference_steps", "x_values": "5"})
        on_engine_thread(engine, lambda: diffusers_seconds(pipe, short))
        ours, theirs, estimates = [], [], []
        for number in range(1, options.rounds + 1):
            request = comparison(name, number)
            pace = engine.pace(name)
            assert pace is not None
            estimates.append(pace.seconds(request))
            for turn in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
                if turn == "ours":
                    ours.append(comparison_seconds(engine, request))
                else:
                    theirs.append(on_engine_thread(engine, lambda request=request: diffusers_seconds(pipe, request)))
        engine.close()
    result["engine_seconds"] = round(statistics.median(ours), 3)
    result["diffusers_seconds"] = round(statistics.median(theirs), 3)
    result["ratio"] = round(statistics.median(a / b for a, b in zip(ours, theirs)), 3)
    result["bar"] = BARS.get(result["device"].partition(":")[0])
    result["promised_over_taken"] = round(statistics.median(p / t for p, t in zip(estimates, ours)), 2)
    result["peak_rss_mib_with_both"] = peak_rss_mib()
    print(f"comparison {result['engine_seconds']} s, 16 runs {result['diffusers_seconds']} s: {result['ratio']} x")
    print(f"the cost line promised {result['promised_over_taken']} x of what it took")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
