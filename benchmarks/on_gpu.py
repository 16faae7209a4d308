"""Everything that a large GPU has to say about the engine, in the order of its worth; may be cut at any moment.

    bash benchmarks/on_gpu.sh                                       # what a machine without a network runs
    python -m benchmarks.on_gpu --device cpu --tiny --work /tmp/gpu  # the measurements themselves, on a CPU

Every part runs in a process of its own with a time limit and writes its figures after each of them. `--out` holds the
figures of all parts, and how each ended; it is written anew when a part ends. Needs no network: the models have random
weights. Two parts never run at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {  # seconds on a large GPU, the models' writing included in the first that needs them
    "picture_sd15": 90,
    "picture_sdxl": 150,
    "batch_curve": 70,
    "visitors": 120,
    "load": 100,
    "switches": 60,
    "comparison": 90,
    "formats": 60,
    "compiled": 120,
    "graphs": 60,
    "decode_beside": 40,
}
LEAST_SECONDS = 15  # a part that would have less is not begun
LAST_LINES = 12  # of the output of a part that failed


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=LIMITS, default=list(LIMITS), metavar="PART", help=str([*LIMITS]))
    parser.add_argument("--work", type=Path, default=Path("/tmp/on-gpu"), help="models, figures and logs")
    parser.add_argument("--out", type=Path, help="the figures of all parts (default: on_gpu.json in --work)")
    parser.add_argument("--seconds", type=float, default=560, help="for all parts together")
    parser.add_argument("--slower", type=float, default=1, help="what the parts' time limits are multiplied by")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="models of a few thousand weights, one round")
    flags = parser.parse_args(arguments)
    out = flags.out or flags.work / "on_gpu.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    options = ["--work", str(flags.work), "--device", flags.device, *(["--tiny"] if flags.tiny else [])]
    parts: dict[str, dict[str, Any]] = {}
    end = time.monotonic() + flags.seconds
    for name in flags.parts:
        left = end - time.monotonic()
        if left < LEAST_SECONDS:
            parts[name] = {"ended": f"not begun: {max(0, left):.0f} s were left"}
        else:
            (flags.work / "parts" / f"{name}.json").unlink(missing_ok=True)
            command = [sys.executable, "-m", "benchmarks.gpu_parts", name, *options]
            parts[name] = run(command, flags.work, name, min(LIMITS[name] * flags.slower, left))
        out.write_text(json.dumps(parts, indent=1), encoding="utf-8")
        print(json.dumps({name: parts[name]}), flush=True)


def run(command: Sequence[str], work: Path, name: str, limit: float) -> dict[str, Any]:
    """Run one part for at most `limit` seconds: how it ended, how long it took, and the figures it has written to
    `work/parts/NAME.json`, also where it was cut or failed."""
    log, figures = work / "logs" / f"{name}.log", work / "parts" / f"{name}.json"
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with log.open("wb") as output:
        part = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=environment()
        )
        try:
            code = part.wait(limit)
            ended = "whole" if code == 0 else f"failed with {code}"
        except subprocess.TimeoutExpired:
            ended = f"cut after {limit:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):  # its compilers too
                os.killpg(part.pid, signal.SIGKILL)
            part.wait()
    result: dict[str, Any] = {"ended": ended, "seconds": round(time.monotonic() - begin, 1)}
    if ended != "whole":
        result["last_lines"] = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    if figures.exists():
        result["figures"] = json.loads(figures.read_text(encoding="utf-8"))
    return result


def environment() -> dict[str, str]:
    """That of a part: no library asks a network for anything."""
    return os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


if __name__ == "__main__":
    main()
