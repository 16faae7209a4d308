"""What the README opens with, from a page that is being served: `python -m tests.browser.make_film --out docs/images`.

A film of a run (animated WebP), and a picture each of the noise viewer and of Compare.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import FLAGS, ready
from tests.browser.test_page import finished, generate, stage

FILM_WIDTH, PICTURE_WIDTH = 800, 1100  # pixels
FRAME_MS, LAST_MS = 160, 2500
STEPS = 25


def opened(browser: Browser, url: str, query: str = "") -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(f"{url}/?__theme=light{query}")
    ready(page)
    page.wait_for_timeout(1500)
    return page


def shot(page: Page, width: int) -> Image.Image:
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        small = picture.convert("RGB")
    return small.resize((width, round(small.height * width / small.width)), Image.Resampling.LANCZOS)


def film(page: Page, prompt: str, seed: str, file: Path) -> None:
    """From the press of the button to the picture, then once more through its steps on the filmstrip."""
    page.locator("#text_to_image-seed input").fill(seed)
    generate(page, prompt)
    frames: list[Image.Image] = []
    while stage(page).get_attribute("data-state") != "finished" and len(frames) < 60:
        frames.append(shot(page, FILM_WIDTH))
    finished(page)
    page.wait_for_timeout(600)
    frames += [shot(page, FILM_WIDTH)] * 6
    strip = stage(page).get_by_role("slider").first
    strip.focus()
    strip.press("Home")
    for _ in range(STEPS):
        page.wait_for_timeout(120)
        frames.append(shot(page, FILM_WIDTH))
        strip.press("ArrowRight")
    times = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=times, loop=0, quality=72, method=6)


def noise_viewer(page: Page, file: Path) -> None:
    """The run that has just ended, at its tenth evaluation."""
    stage(page).get_by_role("button", name="Noise viewer").click()
    expect(page.locator(".ls-where")).to_have_text("Evaluation 25 of 25")
    for _ in range(15):
        page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(1500)
    shot(page, PICTURE_WIDTH).save(file, quality=78, method=6)


def compare(page: Page, prompt: str, file: Path) -> None:
    """Steps against guidance, as the form offers them."""
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-prompt textarea").fill(prompt)
    page.wait_for_timeout(1500)
    page.locator("#compare-generate").click()
    expect(page.locator("#compare-stage .ls-status")).to_have_text(re.compile(r"16 of 16 pictures"), timeout=240_000)
    page.locator("#compare-stage").scroll_into_view_if_needed()
    page.wait_for_timeout(1500)
    shot(page, PICTURE_WIDTH).save(file, quality=78, method=6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:7860")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--prompt", default="a red apple in the snow")
    parser.add_argument("--seed", default="7")
    given = parser.parse_args()
    path = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = opened(browser, given.url.rstrip("/"))
        film(page, given.prompt, given.seed, given.out / "film.webp")
        noise_viewer(page, given.out / "noise-viewer.webp")
        compare(opened(browser, given.url.rstrip("/")), given.prompt, given.out / "compare.webp")
        browser.close()


if __name__ == "__main__":
    main()
