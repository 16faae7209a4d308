"""The studio is killed in the middle of a run and started again: the page names the run and runs it again."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from tests.browser.conftest import ready
from tests.browser.test_built_in_model import MODEL
from tests.browser.test_page import generate, stage, watch_the_stage, workspace
from tests.test_running import Studio

pytestmark = [pytest.mark.alone, pytest.mark.skipif(not MODEL.is_file(), reason="the built-in model is not in models/")]


@pytest.fixture
def studio_at(tmp_path: Path) -> Iterator[Callable[..., Studio]]:
    """Starts the studio on one outputs folder, at the same port each time."""
    made: list[Studio] = []

    def start(*flags: str) -> Studio:
        port = made[-1].port if made else None
        made.append(Studio(tmp_path, *flags, port=port))
        return made[-1].opened()

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait(60)


def runs(page: Page) -> None:
    """The stage shows a step."""
    page.wait_for_function("[...window.seen.pictures].some((s) => s.startsWith('data:image/jpeg'))", timeout=120_000)


def test_a_run_that_was_cut_off_is_named_with_its_settings_and_run_again(
    browser: Browser, studio_at: Callable[..., Studio]
) -> None:
    here = studio_at()
    context = browser.new_context(base_url=here.url, locale="en-US")
    page = context.new_page()
    page.goto("/")
    ready(page)
    watch_the_stage(page)
    page.locator("#text_to_image-num_inference_steps input[type=number]").fill("150")
    page.locator("#text_to_image-seed input, #text_to_image-seed textarea").first.fill("77")
    generate(page, "a red apple that was cut off")
    runs(page)
    here.process.send_signal(signal.SIGKILL)
    here.process.wait(60)

    studio_at()
    with suppress(Error):  # the page may be loading itself anew: it has seen that the studio is back
        page.reload()
    ready(page)
    expect(stage(page)).to_have_attribute("data-state", "interrupted")
    expect(stage(page).locator(".ls-message")).to_contain_text("ended while this run was made")
    cut = stage(page).locator(".ls-cut-run")
    expect(cut).to_have_count(1)
    expect(cut).to_contain_text("a red apple that was cut off")
    expect(cut).to_contain_text(re.compile("seed 77 .*150 ×"))

    chinese = context.browser.new_context(  # type: ignore[union-attr]
        base_url=here.url, locale="zh-CN", storage_state=context.storage_state()
    ).new_page()
    chinese.goto("/")
    expect(chinese.locator("#text_to_image-stage .ls-cut-run")).to_contain_text("种子 77")
    expect(chinese.locator("#text_to_image-stage").get_by_role("button", name="重新运行")).to_be_visible()
    chinese.context.close()

    watch_the_stage(page)
    cut.get_by_role("button", name="Run again").click()
    runs(page)
    expect(stage(page)).to_have_attribute("data-state", "running")
    expect(cut).to_have_count(0)
    workspace(page).get_by_role("button", name="Stop").click()
    expect(stage(page)).to_have_attribute("data-state", "stopped")
    page.reload()
    ready(page)
    expect(stage(page)).to_have_attribute("data-state", "stopped")
    expect(cut).to_have_count(0)
    context.close()
