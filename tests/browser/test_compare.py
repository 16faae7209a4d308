"""What a visitor does on Compare, in Chromium, on an engine that only draws."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from studio.asked.compare import Comparison
from studio.picture import sheet
from tests.browser.conftest import Studio, quiet
from tests.browser.test_other_tabs import png

Visitor = Callable[..., Page]


def open_tab(page: Page) -> None:
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator("#compare-prompt textarea")).to_be_visible()


def comparison(page: Page) -> Locator:
    return page.locator("#compare-stage .cmp")


def field(page: Page, name: str) -> Locator:
    return page.locator(f"#compare-{name} :is(input, textarea)").first


def run(page: Page, prompt: str = "a red apple", x: str = "3, 6, 9", y: str = "1, 4, 8") -> None:
    open_tab(page)
    field(page, "prompt").fill(prompt)
    field(page, "x_values").fill(x)
    field(page, "y_values").fill(y)
    page.locator("#compare-generate").click()


def finished(page: Page) -> None:
    expect(comparison(page)).to_have_attribute("data-state", "finished", timeout=120_000)
    quiet(page)


def to_first_cell(page: Page) -> None:
    """A comparison begins at what suits the model; the test goes on from the corner."""
    for name in "xy":
        page.locator(f".cmp-slider-{name} input").focus()
        page.keyboard.press("Home")


def big_picture(page: Page, pane: str = "b") -> str:
    """The pixels that are shown, as a word."""
    return str(page.evaluate(f"document.querySelector('.cmp-pane[data-pane={pane}] canvas').toDataURL()"))


def tag(page: Page, pane: str) -> Locator:
    return page.locator(f".cmp-pane[data-pane={pane}] .cmp-tag")


def test_a_comparison_appears_live_and_the_sliders_answer_without_the_server(visitor: Visitor) -> None:
    page = visitor()
    open_tab(page)
    expect(page.locator(".cmp-cost")).to_have_text(re.compile(r"16 pictures, 300 U-Net evaluations\. About \d+ s\."))
    run(page)
    expect(page.locator(".cmp-cell[data-state=running] img[src^='data:image/jpeg']").first).to_be_attached()
    expect(page.locator(".cmp-cost")).to_have_text(re.compile(r"9 pictures, 54 U-Net evaluations\."))
    finished(page)
    expect(page.locator(".cmp-cell[data-state=finished]")).to_have_count(9)
    expect(comparison(page).locator(".ls-status")).to_have_text(re.compile(r"9 of 9 pictures in \d+\.\d s\."))

    asked: list[str] = []
    page.on("request", lambda request: None if request.url.startswith("data:") else asked.append(request.url))
    x, y = (page.locator(f".cmp-slider-{name} input") for name in "xy")
    corner = ""
    expect(x).to_have_attribute("aria-valuetext", "Steps 9")  # the nearest to what suits the model
    expect(y).to_have_attribute("aria-valuetext", "Guidance 4")
    to_first_cell(page)
    seen = {big_picture(page)}
    x.focus()
    for number, key in enumerate(("ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowUp")):
        page.keyboard.press(key)
        seen.add(big_picture(page))
        if number == 3:  # steps 9, guidance 8: the pad comes back here
            corner = big_picture(page)
    assert len(seen) == 7
    expect(x).to_have_attribute("aria-valuetext", "Steps 6")
    expect(y).to_have_attribute("aria-valuetext", "Guidance 4")
    expect(comparison(page).locator(".ls-caption")).to_contain_text("6 × DPM++ 2M Karras · guidance 4")
    pad = page.locator(".cmp-pad").bounding_box()
    assert pad is not None
    page.mouse.move(pad["x"] + pad["width"] * 0.1, pad["y"] + pad["height"] * 0.9)
    page.mouse.down()
    expect(x).to_have_attribute("aria-valuetext", "Steps 3")
    expect(y).to_have_attribute("aria-valuetext", "Guidance 8")
    assert big_picture(page) not in seen
    page.mouse.move(pad["x"] + pad["width"] * 0.9, pad["y"] + pad["height"] * 0.9, steps=4)
    page.mouse.up()
    expect(x).to_have_attribute("aria-valuetext", "Steps 9")
    assert big_picture(page) == corner
    assert asked == []


def test_a_and_b_are_divided_set_side_by_side_and_subtracted(visitor: Visitor) -> None:
    page = visitor()
    run(page, x="3, 6", y="1, 8")
    finished(page)
    to_first_cell(page)
    page.locator(".cmp-pad").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="A | B").click()
    expect(tag(page, "a")).to_have_text("A · Steps 3 · Guidance 1")  # the one looked at before
    expect(tag(page, "b")).to_have_text("B · Steps 6 · Guidance 1")
    expect(page.locator(".cmp-differ")).to_have_text(re.compile(r"Steps 3 → 6 · mean \d+\.\d of 255, largest \d+"))
    divider = page.get_by_role("slider", name="Divider between A and B")
    box, view = divider.bounding_box(), page.locator(".cmp-view").bounding_box()
    assert box is not None
    assert view is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(view["x"] + view["width"] * 0.25, view["y"] + 40, steps=5)
    page.mouse.up()
    expect(divider).to_have_attribute("aria-valuenow", re.compile("^2[45]$"))
    divider.focus()
    page.keyboard.press("End")
    expect(divider).to_have_attribute("aria-valuenow", "100")

    page.get_by_role("button", name="Difference", exact=True).click()
    one = big_picture(page)
    page.get_by_role("button", name="Difference times 8").click()
    assert big_picture(page) != one
    brightest = """() => Math.max(...document.querySelector('.cmp-pane[data-pane=b] canvas').getContext('2d')
        .getImageData(0, 0, 128, 128).data.filter((_, i) => i % 4 < 3))"""
    assert page.evaluate(brightest) == 255
    page.get_by_role("button", name="Pin as A").click()  # A and B are one picture now: no difference at all
    assert page.evaluate(brightest) == 0
    expect(page.locator(".cmp-differ")).to_have_text("A and B are the same picture: move a slider.")
    page.locator(".cmp-pad").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".cmp-differ")).to_contain_text("Guidance 1 → 8")

    page.get_by_role("button", name="Side by side").click()
    page.get_by_role("button", name="Zoom in").click()
    transforms = page.evaluate("[...document.querySelectorAll('.cmp-canvas')].map((c) => c.style.transform)")
    assert transforms[0] == transforms[1]
    assert "scale(2)" in transforms[0]
    pane = page.locator(".cmp-pane[data-pane=a]").bounding_box()
    assert pane is not None
    page.mouse.move(pane["x"] + 60, pane["y"] + 60)
    page.mouse.down()
    page.mouse.move(pane["x"] + 90, pane["y"] + 70, steps=3)
    page.mouse.up()
    moved = page.evaluate("[...document.querySelectorAll('.cmp-canvas')].map((c) => c.style.transform)")
    assert moved[0] == moved[1] != transforms[0]

    page.get_by_role("button", name="Blink").click()
    for turn in ("a", "b"):
        expect(page.locator(".cmp-view")).to_have_attribute("data-front", turn)
    page.get_by_role("button", name="Where do they diverge?").click()
    expect(page.locator(".cmp-chart circle")).to_have_count(6)
    expect(page.locator(".cmp-curve-sentence")).to_contain_text("They end alike")  # what only draws


def test_a_first_visit_slides_over_a_finished_example(visitor: Visitor) -> None:
    page = visitor()
    open_tab(page)
    expect(comparison(page)).to_have_attribute("data-state", "sample")
    expect(comparison(page).locator(".ls-status")).to_contain_text("An example")
    expect(page.locator(".cmp-cell img[src^='data:image/webp']")).to_have_count(16)
    expect(page.locator(".cmp-edge-x b")).to_have_text(["6", "12", "25", "50"])
    expect(page.locator(".cmp-edge-y b")).to_have_text(["1", "2", "3", "5"])
    expect(page.locator(".cmp-slider-x input")).to_have_attribute("aria-valuetext", "Steps 25")
    expect(page.locator(".cmp-canvas:visible")).to_have_count(1)
    seen = {big_picture(page)}
    page.locator(".cmp-pad").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
        seen.add(big_picture(page))
    assert len(seen) == 4
    expect(comparison(page).get_by_role("button", name="Save")).to_be_hidden()  # nothing of the visitor's
    expect(comparison(page).get_by_role("button", name="Sheet")).to_be_hidden()


def test_one_click_on_a_picture_compares_steps_and_guidance_around_it(visitor: Visitor) -> None:
    page = visitor()
    page.locator("#text_to_image-prompt textarea").fill("a tall tree")
    page.locator("#text_to_image-generate").click()
    stage = page.locator("#text_to_image-stage")
    expect(stage.locator(".ls-stage")).to_have_attribute("data-state", "finished", timeout=60_000)
    seed = re.search(r"seed (\d+)", stage.locator(".ls-caption").inner_text())
    assert seed is not None
    stage.get_by_role("button", name="Compare", exact=True).click()
    finished(page)
    expect(field(page, "prompt")).to_have_value("a tall tree")
    expect(field(page, "x_values")).to_have_value("6, 12, 25, 50")
    expect(page.locator(".cmp-slider-x input")).to_have_attribute("aria-valuetext", "Steps 25")
    expect(comparison(page).locator(".ls-caption")).to_contain_text(seed[0])  # this very picture


def test_an_unfinished_cell_jumps_the_queue_and_stop_keeps_what_is_done(visitor: Visitor) -> None:
    page = visitor()
    run(page, prompt="slow owl", x="8, 100", y="5, 6, 7, 8, 9, 10")
    expect(page.locator(".cmp-cell").nth(11)).to_have_attribute("data-state", "waiting")
    page.locator(".cmp-pad").focus()
    page.keyboard.press("ArrowRight")
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    expect(page.locator(".cmp-cell").nth(11)).to_have_attribute("data-state", "running")
    expect(page.locator(".cmp-cell").nth(9)).to_have_attribute("data-state", "waiting")
    expect(page.locator(".cmp-cell").nth(0)).to_have_attribute("data-state", "finished")
    page.locator("#compare-stop").click()
    expect(comparison(page)).to_have_attribute("data-state", "stopped")
    expect(comparison(page).locator(".ls-status")).to_contain_text(re.compile(r"Stopped with \d+ of 12 pictures ready"))
    expect(page.locator(".cmp-cell").nth(11)).to_have_attribute("data-state", "stopped")
    assert page.locator(".cmp-cell[data-state=finished]").count() >= 1
    expect(page.locator("#compare-generate")).to_be_visible()


def test_a_reload_in_the_middle_goes_on_and_the_form_is_as_it_was(visitor: Visitor) -> None:
    page = visitor()
    run(page, prompt="slow blue whale", x="10, 30", y="2, 3")
    expect(page.locator(".cmp-cell[data-state=running]").first).to_be_attached()
    page.reload()
    expect(page.locator("#compare-stop")).to_be_visible(timeout=60_000)  # the tab comes back by itself
    expect(field(page, "prompt")).to_have_value("slow blue whale")
    expect(field(page, "x_values")).to_have_value("10, 30")
    expect(page.locator(".cmp-cell")).to_have_count(4)
    finished(page)
    expect(page.locator(".cmp-cell[data-state=finished]")).to_have_count(4)


def test_the_sheet_makes_the_comparison_again_and_so_does_the_link(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    run(page, prompt="an owl, small", x="2, 4", y="1, 5")
    finished(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Sheet", exact=True).click()
    data = download.value.path().read_bytes()
    made = sheet.read(data)
    assert isinstance(made, Comparison)
    assert (made.base.prompt, made.x.values, made.y and made.y.values) == ("an owl, small", (2, 4), (1.0, 5.0))
    assert made.base.seed is not None
    with Image.open(io.BytesIO(data)) as picture:
        assert min(picture.size) > 2 * 128
    with page.expect_download() as download:
        page.get_by_role("button", name="Timings").click()
    lines = download.value.path().read_text().splitlines()
    assert lines[0].startswith("cell,x_num_inference_steps,y_guidance_scale,state")
    assert len(lines) == 5
    page.get_by_role("button", name="Keep", exact=True).click()
    expect(page.locator(".cmp-status")).to_have_text("Kept: 1 in your pictures.")
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".cmp-status")).not_to_have_text("Kept: 1 in your pictures.")
    link = str(page.locator(".cmp-status").get_attribute("data-address"))
    assert "cookie" not in link
    assert page.evaluate("document.querySelector('.cmp-status').dataset.address").count("?") == 1
    query = link[link.index("?") :]
    other = visitor(query=query)  # another visitor: a link needs nothing of the first one
    expect(field(other, "x_values")).to_have_value("2, 4")
    expect(field(other, "prompt")).to_have_value("an owl, small")
    other.get_by_role("button", name="What stays the same").click()
    expect(field(other, "seed")).to_have_value(str(made.base.seed))
    expect(other.locator(".cmp-cell")).to_have_count(0)
    third = visitor()
    open_tab(third)
    with third.expect_file_chooser() as chooser:
        third.get_by_role("button", name="Open a saved sheet").click()
    chooser.value.set_files({"name": "sheet.png", "mimeType": "image/png", "buffer": data})
    expect(field(third, "prompt")).to_have_value("an owl, small")


def test_what_is_wrong_stands_beside_its_field_and_costs_nothing(visitor: Visitor) -> None:
    page = visitor()
    run(page, x="0, 5")
    expect(page.locator("#compare-x_values .ls-problem")).to_contain_text("whole numbers from 1 to 150")
    expect(page.locator(".cmp-cost")).to_contain_text("x_values: 0 is not allowed")
    first, second = field(page, "x_values"), field(page, "y_values")
    expect(first).to_be_focused()
    expect(first).to_have_attribute("aria-invalid", "true")
    expect(first).to_have_accessible_description(re.compile("whole numbers from 1 to 150"))
    first.fill("5")
    expect(page.locator("#compare-workspace .ls-problem")).to_have_count(0)  # what is mended is no longer called wrong
    expect(first).not_to_have_attribute("aria-invalid", "true")
    first.fill("1-20")
    second.fill("1-20")
    page.locator("#compare-generate").click()
    expect(page.locator("#compare-y_values .ls-problem")).to_contain_text("at most 144 cells")
    run(page, prompt="fail: oom", x="2, 3", y="1")
    finished(page)
    expect(page.locator(".cmp-cell[data-state=failed]")).to_have_count(2)
    expect(page.locator(".cmp-pane[data-pane=b] .cmp-note")).to_contain_text("ran out of memory")


def test_a_phone_shows_all_of_it_without_scrolling_sideways(visitor: Visitor) -> None:
    page = visitor(width=390, height=844)
    page.get_by_role("tab", name="Compare").click()
    field(page, "prompt").fill("a fox")
    page.locator("#compare-generate").click()
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture = page.locator(".cmp-view").bounding_box()
    assert picture is not None
    assert picture["width"] > 300
    page.locator(".cmp-slider-y input").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".cmp-slider-y input")).to_have_attribute("aria-valuetext", "Guidance 8")


def test_strength_is_an_axis_once_there_is_a_picture_to_start_from(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    open_tab(page)
    page.get_by_label("Across").click()
    expect(page.get_by_role("option", name="Strength")).to_contain_text("needs a picture to start from")
    page.keyboard.press("Escape")
    page.locator("#compare-workspace").get_by_role("button", name="Start from a picture").click()
    page.locator("#compare-image input[type=file]").set_input_files(
        {"name": "start.png", "mimeType": "image/png", "buffer": png(96, 64)}
    )
    field(page, "y_values").fill("1, 4")
    page.get_by_label("Across").click()
    expect(page.get_by_role("option", name="Strength", exact=True)).to_be_visible()
    page.get_by_role("option", name="Strength", exact=True).click()
    expect(field(page, "x_values")).to_have_value("0.3, 0.5, 0.7, 0.9")
    expect(page.locator(".cmp-cost")).to_have_text(re.compile(r"8 pictures, "))
    field(page, "prompt").fill("from a picture")
    page.locator("#compare-generate").click()
    finished(page)
    expect(page.locator(".cmp-cell[data-state=finished]")).to_have_count(8)
    comparison = next(j.comparison for j in studio.engine.asked if j.request.prompt == "from a picture")
    assert isinstance(comparison, Comparison)
    assert {comparison.request(k).strength for k in range(4)} == {0.3, 0.5, 0.7, 0.9}  # type: ignore[union-attr]


def test_all_cells_are_held_to_a_painted_map_whose_scale_is_an_axis(visitor: Visitor, studio: Studio) -> None:
    page = visitor(height=1200)
    open_tab(page)
    section = page.locator("#compare-controls")
    section.locator("summary").click()
    section.get_by_role("button", name="Example").click()
    expect(section.locator("fieldset")).to_have_attribute("data-painted", "true")
    page.locator("#compare-x input").click()
    page.get_by_role("option", name="Control scale").click()
    expect(field(page, "x_values")).to_have_value("0, 0.5, 1, 1.5")
    expect(page.locator(".cmp-cost")).to_have_text(re.compile("16 pictures"))
    run(page, "a fox and a cat, compared", x="0, 1", y="3")
    finished(page)
    job = next(j for j in studio.engine.asked if j.request.prompt == "a fox and a cat, compared")
    assert isinstance(job.comparison, Comparison)
    cells = [job.comparison.request(k) for k in range(2)]
    assert [[(one.model, one.scale) for one in cell.controls] for cell in cells if cell] == [
        [("control-segmentation", 0.0)], [("control-segmentation", 1.0)],
    ]  # fmt: skip


def test_an_axis_that_is_passed_keeps_the_values_beside_it(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    page = visitor()
    open_tab(page)
    field(page, "y_values").fill("2, 7")
    page.locator("#compare-y input").focus()
    page.keyboard.press("Tab")
    page.locator("#compare-y input").click()
    page.locator("#compare-prompt textarea").click()
    quiet(page)
    expect(field(page, "y_values")).to_have_value("2, 7")
    assert "A call failed" not in caplog.text
    page.locator("#compare-y input").click()
    page.get_by_role("option", name="Seed", exact=True).click()
    expect(field(page, "y_values")).to_have_value("1-4")  # another axis has other values


def test_one_bad_value_leaves_the_finished_comparison_where_it_is(visitor: Visitor) -> None:
    page = visitor()
    run(page, x="3, 6", y="1, 8")
    finished(page)
    before = big_picture(page)
    field(page, "x_values").fill("3, many")
    page.locator("#compare-generate").click()
    expect(page.locator("#compare-x_values").get_by_role("alert")).to_contain_text("'many' is not allowed")
    expect(page.locator(".cmp-cell[data-state=finished]")).to_have_count(4)
    expect(page.locator(".cmp-status")).to_contain_text("belong to the previous comparison")
    assert big_picture(page) == before
    expect(comparison(page)).to_have_attribute("data-state", "finished")


def test_what_stays_the_same_is_every_field_of_the_table_and_is_obeyed(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    open_tab(page)
    page.locator("#compare-workspace").get_by_role("button", name="What stays the same").click()
    field(page, "clip_skip").fill("2")
    run(page, prompt="skips a layer", x="2, 3", y="1")
    finished(page)
    asked = [j.request for j in studio.engine.asked if j.request.prompt == "skips a layer"]
    assert asked
    assert {request.clip_skip for request in asked} == {2}
    page.reload()
    expect(comparison(page)).to_be_attached()
    page.locator("#compare-workspace").get_by_role("button", name="What stays the same").click()
    expect(field(page, "clip_skip")).to_have_value("2")


def test_axes_that_cannot_be_used_say_what_they_need(visitor: Visitor) -> None:
    page = visitor()
    open_tab(page)
    page.locator("#compare-x input").click()
    options = page.locator("#compare-x li")
    expect(options.filter(has_text="Strength")).to_contain_text("Strength — needs a picture to start from")
    expect(options.filter(has_text="Prompt words")).to_contain_text("needs a prompt")
    expect(options.filter(has_text="Strength")).to_have_css("pointer-events", "none")
    expect(options.filter(has_text="Strength")).to_have_attribute("aria-disabled", "true")
    expect(page.get_by_role("option", name="Guidance", exact=True)).not_to_have_attribute("aria-disabled", "true")
    values = field(page, "x_values").input_value()
    page.locator("#compare-x input").fill("Strength")
    page.keyboard.press("Enter")  # the keyboard can choose it: it is refused there, with the reason
    expect(page.locator("#compare-x").get_by_role("alert")).to_have_text(
        "Strength cannot be an axis now: needs a picture to start from."
    )
    expect(page.locator("#compare-x input")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#compare-x input")).to_have_value("Steps")
    expect(field(page, "x_values")).to_have_value(values)
    page.keyboard.press("Escape")
    field(page, "prompt").fill("an apple")
    quiet(page)
    page.locator("#compare-x input").click()
    options.filter(has_text="Prompt words").click()
    expect(page.locator("#compare-x_values")).to_contain_text("First a word or phrase of the prompt")
    expect(page.locator("#compare-x_values")).not_to_contain_text("range")


def test_a_link_is_not_shown_beside_an_older_comparison_of_other_settings(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    run(page, x="3, 6", y="1, 8")
    finished(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".cmp-status")).to_have_attribute("data-address", re.compile("^http"))
    address = page.locator(".cmp-status").get_attribute("data-address") or ""
    page.goto(address)
    expect(page.locator(".cmp-cell[data-state=finished]")).to_have_count(4)  # the link's own
    page.goto(address.replace("apple", "pear"))
    expect(field(page, "prompt")).to_have_value("a red pear")
    quiet(page)
    expect(page.locator(".cmp-cell")).to_have_count(0)
