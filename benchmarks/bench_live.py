"""Live mode: how long from letting go of a slider to the first preview of the new run on the page?

    python -m benchmarks.bench_live --checkpoint models/small-world-128

A real page in headless Chromium on the real engine. While a run is under way, the guidance slider is dragged to another
value with the mouse, in a fifth of a second, and released. The page measures the time from the slider's `change` event
to the first frame shown of the new job, `--releases` times. The bar is a median of 250 ms on an idle machine. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from benchmarks.common import loaded_engine, native_settings
from studio.engine.local import LocalEngine
from studio.ui import assets
from studio.ui.application import application, close
from studio.ui.page import build
from studio.web import middleware
from studio.web.server import Server

BAR_MS = 250
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
# Resolves with the milliseconds from the release to the first picture of a job that was not shown before.
RELEASE = """() => {
  const workspace = document.querySelector('#text_to_image-workspace');
  const picture = document.querySelector('#text_to_image-stage img.ls-picture');
  const before = workspace.dataset.job;
  const shown = picture.src;
  window.firstPreview = new Promise((resolve, reject) => {
    const watcher = new MutationObserver(() => {
      if (workspace.dataset.job === before || picture.src === shown || !picture.src.startsWith('data:')) return;
      watcher.disconnect();
      const letGo = performance.getEntriesByName('ls-slider-release').at(-1).startTime;
      requestAnimationFrame(() => resolve(performance.now() - letGo));
    });
    watcher.observe(workspace, { subtree: true, attributes: true, attributeFilter: ['src', 'data-job'] });
    setTimeout(() => reject(new Error('no preview within 20 s')), 20000);
  });
}"""
DRAG_STEPS, DRAG_PAUSE_MS = 8, 25


def drag(page: Any, share: float) -> None:
    """Move the guidance slider to a share of its length with the mouse, not yet letting go."""
    slider = page.locator("#text_to_image-guidance_scale input[type=range]")
    box = slider.bounding_box()
    at = slider.evaluate("s => (s.value - s.min) / (s.max - s.min)")
    y = box["y"] + box["height"] / 2

    def x(part: float) -> float:
        return float(box["x"] + 8 + part * (box["width"] - 16))  # the thumb's middle never reaches the ends

    page.mouse.move(x(at), y)
    page.mouse.down()
    for step in range(1, DRAG_STEPS + 1):
        page.mouse.move(x(at + (share - at) * step / DRAG_STEPS), y)
        page.wait_for_timeout(DRAG_PAUSE_MS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--releases", type=int, default=30)
    parser.add_argument("--steps", type=int, default=50, help="so many that a run is under way at each release")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        engine = loaded_engine(options.checkpoint, Path(scratch), options.device)
        gallery = engine._gallery
        door = LocalEngine(engine)
        demo, launch = build(door, gallery)
        site = application(demo, launch, middleware(door, gallery, hosts=set()))
        server = Server(site, host="127.0.0.1", port=0)
        server.start()
        milliseconds = release_times(server.url, options.steps, options.releases)
        assert engine.components is not None
        result: dict[str, Any] = {"bench": "live", **native_settings(engine.components), "releases": len(milliseconds)}
        close(demo, site)
        server.close()
        engine.close()
    result |= {
        "median_ms": round(statistics.median(milliseconds)),
        "worst_ms": round(max(milliseconds)),
        "bar_ms": BAR_MS,
    }
    print(f"first preview after {result['median_ms']} ms (median), {result['worst_ms']} ms (worst)")
    print(json.dumps(result))


def release_times(url: str, steps: int, releases: int) -> list[float]:
    """Milliseconds of each release; the first one warms up and is not counted."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")
    times: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(url)
        page.get_by_role("button", name="Generate").first.wait_for(timeout=120_000)
        page.wait_for_function("document.querySelector('.ls-dot')?.dataset.state === 'ready'")
        page.locator("#text_to_image-prompt textarea").fill("a fox in the snow")
        page.locator("#text_to_image-seed :is(input, textarea)").first.fill("7")
        page.locator("#text_to_image-live input").check()
        fast = page.locator("#text_to_image-fast input")
        if fast.is_visible():  # Live turns it on; its scheduler takes fewer steps than a run under way needs
            page.wait_for_function("document.querySelector('#text_to_image-fast input').checked")
            fast.uncheck()
            page.wait_for_function("!document.querySelector('#text_to_image-prompt textarea').value.includes('<lora:')")
        slider = "document.querySelector('#text_to_image-num_inference_steps input[type=range]')"
        modules = f"(await import('{assets.script().address}')).modules"
        page.evaluate(f"async () => {modules}['static/elements.js'].type({slider}, {steps})")
        page.wait_for_function("document.querySelector('#text_to_image-workspace').dataset.run === 'running'")
        for number in range(releases + 1):
            page.wait_for_function("document.querySelector('#text_to_image-workspace').dataset.run === 'running'")
            drag(page, 0.1 + 0.05 * (number % 8))
            page.evaluate(RELEASE)
            page.mouse.up()
            milliseconds = float(page.evaluate("window.firstPreview"))
            page.wait_for_timeout(150)
            if number:
                times.append(milliseconds)
        browser.close()
    return times


if __name__ == "__main__":
    main()
