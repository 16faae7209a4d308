"""What a visitor does on Text to image, in Chromium, on an engine that only draws."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Studio, quiet, ready

Visitor = Callable[..., Page]
XSS = '<img src=x onerror="window.__xss=1"><script>window.__xss=1</script>"\'>{{value}}${window.__xss=1}'


def workspace(page: Page) -> Locator:
    return page.locator("#text_to_image-workspace")


def stage(page: Page) -> Locator:
    return page.locator("#text_to_image-stage .ls-stage")


def prompt(page: Page) -> Locator:
    return page.locator("#text_to_image-prompt textarea")


def generate(page: Page, words: str = "a red apple in the snow") -> None:
    prompt(page).fill(words)
    workspace(page).get_by_role("button", name="Generate").click()


def finished(page: Page) -> None:
    """The run has ended and its file is shown."""
    expect(stage(page)).to_have_attribute("data-state", "finished", timeout=240_000)
    expect(stage(page).locator("img.ls-picture")).to_have_attribute("src", re.compile(r"^/picture/[0-9a-f]{32}$"))


def watch_the_stage(page: Page) -> None:
    """Keep every picture and every line that the stage shows from now on, in window.seen."""
    page.evaluate(
        """() => {
          const stage = document.querySelector('#text_to_image-stage');
          window.seen = {pictures: new Set(), lines: new Set()};
          new MutationObserver(() => {
            window.seen.pictures.add(stage.querySelector('img.ls-picture').src);
            for (const line of stage.querySelectorAll('.ls-line span')) window.seen.lines.add(line.textContent);
          }).observe(stage, {attributes: true, childList: true, subtree: true, characterData: true});
        }"""
    )


def previews_seen(page: Page) -> int:
    return int(page.evaluate("[...window.seen.pictures].filter((s) => s.startsWith('data:image/jpeg')).length"))


def shown_source(page: Page) -> str:
    return str(stage(page).locator("img.ls-picture").get_attribute("src"))


def test_the_picture_sharpens_at_every_step_and_ends_as_a_file_with_its_strip(visitor: Visitor) -> None:
    page = visitor()
    watch_the_stage(page)
    generate(page)
    finished(page)
    assert previews_seen(page) >= 3
    lines = page.evaluate("[...window.seen.lines]")
    assert any(re.fullmatch(r"Step \d+ of 25", line) for line in lines)
    assert any(re.fullmatch(r"\d+\.\d+ s per step · (< 1|\d+) s left · fast preview", line) for line in lines)
    assert page.evaluate("document.querySelector('#text_to_image-stage img.ls-picture').naturalWidth") == 128
    expect(stage(page).locator(".ls-caption")).to_contain_text("25 × DPM++ 2M Karras")
    expect(stage(page).locator(".ls-film .ls-cells span")).to_have_count(25)


def test_the_strip_is_scrubbed_with_mouse_and_keys_without_asking_the_server(visitor: Visitor) -> None:
    page = visitor()
    generate(page)
    finished(page)
    expect(stage(page).locator("img.ls-picture")).to_have_attribute("src", re.compile("^/picture/"))
    quiet(page)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if not request.url.startswith("data:") else None)
    film = stage(page).get_by_role("slider", name="Steps of this picture")
    box = film.bounding_box()
    assert box is not None
    sources = set()
    for share in (0.02, 0.5, 0.98):
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
        expect(stage(page).locator("img.ls-picture")).to_have_attribute("src", re.compile("^data:image/jpeg"))
        page.wait_for_timeout(80)
        sources.add(shown_source(page))
    assert len(sources) == 3
    film.focus()
    page.keyboard.press("Home")
    expect(stage(page).locator(".ls-status")).to_contain_text("Step 1 of 25")
    page.keyboard.press("ArrowRight")
    expect(stage(page).locator(".ls-status")).to_contain_text("Step 2 of 25")
    expect(film).to_have_attribute("aria-valuenow", "2")
    assert requests == []
    page.mouse.move(5, 5)
    prompt(page).focus()
    expect(stage(page).locator("img.ls-picture")).to_have_attribute("src", re.compile("^/picture/"))


def test_stop_by_button_and_by_escape_keeps_the_picture_so_far(visitor: Visitor) -> None:
    page = visitor()
    for press in (
        lambda: workspace(page).get_by_role("button", name="Stop").click(),
        lambda: page.keyboard.press("Escape"),
    ):
        generate(page, "slow owl")
        expect(stage(page).locator(".ls-status")).to_have_text(re.compile(r"Step [2-9] of 25"), timeout=15_000)
        press()
        expect(stage(page)).to_have_attribute("data-state", "stopped")
        expect(stage(page).locator(".ls-badge")).to_have_text("Stopped")
        expect(stage(page).locator(".ls-status")).to_have_text(re.compile(r"Stopped at step \d+ of 25\."))
        assert shown_source(page).startswith("data:image/jpeg")
        expect(workspace(page).get_by_role("button", name="Generate")).to_be_visible()


def test_a_double_click_makes_one_run_and_does_not_stop_it(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    before = len(studio.engine.asked)
    prompt(page).fill("double")
    workspace(page).get_by_role("button", name="Generate").dblclick()
    finished(page)
    assert len(studio.engine.asked) == before + 1


def test_control_enter_generates(visitor: Visitor) -> None:
    page = visitor()
    prompt(page).fill("by keyboard")
    prompt(page).press("Control+Enter")
    finished(page)
    expect(stage(page).locator("img.ls-picture")).to_have_attribute("alt", "by keyboard")


def test_a_reload_in_mid_run_finds_the_run_again_and_fields_survive(visitor: Visitor) -> None:
    page = visitor()
    page.locator("#text_to_image-num_inference_steps input[type=number]").fill("40")
    page.locator("#text_to_image-num_inference_steps input[type=number]").press("Tab")
    page.locator("#text_to_image-seed input").fill("77")
    generate(page, "slow penguin")
    expect(stage(page).locator(".ls-status")).to_have_text(re.compile(r"Step [3-9] of 40"), timeout=15_000)
    page.reload()
    ready(page)
    expect(stage(page)).to_have_attribute("data-state", "running", timeout=10_000)
    expect(stage(page).locator(".ls-status")).to_have_text(re.compile(r"Step \d+ of 40"))
    expect(prompt(page)).to_have_value("slow penguin")
    expect(page.locator("#text_to_image-seed input")).to_have_value("77")
    expect(page.locator("#text_to_image-num_inference_steps input[type=number]")).to_have_value("40")
    finished(page)
    expect(stage(page).locator(".ls-caption")).to_contain_text("seed 77")
    page.reload()
    ready(page)
    finished(page)  # a run that has ended is there after a reload as well


def test_two_visitors_see_nothing_of_each_other(visitor: Visitor) -> None:
    first, second = visitor(), visitor()
    generate(first, "secret garden")
    finished(first)
    source = shown_source(first)
    second.reload()
    ready(second)
    expect(stage(second)).to_have_attribute("data-state", "first")
    expect(second.locator(".ls-thumb")).to_have_count(0)
    assert "secret garden" not in second.content()
    assert first.request.get(urlsplit(first.url)._replace(path=source, query="").geturl()).status == 200
    assert second.request.get(urlsplit(second.url)._replace(path=source, query="").geturl()).status == 404


def test_every_bad_field_is_marked_beside_itself_with_what_is_allowed(visitor: Visitor) -> None:
    page = visitor()
    for name, value in (("width", "513"), ("height", "9999"), ("num_inference_steps", "2.5")):
        field = page.locator(f"#text_to_image-{name} input[type=number]")
        field.fill(value)
    page.locator("#text_to_image-seed input").fill("many")
    generate(page)
    for name, allowed in (
        ("width", "whole numbers from 64 to 2048 in multiples of 8"),
        ("height", "whole numbers from 64 to 2048 in multiples of 8"),
        ("num_inference_steps", "whole numbers from 1 to 150"),
        ("seed", "-1 or nothing for a random one"),
    ):
        block = page.locator(f"#text_to_image-{name}")
        expect(block.get_by_role("alert")).to_contain_text(allowed)
        expect(block.locator("input").first).to_have_attribute("aria-invalid", "true")
    page.locator("#text_to_image-width input").fill("128")
    expect(page.locator("#text_to_image-width").get_by_role("alert")).to_have_count(0)


def test_a_failure_is_a_plain_sentence_with_its_id_and_the_next_run_works(visitor: Visitor) -> None:
    page = visitor()
    generate(page, "fail: oom")
    message = stage(page).locator(".ls-message")
    expect(message).to_contain_text(
        "The device ran out of memory. Choose a smaller size or fewer images.", timeout=15_000
    )
    expect(message).to_contain_text("Error ")
    assert "Traceback" not in page.content()
    generate(page, "a fox")
    finished(page)


def test_what_is_typed_or_stored_never_becomes_markup(visitor: Visitor) -> None:
    page = visitor()
    page.evaluate("window.__xss = 0")
    generate(page, XSS)
    finished(page)
    expect(stage(page).locator("img.ls-picture")).to_have_attribute("alt", XSS)
    stage(page).locator(".ls-thumb").first.click()
    page.reload()
    page.evaluate("window.__xss = 0")
    ready(page)
    finished(page)
    page.get_by_role("tab", name="Noise viewer").click()
    page.get_by_role("button", name="Show the last run").click()
    expect(page.locator(".ls-run")).to_have_text(XSS)
    page.wait_for_timeout(300)
    assert page.evaluate("window.__xss") == 0


def test_several_pictures_can_be_chosen_from(visitor: Visitor) -> None:
    page = visitor()
    workspace(page).get_by_role("button", name="More").click()
    page.locator("#text_to_image-num_images_per_prompt input[type=number]").fill("3")
    page.locator("#text_to_image-seed input").fill("100")
    generate(page, "three pears")
    finished(page)
    tiles = stage(page).locator(".ls-tile")
    expect(tiles).to_have_count(3)
    tiles.nth(2).click()
    expect(stage(page).locator(".ls-caption")).to_contain_text("seed 102")
    expect(tiles.nth(2)).to_have_attribute("aria-pressed", "true")
    expect(stage(page).locator(".ls-thumb")).to_have_count(3)


def test_earlier_pictures_come_back_with_their_settings(visitor: Visitor) -> None:
    page = visitor()
    page.locator("#text_to_image-seed input").fill("41")
    generate(page, "first picture")
    finished(page)
    page.locator("#text_to_image-seed input").fill("")
    generate(page, "second picture")
    expect(stage(page).locator(".ls-thumb")).to_have_count(2, timeout=15_000)
    stage(page).get_by_role("button", name="Show: first picture").click()
    expect(stage(page).locator(".ls-caption")).to_contain_text("seed 41")
    stage(page).get_by_role("button", name="Reuse settings").click()
    expect(prompt(page)).to_have_value("first picture")
    expect(page.locator("#text_to_image-seed input")).to_have_value("41")


def test_save_downloads_the_png_and_upscale_makes_larger_ones(visitor: Visitor) -> None:
    page = visitor()
    generate(page, "to keep")
    finished(page)
    with page.expect_download() as download:
        stage(page).get_by_role("button", name="Save").click()
    assert download.value.suggested_filename.endswith(".png")
    before = shown_source(page)
    upscale = stage(page).get_by_role("button", name="Upscale")
    upscale.click()
    dialog = page.get_by_role("dialog", name="Upscale")
    expect(dialog.get_by_label("Upscaler", exact=True)).to_be_focused()
    factor = dialog.get_by_role("spinbutton", name="Factor")
    expect(factor).to_have_value("4")  # the upscaler's own scale
    factor.fill("30")
    expect(dialog.get_by_role("button", name="Start")).to_be_disabled()
    factor.fill("2")
    factor.press("Enter")
    expect(dialog).to_have_count(0)
    expect(stage(page).locator(".ls-caption")).to_contain_text("upscaled 2× by small-world-4x")
    assert shown_source(page) != before
    expect(stage(page).locator(".ls-thumb")).to_have_count(2)
    expect(upscale).to_be_focused()
    page.get_by_role("tab", name="Library").click()
    for place in (0, 1):
        page.locator(".ls-library-tile").nth(place).get_by_role("checkbox").check()
    page.get_by_role("group", name="Selected pictures").get_by_role("button", name="Upscale").click()
    dialog = page.get_by_role("dialog", name="Upscale 2 pictures")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog).to_contain_text("2 of 2 pictures are upscaled and saved in the library.")


def test_words_examples_and_tokens_help_with_the_prompt(visitor: Visitor) -> None:
    page = visitor()
    workspace(page).get_by_role("button", name="a fox in the meadow").click()
    expect(prompt(page)).to_have_value("a fox in the meadow")
    expect(workspace(page).locator(".ls-tokens")).to_have_text("5 tokens, 1 chunk")
    workspace(page).get_by_role("button", name="Words Small World knows").click()
    workspace(page).locator(".ls-chip", has_text="whale").click()
    expect(prompt(page)).to_have_value("a fox and a whale in the meadow")
    workspace(page).get_by_role("button", name="fine 50").click()
    expect(page.locator("#text_to_image-num_inference_steps input[type=number]")).to_have_value("50")


def test_the_cursor_is_in_the_prompt_and_a_preset_sets_the_size(visitor: Visitor) -> None:
    page = visitor()
    expect(prompt(page)).to_be_focused()
    workspace(page).get_by_role("radio", name="16:9").check()
    expect(page.locator("#text_to_image-width input")).to_have_value("168")
    expect(page.locator("#text_to_image-height input")).to_have_value("96")


def test_a_scheduler_offers_only_the_schedules_it_can_run(visitor: Visitor) -> None:
    page = visitor()
    workspace(page).get_by_role("button", name="More").click()
    page.locator("#text_to_image-scheduler input").click()
    with page.expect_response(lambda answer: "/run/predict" in answer.url):
        page.get_by_role("option", name="PNDM").click()
    # Gradio's open list is not drawn anew when its choices change, so it is opened after they have.
    page.wait_for_timeout(300)
    page.locator("#text_to_image-noise_schedule input").click()
    expect(page.locator("[role=option]")).to_have_count(6)  # the server has answered
    offered = page.locator("[role=option]").all_text_contents()
    assert [text.replace("✓", "").strip() for text in offered] == [
        "Automatic", "Normal", "SGM uniform", "Simple", "Turbo", "As configured",
    ]  # fmt: skip


def test_a_slow_studio_is_not_asked_again_and_again_once_a_model_is_chosen(visitor: Visitor) -> None:
    page = visitor()
    # Answers come late, so that those to two events are under way together.
    page.evaluate(
        """() => { const ask = window.fetch; window.asked = 0; window.fetch = async (where, ...rest) => {
            if (!String(where?.url ?? where).includes('/run/predict')) return ask(where, ...rest);
            window.asked++;
            await new Promise((done) => setTimeout(done, 150));
            return ask(where, ...rest); } }"""
    )
    for name in ("Tiny", "Quick"):
        page.locator("#text_to_image-checkpoint input").click()
        page.locator("#text_to_image-checkpoint [role=option]").filter(has_text=name).first.click()
    expect(page.locator("#text_to_image-checkpoint input")).to_have_value(re.compile("Quick"))
    page.wait_for_timeout(5000)
    settled = page.evaluate("window.asked")
    assert settled > 0
    page.wait_for_timeout(2000)
    assert page.evaluate("window.asked") == settled


def test_every_request_goes_to_the_studio_itself(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.reload()
    ready(page)
    generate(page)
    finished(page)
    tabs = page.locator("#tabs [role=tab][data-tab-id]:visible")
    assert tabs.count() >= 8
    for tab in tabs.all():
        tab.click()
        page.wait_for_timeout(200)
    assert hosts - {""} == {urlsplit(studio.url).netloc}


def test_nothing_jumps_while_a_run_streams(visitor: Visitor) -> None:
    page = visitor()
    page.evaluate(
        """() => { window.shift = 0;
          new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
          }).observe({type: 'layout-shift', buffered: false}); }"""
    )
    generate(page)
    finished(page)
    page.wait_for_timeout(300)
    assert page.evaluate("window.shift") < 0.05


def test_a_phone_has_prompt_picture_and_generate_in_sight_together_and_no_sideways_scroll(visitor: Visitor) -> None:
    page = visitor(width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    button = workspace(page).get_by_role("button", name="Generate").bounding_box()
    picture = stage(page).locator(".ls-frame").bounding_box()
    words = prompt(page).bounding_box()
    assert button
    assert picture
    assert words
    assert button["y"] + button["height"] <= 844
    assert 0 < words["y"] < words["y"] + words["height"] < picture["y"]
    assert picture["y"] + picture["height"] < button["y"]
    generate(page)
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
