"""Pictures that come from the camera, and files that go when nobody shows them any more, in Chromium."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from gradio.utils import get_upload_folder
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from studio.asked.fields import ImageToImage
from tests.browser.conftest import Studio, quiet, ready
from tests.browser.test_other_tabs import png

Visitor = Callable[..., Page]
CASES = Path(__file__).parents[1] / "cases"


def camera(page: Page) -> Page:
    page.get_by_role("tab", name="Image to image").click()
    return page


def test_a_picture_is_taken_with_the_camera_and_started_from(visitor: Visitor, studio: Studio) -> None:
    page = camera(visitor())
    page.context.grant_permissions(["camera"])
    page.locator("#image_to_image-workspace").get_by_role("button", name="Take a picture with the camera").click()
    take = page.get_by_role("dialog", name="Camera").get_by_role("button", name="Take picture")
    expect(take).to_be_enabled()
    take.click()
    expect(page.get_by_role("dialog", name="Camera")).to_be_hidden()
    shown = page.locator("#image_to_image-image img")
    expect(shown).to_be_visible()
    expect(shown).to_have_js_property("complete", True)
    page.locator("#image_to_image-prompt textarea").fill("from the camera")
    page.locator("#image_to_image-workspace").get_by_role("button", name="Generate").click()
    expect(page.locator("#image_to_image-stage .ls-stage")).to_have_attribute("data-state", "finished", timeout=30_000)
    request = next(j.request for j in studio.engine.asked if j.request.prompt == "from the camera")
    assert isinstance(request, ImageToImage)
    with Image.open(io.BytesIO(request.image)) as taken:
        assert taken.format == "PNG"
        assert len(set(taken.convert("RGB").resize((16, 16)).get_flattened_data())) > 3  # the test card, not one colour


def test_a_camera_that_is_refused_says_so_and_leaves_no_trace(visitor: Visitor) -> None:
    page = camera(visitor())
    open_button = page.locator("#image_to_image-workspace").get_by_role("button", name="Take a picture with the camera")
    open_button.click()  # nobody has allowed it
    dialog = page.get_by_role("dialog", name="Camera")
    expect(dialog).to_contain_text("The browser does not let this page use the camera.")
    expect(dialog.get_by_role("button", name="Take picture")).to_be_disabled()
    dialog.get_by_role("button", name="Cancel").click()
    expect(open_button).to_be_visible()
    expect(page.locator("#image_to_image-image img")).to_have_count(0)


def test_without_a_camera_there_is_no_button(visitor: Visitor) -> None:
    for script in (
        "Object.defineProperty(Navigator.prototype, 'mediaDevices', { get: () => undefined })",
        "MediaDevices.prototype.enumerateDevices = async () => []",
    ):
        page = camera(visitor(script=script))
        expect(page.locator("#image_to_image-image")).to_be_visible()
        expect(page.get_by_role("button", name="Take a picture with the camera")).to_have_count(0)


def file_of(page: Page) -> Path:
    """Where the picture that the field shows lies on this machine."""
    source = str(page.locator("#image_to_image-image img").get_attribute("src"))
    found = list(Path(get_upload_folder()).glob(source.split("?")[0].split("/file=")[1].split("/")[-2] + "/*"))
    assert len(found) == 1
    return found[0]


def give(page: Page, width: int) -> Path:
    """Upload a picture of this width; where it lies."""
    page.locator("#image_to_image-image input[type=file]").set_input_files(
        {"name": "start.png", "mimeType": "image/png", "buffer": png(width, 40)}
    )
    page.wait_for_function(f"document.querySelector('#image_to_image-image img')?.naturalWidth === {width}")
    return file_of(page)


def gone(page: Page, path: Path) -> None:
    """Wait until a file is deleted: the server does it beside what the page waits for."""
    for _ in range(300):
        if not path.exists():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{path.name} is still there")


def test_an_upload_is_deleted_when_it_is_removed_and_when_its_visitor_leaves(visitor: Visitor) -> None:
    page = camera(visitor())
    first = give(page, 91)
    quiet(page)
    page.locator("#image_to_image-image button[aria-label]").first.click()
    expect(page.locator("#image_to_image-image img")).to_have_count(0)
    gone(page, first)
    second = give(page, 92)
    quiet(page)
    assert second.exists()
    other = visitor()
    page.close()
    gone(other, second)


@pytest.mark.parametrize(("tab", "name"), [("image_to_image", "Image to image"), ("inpaint", "Inpaint")])
def test_what_is_wrong_with_a_picture_stands_in_sight_below_it(visitor: Visitor, tab: str, name: str) -> None:
    page = visitor(width=1440, height=900)
    page.get_by_role("tab", name=name).click()
    page.locator(f"#{tab}-generate").click()
    problem = page.locator(f"#{tab}-image .ls-problem")
    expect(problem).to_have_text("A picture is needed: a PNG, JPEG, WebP or GIF file.")
    expect(problem).to_be_in_viewport(ratio=1)  # a box of fixed height had cut it off

    if tab == "inpaint":  # a file that no browser shows is nothing to paint on
        file = {"name": "m.png", "mimeType": "image/png", "buffer": b"<svg/>"}
        page.locator(f"#{tab}-image input[type=file]").set_input_files(file)
        expect(page.locator(f"#{tab}-image img")).to_have_count(1)
        expect(page.locator(f"#{tab}-mask .ls-mask")).to_be_hidden()
        expect(page.locator(f"#{tab}-image")).not_to_have_class(re.compile("ls-covered"))


def offer_of(page: Page, name: str, *, tab: str = "Image to image") -> Locator:
    """The line below a picture of another program."""
    page.get_by_role("tab", name=tab).click()
    page.locator("#image_to_image-image input[type=file]").set_input_files(CASES / name)
    line = page.locator("#image_to_image-workspace .ls-offer")
    expect(line).to_be_visible()
    return line


def test_a_picture_of_another_program_offers_what_fits_and_says_what_does_not(visitor: Visitor) -> None:
    page = visitor()
    line = offer_of(page, "sampler_DPM_fast.png")
    expect(line).to_contain_text("This picture says how it was made.")
    expect(line.locator(".ls-offer-note").first).to_contain_text(
        "Sampler 'DPM fast' is left out: not allowed here; one of"
    )
    line.get_by_role("button", name="Use its settings").click()
    expect(line).to_have_count(0)
    expect(page.locator("#image_to_image-seed input, #image_to_image-seed textarea").first).to_have_value("5")


def test_the_line_speaks_chinese_to_a_chinese_browser(browser: Browser, studio: Studio) -> None:
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(studio.url)
    ready(page)
    line = offer_of(page, "sampler_DPM_fast.png", tab="图生图")
    expect(page.locator("html")).to_have_attribute("lang", re.compile("^zh"))
    expect(line).to_contain_text("这张图片带有生成参数。")
    expect(line.locator(".ls-offer-note").first).to_contain_text("未采用 Sampler 'DPM fast'")
    context.close()
