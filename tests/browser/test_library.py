"""The tab Library in Chromium: a wall of pictures, one of them large, stars, the trash and a ZIP."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from studio.picture.gallery import Gallery
from tests.browser.conftest import Studio
from tests.browser.test_accessibility import open_tab
from tests.ui.fake_app import launch
from tests.ui.fake_engine import FakeEngine

Visitor = Callable[..., Page]
MANY = 300


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio of somebody who has made many pictures."""
    gallery = Gallery(tmp_path_factory.mktemp("many"))
    for seed in range(MANY):
        prompt = "a red fox" if seed == MANY - 1 else f"a lake, number {seed}"
        info = {"schema": 1, "kind": "text_to_image", "seed": seed, "prompt": prompt, "checkpoint": "Small World"}
        image = Image.new("RGB", (16, 16), (seed % 256, 120, 160))
        gallery.save(image, info=info, parameters=f"{prompt}\nSteps: 20, Seed: {seed}", owner="a" * 32)
    engine = FakeEngine(gallery, seconds_per_step=0.02)
    demo, url = launch(engine, gallery)
    yield Studio(url, engine)
    demo.close()
    engine.close()


def opened(visitor: Visitor, full: Studio, **size: int) -> Page:
    page = visitor(url=full.url, **size)
    open_tab(page, "library")
    expect(page.locator(".ls-library-count")).to_have_text(f"{MANY} pictures")
    return page


def test_a_wall_of_many_pictures_draws_only_what_is_in_sight(visitor: Visitor, full: Studio) -> None:
    page = opened(visitor, full)
    tiles = page.locator(".ls-library-tile")
    expect(tiles.first.get_by_role("img")).to_have_attribute("alt", "a red fox")
    assert tiles.count() < 100
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(tiles.last.get_by_role("img")).to_have_attribute("alt", "a lake, number 0")
    assert tiles.count() < 100
    page.evaluate("scrollTo(0, 0)")
    page.get_by_role("searchbox", name="Search words").fill("fox")
    expect(tiles).to_have_count(1)
    page.get_by_role("searchbox", name="Search words").fill("no such word")
    expect(page.get_by_text("No picture matches the search.")).to_be_visible()


def test_one_large_with_settings_stars_keys_and_the_trash(visitor: Visitor, full: Studio) -> None:
    page = opened(visitor, full, width=390, height=800)
    columns = page.locator(".ls-library-tile").evaluate_all(
        "(all) => new Set(all.map((one) => one.getBoundingClientRect().x)).size"
    )
    assert columns == 3
    page.locator(".ls-library-open").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("a red fox")
    expect(dialog).to_contain_text(str(MANY - 1))
    page.keyboard.press("4")
    expect(dialog.get_by_role("button", name="Rating: 4")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    expect(dialog).to_contain_text(f"a lake, number {MANY - 2}")
    page.keyboard.press("ArrowLeft")
    expect(dialog).to_contain_text("a red fox")
    page.keyboard.press("Delete")
    expect(dialog).to_contain_text("The picture is deleted. It can be brought back for 7 days.")
    expect(dialog).to_contain_text(f"a lake, number {MANY - 2}")
    dialog.get_by_role("button", name="To Image to image").click()
    expect(page.locator("#image_to_image-image img")).to_be_visible()
    open_tab(page, "library")
    expect(page.locator(".ls-library-count")).to_have_text(f"{MANY - 1} pictures")
    page.locator(".ls-library-open").first.click()
    dialog.get_by_role("button", name="Use all").click()
    expect(page.locator("#text_to_image-prompt textarea")).to_have_value(f"a lake, number {MANY - 2}")
    expect(page.locator("#text_to_image-seed input")).to_have_value(str(MANY - 2))
    open_tab(page, "library")
    page.locator(".ls-library-open").first.click()
    dialog.get_by_role("button", name="Compare around it").click()
    expect(page.locator("#compare-prompt textarea")).to_have_value(f"a lake, number {MANY - 2}")
    open_tab(page, "library")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".ls-library-count")).to_have_text(f"{MANY} pictures")
    page.get_by_label("Rating", exact=True).select_option("4")
    expect(page.locator(".ls-library-count")).to_have_text("1 picture")


def test_selected_pictures_are_saved_as_a_zip(visitor: Visitor, full: Studio) -> None:
    page = opened(visitor, full)
    for place in (0, 1):
        page.locator(".ls-library-tile").nth(place).get_by_role("checkbox").check()
    expect(page.get_by_role("group", name="Selected pictures")).to_contain_text("2 selected")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as ZIP").click()
    assert len(zipfile.ZipFile(download.value.path()).namelist()) == 2
    page.get_by_role("button", name="Select none").click()
    expect(page.get_by_role("group", name="Selected pictures")).to_be_hidden()


def test_boards_and_the_other_filters(visitor: Visitor, full: Studio) -> None:
    page = opened(visitor, full)
    for place in (0, 1):
        page.locator(".ls-library-tile").nth(place).get_by_role("checkbox").check()
    page.get_by_role("group", name="Selected pictures").get_by_role("combobox").fill("To print")
    page.keyboard.press("Enter")
    boards = page.get_by_role("group", name="Boards")
    boards.get_by_role("button", name="To print").click()
    expect(page.locator(".ls-library-count")).to_have_text("2 pictures")
    boards.get_by_role("button", name="Rename board").click()
    page.keyboard.type("Wall")
    page.keyboard.press("Enter")
    expect(boards.get_by_role("button", name="Wall")).to_have_attribute("aria-pressed", "true")
    page.locator(".ls-library-open").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Take off the board Wall").click()
    expect(dialog.get_by_role("button", name="Take off the board Wall")).to_have_count(0)
    page.keyboard.press("Escape")
    boards.get_by_role("button", name="Wall · 1").click()
    boards.get_by_role("button", name="Remove board").click()
    expect(page.get_by_text("The board Wall is removed. Its pictures are still here.")).to_be_visible()
    expect(page.locator(".ls-library-count")).to_have_text(f"{MANY} pictures")
    page.get_by_role("button", name="More filters").click()
    page.get_by_label("Size", exact=True).select_option("16x16")
    page.get_by_label("Until", exact=True).fill("2020-01-01")
    expect(page.get_by_text("No picture matches the search.")).to_be_visible()
    page.get_by_role("button", name="Remove all filters").click()
    expect(page.locator(".ls-library-count")).to_have_text(f"{MANY} pictures")


def test_two_pictures_before_and_after_by_keyboard(visitor: Visitor, full: Studio) -> None:
    page = opened(visitor, full)
    for place in (0, 1):
        page.locator(".ls-library-tile").nth(place).get_by_role("checkbox").check()
    page.get_by_role("button", name="Before and after").click()
    dialog = page.get_by_role("dialog")
    divider = dialog.get_by_role("slider")
    expect(divider).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(divider).to_have_attribute("aria-valuenow", "52")
    row = dialog.get_by_role("row", name="Seed")
    expect(row.get_by_role("cell")).to_have_text([str(MANY - 2), str(MANY - 1)])
    expect(dialog.get_by_role("row", name="Model")).to_have_count(0)
    page.keyboard.press("x")
    expect(row.get_by_role("cell")).to_have_text([str(MANY - 1), str(MANY - 2)])
    page.keyboard.press("3")
    expect(dialog.get_by_role("status")).to_have_text("They are 0.33 of 255 apart on average, and at most 1.")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Before and after")).to_be_focused()
