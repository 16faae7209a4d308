"""The noise viewer: how long from a key to the frame that shows another step, in Chromium without a GPU?

    python -m benchmarks.bench_viewer --checkpoint models/small-world-128

The engine makes one run and is closed; the page is the replay of that run, which is the noise viewer's own script, so
nothing else computes. The arrow keys go through the steps in headless Chromium. A key's time is the browser's own
(Event Timing: from the key to the frame on the screen, in steps of 8 ms), its script's time that of the key's event.
Three ways in turn, round after round: `one_by_one`, each picture by shaders and read back to its canvas, as it was;
`together`, all pictures of a step by one call of the shaders, as on a machine with a GPU; and `page`, what the page
does here. Where no GPU is, the shaders' own computing is most of `together`. A ratio is the median over the rounds of
(script's time) / (that of `one_by_one`). The bar is a median of 50 ms from key to frame on an idle machine. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import OWNER, loaded_engine, native_settings
from studio.asked.fields import TextToImage
from studio.export.replay import Replay
from studio.ui.viewer.replay_page import replay_page

BAR_MS = 50
FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--no-first-run"]
WAYS = {
    "one_by_one": "painter.isPlain = false; painter.isTogether = false;",
    "together": "painter.isPlain = false; painter.isTogether = true;",
    "page": "painter.isPlain = window.isPlainHere; painter.isTogether = true;",
}
# Collects what the browser says of each key: [ms from the key to the frame, ms of the page's own code].
WATCH = """() => {
  window.isPlainHere = document.querySelector('.ls-viewer').painter.isPlain;
  window.keys = [];
  new PerformanceObserver((list) => {
    for (const one of list.getEntries())
      if (one.name === 'keydown') window.keys.push([one.duration, one.processingEnd - one.processingStart]);
  }).observe({ type: 'event', durationThreshold: 16 });
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--size", type=int, help="side of the picture in pixels; the checkpoint's own without it")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--mode", choices=("beginner", "expert"), default="expert")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data, settings = recording(options, Path(scratch))
        file = Path(scratch) / "run.html"
        file.write_bytes(replay_page(data, Replay(data).run))
        keys, is_plain = key_times(file, options.mode, options.steps, options.rounds)
    result: dict[str, Any] = {"bench": "viewer", **settings, "mode": options.mode, "plain_code": is_plain}
    for way, rounds in keys.items():
        frames = [frame for pairs in rounds for frame, _ in pairs]
        script = [statistics.median(of for _, of in pairs) for pairs in rounds]
        others = [statistics.median(of for _, of in pairs) for pairs in keys["one_by_one"]]
        result[way] = {
            "key_to_frame_ms": round(statistics.median(frames)),
            "worst_ms": round(max(frames)),
            "script_ms": round(statistics.median(script), 1),
            "ratio": round(statistics.median(a / b for a, b in zip(script, others)), 3),
        }
    result |= {"bar_ms": BAR_MS, "passed": result["page"]["key_to_frame_ms"] <= BAR_MS}
    for way in keys:
        print(f"{way}: {result[way]}")
    print(json.dumps(result))


def recording(options: argparse.Namespace, scratch: Path) -> tuple[bytes, dict[str, Any]]:
    """The recording of one run of the checkpoint, and what its figures have to be read with."""
    engine = loaded_engine(options.checkpoint, scratch, options.device)
    fields = {"width": options.size, "height": options.size} if options.size else {}
    request = TextToImage(
        prompt="a red fox in the snow",
        checkpoint=options.checkpoint.name,
        num_inference_steps=options.steps,
        seed=1,
        **fields,
    )

    async def wait(job: str) -> None:
        async for _ in engine.watch(job, owner=OWNER):
            pass

    job = engine.submit(request, owner=OWNER, attention=True)
    asyncio.run(wait(job))
    data = engine.record(job, owner=OWNER)
    assert engine.components is not None
    settings = native_settings(engine.components)
    if options.size:
        settings["size"] = f"{options.size}x{options.size}"
    engine.close()
    return data, settings


def key_times(
    file: Path, mode: str, steps: int, rounds: int
) -> tuple[dict[str, list[list[tuple[float, float]]]], bool]:
    """Each way's (ms to the frame, ms of script) of every key of every round, and whether the page draws by plain code
    here. The first round warms up and is not counted."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")
    times: dict[str, list[list[tuple[float, float]]]] = {way: [] for way in WAYS}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{file.as_uri()}#viewer:mode={mode}")
        page.locator(".ls-pane canvas").first.wait_for()
        page.evaluate(WATCH)
        for number in range(rounds + 1):
            for way, choice in WAYS.items():
                page.evaluate(f"() => {{ const {{ painter }} = document.querySelector('.ls-viewer'); {choice} }}")
                page.keyboard.press("Home")
                page.wait_for_timeout(300)
                page.evaluate("window.keys.length = 0")
                for _ in range(steps - 1):
                    page.keyboard.press("ArrowRight")
                    page.wait_for_timeout(120)
                page.wait_for_timeout(300)
                pairs = [(float(frame), float(script)) for frame, script in page.evaluate("window.keys")]
                # A key that was quicker than 16 ms is not told by the browser.
                pairs += [(16.0, 0.0)] * (steps - 1 - len(pairs))
                if number:
                    times[way].append(pairs)
        is_plain = bool(page.evaluate("window.isPlainHere"))
        browser.close()
    return times, is_plain


if __name__ == "__main__":
    main()
