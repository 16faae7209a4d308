"""The tab Learn on the product itself: every chapter and part of the machine, on the sample's run and on one's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.test_built_in_model import MODEL, url  # noqa: F401  (the fixture that serves the product)

pytestmark = pytest.mark.skipif(not MODEL.is_file(), reason="the built-in model is not in models/")

Visitor = Callable[..., Page]
# A chapter => what its figure shows once it is live
FIGURES = {
    "why": ".ls-learn-table td:text-is('16,384')",
    "forward": "canvas[data-forward=pixels]",
    "reverse": ".ls-learn-steps img >> nth=2",
    "unet": ".ls-viewer button",
    "latent": ".ls-learn-bar[data-space=pixels] b:text-matches('57 billion')",
    "vae": ".ls-panel canvas",
    "training": ".ls-learn-three [data-objective=text]:text-matches('^0')",  # the loss is measured without a click
    "words": ".ls-learn-without img >> nth=1",
    "guidance": "canvas[data-guidance=what_if]",
    "others": ".ls-learn-steps img >> nth=6",  # four strengths, a mask, with and without a map
    "plane": "svg[data-path=flow] .ls-plane-point >> nth=119",
    "whole": ".ls-learn-part .ls-note:text-matches('parameters; [0-9]')",
}


def test_each_chapter_lights_its_parts_and_shows_its_figure_and_a_run_of_ones_own_replaces_the_sample(
    visitor: Visitor,
    url: str,  # noqa: F811
) -> None:
    page = visitor(url=url, width=1280, height=900)
    page.get_by_role("tab", name="Learn").click()
    shown = page.locator(".ls-learn-shown")
    expect(shown).to_have_text("Shown: a fox in the snow")
    for name, figure in FIGURES.items():
        page.locator(f".ls-learn-number[data-chapter={name}]").click()
        chapter = page.locator(f".ls-learn-chapter[data-chapter={name}]")
        expect(chapter.locator(figure).first).to_be_visible(timeout=30_000)
        expect(page.locator(".ls-machine:visible [data-part].ls-lit").first).to_be_visible()
        if name == "training":
            expect(chapter.locator(".ls-loss polyline").first).to_be_visible()
            chapter.get_by_role("button", name="It is B").click()
            expect(chapter.get_by_text("The network’s guess is nearest to")).to_be_visible()
            expect(chapter.get_by_role("img", name="The network’s guess")).to_be_visible()
        if name == "whole":
            parts = chapter.locator(".ls-machine [data-part]")
            for k in range(parts.count()):
                parts.nth(k).focus()
                page.keyboard.press("Enter")
                part = parts.nth(k).get_attribute("data-part")
                expect(chapter.locator(".ls-learn-part")).to_have_attribute("data-part", str(part))
        if name in ("forward", "training", "words", "others", "plane"):  # those with controls of their own
            assert Axe().run(page, context=".ls-learn").response["violations"] == [], name
        for line in chapter.locator(".ls-learn-tasks p").all_inner_texts():
            assert line.startswith(("Try ", "Question ")), line
    chapter.get_by_role("button", name="Its chapter").click()
    parts = page.locator(".ls-learn > .ls-machine [data-part]")
    opened = set()
    for k in range(parts.count()):
        parts.nth(k).focus()
        page.keyboard.press("Enter")
        opened.add(page.locator(".ls-learn-chapter").get_attribute("data-chapter"))
    assert opened == set(FIGURES) - {"plane", "whole"}
    expect(page.locator(".ls-learn > .ls-machine")).to_contain_text("4×16×16")  # of the loaded model

    page.locator(".ls-learn-number[data-chapter=latent]").click()
    page.locator(".ls-learn").get_by_role("button", name="See it in the noise viewer").click()
    viewer = page.locator("#noise_viewer-viewer .ls-viewer")
    expect(viewer.locator(".ls-run")).to_have_text("a fox in the snow")
    expect(viewer.locator("canvas[data-latent=fast]")).to_be_visible()
    expect(viewer.get_by_role("button", name="VAE", exact=True)).to_be_hidden()  # asks the studio about its own runs
    expect(viewer.get_by_role("tab", name="Branches")).to_be_hidden()
    page.get_by_role("tab", name="Learn").click()

    page.locator(".ls-learn-number[data-chapter=forward]").click()
    page.locator(".ls-learn").get_by_role("button", name="Denoise from here (11 steps)").click()
    expect(page.locator(".ls-learn-chapter")).to_have_attribute("data-chapter", "reverse")
    expect(page.locator(".ls-learn .ls-film")).to_have_attribute("aria-valuenow", "11", timeout=120_000)
    expect(page.locator(".ls-learn-steps .ls-note")).to_contain_text("did not begin at pure noise", timeout=60_000)

    page.locator(".ls-learn-number[data-chapter=guidance]").click()
    page.locator("#learn-prompt input, #learn-prompt textarea").fill("a red apple")
    page.locator("#learn-run").click()
    expect(shown).to_have_text("Shown: a red apple", timeout=240_000)
    expect(page.locator(".ls-learn .ls-film")).to_have_attribute("aria-valuenow", "25")
    page.locator(".ls-learn-number[data-chapter=vae]").click()
    expect(page.get_by_role("button", name="This run's picture")).to_have_attribute("aria-pressed", "true")
    page.locator(".ls-learn").get_by_role("button", name="See it in the noise viewer").click()
    expect(viewer.locator(".ls-run")).to_have_text("a red apple")
