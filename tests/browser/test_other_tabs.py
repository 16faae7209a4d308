"""Image to image and the noise viewer, in Chromium, on an engine that only draws."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import place_of, quiet
from tests.browser.test_page import finished, generate, stage

Visitor = Callable[..., Page]


def upload(page: Page, data: bytes, name: str = "start.png") -> None:
    page.locator("#image_to_image-image input[type=file]").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": data}
    )
    expect(page.locator("#image_to_image-image img")).to_be_visible()


def png(width: int = 96, height: int = 64) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(out, "PNG")
    return out.getvalue()


def test_an_uploaded_picture_becomes_another_in_the_steps_that_strength_says(visitor: Visitor) -> None:
    page = visitor()
    page.get_by_role("tab", name="Image to image").click()
    upload(page, png(), name="<img src=x onerror=window.__xss=1>.png")
    workspace = page.locator("#image_to_image-workspace")
    expect(workspace.locator(".ls-sentence")).to_have_text("Runs 15 of 25 steps.")
    workspace.get_by_role("button", name="a touch 0.3").click()
    expect(workspace.locator(".ls-sentence")).to_have_text("Runs 7 of 25 steps.")
    page.locator("#image_to_image-prompt textarea").fill("a whale")
    workspace.get_by_role("button", name="Generate").click()
    show = page.locator("#image_to_image-stage .ls-stage")
    expect(show).to_have_attribute("data-state", "finished", timeout=30_000)
    expect(show.locator(".ls-caption")).to_contain_text("strength 0.3")
    assert not page.evaluate("window.__xss")


def test_without_a_picture_the_field_says_what_is_needed(visitor: Visitor) -> None:
    page = visitor()
    page.get_by_role("tab", name="Image to image").click()
    page.locator("#image_to_image-workspace").get_by_role("button", name="Generate").click()
    expect(page.locator("#image_to_image-image").get_by_role("alert")).to_contain_text("a PNG, JPEG, WebP or GIF file")


def test_a_finished_picture_goes_to_image_to_image_by_one_click(visitor: Visitor) -> None:
    page = visitor()
    generate(page, "to go on with")
    finished(page)
    stage(page).get_by_role("button", name="Image to image").click()
    expect(page.locator("#image_to_image-image img")).to_be_visible()


def test_a_run_is_moved_through_in_the_noise_viewer_with_the_network_idle(visitor: Visitor) -> None:
    page = visitor()
    generate(page, "to look into")
    finished(page)
    stage(page).get_by_role("button", name="Noise viewer").click()
    where = page.locator(".ls-where")
    expect(where).to_have_text("Evaluation 25 of 25")
    quiet(page)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))

    def panes() -> list[str]:
        return page.eval_on_selector_all(".ls-panes .ls-frame canvas", "all => all.map((c) => c.toDataURL())")

    page.get_by_role("button", name="Expert").click()
    last = panes()
    assert len(set(last)) == 3
    timeline = page.get_by_role("slider", name="Evaluations of this run")
    box = place_of(timeline)
    page.mouse.move(box["x"] + 3, box["y"] + 10)
    expect(where).to_have_text("Evaluation 1 of 25")
    first = panes()
    assert first[0] != last[0]  # x_t moves; the fake engine's predictions are perfect from the start
    timeline.focus()
    page.keyboard.press("ArrowRight")
    expect(where).to_have_text("Evaluation 2 of 25")
    page.keyboard.press("End")
    expect(where).to_have_text("Evaluation 25 of 25")
    assert panes() == last
    expect(page.locator(".ls-numbers dd").first).to_have_text("40")
    page.get_by_role("button", name="Channels").click()
    assert panes() != last
    assert requests == []


def test_the_viewer_runs_a_prompt_of_its_own_and_grows_while_it_runs(visitor: Visitor) -> None:
    page = visitor()
    page.get_by_role("tab", name="Noise viewer").click()
    where = page.locator(".ls-where")
    expect(page.locator(".ls-run-facts")).to_contain_text("a sample · small-world-128 · seed 7")  # until there is a run
    expect(where).to_have_text("Evaluation 11 of 25")
    page.locator("#noise_viewer-prompt input, #noise_viewer-prompt textarea").fill("slow lantern")
    page.get_by_role("button", name="Model, steps, guidance").click()
    page.locator("#noise_viewer-num_inference_steps input[type=number]").fill("24")
    page.locator("#noise_viewer-seed :is(input, textarea)").fill("12")
    page.locator("#noise_viewer-seed :is(input, textarea)").blur()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(where).to_have_text(re.compile(r"Evaluation [2-8] of 24"), timeout=15_000)
    expect(where).to_have_text("Evaluation 24 of 24", timeout=30_000)
    expect(page.locator(".ls-run")).to_have_text("slow lantern")
    expect(page.locator(".ls-run-facts")).to_contain_text("seed 12")


def test_the_viewer_shows_the_last_run_when_its_tab_is_opened(visitor: Visitor) -> None:
    page = visitor()
    for words in ("an earlier run", "the last run"):
        generate(page, words)
        finished(page)
        expect(stage(page).locator("img.ls-picture")).to_have_attribute("alt", words)
    page.get_by_role("tab", name="Noise viewer").click()
    expect(page.locator(".ls-run")).to_have_text("the last run")
    expect(page.locator(".ls-where")).to_have_text("Evaluation 25 of 25")
