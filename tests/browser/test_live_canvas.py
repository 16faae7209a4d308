"""The live canvas of Image to image in Chromium: each stroke is answered from the same noise."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Studio
from tests.browser.test_accessibility import RIGHT, open_tab, violations

Visitor = Callable[..., Page]
TAB = "image_to_image"
ORANGE, WHITE = (240, 140, 40), (255, 255, 255)


def pixels(image: bytes) -> Any:
    with Image.open(io.BytesIO(image)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def near(pixel: Any, color: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixel - np.array(color)).max() <= 3)


def test_each_stroke_on_the_canvas_is_answered_from_the_same_noise(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    open_tab(page, TAB)
    page.locator(f"#{TAB}-prompt textarea").fill("a fox on a canvas")
    workspace = page.locator(f"#{TAB}-workspace")
    page.get_by_role("button", name="Live canvas").click()
    painting = page.locator(f"#{TAB}-painting")
    canvas = painting.get_by_role("img", name="Live canvas: paint what the picture should be")
    expect(canvas).to_be_focused()
    expect(page.locator(f"#{TAB}-live input")).to_be_checked()
    expect(page.locator(f"#{TAB}-fast input")).to_be_checked()  # as on Text to image

    def answered(act: Callable[[], object]) -> Any:
        """The picture that the newest run starts from, once it has ended."""
        before = len(studio.engine.asked)
        act()
        end = page.evaluate("performance.now()") + 10_000
        while len(studio.engine.asked) == before and page.evaluate("performance.now()") < end:
            page.wait_for_timeout(50)
        expect(page.locator(f"#{TAB}-stage .ls-stage")).to_have_attribute("data-state", "finished")
        expect(workspace).to_have_attribute("data-run", "idle")
        assert len(studio.engine.asked) > before
        return studio.engine.asked[-1].request

    def drag(*places: tuple[float, float]) -> None:
        box = canvas.bounding_box()
        assert box is not None
        for k, (x, y) in enumerate(places):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4 if k else 1)
            if not k:
                page.mouse.down()
        page.mouse.up()

    painting.get_by_role("button", name="Orange").click()
    painting.get_by_role("button", name="Oval").click()
    first = answered(lambda: drag((0.25, 0.25), (0.75, 0.75)))
    sheet = pixels(first.image)
    assert sheet.shape == (128, 128, 3)  # the checkpoint's own size
    assert near(sheet[64, 64], ORANGE)
    assert near(sheet[4, 4], WHITE)
    assert (first.num_inference_steps, first.scheduler) == (4, "lcm")
    undone = answered(lambda: page.keyboard.press("Control+z"))
    assert near(pixels(undone.image)[64, 64], WHITE)
    assert undone.seed == first.seed is not None
    painting.get_by_role("button", name="Brush", exact=True).click()
    canvas.focus()

    def keys() -> None:
        for key in (" ", "ArrowRight", "ArrowRight", " "):
            page.keyboard.press(key)

    keyed = answered(keys)
    assert near(pixels(keyed.image)[64, 66], ORANGE), "from the middle to the right"
    assert violations(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(RIGHT) <= 390
    assert canvas.evaluate("(one) => getComputedStyle(one).touchAction") == "none"
    page.set_viewport_size({"width": 1280, "height": 800})
    # A map that is painted is answered too, and obeyed beside the canvas.
    painting.get_by_role("button", name="Paint a map").click()
    mapped = answered(lambda: page.locator(f"#{TAB}-controls").get_by_role("button", name="Example").click())
    (control,) = mapped.controls
    assert control.model == "control-segmentation"
    assert near(pixels(mapped.image)[64, 66], ORANGE)
    page.locator(f"#{TAB}-live input").uncheck()
    page.reload()
    expect(canvas).to_be_visible()  # what was painted is there
    painting.get_by_role("button", name="Clear").wait_for()
    painting.get_by_role("button", name="Close canvas").click()
    expect(page.locator(f"#{TAB}-image")).to_be_visible()
