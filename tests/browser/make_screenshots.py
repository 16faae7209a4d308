"""Photographs of a page that is being served: `python -m tests.browser.make_screenshots --out docs/screenshots`.

Desktop and phone, light and dark: a run under way, a finished one, image to image, and the noise viewer in its middle.
Then every panel of its expert mode (`--only viewer` for these alone), small: at most 1000 pixels wide, 96 colours.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.browser.conftest import FLAGS, quiet, ready
from tests.browser.test_page import finished, generate, stage

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
WIDEST = 1000  # pixels of a panel's photograph
VIEWER_SIZES = {"desktop": (1440, 900), "phone": (390, 844)}


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


def panels(browser: Browser, url: str, out: Path, *, size: str, theme: str, prompt: str) -> None:
    """A run of the noise viewer with a branch, photographed panel by panel in the middle of its way."""
    width, height = VIEWER_SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.goto(f"{url}/?__theme={theme}#viewer:mode=expert")
    page.locator("#noise_viewer-prompt").locator("input, textarea").fill(prompt, timeout=120_000)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".ls-where")).to_have_text("Evaluation 25 of 25", timeout=240_000)

    def at(evaluation: int) -> None:
        page.get_by_role("slider", name="Evaluations of this run").focus()
        page.keyboard.press("Home")
        for _ in range(evaluation - 1):
            page.keyboard.press("ArrowRight")

    def shoot(name: str, what: Page | Locator) -> None:
        file = out / f"viewer-{name}-{size}-{theme}.png"
        file.write_bytes(what.screenshot())
        with Image.open(file) as picture:
            small = picture.convert("RGB")
            small.thumbnail((WIDEST, 2 * small.height), Image.Resampling.LANCZOS)
            small.quantize(96, dither=Image.Dither.NONE).save(file, optimize=True)

    def opened(tab: str) -> Locator:
        page.get_by_role("tab", name=tab, exact=True).click()
        room = page.get_by_role("tabpanel", name=tab)
        quiet(page)
        return room

    at(8)
    branches = opened("Branches")
    branches.get_by_label("Prompt", exact=True).fill(prompt.replace("red", "blue"))
    branches.get_by_role("button", name="Go on from evaluation 8").click()
    expect(page.locator(".ls-branch")).to_have_count(2, timeout=120_000)
    page.wait_for_function("document.querySelector('.ls-viewer').record.ended", timeout=240_000)
    page.locator(".ls-branch").first.click()
    at(11)
    shoot("expert", page)
    shoot("branches", opened("Branches"))
    for tab in ("Guidance", "Schedules", "VAE", "Words"):
        shoot(tab.lower(), opened(tab))
    forward = opened("Forward process")
    forward.get_by_role("button", name="Measure").click()
    expect(forward.locator("[data-forward=error]")).to_be_visible(timeout=240_000)
    shoot("forward", opened("Forward process"))
    latent = opened("Latent space")
    latent.get_by_role("button", name="Paint on the latents").click()
    shoot("latent", latent)
    attention = opened("Attention")
    attention.get_by_role("button", name="Ask each head").click()
    attention.locator(".ls-attended .ls-frame").click()
    expect(attention.locator("[data-places]")).to_be_visible(timeout=240_000)
    expect(attention.locator(".ls-heads canvas").first).to_be_visible(timeout=240_000)
    shoot("attention", attention)
    runs = opened("Side by side")
    runs.get_by_label("Add another of your runs…").select_option(index=1)
    expect(runs.locator(".ls-pane")).to_have_count(2)
    shoot("runs", opened("Side by side"))
    architecture = opened("Architecture")
    expect(architecture.locator(".ls-box").first).to_be_visible(timeout=240_000)
    page.wait_for_timeout(1500)  # the light has passed
    shoot("architecture", architecture)
    shoot("export", opened("Export"))
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:7860")
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--prompt", default="a red apple in the snow")
    parser.add_argument("--seed", default="7")
    parser.add_argument("--only", choices=["page", "viewer"])
    parser.add_argument("--viewer", default="desktop-light,phone-dark", help="sizes and themes of the viewer's panels")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for kind in given.viewer.split(",") if given.only != "page" else []:
            size, theme = kind.split("-")
            panels(browser, given.url.rstrip("/"), given.out, size=size, theme=theme, prompt=given.prompt)
        for size in SIZES if given.only != "viewer" else ():
            for theme in ("light", "dark"):
                where = {"size": size, "theme": theme, "prompt": given.prompt, "seed": given.seed}
                photograph(browser, given.url.rstrip("/"), given.out, **where)
        browser.close()


if __name__ == "__main__":
    main()
