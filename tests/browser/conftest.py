"""A real page in a real browser: served from a thread of this process, driven by Playwright's Chromium.

`STUDIO_CHROMIUM` names the browser; without it Debian's chromium is taken, else Playwright's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, FloatRect, Locator, Page, expect, sync_playwright

from studio.picture.gallery import Gallery
from studio.ui import assets
from tests.ui.fake_app import launch
from tests.ui.fake_engine import FakeEngine

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--use-fake-device-for-media-stream",  # a camera that shows a test card
]

# In an async function of the page: what the page's modules export, by the names of their files.
MODULES = f"(await import('{assets.script().address}')).modules"

expect.set_options(timeout=15_000)  # a busy machine is no fault of the page


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass
class Studio:
    """A page that is being served, with the engine behind it."""

    url: str
    engine: FakeEngine


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The page on the fake engine, for the whole session."""
    yield from serve(tmp_path_factory)


def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The page on a fake engine without any picture, until the end of the fixture that yields from it."""
    gallery = Gallery(tmp_path_factory.mktemp("outputs"))
    engine = FakeEngine(gallery, seconds_per_step=0.06)
    demo, url = launch(engine, gallery)
    yield Studio(url, engine)
    demo.close()
    engine.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(browser: Browser, studio: Studio) -> Iterator[Callable[..., Page]]:
    """Opens the page as a new visitor (an empty browser profile); every page error fails the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_page(
        *, width: int = 1280, height: int = 800, query: str = "", url: str | None = None, script: str = ""
    ) -> Page:
        """`script` runs before any of the page's own."""
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((url or studio.url) + query)
        ready(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


def ready(page: Page) -> None:
    """Wait until Gradio has drawn the page and what it loads first has come."""
    page.locator("#tabs [role=tab]").first.wait_for(timeout=60_000)  # in any language; a reload may open on another tab
    page.wait_for_function("document.querySelector('.ls-dot')?.dataset.state === 'ready'", timeout=120_000)


def place_of(one: Locator) -> FloatRect:
    """Where an element is, once it stands in the middle of the window, where the mouse reaches it."""
    one.evaluate("(element) => element.scrollIntoView({ block: 'center' })")
    box = one.bounding_box()
    assert box
    return box


def quiet(page: Page) -> None:
    """Wait until the page has fetched nothing for 0.6 seconds.

    Playwright's own "networkidle" may never come: Gradio's heartbeat is a request that lasts as long as the page.
    """
    page.evaluate(
        """() => new Promise((done) => {
          performance.setResourceTimingBufferSize(10000);
          let before = -1;
          const look = () => {
            const now = performance.getEntriesByType("resource").length;
            if (now === before) return done();
            before = now;
            setTimeout(look, 600);
          };
          look();
        })"""
    )
