"""A picture dropped or pasted on the page shows what it says, in Chromium."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

Visitor = Callable[..., Page]
CASES = Path(__file__).parents[1] / "cases"

DROP = """([selector, files]) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files)
    transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name, { type: "image/png" }));
  const event = (kind) => new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: transfer });
  const target = document.querySelector(selector);
  target.dispatchEvent(event("dragover"));
  return !target.dispatchEvent(event("drop"));
}"""
PASTE = """([selector, text]) => {
  const transfer = new DataTransfer();
  transfer.setData("text/plain", text);
  const event = new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: transfer });
  return !document.querySelector(selector).dispatchEvent(event);
}"""


def drop(page: Page, selector: str, *names: str) -> None:
    files = [[name, base64.b64encode((CASES / name).read_bytes()).decode()] for name in names]
    assert page.evaluate(DROP, [selector, files]), "the browser would open the file"


def test_a_dropped_picture_says_its_settings_and_a_pasted_text_never_replaces_the_prompt(visitor: Visitor) -> None:
    page = visitor()
    prompt = page.locator("#text_to_image-prompt textarea")
    prompt.fill("mine")
    sheet = page.get_by_role("dialog", name="What this picture says")
    drop(page, "#text_to_image-stage", "size_513x769.png", "comfy.png")
    expect(sheet).to_contain_text("Made with AUTOMATIC1111.")
    expect(sheet).to_contain_text("Not taken: comfy.png.")
    expect(sheet).to_contain_text("Size 513x769 is left out: not allowed here")
    expect(sheet.get_by_role("button", name="Use all")).to_be_focused()
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    expect(prompt).to_have_value("mine")

    drop(page, "#text_to_image-stage", "size_513x769.png")
    sheet.get_by_role("button", name="Open in the noise viewer").click()
    compared = page.locator(".ls-sheet-compared")
    expect(compared).to_contain_text("It came out differently", timeout=30_000)  # the engine of the tests paints a ball
    expect(prompt).to_have_value("mine")
    page.get_by_role("tab", name="Text to image").click()

    pasted = page.get_by_role("dialog", name="Settings in the pasted text")
    assert not page.evaluate(PASTE, ["#text_to_image-prompt textarea", "a cat"])  # the browser inserts it
    infotext = "a cat\nSteps: 9, Sampler: Euler, Seed: 11"
    assert page.evaluate(PASTE, ["#text_to_image-prompt textarea", infotext])
    pasted.get_by_role("button", name="Insert as text").click()
    expect(prompt).to_have_value("mine" + infotext)
    page.evaluate(PASTE, ["#text_to_image-prompt textarea", infotext])
    pasted.get_by_role("button", name="Use all").click()
    expect(prompt).to_have_value("a cat")
    expect(page.locator("#text_to_image-seed textarea, #text_to_image-seed input").first).to_have_value("11")


def test_a_template_of_a_picture_is_shown_and_used_with_a_new_seed(visitor: Visitor) -> None:
    page = visitor()
    prompt = page.locator("#text_to_image-prompt textarea")
    seed = page.locator("#text_to_image-seed").get_by_role("textbox")
    seed.fill("5")
    prompt.fill("mine")
    infotext = 'a red fox\nSteps: 9, Sampler: Euler, Seed: 11, Template: "a {red|blue} fox, sharp"'
    assert page.evaluate(PASTE, ["#text_to_image-prompt textarea", infotext])
    sheet = page.get_by_role("dialog", name="Settings in the pasted text")
    expect(sheet).to_contain_text("a {red|blue} fox, sharp")
    sheet.get_by_role("button", name="Use its template, with a new seed").click()
    expect(prompt).to_have_value("a {red|blue} fox, sharp")
    expect(seed).to_have_value("")
    expect(page.locator("#text_to_image-num_inference_steps input[type=number]")).to_have_value("9")
