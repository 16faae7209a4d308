"""How long does a picture take beside other programs that use every core, and how long with the machine to itself?

    python -m benchmarks.bench_shared_machine --busy 4

Through the engine, 25 steps, from `submit` to `Finished`. In turn, round after round in this process: the engine as it
is, which takes fewer threads while others use the cores, and the engine held to one thread. First with `--busy`
processes that count without end, then without them, where it is compared with the engine held to all threads. The
processes start a second before the first picture. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.common import engine_seconds, loaded_engine, native_settings, on_engine_thread
from studio.asked.fields import TextToImage
from studio.engine.engine import DiffusionEngine

SETTLE_SECONDS = 2.5  # in which the engine sees that the others have come or gone
BAR_BUSY, BAR_IDLE = 1.2, 1.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--busy", type=int, default=4, help="processes that use a core each")
    parser.add_argument("--nice", type=int, default=0, help="their priority: 0 as this process, 19 the lowest")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fixed", action="store_true", help="also all threads beside them; slow: up to a minute each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        engine = loaded_engine(options.checkpoint, Path(scratch), "cpu")
        assert engine.components is not None
        result: dict[str, Any] = {"bench": "shared machine", **vars(options)}
        result |= {"checkpoint": engine.components.name, **native_settings(engine.components)}
        pictures(engine, options, {"adaptive": None}, 1)  # warms up
        most = on_engine_thread(engine, lambda: _controller(engine).most)
        with ExitStack() as stack:
            for _ in range(options.busy):
                stack.callback(_end, _busy_process(options.nice))
            time.sleep(SETTLE_SECONDS)
            ways: dict[str, int | None] = {"adaptive": None, "one thread": 1}
            result["busy"] = pictures(engine, options, ways, options.rounds)
            if options.fixed:
                result["busy"] |= pictures(engine, options, {"all threads": most}, 1)
        time.sleep(SETTLE_SECONDS)
        ways = {"adaptive": None, "one thread": 1, "all threads": most}
        result["idle"] = pictures(engine, options, ways, options.rounds)
        engine.close()
    for name, base, bar in (("busy", "one thread", BAR_BUSY), ("idle", "all threads", BAR_IDLE)):
        seconds = result[name]
        ratio = statistics.median(a / b for a, b in zip(seconds["adaptive"], seconds[base]))
        result[f"{name}_ratio"] = round(ratio, 3)
        medians = ", ".join(f"{way} {statistics.median(values):.2f} s" for way, values in seconds.items())
        print(f"{name:5s} {medians}; adaptive to {base}: {ratio:.2f} (bar {bar})")
    print(json.dumps(result))


def pictures(engine: DiffusionEngine, options: Any, ways: dict[str, int | None], rounds: int) -> dict[str, list[float]]:
    """Seconds of a picture by each way, in turn; a way is a number of threads, or None for the engine's own choice."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        names = list(ways) if number % 2 else list(ways)[::-1]
        for name in names:
            request = TextToImage(
                prompt="a fox in the snow",
                checkpoint=options.checkpoint.name,
                num_inference_steps=options.steps,
                guidance_scale=5.0,
                seed=number,
                preview="fast",
            )
            with _held_to(engine, ways[name]):
                seconds[name].append(round(engine_seconds(engine, request), 3))
    return seconds


def _held_to(engine: DiffusionEngine, number: int | None) -> ExitStack:
    """The engine computes with so many threads while this is entered."""
    stack = ExitStack()
    if number is not None:
        threads = _threads(engine)

        def hold(*, exact: bool = False) -> None:
            threads._take(number)

        threads.settle = hold
        stack.callback(delattr, threads, "settle")
    return stack


def _threads(engine: DiffusionEngine) -> Any:
    assert engine._thread.worker is not None
    return engine._thread.worker._threads


def _controller(engine: DiffusionEngine) -> Any:
    return _threads(engine)._controller


def _busy_process(nice: int) -> subprocess.Popen[bytes]:
    code = f"import os\nos.nice({nice})\nwhile os.getppid() == {os.getpid()}: sum(range(10**5))"  # ends with its parent
    return subprocess.Popen([sys.executable, "-c", code])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


if __name__ == "__main__":
    main()
