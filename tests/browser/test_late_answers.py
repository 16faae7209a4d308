"""An answer that comes late overwrites nothing that a person has typed or chosen since they asked, and no click is
ignored because the answer to the one before is still on its way.

Each test holds the answers back.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Studio
from tests.browser.test_compare import field, open_tab
from tests.browser.test_control import choose
from tests.browser.test_page import workspace

Visitor = Callable[..., Page]

# While `window.slow` is true, short answers wait until it is false; `window.answered` counts those that have come.
HOLD = """
const plain = window.fetch;
window.answered = 0;
window.fetch = async (resource, options) => {
  const late = window.slow && /\\/run\\//.test(String(resource.url || resource));
  const answer = await plain(resource, options);
  while (late && window.slow) await new Promise((done) => setTimeout(done, 20));
  if (late) window.answered++;
  return answer;
};
"""


def hold(page: Page) -> None:
    page.evaluate("window.slow = true")


def let_go(page: Page) -> None:
    page.evaluate("window.slow = false")
    page.wait_for_function("window.answered > 0")
    page.wait_for_timeout(1500)


def number(page: Page, name: str, tab: str = "text_to_image") -> str:
    return page.locator(f"#{tab}-{name} input[type=number]").input_value()


def choose_axis(page: Page, axis: str, name: str) -> None:
    page.locator(f"#compare-{axis} input").click()
    page.locator(f"#compare-{axis}").get_by_role("option", name=name, exact=True).click()


def test_the_suggested_values_of_an_axis_do_not_overwrite_what_was_typed(visitor: Visitor) -> None:
    page = visitor(script=HOLD)
    open_tab(page)
    hold(page)
    choose_axis(page, "x", "Seed")
    field(page, "x_values").fill("7-9")
    let_go(page)
    expect(field(page, "x_values")).to_have_value("7-9")
    expect(page.locator("#compare-x input")).to_have_value("Seed")


def test_the_last_of_two_axes_chosen_in_a_row_is_followed(visitor: Visitor) -> None:
    page = visitor(script=HOLD)
    open_tab(page)
    hold(page)
    choose_axis(page, "x", "Seed")
    choose_axis(page, "x", "Scheduler")
    let_go(page)
    expect(field(page, "x_values")).to_have_value("DPM++ 2M, Euler, Euler a, DDIM")


def test_what_was_typed_after_the_second_of_two_axes_stays(visitor: Visitor) -> None:
    page = visitor(script=HOLD)
    open_tab(page)
    hold(page)
    choose_axis(page, "x", "Seed")
    choose_axis(page, "x", "Scheduler")
    field(page, "x_values").fill("Euler, DDIM")
    let_go(page)
    expect(field(page, "x_values")).to_have_value("Euler, DDIM")


def test_a_checkpoints_defaults_and_an_aspects_size_do_not_overwrite_what_was_typed(visitor: Visitor) -> None:
    page = visitor(script=HOLD)
    choose(page, "Quick")
    quick = "num_inference_steps"
    expect(page.locator(f"#text_to_image-{quick} input[type=number]")).to_have_value("4")
    choose(page, "Tiny")
    expect(page.locator(f"#text_to_image-{quick} input[type=number]")).to_have_value("25")
    guidance = number(page, "guidance_scale")
    hold(page)
    choose(page, "Quick")
    page.locator(f"#text_to_image-{quick} input[type=number]").fill("17")
    let_go(page)
    assert number(page, quick) == "17"
    assert number(page, "guidance_scale") != guidance, "the others follow"


def test_a_width_that_was_typed_after_an_aspect_was_chosen_stays(visitor: Visitor) -> None:
    page = visitor(script=HOLD)
    workspace(page).get_by_role("button", name="More").click()
    width = page.locator("#text_to_image-width input[type=number]")
    expect(width).to_be_visible()
    hold(page)
    page.locator("#text_to_image-aspect label").last.click()
    width.fill("320")
    let_go(page)
    expect(width).to_have_value("320")


def viewer(page: Page, prompt: str) -> None:
    page.get_by_role("tab", name="Noise viewer").click()
    page.locator("#noise_viewer-prompt :is(textarea, input)").first.fill(prompt)


def count(studio: Studio, prompt: str) -> int:
    return sum(j.request.prompt == prompt for j in studio.engine.asked)


def test_a_run_of_the_viewer_is_obeyed_while_the_one_before_goes_on(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    viewer(page, "the first of two")
    page.locator("#noise_viewer-run").click()
    expect(page.locator(".ls-run")).to_have_text("the first of two")
    viewer(page, "the second of two")
    page.locator("#noise_viewer-run").click()
    expect(page.locator(".ls-run")).to_have_text("the second of two", timeout=60_000)
    expect(page.locator(".ls-where")).to_have_text(re.compile(r"^Evaluation (\d+) of \1$"), timeout=60_000)
    expect(page.locator(".ls-run")).to_have_text("the second of two")
    assert (count(studio, "the first of two"), count(studio, "the second of two")) == (1, 1)


def test_two_enters_or_clicks_in_a_moment_are_one_run_of_the_viewer(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    viewer(page, "asked for in a hurry")
    page.evaluate("const now = performance.now(); performance.now = () => now")  # however slow the machine is
    for _ in range(2):
        page.locator("#noise_viewer-prompt :is(textarea, input)").first.press("Enter")
    page.locator("#noise_viewer-run").click()
    page.evaluate("delete performance.now")
    expect(page.locator(".ls-where")).to_have_text(re.compile(r"^Evaluation (\d+) of \1$"), timeout=60_000)
    assert count(studio, "asked for in a hurry") == 1
