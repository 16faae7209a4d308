"""A block whose script fails or does not come says so in its place, and the others go on."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from studio.ui import assets
from studio.ui.text import say
from tests.browser.conftest import Studio

SCRIPT = "**/studio-static/page.*.js"


@pytest.fixture
def page(browser: Browser, studio: Studio) -> Any:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_blocks_say_that_their_script_did_not_come(page: Page, studio: Studio) -> None:
    page.route(SCRIPT, lambda route: route.abort())
    page.goto(studio.url)
    page.get_by_role("tab", name="Text to image").wait_for()
    for block in ("#text_to_image-stage", ".ls-top"):
        expect(page.locator(f"{block} .ls-broken")).to_have_text(say("page.absent"))


def test_a_block_that_fails_says_so_and_the_others_are_drawn(page: Page, studio: Studio) -> None:
    source = assets.source(assets.PAGE)
    broken = source.replace("\n  stage,\n", "\n  stage: () => { throw new Error('broken on purpose'); },\n", 1)
    assert broken != source
    serve(page, studio, broken)
    expect(page.locator("#text_to_image-stage .ls-broken")).to_have_text(say("page.failed"))
    expect(page.locator(".ls-header h1")).to_have_text("Latent Studio")
    expect(page.locator(".ls-landmarks").first).to_be_visible()
    expect(page.locator(".ls-top .ls-broken")).to_have_count(0)


def test_a_panel_that_fails_says_so_in_its_place(page: Page, studio: Studio) -> None:
    act = """
      const panel = modules["viewer/static/panels.js"].PANELS.find((one) => one.name === "timeline");
      panel.build = () => { throw new Error("broken on purpose"); };"""
    page.route("**/sample.safetensors", lambda route: route.abort())  # a viewer without it says that there is no run
    serve(page, studio, assets.source(assets.PAGE) + act)
    page.get_by_role("tab", name="Noise viewer").click()
    expect(page.locator(".ls-viewer .ls-broken")).to_have_text(say("viewer.panel.failed"))
    expect(page.locator(".ls-viewer .ls-empty-note")).to_be_visible()


def serve(page: Page, studio: Studio, source: str) -> None:
    """Open the page with another script."""

    def answer(route: Route) -> None:
        route.fulfill(body=source, content_type="text/javascript")

    page.route(SCRIPT, answer)
    page.goto(studio.url)
    page.get_by_role("tab", name="Text to image").wait_for()
