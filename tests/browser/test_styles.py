"""Styles in a browser: the present prompt is saved as one, a click takes it out and another puts it in."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

Visitor = Callable[..., Page]


def test_a_style_is_saved_taken_out_put_in_and_deleted(visitor: Visitor) -> None:
    page = visitor()
    workspace = page.locator("#text_to_image-workspace")
    prompt = page.locator("#text_to_image-prompt textarea")
    prompt.fill("oil painting")
    workspace.get_by_role("button", name="Styles", exact=True).click()
    box = workspace.locator(".ls-style-box")
    expect(box).to_contain_text("A style is words that you use often")
    box.get_by_role("button", name="Save this prompt").click()
    expect(box.get_by_role("status")).to_contain_text("name: nothing is not allowed")
    box.get_by_role("textbox", name="Name of the style").fill("Oil")
    box.get_by_role("button", name="Save this prompt").click()
    chip = box.get_by_role("button", name="Oil", exact=True)
    expect(chip).to_have_attribute("aria-pressed", "true")
    chip.click()
    expect(prompt).to_have_value("")
    prompt.fill("a fox")
    chip.click()
    expect(prompt).to_have_value("a fox, oil painting")
    expect(workspace.get_by_role("button", name="Styles (1)")).to_be_visible()
    prompt.fill("a fox, oily")
    expect(chip).to_have_attribute("aria-pressed", "false")
    box.get_by_role("button", name="Delete the style Oil").click()
    expect(chip).to_have_count(0)
    box.get_by_role("button", name="Undo").click()
    expect(chip).to_be_visible()
    box.get_by_role("button", name="Delete the style Oil").click()
    expect(chip).to_have_count(0)


def test_a_style_with_a_place_stands_around_the_prompt_and_has_negative_words(visitor: Visitor) -> None:
    page = visitor()
    workspace = page.locator("#text_to_image-workspace")
    prompt = page.locator("#text_to_image-prompt textarea")
    negative = page.locator("#text_to_image-negative_prompt textarea")
    page.evaluate(
        """() => fetch("styles", { method: "POST", body: JSON.stringify(
            { name: "Ink", prompt: "ink drawing of {prompt}, thin", negative_prompt: "photo" }) })"""
    )
    prompt.fill("a fox")
    workspace.get_by_role("button", name="Styles", exact=True).click()
    chip = workspace.locator(".ls-style-box").get_by_role("button", name="Ink", exact=True)
    chip.click()
    expect(prompt).to_have_value("ink drawing of a fox, thin")
    expect(negative).to_have_value("photo")
    chip.click()
    expect(prompt).to_have_value("a fox")
    expect(negative).to_have_value("")
    workspace.locator(".ls-style-box").get_by_role("button", name="Delete the style Ink").click()
    expect(chip).to_have_count(0)
