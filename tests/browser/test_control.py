"""The section Control in Chromium: absent without a ControlNet, and what is set there is what is asked for."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from studio.asked.control import Control
from tests.browser.conftest import Studio
from tests.browser.test_inpaint import transfer
from tests.browser.test_other_tabs import png
from tests.browser.test_page import finished, generate

Visitor = Callable[..., Page]


def choose(page: Page, label: str) -> None:
    page.locator("#text_to_image-checkpoint input").click()
    page.get_by_role("option", name=re.compile(re.escape(label))).click()


def test_controls_are_offered_where_there_are_controlnets_and_are_asked_for(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    section = page.locator("#text_to_image-controls")
    choose(page, "Quick")
    expect(section.locator("details")).to_have_count(0)
    choose(page, "Tiny")
    section.locator("summary").click()
    unit = section.locator("fieldset")
    expect(unit).to_have_count(1)
    assert unit.get_by_label("ControlNet", exact=True).locator("option").all_text_contents() == ["lines", "maps"]
    unit.get_by_label("ControlNet", exact=True).select_option("maps")
    picture = png(96, 64)
    unit.locator("input[type=file]").set_input_files({"name": "m.png", "mimeType": "image/png", "buffer": picture})
    expect(unit).to_have_attribute("data-map", "none")
    unit.get_by_label("Turn it into a map by").select_option("canny")
    expect(unit).to_have_attribute("data-map", "canny")
    shown = unit.get_by_role("img", name="The map that the ControlNet is given")
    expect(shown).to_be_visible()
    expect(shown).to_have_js_property("naturalWidth", 96)
    for name, value in (("Scale", "0.75"), ("End", "0.5")):
        unit.get_by_label(name, exact=True).evaluate(
            "(s, v) => { s.value = v; s.dispatchEvent(new Event('input', { bubbles: true })); }", value
        )
    section.get_by_role("button", name="Add a control").click()
    expect(unit).to_have_count(2)
    unit.nth(1).get_by_role("button", name="Remove this control").click()
    expect(unit).to_have_count(1)

    generate(page, "held to a map")
    finished(page)
    request = next(j.request for j in studio.engine.asked if j.request.prompt == "held to a map")
    assert request.controls == (Control(model="maps", image=picture, preprocessor="canny", scale=0.75, end=0.5),)

    choose(page, "Quick")
    expect(section.locator("details")).to_have_count(0)
    generate(page, "held to nothing")
    finished(page)
    request = next(j.request for j in studio.engine.asked if j.request.prompt == "held to nothing")
    assert request.controls == ()


def test_a_control_without_a_picture_is_marked_and_one_that_is_none_is_said(visitor: Visitor) -> None:
    page = visitor()
    choose(page, "Tiny")
    section = page.locator("#text_to_image-controls")
    section.locator("summary").click()
    generate(page, "nothing to hold to")
    expect(section.get_by_role("alert")).to_contain_text("image nothing of control 1 is not allowed here")
    file = {"name": "m.png", "mimeType": "image/png", "buffer": b"no picture"}
    section.locator("input[type=file]").set_input_files(file)
    expect(section.locator(".ls-control-note")).to_have_text("This cannot be read as a picture.")


def test_a_map_dropped_on_a_control_does_not_become_the_picture_to_start_from(visitor: Visitor) -> None:
    page = visitor()
    page.get_by_role("tab", name="Image to image").click()
    page.locator("#image_to_image-checkpoint input").click()
    page.get_by_role("option", name=re.compile("Tiny")).click()
    section = page.locator("#image_to_image-controls")
    section.locator("summary").click()
    page.dispatch_event(
        "#image_to_image-controls .ls-control-picture", "drop", {"dataTransfer": transfer(page, png(80, 64))}
    )
    expect(section.locator("fieldset")).to_have_attribute("data-map", "none")
    expect(page.locator("#image_to_image-image img")).to_have_count(0)


def test_a_map_is_painted_in_the_controlnets_own_colours(visitor: Visitor, studio: Studio) -> None:
    page = visitor(height=1100)
    page.locator("#text_to_image-prompt textarea").fill("a cat on a red background")
    section = page.locator("#text_to_image-controls")
    section.locator("summary").click()
    canvas = section.get_by_role("img", name="Map: paint where each object should be")
    expect(canvas).to_be_visible()
    expect(section.get_by_label("Turn it into a map by")).to_be_hidden()
    colors = section.get_by_role("group", name="Objects and their colours").get_by_role("button")
    assert colors.all_text_contents() == ["cat", "whatever the prompt says", "fox", "red apple"]  # the prompt's first
    expect(colors.first).to_have_attribute("aria-pressed", "true")

    section.get_by_role("button", name="Example").click()
    unit = section.locator("fieldset")
    expect(unit).to_have_attribute("data-painted", "true")
    section.get_by_role("button", name="Undo").click()
    expect(unit).to_have_attribute("data-painted", "false")

    def drag(*places: tuple[float, float]) -> None:
        box = canvas.bounding_box()
        assert box is not None
        for k, (x, y) in enumerate(places):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4 if k else 1)
            if not k:
                page.mouse.down()
        page.mouse.up()

    canvas.scroll_into_view_if_needed()
    drag((0.2, 0.5), (0.3, 0.5))
    section.get_by_role("button", name="Oval").click()
    colors.get_by_text("fox", exact=True).click()
    drag((0.6, 0.2), (0.95, 0.8))
    section.get_by_role("button", name="Eraser").click()
    drag((0.78, 0.5), (0.79, 0.5))
    expect(unit).to_have_attribute("data-painted", "true")

    generate(page, "a cat held to a painted map")
    finished(page)
    request = next(j.request for j in studio.engine.asked if j.request.prompt == "a cat held to a painted map")
    (control,) = request.controls
    assert (control.model, control.preprocessor) == ("control-segmentation", "none")
    with Image.open(io.BytesIO(control.image)) as image:
        painted = np.asarray(image.convert("RGB"))
    assert painted.shape == (128, 128, 3)
    assert {tuple(color) for color in painted.reshape(-1, 3).tolist()} == {(0, 0, 0), (0, 255, 255), (192, 0, 255)}
    assert tuple(painted[64, 32]) == (0, 255, 255)
    assert tuple(painted[40, 99]) == (192, 0, 255)
    assert tuple(painted[64, 100]) == (0, 0, 0), "erased"

    section.get_by_role("button", name="Choose a file instead").click()
    expect(canvas).to_be_hidden()
    given = png(128, 128)
    section.locator("input[type=file]").set_input_files({"name": "m.png", "mimeType": "image/png", "buffer": given})
    expect(unit).to_have_attribute("data-map", "none")
    generate(page, "held to a map from a file")
    finished(page)
    request = next(j.request for j in studio.engine.asked if j.request.prompt == "held to a map from a file")
    assert request.controls[0].image == given
