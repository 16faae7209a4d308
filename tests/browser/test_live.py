"""Live mode of Text to image in Chromium: letting go of a slider replaces the run, from the same noise."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Studio
from tests.browser.test_page import desk, finished, generate, stage

Visitor = Callable[..., Page]


def let_go(page: Page, field: str, value: float) -> None:
    page.evaluate(
        f"window.LatentStudio.type(document.querySelector('#text_to_image-{field} input[type=range]'), {value})"
    )


def test_letting_go_of_a_slider_makes_the_picture_again_from_the_same_noise(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    generate(page)
    finished(page)
    first = desk(page).get_attribute("data-job")
    let_go(page, "guidance_scale", 3)  # live mode is off: nothing happens until Generate
    page.locator("#text_to_image-live input").check()
    seed = page.locator("#text_to_image-seed :is(input, textarea)").first
    expect(seed).to_have_value(re.compile(r"^\d+$"))  # the last picture's
    drawn = seed.input_value()
    assert desk(page).get_attribute("data-job") == first
    let_go(page, "guidance_scale", 8)
    expect(desk(page)).not_to_have_attribute("data-job", str(first))
    expect(stage(page).locator("img.ls-picture")).to_be_visible()  # the picture before stays until the preview
    second = str(desk(page).get_attribute("data-job"))
    let_go(page, "guidance_scale", 9)
    let_go(page, "guidance_scale", 12)
    finished(page)
    expect(stage(page).locator(".ls-caption")).to_contain_text(f"seed {drawn} ")
    expect(stage(page).locator(".ls-caption")).to_contain_text("guidance 12")
    replaced = next(job for job in studio.engine._jobs.values() if job.id == second)
    assert replaced.end is not None
    assert replaced.state == "stopped"
