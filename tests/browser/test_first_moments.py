"""The page's first moments: what a person types and clicks before everything has come is neither lost nor undone.

Each test holds back one thing that the page waits for, so that what is a matter of luck on a fast machine happens
every time.
"""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from studio.asked.fields import ImageToImage, Inpaint
from tests.browser.conftest import Studio, quiet, ready
from tests.browser.test_control import choose
from tests.browser.test_inpaint import opened, paint
from tests.browser.test_other_tabs import png
from tests.browser.test_page import finished, generate, prompt, stage, workspace

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


# What the server answers while the page loads comes late.
LATE_ANSWERS = """
const plain = window.fetch;
window.fetch = async (resource, options) => {
  const answer = await plain(resource, options);
  if (/\\/run\\/|\\/queue\\/join/.test(String(resource.url || resource)) && performance.now() < 4000)
    await new Promise((done) => setTimeout(done, 1500));
  return answer;
};
"""
# The answers of the studio's functions wait until a test lets them go, however slow the machine is.
HELD_ANSWERS = LATE_ANSWERS.replace("performance.now() < 4000", "!window.released").replace(
    "await new Promise((done) => setTimeout(done, 1500))",
    "while (!window.released) await new Promise((done) => setTimeout(done, 50))",
)
# An upload takes its time.
LATE_UPLOADS = """
const plain = window.fetch;
window.fetch = async (resource, options) => {
  const answer = await plain(resource, options);
  if (/\\/upload\\b/.test(String(resource.url || resource))) await new Promise((done) => setTimeout(done, 1500));
  return answer;
};
"""
# So does the packing of a mask.
LATE_PACKING = """
const text = Response.prototype.arrayBuffer;
Response.prototype.arrayBuffer = async function () {
  await new Promise((done) => setTimeout(done, 1500));
  return text.call(this);
};
"""
# Types into a field of the page the moment that it can be seen.
TYPE = """([block, text]) => new Promise((done) => {
  const timer = setInterval(() => {
    const field = document.querySelector(`#${block} textarea, #${block} input`);
    if (!field?.getClientRects().length) return;
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
    page.locator("#text_to_image-workspace").get_by_role("button", name="More").evaluate("(fold) => fold.click()")
    page.evaluate(TYPE, ["text_to_image-num_images_per_prompt", "3"])
    page.wait_for_timeout(2500)
    assert page.locator("#text_to_image-num_images_per_prompt input[type=number]").input_value() == "3"


def test_a_click_while_the_stream_of_events_is_closing_is_obeyed(visitor: Visitor) -> None:
    page = visitor(script=LATE_CLOSE)
    page.wait_for_function("window.closing")
    generate(page, "a red kite")
    finished(page)


def seed(page: Page) -> Locator:
    return page.locator("#text_to_image-seed input")


def test_what_is_typed_before_the_fields_come_back_stays_and_the_others_come_back(visitor: Visitor) -> None:
    page = visitor()
    prompt(page).fill("of yesterday")
    seed(page).fill("41")
    quiet(page)
    page.add_init_script(HELD_ANSWERS)
    page.reload()
    prompt(page).fill("of today")
    assert page.locator(".ls-dot").get_attribute("data-state") != "ready"
    page.evaluate("window.released = true")
    ready(page)
    expect(seed(page)).to_have_value("41")
    expect(prompt(page)).to_have_value("of today")
    page.add_init_script("window.released = true")
    page.reload()
    ready(page)
    expect(prompt(page)).to_have_value("of today")
    expect(seed(page)).to_have_value("41")


def test_a_click_before_the_fields_come_back_is_obeyed_with_them(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    seed(page).fill("4711")
    quiet(page)
    page.add_init_script(LATE_ANSWERS)
    page.reload()
    generate(page, "asked for at once")
    finished(page)
    request = next(j.request for j in studio.engine.asked if j.request.prompt == "asked for at once")
    assert request.seed == 4711


def test_a_tab_and_a_fold_that_are_clicked_before_the_page_is_ready_open(visitor: Visitor) -> None:
    page = visitor()
    page.add_init_script(LATE_ANSWERS)
    page.reload()
    workspace(page).get_by_role("button", name="More").click()
    expect(page.locator("#text_to_image-num_images_per_prompt")).to_be_visible()
    page.reload()
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator("#compare-x_values")).to_be_visible()


def test_a_run_waits_for_the_picture_that_is_being_sent(visitor: Visitor, studio: Studio) -> None:
    page = visitor(script=LATE_UPLOADS)
    page.get_by_role("tab", name="Image to image").click()
    picture = png(88, 56)
    page.locator("#image_to_image-prompt textarea").fill("from what is still on its way")
    page.locator("#image_to_image-image input[type=file]").set_input_files(
        {"name": "start.png", "mimeType": "image/png", "buffer": picture}
    )
    page.locator("#image_to_image-generate").click()
    show = page.locator("#image_to_image-stage .ls-stage")
    expect(show).to_have_attribute("data-state", "sending")
    expect(show).to_have_attribute("data-state", "finished", timeout=30_000)
    request = next(j.request for j in studio.engine.asked if j.request.prompt == "from what is still on its way")
    assert isinstance(request, ImageToImage)
    assert request.image == picture


def test_a_run_waits_for_the_map_of_a_control(visitor: Visitor, studio: Studio) -> None:
    page = visitor(script=LATE_UPLOADS)
    choose(page, "Tiny")
    section = page.locator("#text_to_image-controls")
    section.locator("summary").click()
    unit = section.locator("fieldset")
    unit.get_by_label("ControlNet", exact=True).select_option("lines")
    picture = png(96, 64)
    prompt(page).fill("held to what is on its way")
    unit.locator("input[type=file]").set_input_files({"name": "m.png", "mimeType": "image/png", "buffer": picture})
    page.locator("#text_to_image-generate").click()
    finished(page)
    request = next(j.request for j in studio.engine.asked if j.request.prompt == "held to what is on its way")
    assert [one.image for one in request.controls] == [picture]


def test_a_run_waits_for_the_mask_that_is_being_made(visitor: Visitor, studio: Studio) -> None:
    page = visitor(script=LATE_PACKING)
    opened(page)
    page.locator("#inpaint-prompt textarea").fill("under a mask of this moment")
    paint(page, (0.2, 0.5), (0.6, 0.5))
    page.locator("#inpaint-generate").click()
    expect(page.locator("#inpaint-stage .ls-stage")).to_have_attribute("data-state", "finished", timeout=30_000)
    request = next(j.request for j in studio.engine.asked if j.request.prompt == "under a mask of this moment")
    assert isinstance(request, Inpaint)
    assert request.mask


def test_stop_takes_back_a_click_that_still_waits(visitor: Visitor, studio: Studio) -> None:
    page = visitor(script=LATE_UPLOADS)
    page.get_by_role("tab", name="Image to image").click()
    page.locator("#image_to_image-prompt textarea").fill("never asked for")
    page.locator("#image_to_image-image input[type=file]").set_input_files(
        {"name": "start.png", "mimeType": "image/png", "buffer": png()}
    )
    page.locator("#image_to_image-generate").click()
    page.wait_for_timeout(700)  # as long as the button that became Stop takes no click
    page.locator("#image_to_image-stop").click()
    expect(page.locator("#image_to_image-stage .ls-stage")).to_have_attribute("data-state", "first")
    expect(page.locator("#image_to_image-image img")).to_be_visible()
    page.wait_for_timeout(1000)
    assert all(j.request.prompt != "never asked for" for j in studio.engine.asked)


def test_what_the_load_still_answers_does_not_take_the_place_of_a_new_run(visitor: Visitor) -> None:
    page = visitor()
    generate(page, "the run before")
    finished(page)
    page.add_init_script(LATE_ANSWERS.replace("1500", "2500").replace("/run\\/|\\/queue\\/join", "/queue\\/data"))
    page.reload()
    ready(page)
    generate(page, "the run of now")
    expect(stage(page).locator("img.ls-picture")).to_have_attribute("alt", "the run of now", timeout=30_000)
    finished(page)


def test_the_viewer_follows_the_run_that_is_begun_as_soon_as_it_is_opened(visitor: Visitor) -> None:
    page = visitor()
    generate(page, "the run before")
    finished(page)
    late = LATE_ANSWERS.replace("performance.now() < 4000", "String(options?.body).includes('turn')")
    page.evaluate(f"() => {{ {late} }}")
    page.get_by_role("tab", name="Noise viewer").click()
    page.locator("#noise_viewer-prompt :is(textarea, input)").first.fill("the run of now")
    page.locator("#noise_viewer-run").click()
    expect(page.locator(".ls-run")).to_have_text("the run of now")
    page.wait_for_timeout(2000)
    expect(page.locator(".ls-run")).to_have_text("the run of now")
