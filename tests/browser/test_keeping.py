"""What a reload and a second tab leave as it was, and what stands beside a finished picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Studio, quiet, ready
from tests.browser.test_inpaint import opened, paint, painted
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


def test_the_vae_of_a_picture_survives_a_reload_and_leaves_with_its_checkpoint(visitor: Visitor) -> None:
    page = visitor()
    field = page.locator("#text_to_image-vae_name input")

    def choose(checkpoint: str) -> None:
        page.locator("#text_to_image-checkpoint input").click()
        page.locator("#text_to_image-checkpoint [role=option]").filter(has_text=checkpoint).first.click()

    page.get_by_role("button", name="More").first.click()
    expect(field).to_be_disabled()
    choose("Tiny")
    expect(field).to_be_enabled()
    field.click()
    page.locator("#text_to_image-vae_name [role=option]").filter(has_text="soft-vae").click()
    quiet(page)
    page.reload()
    ready(page)
    page.get_by_role("button", name="More").first.click()
    quiet(page)
    expect(field).to_have_value("soft-vae")
    expect(field).to_be_enabled()
    choose("Quick")
    expect(field).to_be_disabled()
    expect(field).to_have_value("The model's own")


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


def test_a_painted_mask_survives_a_reload_with_its_picture(visitor: Visitor) -> None:
    page = visitor()
    opened(page)
    paint(page, (0.2, 0.5), (0.4, 0.5))
    painted(page)
    quiet(page)
    pixels = "[...document.querySelector('.ls-mask-canvas').getContext('2d').getImageData(0, 0, 96, 64).data]"
    before = np.array(page.evaluate(pixels)).reshape(64, 96, 4)[..., 3] >= 128
    page.reload()
    ready(page)
    page.get_by_role("tab", name="Inpaint").click()
    painted(page)
    assert (np.array(page.evaluate(pixels)).reshape(64, 96, 4)[..., 3] >= 128).tolist() == before.tolist()
    assert before.any()
    page.get_by_role("button", name="Other picture").click()  # it goes with its picture
    expect(page.locator(".ls-mask")).to_be_hidden()
    quiet(page)
    opened(page)
    painted(page, False)


def test_compares_picture_returns_without_its_fold_being_opened(visitor: Visitor) -> None:
    page = visitor()
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-workspace").get_by_role("button", name="Start from a picture").click()
    page.locator("#compare-image input[type=file]").set_input_files(
        {"name": "start.png", "mimeType": "image/png", "buffer": png(72, 48)}
    )
    expect(page.locator("#compare-image img")).to_be_visible()
    quiet(page)
    page.reload()
    ready(page)
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator("#compare-image img")).to_be_visible()
    page.locator("#compare-x input").click()
    expect(page.locator("#compare-x li").filter(has_text="Strength")).not_to_contain_text("needs")


def test_copy_stands_on_the_line_of_the_prompt_on_a_phone(visitor: Visitor) -> None:
    page = visitor(width=390, height=844)
    generate(page, "a whale")
    finished(page)
    middles = page.evaluate(
        """() => ['.ls-picture-prompt-text', '.ls-copy'].map((name) => {
          const range = document.createRange();
          range.selectNodeContents(document.querySelector('#text_to_image-stage ' + name));
          const box = range.getBoundingClientRect();
          return box.bottom - box.top > 0 ? (box.top + box.bottom) / 2 : NaN;
        })"""
    )
    assert abs(middles[0] - middles[1]) <= 3, middles


def test_the_prompt_stands_beside_a_finished_picture_and_can_be_copied(visitor: Visitor) -> None:
    page = visitor()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    generate(page, "a <b>whale</b>\nin a bottle")
    finished(page)
    expect(stage(page).locator(".ls-picture-prompt-text")).to_have_text("a <b>whale</b>\nin a bottle")
    stage(page).get_by_role("button", name="Copy", exact=True).click()
    expect(stage(page).locator(".ls-copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "a <b>whale</b>\nin a bottle"


def test_the_negative_prompt_says_how_many_tokens_it_has(visitor: Visitor) -> None:
    page = visitor()
    page.locator("#text_to_image-workspace").get_by_role("button", name="Negative prompt").click()
    prompt_field = page.locator("#text_to_image-negative_prompt textarea")
    prompt_field.fill("blurry and dark")
    expect(page.locator("#text_to_image-workspace .ls-tokens").first).to_contain_text("token")


def test_the_page_says_the_language_of_its_words_whatever_the_browsers(browser: object, studio: Studio) -> None:
    context = browser.new_context(locale="de-DE")  # type: ignore[attr-defined]
    page = context.new_page()
    page.goto(studio.url)
    ready(page)
    quiet(page)
    assert page.evaluate("document.documentElement.lang") == "en"
    context.close()


KEY = "latent-studio-text_to_image"


def stored(page: Page, storage: str = "sessionStorage") -> dict[str, Any]:
    return dict(json.loads(page.evaluate(f"{storage}.getItem('{KEY}')")))


def test_stored_fields_carry_a_version_and_those_without_one_are_read(visitor: Visitor) -> None:
    page = visitor()
    prompt(page).fill("with a version")
    quiet(page)
    assert stored(page)["version"] == 1
    old = json.dumps(stored(page)["fields"] | {"prompt": "of 0.1.0"})
    page.evaluate("([key, text]) => sessionStorage.setItem(key, text)", [KEY, old])
    page.reload()
    ready(page)
    expect(prompt(page)).to_have_value("of 0.1.0")


def test_fields_that_a_newer_version_has_kept_are_left_alone(visitor: Visitor) -> None:
    newer = json.dumps({"version": 99, "fields": {"prompt": "of the future"}})
    page = visitor()
    keep = "([key, text]) => { for (const one of [sessionStorage, localStorage]) one.setItem(key, text); }"
    page.evaluate(keep, [KEY, newer])
    page.reload()
    ready(page)
    quiet(page)
    expect(prompt(page)).to_have_value("")
    prompt(page).fill("of today")
    quiet(page)
    assert stored(page) == stored(page, "localStorage") == json.loads(newer)
