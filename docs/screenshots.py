"""Makes docs/images/page*.png anew: the real page with the built-in model, desktop and phone, light and dark.

python docs/screenshots.py            (the studio must be running: python app.py)
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SIZES = {"": (1280, 800), "-phone": (390, 844)}
PROMPT = "a red apple in the snow"


def make_a_picture(page: Page) -> None:
    """Type, generate, wait for the end."""
    page.get_by_label("Prompt", exact=True).first.fill(PROMPT)
    page.keyboard.press("Control+Enter")
    page.locator("#text_to_image-stage").get_by_text("Done in").wait_for(timeout=300_000)
    page.wait_for_timeout(800)


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--url", default="http://127.0.0.1:7860/")
    url = flags.parse_args().url
    IMAGES.mkdir(exist_ok=True)
    browser_path = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                name = f"{size}{'' if scheme == 'light' else '-dark'}"
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                page = context.new_page()
                page.goto(url)
                page.get_by_label("Prompt", exact=True).first.wait_for(timeout=120_000)
                page.wait_for_timeout(1500)
                if scheme == "light":
                    page.screenshot(path=IMAGES / f"page{name}-first.png")
                make_a_picture(page)
                page.screenshot(path=IMAGES / f"page{name}.png")
                if not size:
                    page.locator("#text_to_image-stage").get_by_role("button", name="Noise viewer").click()
                    page.wait_for_timeout(2500)
                    page.get_by_role("slider", name="Evaluations of this run").focus()
                    for _ in range(9):
                        page.keyboard.press("ArrowLeft")
                    page.wait_for_timeout(500)
                    page.screenshot(path=IMAGES / f"noise-viewer{name}.png")
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
