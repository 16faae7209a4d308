"""The switch Fast of Text to image in Chromium: it sets the fields and the prompt, and the prompt sets it."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Studio
from tests.browser.test_page import finished, generate

Visitor = Callable[..., Page]
TAG = "<lora:small-world-fast:1>"


def number(page: Page, field: str) -> str:
    return page.locator(f"#text_to_image-{field} input[type=number]").first.input_value()


def test_the_switch_sets_what_the_lora_wants_and_takes_it_back(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    switch = page.locator("#text_to_image-fast input")
    prompt = page.locator("#text_to_image-prompt textarea")
    steps = page.locator("#text_to_image-num_inference_steps input[type=number]").first
    before = steps.input_value()
    prompt.fill("a fox in the snow")
    switch.check()
    expect(prompt).to_have_value(f"a fox in the snow {TAG}")
    expect(steps).to_have_value("4")
    assert number(page, "guidance_scale") == "1"
    marks = page.locator(".ls-controls:has(#text_to_image-fast) .ls-landmarks").first.locator("button b")
    expect(marks).to_have_text(["2", "4"])
    below = switch.evaluate("s => s.getBoundingClientRect().top")
    assert steps.evaluate("s => s.getBoundingClientRect().top") < below
    guidance = page.locator("#text_to_image-guidance_scale")
    assert below < guidance.evaluate("s => s.getBoundingClientRect().top")
    generate(page, f"a fox in the snow {TAG}")
    finished(page)
    asked = studio.engine.asked[-1].request
    assert (asked.scheduler, asked.num_inference_steps, asked.guidance_scale) == ("lcm", 4, 1.0)
    assert TAG in asked.prompt
    prompt.fill("a fox")  # without the tag it is no fast picture
    expect(switch).not_to_be_checked()
    prompt.fill(f"a cat {TAG}")
    expect(switch).to_be_checked()
    switch.uncheck()
    expect(prompt).to_have_value("a cat")
    expect(steps).to_have_value(before)
    expect(marks).to_have_count(3)


def test_a_checkpoint_without_the_lora_has_no_switch_and_loses_the_tag(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    page.locator("#text_to_image-fast input").check()
    prompt = page.locator("#text_to_image-prompt textarea")
    expect(prompt).to_have_value(re.compile(re.escape(TAG)))
    page.locator("#text_to_image-checkpoint input").click()
    page.get_by_role("option", name=re.compile("Quick one")).click()
    expect(page.locator("#text_to_image-fast")).to_be_hidden()
    expect(prompt).not_to_have_value(re.compile("lora"))
