"""What a reload and a second tab leave as it was, and what stands beside a finished picture."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Studio, quiet, ready
from tests.browser.test_other_tabs import png, upload
from tests.browser.test_page import finished, generate, stage

Visitor = Callable[..., Page]


def prompt(page: Page, tab: str = "text_to_image") -> Locator:
    return page.locator(f"#{tab}-prompt :is(textarea, input)").first


def test_two_tabs_of_one_browser_keep_their_own_fields(visitor: Visitor, studio: Studio) -> None:
    one = visitor()
    prompt(one).fill("of the first tab")
    quiet(one)
    two = one.context.new_page()
    two.goto(studio.url)
    ready(two)
    expect(prompt(two)).to_have_value("of the first tab")  # a new tab begins with what was kept last
    prompt(two).fill("of the second tab")
    quiet(two)
    for page, text in ((one, "of the first tab"), (two, "of the second tab")):
        page.reload()
        ready(page)
        expect(prompt(page)).to_have_value(text)


def test_the_noise_viewers_prompt_survives_a_reload(visitor: Visitor) -> None:
    page = visitor()
    page.get_by_role("tab", name="Noise viewer").click()
    prompt(page, "noise_viewer").fill("to be looked at")
    quiet(page)
    page.reload()
    ready(page)
    page.get_by_role("tab", name="Noise viewer").click()
    expect(prompt(page, "noise_viewer")).to_have_value("to be looked at")


def test_a_picture_that_was_given_survives_a_reload_until_it_is_taken_away(visitor: Visitor) -> None:
    page = visitor()
    image = page.locator("#image_to_image-image")
    page.get_by_role("tab", name="Image to image").click()
    upload(page, png(72, 48))
    quiet(page)
    page.reload()
    ready(page)
    page.get_by_role("tab", name="Image to image").click()
    expect(image.locator("img")).to_be_visible()
    page.wait_for_function("document.querySelector('#image_to_image-image img').naturalWidth === 72")
    quiet(page)
    image.get_by_role("button", name="Clear").or_(image.get_by_role("button", name="Remove Image")).first.click()
    expect(image.locator("img")).to_have_count(0)
    quiet(page)
    page.reload()
    ready(page)
    page.get_by_role("tab", name="Image to image").click()
    quiet(page)
    expect(image.locator("img")).to_have_count(0)


def test_the_prompt_stands_beside_a_finished_picture_and_can_be_copied(visitor: Visitor) -> None:
    page = visitor()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    generate(page, "a <b>whale</b>\nin a bottle")
    finished(page)
    expect(stage(page).locator(".ls-asked-words")).to_have_text("a <b>whale</b>\nin a bottle")
    stage(page).get_by_role("button", name="Copy", exact=True).click()
    expect(stage(page).locator(".ls-copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "a <b>whale</b>\nin a bottle"


def test_the_negative_prompt_says_how_many_tokens_it_has(visitor: Visitor) -> None:
    page = visitor()
    page.locator("#text_to_image-desk").get_by_role("button", name="Negative prompt").click()
    prompt_field = page.locator("#text_to_image-negative_prompt textarea")
    prompt_field.fill("blurry and dark")
    expect(page.locator("#text_to_image-desk .ls-tokens").first).to_contain_text("token")


def test_the_page_says_the_language_of_its_words_whatever_the_browsers(browser: object, studio: Studio) -> None:
    context = browser.new_context(locale="de-DE")  # type: ignore[attr-defined]
    page = context.new_page()
    page.goto(studio.url)
    ready(page)
    quiet(page)
    assert page.evaluate("document.documentElement.lang") == "en"
    context.close()
