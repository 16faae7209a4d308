"""How soon the page answers, and what the model's loading costs the first visitor.

Two ratios, each against a baseline measured in turn with it (A B A B ...), since machines are noisy:

- `start`: from starting `app.py` to the first answered request, over the same for an empty Gradio Blocks app launched
  the same way. Bar: 1.5.
- `first_load`: the page's first load in a fresh headless Chromium while the model is loading (the studio has just begun
  to answer), over the same load when the studio is idle. Bar: 2.0.
- `peak_rss_mb`: the studio's peak resident memory after a picture. Bar: 1536.

    python benchmarks/bench_start.py --runs 5

The last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
EMPTY_APP = """
import gradio, sys
with gradio.Blocks(analytics_enabled=False) as page:
    pass
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True, share=False)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def run_server(command: list[str], port: int) -> Iterator[tuple[float, int]]:
    """Run a server; give (seconds until `/` answered, its process id); end it."""
    begin = time.perf_counter()
    environment = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=ROOT)
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                    answer.read()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"{command[1]} ended with {process.returncode}") from None
                time.sleep(0.02)
        yield time.perf_counter() - begin, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def load_seconds(browser: object, url: str) -> float:
    """A first visit: a fresh profile, until the prompt can be typed into."""
    context = browser.new_context()  # type: ignore[attr-defined]
    page = context.new_page()
    begin = time.perf_counter()
    page.goto(url)
    page.get_by_label("Prompt", exact=True).first.wait_for(timeout=120_000)
    seconds = time.perf_counter() - begin
    context.close()
    return seconds


def peak_rss_mb(pid: int) -> float | None:
    """Peak resident memory of a process, where the system tells (Linux)."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def ready(url: str) -> None:
    """Wait until a picture has been made through the API: then nothing loads any more."""
    from gradio_client import Client

    Client(url, verbose=False).predict(prompt="a fox", api_name="/text_to_image")


def _chromium() -> str | None:
    """STUDIO_CHROMIUM, else Debian's, else None for Playwright's own."""
    return os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--runs", type=int, default=5, help="pairs of starts")
    arguments = flags.parse_args()

    from playwright.sync_api import sync_playwright

    starts, empties, busy, idle, rss = [], [], [], [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        empty_app = Path(folder) / "empty_app.py"
        empty_app.write_text(EMPTY_APP)
        browser = playwright.chromium.launch(executable_path=_chromium(), args=FLAGS)
        for _ in range(arguments.runs):
            port = free_port()
            with run_server([sys.executable, str(empty_app), str(port)], port) as (seconds, _pid):
                empties.append(seconds)
            port = free_port()
            app = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--outputs-dir", f"{folder}/outputs"]
            with run_server(app, port) as (seconds, pid):
                url = f"http://127.0.0.1:{port}/"
                starts.append(seconds)
                busy.append(load_seconds(browser, url))
                ready(url)
                idle.append(load_seconds(browser, url))
                rss.append(peak_rss_mb(pid))
        browser.close()

    def ratio(a: list[float], b: list[float]) -> dict[str, float]:
        pairs = [x / y for x, y in zip(a, b)]
        return {"median": statistics.median(pairs), "min": min(pairs), "max": max(pairs)}

    result = {
        "benchmark": "start",
        "runs": arguments.runs,
        "start": ratio(starts, empties),
        "start_seconds": statistics.median(starts),
        "empty_seconds": statistics.median(empties),
        "first_load": ratio(busy, idle),
        "first_load_seconds": statistics.median(busy),
        "idle_load_seconds": statistics.median(idle),
        "peak_rss_mb": max((r for r in rss if r is not None), default=None),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
