"""Live mode of Text to image in Chromium: letting go of a slider replaces the run, from the same noise."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MODULES, Studio
from tests.browser.test_page import finished, generate, stage, workspace

Visitor = Callable[..., Page]


def let_go(page: Page, field: str, value: float) -> None:
    slider = f"document.querySelector('#text_to_image-{field} input[type=range]')"
    page.evaluate(f"async () => {MODULES}['static/elements.js'].type({slider}, {value})")


def go_live(page: Page) -> None:
    """Turn Live on, and wait until Fast has set its fields, which come a moment later."""
    page.locator("#text_to_image-live input").check()
    expect(page.locator("#text_to_image-fast input")).to_be_checked()
    expect(page.locator("#text_to_image-num_inference_steps input[type=number]").first).to_have_value("4")


def turn_fast_off(page: Page) -> None:
    """So that runs last long enough to be replaced. Live makes the picture again at once."""
    before = str(workspace(page).get_attribute("data-job"))
    page.locator("#text_to_image-fast input").uncheck()
    expect(page.locator("#text_to_image-num_inference_steps input[type=number]").first).not_to_have_value("4")
    expect(workspace(page)).not_to_have_attribute("data-job", before)
    finished(page)


def test_typing_makes_the_picture_at_each_pause_and_the_last_is_never_lost(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    page.locator("#text_to_image-seed :is(input, textarea)").first.fill("7")
    go_live(page)
    prompt = page.locator("#text_to_image-prompt textarea")
    count = len(studio.engine.asked)
    tag = prompt.input_value()
    keys = [f"{'a red fox'[: end + 1]}{tag}" for end in range(len("a red fox"))]
    field = "document.querySelector('#text_to_image-prompt textarea')"
    page.evaluate(  # no pause of 150 ms between the keys: one picture
        f"async (keys) => {{ const m = {MODULES}['static/elements.js']; for (const k of keys) m.type({field}, k); }}",
        keys,
    )
    expect(workspace(page)).to_have_attribute("data-job", re.compile("."))
    finished(page)
    assert len(studio.engine.asked) == count + 1
    prompt.press("Home")
    for _ in "a red fox":
        prompt.press("ArrowRight")
    for word in (" in", " the", " snow"):
        prompt.press_sequentially(word)
        page.wait_for_timeout(200)
    expect(stage(page).locator("img.ls-picture")).to_have_attribute("alt", re.compile("a red fox in the snow"))
    finished(page)
    runs = [job.request for job in studio.engine.asked[count:]]
    assert {run.seed for run in runs} == {7}
    assert (runs[-1].num_inference_steps, runs[-1].scheduler) == (4, "lcm")
    assert runs[-1].prompt.startswith("a red fox in the snow")
    last = str(workspace(page).get_attribute("data-job"))
    page.locator("#text_to_image-seed-random").click()
    expect(workspace(page)).not_to_have_attribute("data-job", last)
    finished(page)
    assert studio.engine.asked[-1].request.seed != 7
    # None of them was paused at: they stay in the strip, and one is saved when it is kept.
    thumbs = stage(page).locator(".ls-thumb.ls-unsaved")
    keep = stage(page).locator(".ls-keep")
    unsaved = thumbs.count()
    assert unsaved >= 3
    thumbs.nth(1).click()
    kept = str(thumbs.nth(1).get_attribute("data-id"))
    expect(keep).to_be_visible()
    keep.press("Enter")
    expect(keep).to_be_hidden()
    expect(stage(page).locator(f".ls-thumb[data-id='{kept}']")).not_to_have_class(re.compile("ls-unsaved"))
    gallery, owner = studio.engine.gallery, studio.engine.asked[-1].job.owner
    assert kept in {one.id for one in gallery.files(owner)}
    # The newest is saved after a pause.
    newest = str(stage(page).locator(".ls-thumb").first.get_attribute("data-id"))
    expect(stage(page).locator(f".ls-thumb[data-id='{newest}']")).not_to_have_class(re.compile("ls-unsaved"))
    assert newest in {one.id for one in gallery.files(owner)}
    assert thumbs.count() == unsaved - 2


def test_letting_go_of_a_slider_makes_the_picture_again_from_the_same_noise(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    generate(page)
    finished(page)
    first = workspace(page).get_attribute("data-job")
    let_go(page, "guidance_scale", 3)  # live mode is off: nothing happens until Generate
    go_live(page)
    seed = page.locator("#text_to_image-seed :is(input, textarea)").first
    expect(seed).to_have_value(re.compile(r"^\d+$"))  # the last picture's
    drawn = seed.input_value()
    assert workspace(page).get_attribute("data-job") == first
    turn_fast_off(page)
    first = workspace(page).get_attribute("data-job")
    let_go(page, "guidance_scale", 8)
    expect(workspace(page)).not_to_have_attribute("data-job", str(first))
    expect(stage(page).locator("img.ls-picture")).to_be_visible()  # the picture before stays until the preview
    second = str(workspace(page).get_attribute("data-job"))
    let_go(page, "guidance_scale", 9)
    let_go(page, "guidance_scale", 12)
    finished(page)
    expect(stage(page).locator(".ls-caption")).to_contain_text(f"seed {drawn} ")
    expect(stage(page).locator(".ls-caption")).to_contain_text("guidance 12")
    replaced = next(job for job in studio.engine.asked if job.job.id == second)
    assert replaced.job.ended is not None
    assert replaced.job.state == "stopped"


def test_a_slider_begins_the_run_that_its_form_then_finds(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    page.locator("#text_to_image-seed :is(input, textarea)").first.fill("7")
    generate(page)
    finished(page)
    go_live(page)
    before = str(workspace(page).get_attribute("data-job"))
    let_go(page, "guidance_scale", 4)  # the box was touched: this one waits for the form
    expect(workspace(page)).not_to_have_attribute("data-job", before)
    finished(page)
    first = str(workspace(page).get_attribute("data-job"))
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url))
    let_go(page, "guidance_scale", 13.7)
    expect(workspace(page)).not_to_have_attribute("data-job", first)
    finished(page)
    expect(stage(page).locator(".ls-caption")).to_contain_text("guidance 13.7")
    assert any(f"/again/{first}?guidance_scale=13.7" in url for url in asked)
    jobs = [job for job in studio.engine.asked if getattr(job.request, "guidance_scale", 0) == 13.7]  # no other test's
    assert len(jobs) == 1, "the form found the run that the slider had begun"


def test_a_changed_prompt_is_not_forgotten_by_a_slider(visitor: Visitor) -> None:
    page = visitor()
    page.locator("#text_to_image-seed :is(input, textarea)").first.fill("7")
    generate(page)
    finished(page)
    go_live(page)
    before = str(workspace(page).get_attribute("data-job"))
    let_go(page, "guidance_scale", 4)
    expect(workspace(page)).not_to_have_attribute("data-job", before)
    finished(page)
    first = str(workspace(page).get_attribute("data-job"))
    page.locator("#text_to_image-prompt textarea").fill("something else")
    let_go(page, "guidance_scale", 9)
    expect(workspace(page)).not_to_have_attribute("data-job", first)
    finished(page)
    page.reload()
    expect(stage(page).locator("img.ls-picture")).to_have_attribute("alt", re.compile("something else"))


def test_a_run_is_stopped_as_soon_as_the_slider_moves_and_is_made_again_if_it_comes_back(
    visitor: Visitor, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visitor()
    generate(page, "out of date")
    finished(page)
    go_live(page)
    expect(page.locator("#text_to_image-seed :is(input, textarea)").first).to_have_value(re.compile(r"^\d+$"))
    turn_fast_off(page)
    first = str(workspace(page).get_attribute("data-job"))
    monkeypatch.setattr(studio.engine, "seconds_per_step", 0.3)  # it runs until the slider is moved, on any machine
    let_go(page, "num_inference_steps", 150)
    expect(workspace(page)).to_have_attribute("data-run", "running")
    expect(workspace(page)).not_to_have_attribute("data-job", first)
    running = str(workspace(page).get_attribute("data-job"))
    slider = page.locator("#text_to_image-guidance_scale input[type=range]")
    box = slider.bounding_box()
    assert box is not None
    at = slider.evaluate("s => (s.value - s.min) / (s.max - s.min)")
    x, y = box["x"] + 8 + at * (box["width"] - 16), box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=4)
    old = next(job for job in studio.engine.asked if job.job.id == running)
    deadline = time.monotonic() + 15
    while old.job.state != "stopped" and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert old.job.state == "stopped"
    assert workspace(page).get_attribute("data-job") == running  # nothing new before the slider is let go of
    page.mouse.move(x, y, steps=4)
    page.mouse.up()
    expect(workspace(page)).not_to_have_attribute("data-job", running)
