"""Eight visitors at once: lanes that share U-Net calls against first in, first out on the same engine.

    python -m benchmarks.bench_visitors --checkpoint models/small-world-128

Shared: all requests are submitted at once; seconds from the first `submit` to the last `Finished`. First in, first
out: each is submitted when the one before has finished. Every visitor asks for another scheduler, step count,
guidance, prompt and seed, the same in both ways; the ways take turns, and the ratio is the median over the rounds.
Ticks are the U-Net calls between the last visitor's `submit` and their first preview, with the other seven running
already. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import loaded_engine, native_settings, peak_rss_mib
from studio.answered.events import Finished, Step
from studio.asked.fields import TextToImage
from studio.engine.engine import DiffusionEngine

SCHEDULERS = ("dpmpp_2m", "euler", "euler_a", "ddim", "unipc", "dpmpp_2m_sde", "lms", "deis")


def requests(checkpoint: str, steps: int, visitors: int = len(SCHEDULERS)) -> list[TextToImage]:
    """As many different wishes of about the same work."""
    return [
        TextToImage(
            prompt=f"a fox in the snow, number {k}",
            checkpoint=checkpoint,
            num_inference_steps=steps - 2 + k % 5,
            guidance_scale=3.0 + k % 8,
            scheduler=SCHEDULERS[k % len(SCHEDULERS)],  # type: ignore[arg-type]
            seed=k,
            preview="fast",
        )
        for k in range(visitors)
    ]


async def wait_until_finished(engine: DiffusionEngine, job: str, owner: str) -> None:
    async for event in engine.watch(job, owner=owner):
        last = event
    if not isinstance(last, Finished):
        raise SystemExit(f"The engine did not finish: {last}")


async def seconds_together(engine: DiffusionEngine, requests: list[TextToImage]) -> float:
    """Seconds for all of them together."""
    start = time.perf_counter()
    jobs = [(engine.submit(request, owner=f"visitor {k}"), f"visitor {k}") for k, request in enumerate(requests)]
    await asyncio.gather(*[wait_until_finished(engine, job, owner) for job, owner in jobs])
    return time.perf_counter() - start


async def seconds_in_turn(engine: DiffusionEngine, requests: list[TextToImage]) -> float:
    """Seconds for all of them one after the other."""
    start = time.perf_counter()
    for k, request in enumerate(requests):
        await wait_until_finished(engine, engine.submit(request, owner=f"visitor {k}"), f"visitor {k}")
    return time.perf_counter() - start


async def first_preview_ticks(engine: DiffusionEngine, requests: list[TextToImage]) -> int:
    """U-Net calls between the last visitor's question and their first preview, the others being under way."""
    jobs = [(engine.submit(request, owner=f"visitor {k}"), f"visitor {k}") for k, request in enumerate(requests[:-1])]
    async for event in engine.watch(jobs[-1][0], owner=jobs[-1][1]):
        if isinstance(event, Step):
            break
    before = engine.ticks
    last = engine.submit(requests[-1], owner="the last")
    ticks = 0
    async for event in engine.watch(last, owner="the last"):
        if isinstance(event, Step) and event.preview is not None:
            ticks = engine.ticks - before
            break
    for job, owner in [*jobs, (last, "the last")]:
        engine.cancel(job, owner=owner)
    return ticks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        engine = loaded_engine(options.checkpoint, Path(scratch), options.device)
        assert engine.components is not None
        all_requests = requests(engine.components.name, options.steps)
        asyncio.run(seconds_together(engine, all_requests))  # warms up, and encodes the prompts
        together, alone, ticks = [], [], []
        for _ in range(options.rounds):
            together.append(asyncio.run(seconds_together(engine, all_requests)))
            alone.append(asyncio.run(seconds_in_turn(engine, all_requests)))
            ticks.append(asyncio.run(first_preview_ticks(engine, all_requests)))
        result: dict[str, Any] = {
            "bench": "visitors",
            "visitors": len(all_requests),
            "steps": options.steps,
            "rounds": options.rounds,
            **native_settings(engine.components),
            "seconds_shared": round(statistics.median(together), 3),
            "seconds_in_turn": round(statistics.median(alone), 3),
            "ratio": round(statistics.median(a / b for a, b in zip(together, alone)), 3),
            "last_visitors_first_preview_ticks": max(ticks),
        }
        engine.close()
    result["peak_rss_mib"] = peak_rss_mib()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
