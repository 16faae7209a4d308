"""Photographs of a page that is being served: `python -m tests.browser.make_screenshots --out docs/screenshots`.

Desktop and phone, light and dark: a run under way, a finished one, image to image, and the noise viewer in its middle.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.conftest import FLAGS, ready
from tests.browser.test_page import finished, generate, stage

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


def photograph(browser: Browser, url: str, out: Path, *, size: str, theme: str, prompt: str, seed: str) -> None:
    """One visitor's way through the three tabs, photographed at each stop."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=2)
    page = context.new_page()
    page.goto(f"{url}/?__theme={theme}")
    ready(page)

    def shoot(name: str) -> None:
        page.screenshot(path=out / f"{name}-{size}-{theme}.png")

    page.wait_for_timeout(1000)
    shoot("first-visit")
    page.locator("#text_to_image-seed input").fill(seed)
    generate(page, prompt)
    expect(stage(page).locator(".ls-status")).to_have_text(re.compile(r"Step ([89]|1\d) of 25"), timeout=240_000)
    shoot("running")
    finished(page)
    page.wait_for_timeout(500)
    shoot("text-to-image")
    stage(page).get_by_role("button", name="Noise viewer").click()
    expect(page.locator(".ls-where")).to_have_text("Evaluation 25 of 25")
    for _ in range(14):
        page.keyboard.press("ArrowLeft")
    shoot("noise-viewer")
    page.get_by_role("tab", name="Text to image").click()
    stage(page).get_by_role("button", name="Image to image").click()
    expect(page.locator("#image_to_image-image img")).to_be_visible()
    page.wait_for_timeout(500)
    shoot("image-to-image")
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:7860")
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--prompt", default="a red apple in the snow")
    parser.add_argument("--seed", default="7")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for size in SIZES:
            for theme in ("light", "dark"):
                where = {"size": size, "theme": theme, "prompt": given.prompt, "seed": given.seed}
                photograph(browser, given.url.rstrip("/"), given.out, **where)
        browser.close()


if __name__ == "__main__":
    main()
