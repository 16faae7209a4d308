"""Presets in a browser: saved, chosen, renamed and deleted by keyboard; remembered for a model; a file; a link."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page, expect

Visitor = Callable[..., Page]
STEPS = "#text_to_image-num_inference_steps input[type=number]"
PROMPT = "#text_to_image-prompt textarea"


def opened(page: Page, tab: str = "text_to_image") -> Locator:
    block = page.locator(f"#{tab}-presets")
    block.get_by_role("button", name="Presets", exact=True).click()
    return block


def choose_model(page: Page, name: str) -> None:
    page.locator("#text_to_image-checkpoint input").click()
    page.get_by_role("option", name=name).click()


def test_a_preset_is_saved_chosen_renamed_deleted_and_brought_back(visitor: Visitor) -> None:
    page = visitor()
    page.locator(PROMPT).fill("a fox")
    page.locator(STEPS).fill("12")
    page.locator(STEPS).press("Tab")
    block = opened(page)
    expect(block).to_contain_text("A preset is all settings of this tab under a name")
    status = block.get_by_role("status")
    name = block.get_by_role("textbox", name="Name of the preset")
    name.press("Enter")
    expect(status).to_contain_text("name: nothing is not allowed. Allowed: a name.")
    name.fill("Fox")
    name.press("Enter")
    expect(status).to_have_text("Fox is saved.")

    page.locator(PROMPT).fill("a cat")
    page.locator(STEPS).fill("30")
    chip = block.get_by_role("button", name="Fox", exact=True)
    chip.press("Enter")
    expect(page.locator(PROMPT)).to_have_value("a fox")
    expect(page.locator(STEPS)).to_have_value("12")
    expect(status).to_have_text("The settings of Fox are in the fields.")

    block.get_by_role("button", name="Rename Fox").press("Enter")
    new_name = block.get_by_role("textbox", name="New name of Fox")
    expect(new_name).to_be_focused()
    page.keyboard.type("Red fox")
    page.keyboard.press("Enter")
    chip = block.get_by_role("button", name="Red fox", exact=True)
    expect(chip).to_be_focused()
    block.get_by_role("button", name="Delete the preset Red fox").press("Enter")
    expect(chip).to_have_count(0)
    expect(block.get_by_role("button", name="Undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(chip).to_be_visible()
    block.get_by_role("button", name="Delete the preset Red fox").click()
    expect(chip).to_have_count(0)


def test_what_is_remembered_of_a_model_comes_when_it_is_chosen_and_a_bad_file_is_refused(
    visitor: Visitor, tmp_path: Path
) -> None:
    page = visitor()
    choose_model(page, "Quick one")
    expect(page.locator(STEPS)).to_have_value("4")
    page.locator(STEPS).fill("9")
    page.locator(STEPS).press("Tab")
    block = opened(page)
    status = block.get_by_role("status")
    block.get_by_role("button", name="Remember for this model").click()
    expect(status).to_contain_text("These settings come whenever you choose Quick one")
    choose_model(page, "Small World")
    expect(status).to_have_text("")
    page.locator(STEPS).fill("25")
    choose_model(page, "Quick one")
    expect(page.locator(STEPS)).to_have_value("9")
    expect(status).to_contain_text("The settings that you remembered for Quick one")
    block.get_by_role("button", name="Forget").click()
    expect(status).to_contain_text("begins with what suits it again.")

    preset = {"name": "Fox", "tab": "text_to_image", "fields": {"width": 7}}
    file = tmp_path / "presets.json"
    file.write_text(json.dumps({"format": "latent-studio-presets", "version": 1, "presets": [preset]}))
    block.locator("input[type=file]").set_input_files(file)
    expect(status).to_contain_text(
        "width in presets[0] 'Fox': 7 is not allowed. Allowed: whole numbers from 64 to 2048"
    )


def test_a_link_reopens_the_settings_on_their_tab(visitor: Visitor) -> None:
    page = visitor()
    page.get_by_role("tab", name="Image to image").click()
    page.locator("#image_to_image-prompt textarea").fill("a fox & more")
    page.locator("#image_to_image-strength input[type=number]").fill("0.3")
    page.locator("#image_to_image-strength input[type=number]").press("Tab")
    block = opened(page, "image_to_image")
    block.get_by_role("button", name="Copy a link to these settings").click()
    status = block.get_by_role("status")
    page.wait_for_function("document.querySelector('#image_to_image-presets [role=status]').dataset.address")
    query = urlsplit(str(status.get_attribute("data-address"))).query
    assert parse_qs(query) == {
        "settings": ["image_to_image"], "v": ["1"], "prompt": ["a fox & more"], "checkpoint": ["small-world-128"],
        "strength": ["0.3"],
    }  # fmt: skip
    other = visitor(query=f"?{query}")
    expect(other.get_by_role("tab", name="Image to image")).to_have_attribute("aria-selected", "true")
    expect(other.locator("#image_to_image-prompt textarea")).to_have_value("a fox & more")
    expect(other.locator("#image_to_image-strength input[type=number]")).to_have_value("0.3")
    expect(other.locator("#image_to_image-presets")).to_contain_text("The settings of the link are in the fields.")
    assert "settings=" not in other.url
    bad = visitor(query="?settings=text_to_image&v=1&prompt=x&width=7")
    expect(bad.locator("#text_to_image-presets")).to_contain_text("Nothing of this link was taken. width: 7 is not")
    expect(bad.locator(PROMPT)).to_have_value("")
