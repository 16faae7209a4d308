"""The page's first moments: what a person types and clicks before everything has come is neither lost nor undone.

Each test holds back one thing that the page waits for, so that what is a matter of luck on a fast machine happens
every time.
"""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.test_page import finished, generate

Visitor = Callable[..., Page]

# Every frame comes late, as on a busy machine: Gradio writes the fields of a tab or a fold once more a frame after it
# has drawn them.
LATE_FRAMES = """
const frame = window.requestAnimationFrame;
window.requestAnimationFrame = (act) => setTimeout(() => frame(act), 400);
"""
# The server has closed the stream of events, but the page hears of it late.
LATE_CLOSE = """
const plain = window.fetch;
window.fetch = async (resource, options) => {
  const answer = await plain(resource, options);
  if (!String(resource.url || resource).includes("/queue/data")) return answer;
  const late = new TransformStream({
    async transform(chunk, stream) {
      if (new TextDecoder().decode(chunk).includes("close_stream")) {
        window.closing = true;
        await new Promise((done) => setTimeout(done, 1500));
        window.closing = false;
      }
      stream.enqueue(chunk);
    },
  });
  return new Response(answer.body.pipeThrough(late), answer);
};
"""


# Types into a field of the page the moment that it is there.
TYPE = """([block, text]) => new Promise((done) => {
  const timer = setInterval(() => {
    const field = document.querySelector(`#${block} textarea, #${block} input`);
    if (!field) return;
    clearInterval(timer);
    const kind = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(field, text);
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new Event("change", { bubbles: true }));
    done();
  }, 5);
})"""


def test_what_is_typed_as_soon_as_a_tab_is_drawn_stays(visitor: Visitor) -> None:
    page = visitor(script=LATE_FRAMES)
    page.evaluate("[...document.querySelectorAll('[role=tab]')].find((tab) => tab.textContent === 'Compare').click()")
    page.evaluate(TYPE, ["compare-x_values", "4, 6"])
    page.evaluate(TYPE, ["compare-y_values", "1, 4"])
    page.wait_for_timeout(2500)
    assert page.locator("#compare-x_values :is(input, textarea)").input_value() == "4, 6"
    expect(page.locator(".cmp-cost")).to_contain_text("4 pictures")


def test_what_is_typed_as_soon_as_a_fold_is_drawn_stays(visitor: Visitor) -> None:
    page = visitor(script=LATE_FRAMES)
    page.locator("#text_to_image-desk").get_by_role("button", name="More").evaluate("(fold) => fold.click()")
    page.evaluate(TYPE, ["text_to_image-num_images_per_prompt", "3"])
    page.wait_for_timeout(2500)
    assert page.locator("#text_to_image-num_images_per_prompt input[type=number]").input_value() == "3"


def test_a_click_while_the_stream_of_events_is_closing_is_obeyed(visitor: Visitor) -> None:
    page = visitor(script=LATE_CLOSE)
    page.wait_for_function("window.closing")
    generate(page, "a red kite")
    finished(page)
