"""How long the page takes to be there on a slow phone line: 1.6 Mbit/s down, 0.75 up, 150 ms there and back, with an
empty cache, in Chromium's network emulation.

`python -m benchmarks.bench_first_load [--checkout FOLDER] [--loads 3]` starts app.py of a checkout and prints JSON on
its last line: seconds until the stage and Generate are drawn (the median), requests, and KiB as they came.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LINE = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8}
THERE = "document.querySelector('.ls-stage') && document.querySelector('#text_to_image-generate')"


def load(browser: Any, url: str) -> dict[str, float]:
    """One first load, as a new visitor."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    client = context.new_cdp_session(page)
    client.send("Network.enable")
    client.send("Network.emulateNetworkConditions", LINE)
    totals = {"requests": 0, "bytes": 0.0}

    def count_response(event: dict[str, Any]) -> None:
        totals["requests"] += 1
        totals["bytes"] += event["encodedDataLength"]

    client.on("Network.loadingFinished", count_response)
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_function(THERE, timeout=120_000)
    there = time.perf_counter() - start
    page.wait_for_timeout(3000)  # what comes after that is counted, and not waited for
    context.close()
    return {"seconds": there, "requests": totals["requests"], "kib": totals["bytes"] / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, default=ROOT)
    parser.add_argument("--loads", type=int, default=3)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with socket.socket() as probe, tempfile.TemporaryDirectory() as outputs:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = [sys.executable, str(options.checkout / "app.py"), "--port", str(port), "--outputs-dir", outputs]
        app = subprocess.Popen(command, cwd=outputs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}/"
            for _ in range(600):
                try:
                    urllib.request.urlopen(url, timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.2)
            time.sleep(5)  # the model is loading beside it
            with sync_playwright() as playwright:
                path = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")
                browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
                loads = [load(browser, url) for _ in range(options.loads)]
                browser.close()
        finally:
            app.terminate()
            app.wait(90)
    for one in loads:
        print(", ".join(f"{name} {value:.1f}" for name, value in one.items()))
    print(json.dumps({name: round(statistics.median(one[name] for one in loads), 2) for name in loads[0]}))


if __name__ == "__main__":
    main()
