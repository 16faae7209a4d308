"""What does being looked at cost? A run with its recording and with attention, against the same run without either.

    python -m benchmarks.bench_recorder --checkpoint models/small-world-128

All three go through one engine in this process in turn, round after round; a ratio is the median over the rounds of
(with) / (without), so a machine that is busy for a while does not decide it. "Without" is an engine whose recorder
takes nothing; "read" adds a page that fetches what is new five times a second. Bars: recorder
at most 1.10, attention at most 1.20 times the recorded run; 50 steps at most 2 MB to the browser. The last line: JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common import loaded_engine, native_settings, peak_rss_mib
from studio.answered.engine import UnknownJob
from studio.answered.events import Finished
from studio.asked.fields import TextToImage
from studio.engine.engine import DiffusionEngine

OWNER = "bench"
POLL_SECONDS = 0.2  # as the page's
BARS = {"recorder": 1.10, "attention": 1.20, "megabytes": 2.0}


@contextmanager
def without_recording(engine: DiffusionEngine) -> Iterator[None]:
    """The engine as if there were no recorder: nothing is copied, nothing kept."""
    assert engine._thread.worker is not None
    presenter = engine._thread.worker._presenter
    names = ("_begin_recording", "_record")
    for name in names:
        setattr(presenter, name, lambda *_: None)
    try:
        yield
    finally:
        for name in names:
            delattr(presenter, name)


def run(
    engine: DiffusionEngine, request: TextToImage, *, attention: bool = False, read: bool = False
) -> tuple[float, str]:
    """(seconds from submit to Finished, job id). `read` fetches the record while it grows, as the page does."""
    start = time.perf_counter()
    job = engine.submit(request, owner=OWNER, attention=attention)
    over = threading.Event()
    reader = threading.Thread(target=poll, args=(engine, job, over), daemon=True)
    if read:
        reader.start()

    async def wait() -> None:
        async for event in engine.watch(job, owner=OWNER):
            last = event
        if not isinstance(last, Finished):
            raise SystemExit(f"The engine did not finish: {last}")

    asyncio.run(wait())
    seconds = time.perf_counter() - start
    over.set()
    if read:
        reader.join()
    return seconds, job


def poll(engine: DiffusionEngine, job: str, over: threading.Event) -> None:
    """Ask for what is new until the run is over."""
    evaluations = 0
    while not over.wait(POLL_SECONDS):
        try:
            data = engine.record(job, owner=OWNER, since=evaluations)
        except UnknownJob:
            continue
        length = int.from_bytes(data[:8], "little")
        evaluations += len(json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["run"])["evaluations"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="auto")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        engine = loaded_engine(flags.checkpoint, Path(scratch), flags.device)
        request = TextToImage(
            prompt="a red fox in the snow",
            checkpoint=flags.checkpoint.name,
            num_inference_steps=flags.steps,
            seed=1,
            exact=True,
        )
        run(engine, request, attention=True)  # set-up of every kernel is not what is measured
        seconds: dict[str, list[float]] = {"without": [], "recorder": [], "read": [], "attention": []}
        for _ in range(flags.rounds):
            with without_recording(engine):
                seconds["without"].append(run(engine, request)[0])
            seconds["recorder"].append(run(engine, request)[0])
            seconds["read"].append(run(engine, request, read=True)[0])
            result, job = run(engine, request, attention=True)
            seconds["attention"].append(result)
        size = len(engine.record(job, owner=OWNER)) / 1e6

        def ratio(one: str, other: str) -> float:
            return round(statistics.median(a / b for a, b in zip(seconds[one], seconds[other])), 4)

        figures: dict[str, Any] = {
            "recorder": ratio("recorder", "without"),
            "recorder_read": ratio("read", "without"),
            "attention": ratio("attention", "recorder"),
            "megabytes": round(size, 3),
        }
        is_within_bars = all(figures[name] <= bar for name, bar in BARS.items())
        assert engine.components is not None
        settings = native_settings(engine.components) | {"steps": flags.steps, "rounds": flags.rounds}
        medians = {name: round(statistics.median(values), 4) for name, values in seconds.items()}
        engine.close()
    print(
        f"recorder {figures['recorder']}, read {figures['recorder_read']}, "
        f"attention {figures['attention']} (bars {BARS})"
    )
    print(
        json.dumps(figures | {"passed": is_within_bars, "seconds": medians, "peak_rss_mib": peak_rss_mib()} | settings)
    )


if __name__ == "__main__":
    main()
