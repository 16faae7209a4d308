"""Resident memory of a studio that makes picture after picture for a program.

    python -m benchmarks.bench_memory --pictures 2000
    python -m benchmarks.bench_memory --pictures 2000 --new-callers

Starts `app.py` with the built-in model and asks for pictures of six steps through gradio_client, one after another, as
a program does. With `--new-callers` each picture is asked for by plain HTTP without a cookie or a session, so that it
comes from a caller of its own, and its file is fetched. After every 50 pictures the last line's list gets the resident
memory, the anonymous part of it (the rest are pages of files, which the system may take back), threads, open files, and
what lies in the temporary folder. Growth is per 100 pictures, over the second half. Linux only. The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import httpx

from benchmarks.bench_start import free_port

ROOT = Path(__file__).resolve().parents[1]
EVERY = 50  # pictures between two looks
STEPS = 6


def wait_for_page(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the page answers."""
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                answer.read()
            return
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"app.py ended with {process.returncode}") from None
            time.sleep(0.1)


def asked_by_client(url: str, downloads: Path) -> Callable[[int], object]:
    """Asks for a picture of that seed, always as the same caller."""
    from gradio_client import Client

    client = Client(url, verbose=False, download_files=str(downloads))
    return lambda seed: client.predict(**arguments(seed), api_name="/text_to_image")


def ask_without_cookie(url: str) -> Callable[[int], object]:
    """Asks for a picture of that seed as a caller who was never seen before, and fetches it."""

    def ask(seed: int) -> object:
        call = f"{url}gradio_api/call/v2/text_to_image"
        with httpx.Client(timeout=120) as client:
            event = client.post(call, json=arguments(seed)).raise_for_status().json()["event_id"]
            answer = client.get(f"{call}/{event}").raise_for_status().text
            complete = answer.rpartition("event: complete\ndata: ")[2].partition("\n")[0]
            pictures = json.loads(complete)[0]
            return client.get(pictures[0]["url"]).raise_for_status().content

    return ask


def arguments(seed: int) -> dict[str, object]:
    return {"prompt": "a fox in the snow", "num_inference_steps": STEPS, "seed": seed}


def look(pid: int, temporary: Path, pictures: int, seconds: float) -> dict[str, float]:
    """What the process holds now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    sizes = []
    for folder, _, names in os.walk(temporary):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # the studio deletes at the same time
                sizes.append(os.stat(os.path.join(folder, name)).st_size)
    return {
        "pictures": pictures,
        "resident_mib": round(int(status["VmRSS"].split()[0]) / 1024, 1),
        "anonymous_mib": round(int(status["RssAnon"].split()[0]) / 1024, 1),
        "threads": int(status["Threads"]),
        "open_files": len(os.listdir(f"/proc/{pid}/fd")),
        "temporary_files": len(sizes),
        "temporary_mib": round(sum(sizes) / 2**20, 1),
        "seconds": round(seconds, 1),
    }


def growth(looks: list[dict[str, float]], name: str) -> float | None:
    """MiB of `name` for each 100 pictures over the second half, by least squares; None for too few looks."""
    half = looks[len(looks) // 2 :]
    if len(half) < 2:
        return None
    middle = sum(one["pictures"] for one in half) / len(half)
    mean = sum(one[name] for one in half) / len(half)
    rise = sum((one["pictures"] - middle) * (one[name] - mean) for one in half)
    return round(100 * rise / sum((one["pictures"] - middle) ** 2 for one in half), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--new-callers", action="store_true", help="each picture for another caller")
    options = parser.parse_args()

    looks: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder, temporary = Path(scratch), Path(scratch) / "temporary"
        temporary.mkdir()
        port = free_port()
        command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--outputs-dir", str(folder / "outputs")]
        with (folder / "log").open("wb") as log:
            environment = {**os.environ, "TMPDIR": str(temporary)}
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/"
            wait_for_page(url, process)
            ask = ask_without_cookie(url) if options.new_callers else asked_by_client(url, folder / "downloads")
            start = time.monotonic()
            for number in range(1, options.pictures + 1):
                ask(number)
                if number % EVERY == 0:
                    looks.append(look(process.pid, temporary, number, time.monotonic() - start))
                    print(looks[-1], flush=True)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    result = {
        "bench": "memory",
        "steps": STEPS,
        "pictures": options.pictures,
        "new_callers": options.new_callers,
        "looks": looks,
    }
    rises = {f"{name}_per_100_pictures": growth(looks, name) for name in ("resident_mib", "anonymous_mib")}
    print(json.dumps(result | rises))


if __name__ == "__main__":
    main()
