"""The fold Queue in Chromium: many prompts one after the other, their order, and generating forever."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from studio.picture.gallery import Gallery
from tests.browser.conftest import Studio
from tests.ui.fake_app import launch
from tests.ui.fake_engine import FakeEngine

Visitor = Callable[..., Page]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio whose pictures take half a second."""
    gallery = Gallery(tmp_path_factory.mktemp("queue"))
    engine = FakeEngine(gallery, seconds_per_step=0.02)
    demo, url = launch(engine, gallery)
    yield Studio(url, engine)
    demo.close()
    engine.close()


def test_many_prompts_wait_in_an_order_that_can_be_changed(visitor: Visitor, quick: Studio) -> None:
    page = visitor(url=quick.url)
    fold = page.locator("#text_to_image-queue")
    fold.get_by_text("Queue", exact=True).click()
    fold.get_by_role("button", name="Add these prompts").click()
    expect(fold.get_by_role("alert")).to_have_text("Write at least one prompt, one a line.")
    fold.get_by_role("textbox", name="Many prompts, one a line").fill("a slow fox\n\na lake\n a tree \na star")
    fold.get_by_role("button", name="Add these prompts").click()
    items = fold.get_by_role("listitem")
    expect(items).to_have_count(4)
    expect(items.first).to_contain_text("step")
    fold.get_by_role("button", name="Pause").click()
    for _ in range(2):
        fold.get_by_role("button", name="Earlier: a star").click()
    fold.get_by_role("button", name="Remove: a tree").click()
    expect(fold.get_by_role("status")).to_contain_text("2 waiting, paused")
    expect(fold.get_by_role("group", name="Made by the queue").get_by_role("img")).to_have_count(1)
    page.reload()
    fold.get_by_text("Queue", exact=True).click()
    expect(fold.get_by_role("status")).to_contain_text("2 waiting, paused")
    expect(items).to_contain_text(["a star", "a lake"])
    fold.get_by_role("button", name="Go on").click()
    expect(fold.get_by_role("group", name="Made by the queue").get_by_role("img")).to_have_count(2)
    expect(items).to_have_count(0)


def test_runs_of_programs_are_shown_and_stopped(visitor: Visitor, quick: Studio) -> None:
    page = visitor(url=quick.url)
    fold = page.locator("#text_to_image-queue")
    fold.get_by_text("Queue", exact=True).click()
    request = {"prompt": "a slow whale", "num_inference_steps": 150}
    page.evaluate(
        """(request) => fetch("/api/v1/text_to_image", {
          method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(request) })""",
        request,
    )
    fold.get_by_role("button", name="Stop: a slow whale").click()
    expect(fold.get_by_role("button", name="Stop: a slow whale")).to_have_count(0)


def test_generating_forever_ends_with_stop(visitor: Visitor, quick: Studio) -> None:
    page = visitor(url=quick.url)
    page.locator("#text_to_image-prompt textarea").fill("a fox")
    fold = page.locator("#text_to_image-queue")
    fold.get_by_text("Queue", exact=True).click()
    box = fold.get_by_role("checkbox")
    box.check()
    earlier = page.locator("#text_to_image-stage .ls-earlier button")
    expect(earlier).not_to_have_count(0)
    count = earlier.count()
    expect(earlier.nth(count + 1)).to_be_visible(timeout=10_000)
    page.locator("#text_to_image-stop").click()
    expect(box).not_to_be_checked()
