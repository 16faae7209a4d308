"""The prompt helper in a browser: chips go where they belong, chance makes prompts, unknown words are met kindly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

Visitor = Callable[..., Page]


def workspace(page: Page) -> Locator:
    return page.locator("#text_to_image-workspace")


def prompt(page: Page) -> Locator:
    return page.locator("#text_to_image-prompt textarea")


def opened(page: Page) -> Locator:
    workspace(page).get_by_role("button", name="Words Small World knows").click()
    return workspace(page).locator(".ls-helper-box")


def test_it_is_folded_until_somebody_opens_it(visitor: Visitor) -> None:
    page = visitor()
    fold = workspace(page).get_by_role("button", name="Words Small World knows")
    expect(fold).to_have_attribute("aria-expanded", "false")
    expect(workspace(page).locator(".ls-helper-box")).to_be_hidden()
    box = opened(page)
    expect(fold).to_have_attribute("aria-expanded", "true")
    expect(box.get_by_role("group")).to_have_count(7)
    box.get_by_role("searchbox").fill("monochrome")
    expect(box.locator(".ls-chip")).to_have_text(["black and white"])


def test_chips_go_where_they_belong(visitor: Visitor) -> None:
    page = visitor()
    box = opened(page)

    def choose(group: str, word: str) -> None:
        box.get_by_role("group", name=group).get_by_role("button", name=word, exact=True).click()

    for group, word, after in (
        ("Backgrounds", "red", "on a red background"),
        ("Objects", "owl", "an owl on a red background"),
        ("Sizes", "small", "a small owl on a red background"),
        ("Scenes", "snow", "a small owl in the snow"),
        ("Two objects", "left of", "a small owl left of in the snow"),
        ("Objects", "grapes", "a small owl left of grapes in the snow"),
        ("Two objects", "above", "a small owl above grapes in the snow"),
        ("Styles", "pixel art", "a small owl above grapes in the snow, pixel art"),
        ("Styles", "black and white", "a small owl above grapes in the snow, black and white"),
        ("Sizes", "big", "a big owl above grapes in the snow, black and white"),
        ("Backgrounds", "orange", "a big owl above grapes on an orange background, black and white"),
    ):
        choose(group, word)
        expect(prompt(page)).to_have_value(after)


def test_a_prompt_without_a_known_word_is_met_kindly_and_still_runs(visitor: Visitor) -> None:
    page = visitor()
    note = workspace(page).locator(".ls-helper-note")
    expect(note).to_be_hidden()
    prompt(page).fill("a quantum zebra")
    expect(note).to_contain_text("Small World knows none of these words")
    expect(note).to_contain_text("“a fox”")
    prompt(page).fill("a quantum zebra, LITTLE fox")
    expect(note).to_be_hidden()
    prompt(page).fill("foxes")  # part of a word is no word
    expect(note).to_be_visible()
    workspace(page).get_by_role("button", name="Generate").click()
    expect(page.locator("#text_to_image-stage").get_by_role("button", name="Save")).to_be_visible(timeout=60_000)
    prompt(page).fill("")
    expect(note).to_be_hidden()


def test_chance_makes_prompts_of_known_words(visitor: Visitor) -> None:
    page = visitor()
    seen = set()
    for _ in range(12):
        workspace(page).get_by_role("button", name="Surprise me").click()
        seen.add(prompt(page).input_value())
        expect(workspace(page).locator(".ls-helper-note")).to_be_hidden()
    assert len(seen) > 5
    assert all(text.startswith(("a ", "an ", "grapes", "small grapes", "big grapes")) for text in seen), seen


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_open_it_stays_within_the_page(visitor: Visitor, width: int, height: int) -> None:
    page = visitor(width=width, height=height)
    box = opened(page).bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    overflow: Any = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert overflow <= 0
