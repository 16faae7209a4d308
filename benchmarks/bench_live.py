"""Live mode: how long from letting go of a slider to the first preview of the new run on the page, and how many
different pictures a second while somebody types?

    python -m benchmarks.bench_live --checkpoint models/small-world-128

A real page in headless Chromium on the real engine. While a run is under way, the guidance slider is dragged to another
value with the mouse, in a fifth of a second, and released. The page measures the time from the slider's `change` event
to the first frame shown of the new job, `--releases` times. The bar is a median of 250 ms on an idle machine.

Then, with Fast at 2 and at 4 steps, the prompt gets another key whenever live mode has seen a pause of 150 ms after the
one before, for `--seconds`: at most 6.6 a second. Counted are the finished pictures that were painted: of each run one,
as the browser had it on the screen. The bars are 6 a second at 2 steps and 4 at 4 steps on two idle cores. The last
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
TYPING_BARS = {2: 6.0, 4: 4.0}  # steps: different pictures a second
PHRASES = ("a red fox in the snow", "a big blue star in a meadow", "two green apples at night", "a cat on the beach")
# Types for so many milliseconds and resolves with what was painted: the jobs with any frame, and the finished pictures.
TYPE = """async ([phrases, duration]) => {
  const { type } = %s['static/elements.js'];
  const field = document.querySelector('#text_to_image-prompt textarea');
  const workspace = document.querySelector('#text_to_image-workspace');
  const picture = document.querySelector('#text_to_image-stage img.ls-picture');
  const tag = field.value.slice(field.value.indexOf('<lora:'));
  const [jobs, pictures] = [new Set(), new Set()];
  const look = () => requestAnimationFrame(() => {
    jobs.add(workspace.dataset.job);
    if (picture.src.includes('/picture/')) pictures.add(picture.src);
  });
  const watcher = new MutationObserver(look);
  watcher.observe(picture, { attributes: true, attributeFilter: ['src'] });
  performance.clearMarks('ls-typed');
  const start = performance.now();
  const marks = () => performance.getEntriesByName('ls-typed').length;
  let keys = 0;
  while (performance.now() - start < duration) {
    const all = phrases.flatMap((phrase) => [...phrase].map((_, k) => phrase.slice(0, k + 1)));
    type(field, `${all[keys %% all.length]} ${Math.floor(keys / all.length) || ''}${tag}`);
    keys += 1;
    const [before, at] = [marks(), performance.now()];
    while (marks() === before && performance.now() - at < 2000) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  watcher.disconnect();
  const seconds = (performance.now() - start) / 1000;
  return { seconds, keys, asked: marks(), jobs: jobs.size, pictures: pictures.size };
}"""


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
    parser.add_argument("--seconds", type=float, default=20, help="of typing, at each number of steps")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        engine = loaded_engine(options.checkpoint, Path(scratch), options.device, as_built_in=True)
        gallery = engine._gallery
        door = LocalEngine(engine)
        demo, launch = build(door, gallery)
        site = application(demo, launch, middleware(door, gallery, hosts=set()))
        server = Server(site, host="127.0.0.1", port=0)
        server.start()
        milliseconds = release_times(server.url, options.steps, options.releases) if options.releases else []
        typing = typing_rates(server.url, options.seconds) if options.seconds else {}
        assert engine.components is not None
        result: dict[str, Any] = {"bench": "live", **native_settings(engine.components), "releases": len(milliseconds)}
        close(demo, site)
        server.close()
        engine.close()
    if milliseconds:
        median, worst = round(statistics.median(milliseconds)), round(max(milliseconds))
        result |= {"median_ms": median, "worst_ms": worst, "bar_ms": BAR_MS}
        print(f"first preview after {median} ms (median), {worst} ms (worst)")
    for steps, rates in typing.items():
        print(f"{steps} steps: {rates['pictures_per_second']} different pictures a second while typing")
    result["typing"] = typing
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


def typing_rates(url: str, seconds: float) -> dict[int, dict[str, float]]:
    """What was painted while somebody typed, by the number of steps of Fast; none for a model without it."""
    from playwright.sync_api import TimeoutError, sync_playwright

    path = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")
    modules = f"(await import('{assets.script().address}')).modules"
    rates: dict[int, dict[str, float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(url)
        page.wait_for_function("document.querySelector('.ls-dot')?.dataset.state === 'ready'", timeout=120_000)
        page.locator("#text_to_image-prompt textarea").fill("a fox")
        page.locator("#text_to_image-seed :is(input, textarea)").first.fill("7")
        page.locator("#text_to_image-live input").check()
        try:
            page.locator("#text_to_image-fast input").wait_for(timeout=10_000)
        except TimeoutError:
            print("This checkpoint has no few-step LoRA: nothing to type with.")
            return {}
        page.wait_for_function("document.querySelector('#text_to_image-prompt textarea').value.includes('<lora:')")
        for steps, bar in TYPING_BARS.items():
            slider = "document.querySelector('#text_to_image-num_inference_steps input[type=range]')"
            page.evaluate(f"async () => {modules}['static/elements.js'].type({slider}, {steps})")
            page.evaluate(TYPE % modules, [PHRASES[:1], 2000])  # warms up
            painted = page.evaluate(TYPE % modules, [PHRASES, 1000 * seconds])
            rates[steps] = {
                "pictures_per_second": round(painted["pictures"] / painted["seconds"], 2),
                "runs_seen_per_second": round(painted["jobs"] / painted["seconds"], 2),
                "asked_per_second": round(painted["asked"] / painted["seconds"], 2),
                "bar": bar,
            }
        browser.close()
    return rates


if __name__ == "__main__":
    main()
