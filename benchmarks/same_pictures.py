"""Whether two checkouts of the studio draw the same pictures: python -m benchmarks.same_pictures OLD NEW

Starts the app of each checkout with the built-in model and asks both for the same pictures over the API: every
scheduler, from noise and from a picture, with the automatic noise schedule and with the checkpoint's own. Prints one
line for each picture that differs and ends with 1 if there is one. Run by hand; the date is printed with the result.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

CHECKPOINT = "small-world-128"
PROMPT = "a red house beside a tree at night"
STARTUP_SECONDS = 180.0
NOISE_SCHEDULES = ("automatic", "as_configured")
STRENGTH = 0.6
FIELDS: dict[str, Any] = {"checkpoint": CHECKPOINT, "num_inference_steps": 8, "guidance_scale": 3.0, "exact": True}


@contextmanager
def run_app(checkout: Path, scratch: Path) -> Iterator[Client]:
    """A client of the app of a checkout, which runs until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Strict reproducibility: on AVX-512 the matrix library otherwise rounds by where its matrices happen to lie.
    environment = os.environ | {"MKL_CBWR": "AUTO,STRICT", "PYTHONDONTWRITEBYTECODE": "1"}
    outputs = scratch / f"outputs-{port}"
    command = [sys.executable, "app.py", "--port", str(port), "--outputs-dir", str(outputs), "--device", "cpu"]
    with (scratch / f"log-{port}").open("wb") as log:
        app = subprocess.Popen(command, cwd=checkout, env=environment, stdout=log, stderr=log)
        try:
            yield _client(port, app, Path(log.name))
        finally:
            app.terminate()
            app.wait(timeout=60)


def _client(port: int, app: subprocess.Popen[bytes], log: Path) -> Client:
    deadline = time.monotonic() + STARTUP_SECONDS
    while app.poll() is None and time.monotonic() < deadline:
        try:
            return Client(f"http://127.0.0.1:{port}", verbose=False)
        except Exception:  # not there yet: refused connections of several libraries
            time.sleep(0.5)
    raise SystemExit(f"The app did not start:\n{log.read_text(errors='replace')[-2000:]}")


def picture_of(client: Client, endpoint: str, **fields: Any) -> Image.Image:
    """The picture that an endpoint answers."""
    pictures, _ = client.predict(api_name=f"/{endpoint}", prompt=PROMPT, seed=7, **FIELDS, **fields)
    [picture] = pictures
    path = picture["path"] if isinstance(picture, dict) else picture
    return Image.open(path).convert("RGB")


def difference(old: Image.Image, new: Image.Image) -> str:
    """How two pictures differ, in words; "" when they do not."""
    if old.size != new.size:
        return f"sizes {old.size} and {new.size}"
    apart = np.abs(np.asarray(old, dtype=np.int16) - np.asarray(new, dtype=np.int16))
    return f"{np.count_nonzero(apart):,} of {apart.size:,} values, by up to {apart.max()}" if apart.any() else ""


def main() -> int:
    """Compare; the number of pictures that differ is printed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="a checkout with the earlier code")
    parser.add_argument("new", type=Path, help="a checkout with the code that must draw the same")
    arguments = parser.parse_args()
    from studio.asked.schedulers import SCHEDULERS

    differing = count = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        beginning = scratch / "beginning.png"
        Image.linear_gradient("L").resize((128, 128)).convert("RGB").save(beginning)
        with run_app(arguments.old, scratch) as old, run_app(arguments.new, scratch) as new:
            for scheduler, noise_schedule in product(SCHEDULERS, NOISE_SCHEDULES):
                ways = {
                    "text_to_image": {},
                    "image_to_image": {"image": handle_file(beginning), "strength": STRENGTH},
                }
                for endpoint, extra in ways.items():
                    fields = {"scheduler": scheduler, "noise_schedule": noise_schedule, **extra}
                    apart = difference(picture_of(old, endpoint, **fields), picture_of(new, endpoint, **fields))
                    count += 1
                    if apart:
                        differing += 1
                        print(f"{endpoint}, {scheduler}, {noise_schedule}: {apart}", flush=True)
    print(f"{date.today()}: {count} pictures of {len(SCHEDULERS)} schedulers compared, {differing} differ.")
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
