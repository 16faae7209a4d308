"""Inpaint in Chromium, on an engine that only draws: the mask that is painted is the mask that is asked for."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect

from studio.asked.fields import Inpaint
from tests.browser.conftest import Studio
from tests.browser.test_other_tabs import png
from tests.browser.test_page import finished, generate, stage

Visitor = Callable[..., Page]


def opened(page: Page, data: bytes | None = None) -> None:
    """Inpaint with a picture, its editor ready."""
    page.get_by_role("tab", name="Inpaint").click()
    page.locator("#inpaint-image input[type=file]").set_input_files(
        {"name": "start.png", "mimeType": "image/png", "buffer": data or png(96, 64)}
    )
    expect(page.locator(".ls-mask-canvas")).to_be_visible()
    page.wait_for_function("document.querySelector('.ls-mask-canvas').width === 96")


def paint(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """A stroke from one place to another, in shares of the picture."""
    box = page.locator(".ls-mask-canvas").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (begin, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=6)
    page.mouse.up()


def painted(page: Page, yes: bool = True) -> None:
    expect(page.locator(".ls-mask")).to_have_attribute("data-painted", "true" if yes else "false")


def asked(page: Page, studio: Studio, prompt: str) -> Inpaint:
    """Generate, wait for the end, and what the engine was asked."""
    page.locator("#inpaint-prompt textarea").fill(prompt)
    page.locator("#inpaint-workspace").get_by_role("button", name="Generate").click()
    show = page.locator("#inpaint-stage .ls-stage")
    expect(show.locator("img.ls-picture")).to_have_attribute("alt", prompt, timeout=30_000)
    expect(show).to_have_attribute("data-state", "finished", timeout=30_000)
    request = next(j.request for j in studio.engine.asked if j.request.prompt == prompt)
    assert isinstance(request, Inpaint)
    return request


def mask_of(request: Inpaint) -> np.ndarray:
    with Image.open(io.BytesIO(request.mask)) as mask:
        assert (mask.format, mask.mode, mask.size) == ("PNG", "L", (96, 64))
        return np.asarray(mask)


def test_a_mask_drawn_with_the_mouse_is_the_mask_that_is_asked_for(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    opened(page)
    painted(page, False)
    paint(page, (0.2, 0.5), (0.4, 0.5))
    painted(page)
    mask = mask_of(asked(page, studio, "a mask"))
    assert set(np.unique(mask)) == {0, 255}
    assert mask[32, 20:38].all()
    assert not mask[:, 60:].any()
    assert not mask[:20].any()

    paint(page, (0.8, 0.5), (0.9, 0.5))
    page.get_by_role("button", name="Undo").click()
    assert (mask_of(asked(page, studio, "undone")) == mask).all()

    page.get_by_role("button", name="Invert").click()
    assert (mask_of(asked(page, studio, "inverted")) == 255 - mask).all()

    page.get_by_role("button", name="Eraser").click()
    paint(page, (0.7, 0.2), (0.9, 0.2))
    erased = mask_of(asked(page, studio, "erased"))
    assert not erased[13, 70:84].any()
    assert erased[60, 70:84].all()


def test_without_a_mask_the_page_says_what_is_needed(visitor: Visitor) -> None:
    page = visitor()
    opened(page)
    page.locator("#inpaint-workspace").get_by_role("button", name="Generate").click()
    expect(page.locator("#inpaint-mask").get_by_role("alert")).to_contain_text("a painted mask, or an extended canvas")


@pytest.mark.parametrize(("ground", "stroke"), [("black", "white"), ("#00000000", "red"), ("#ffffff00", "black")])
def test_an_uploaded_mask_is_taken_over_at_the_pictures_size(
    visitor: Visitor, studio: Studio, ground: str, stroke: str
) -> None:
    page = visitor()
    opened(page)
    drawn = Image.new("RGBA", (192, 128), ground)
    ImageDraw.Draw(drawn).rectangle((0, 0, 95, 127), fill=stroke)
    file = io.BytesIO()
    drawn.save(file, "PNG")
    page.locator("#inpaint-mask input[type=file]").set_input_files(
        {"name": "mask.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )
    painted(page)
    mask = mask_of(asked(page, studio, f"uploaded mask {stroke} on {ground}"))
    assert mask[:, :47].all()
    assert not mask[:, 49:].any()
    page.locator("#inpaint-mask input[type=file]").set_input_files(
        {"name": "mask.png", "mimeType": "image/png", "buffer": b"no picture"}
    )
    expect(page.locator(".ls-mask-note")).to_have_text("This file could not be read as a picture.")


def test_the_transparent_part_of_a_picture_can_be_its_mask(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    opened(page)
    button = page.get_by_role("button", name="Transparent part")
    expect(button).to_be_hidden()  # nothing of this picture is transparent
    cut = Image.new("RGBA", (96, 64), (200, 40, 40, 255))
    ImageDraw.Draw(cut).rectangle((0, 0, 47, 63), fill=(0, 0, 0, 0))
    file = io.BytesIO()
    cut.save(file, "PNG")
    page.dispatch_event("#inpaint-stage", "drop", {"dataTransfer": transfer(page, file.getvalue())})
    button.click()
    painted(page)
    mask = mask_of(asked(page, studio, "a hole"))
    assert mask[:, :47].all()
    assert not mask[:, 49:].any()


def test_an_extended_canvas_is_shown_and_needs_no_mask(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    opened(page)
    page.locator("#inpaint-workspace").get_by_role("button", name="Extend the canvas").click()
    page.locator("#inpaint-extend_left input").fill("96")
    share = page.evaluate(
        """() => document.querySelector('.ls-mask-canvas').offsetLeft
          / document.querySelector('.ls-mask-sheet').offsetWidth"""
    )
    assert share == pytest.approx(0.5, abs=0.02)
    request = asked(page, studio, "wider")
    assert (request.extensions, request.mask) == ((96, 0, 0, 0), b"")


def transfer(page: Page, data: bytes) -> object:
    return page.evaluate_handle(
        """(text) => {
          const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
          return transfer;
        }""",
        base64.b64encode(data).decode(),
    )


@pytest.mark.parametrize("tab", ["Image to image", "Inpaint"])
def test_a_picture_dropped_anywhere_on_the_desk_is_taken_and_so_is_a_second(visitor: Visitor, tab: str) -> None:
    page = visitor()
    page.get_by_role("tab", name=tab).click()
    name = tab.lower().replace(" ", "_")
    source = ""
    for width in (96, 80):
        page.dispatch_event(f"#{name}-stage", "drop", {"dataTransfer": transfer(page, png(width, 64))})
        shown = page.locator(f"#{name}-image img")
        shown.wait_for(state="attached")
        expect(shown).not_to_have_attribute("src", source or "none")
        page.wait_for_function(f"document.querySelector('#{name}-image img')?.naturalWidth === {width}", timeout=15_000)
        source = str(shown.get_attribute("src"))


def test_a_pasted_picture_is_taken_by_the_tab_in_sight(visitor: Visitor) -> None:
    page = visitor()
    page.get_by_role("tab", name="Inpaint").click()
    page.evaluate(
        "(t) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: t, cancelable: true }))",
        transfer(page, png(96, 64)),
    )
    expect(page.locator(".ls-mask-canvas")).to_be_visible()
    page.get_by_role("tab", name="Image to image").click()
    expect(page.locator("#image_to_image-image img")).to_have_count(0)


def test_a_finished_picture_goes_to_inpaint_and_another_can_be_taken(visitor: Visitor) -> None:
    page = visitor()
    generate(page, "to be painted on")
    finished(page)
    stage(page).get_by_role("button", name="Inpaint").click()
    expect(page.locator(".ls-mask-canvas")).to_be_visible()
    page.get_by_role("button", name="Other picture").click()
    expect(page.locator(".ls-mask-canvas")).to_be_hidden()
    expect(page.locator("#inpaint-image")).to_contain_text("Drop or paste it here")


def test_a_picture_that_says_how_it_was_made_offers_its_settings(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    generate(page, "<b>a told</b> prompt")
    finished(page)
    href = str(stage(page).get_by_role("button", name="Save").get_attribute("href"))
    made = page.request.get(studio.url.rstrip("/") + href).body()
    page.get_by_role("tab", name="Image to image").click()
    page.locator("#image_to_image-image input[type=file]").set_input_files(
        {"name": "made.png", "mimeType": "image/png", "buffer": made}
    )
    offer = page.locator("#image_to_image-workspace .ls-offer")
    expect(offer).to_contain_text("<b>a told</b> prompt")
    offer.get_by_role("button", name="Use its settings").click()
    expect(page.locator("#image_to_image-prompt textarea")).to_have_value("<b>a told</b> prompt")
    expect(offer).to_have_count(0)


@pytest.mark.parametrize("data", [b"no picture at all", b"%PDF-1.4", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_a_file_that_is_no_picture_is_refused_beside_its_field(visitor: Visitor, studio: Studio, data: bytes) -> None:
    page = visitor()
    page.get_by_role("tab", name="Image to image").click()
    page.locator("#image_to_image-image input[type=file]").set_input_files(
        {"name": "start.png", "mimeType": "image/png", "buffer": data}
    )
    expect(page.locator("#image_to_image-image img")).to_have_count(1)
    jobs = len(studio.engine.asked)
    page.locator("#image_to_image-workspace").get_by_role("button", name="Generate").click()
    expect(page.locator("#image_to_image-image").get_by_role("alert")).to_contain_text("PNG, JPEG, WebP or GIF file")
    assert len(studio.engine.asked) == jobs


def test_strength_shows_where_the_run_begins_while_it_moves_and_when_it_rests(visitor: Visitor) -> None:
    page = visitor()
    page.get_by_role("tab", name="Image to image").click()
    view = page.locator("#image_to_image-start .ls-start-view")
    expect(view).to_be_hidden()
    page.locator("#image_to_image-image input[type=file]").set_input_files(
        {"name": "start.png", "mimeType": "image/png", "buffer": png(96, 64)}
    )
    expect(view).to_be_visible()
    expect(view).to_have_attribute("data-steps", "15")
    expect(view).to_contain_text("Runs 15 of 25 steps from here: 36 % noise, 128 × 96.")
    expect(view).to_have_attribute("data-how", "vae")  # the slider rests: the VAE's own picture

    def looks() -> float:
        """Standard deviation of the canvas's red: how noisy it is."""
        return float(
            page.evaluate(
                """() => {
                  const canvas = document.querySelector('#image_to_image-start canvas');
                  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
                  const red = [...data].filter((_, k) => k % 4 === 0);
                  const mean = red.reduce((a, b) => a + b) / red.length;
                  return Math.sqrt(red.reduce((a, b) => a + (b - mean) ** 2, 0) / red.length);
                }"""
            )
        )

    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/ask/start" in request.url else None)
    noise = {}
    slider = page.locator("#image_to_image-strength input[type=range]")
    for value in ("1", "0.2", "0"):
        slider.evaluate("(s, v) => { s.value = v; s.dispatchEvent(new Event('input', { bubbles: true })); }", value)
        expect(view).to_have_attribute("data-steps", str(int(25 * float(value))))
        noise[value] = looks()
    assert noise["1"] > noise["0.2"] > noise["0"] == 0
    assert asked == [], "nothing is asked while it moves"
    expect(view).to_contain_text("Runs no steps: the picture, encoded and decoded by the VAE, 128 × 96.")
    slider.dispatch_event("change")
    expect(view).to_have_attribute("data-how", "vae")
