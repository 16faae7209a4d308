"""The product itself: `python app.py` with the built-in model, in Chromium. Nothing here is fake."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import quiet
from tests.browser.test_page import (
    finished,
    generate,
    previews_seen,
    prompt,
    shown_source,
    stage,
    watch_the_stage,
    workspace,
)

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "small-world-128" / "model_index.json"
pytestmark = pytest.mark.skipif(not MODEL.is_file(), reason="the built-in model is not in models/")

Visitor = Callable[..., Page]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    outputs = tmp_path_factory.mktemp("outputs")
    log = (outputs.parent / "app.log").open("w")
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--outputs-dir", str(outputs)]
    process = subprocess.Popen(command, cwd=outputs, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, Path(log.name).read_text()
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(90)  # a busy machine lets go of the model late
        log.close()


def pixels(page: Page) -> str:
    """The bytes of the final picture's pixels, by drawing it."""
    return str(
        page.evaluate(
            """async (source) => {
              const image = new Image(); image.src = source; await image.decode();
              const canvas = document.createElement('canvas');
              [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
              canvas.getContext('2d').drawImage(image, 0, 0);
              return canvas.toDataURL();
            }""",
            shown_source(page),
        )
    )


def test_words_become_a_picture_in_sight_and_the_same_seed_the_same_pixels(visitor: Visitor, url: str) -> None:
    page = visitor(url=url)
    watch_the_stage(page)
    page.locator("#text_to_image-seed input").fill("7")
    generate(page, "a red apple in the snow")
    finished(page)
    assert previews_seen(page) >= 3
    expect(stage(page).locator(".ls-film .ls-cells span")).to_have_count(25)
    first, source = pixels(page), shown_source(page)
    generate(page, "a red apple in the snow")
    expect(stage(page).locator("img.ls-picture")).not_to_have_attribute("src", source)
    finished(page)
    assert pixels(page) == first
    page.locator("#text_to_image-seed input").fill("8")
    source = shown_source(page)
    generate(page, "a red apple in the snow")
    expect(stage(page).locator("img.ls-picture")).not_to_have_attribute("src", source)
    finished(page)
    assert pixels(page) != first


def test_stop_keeps_the_picture_so_far(visitor: Visitor, url: str) -> None:
    page = visitor(url=url)
    page.locator("#text_to_image-num_inference_steps input[type=number]").fill("150")
    for side in ("width", "height"):  # a run that is long enough for a slow page to stop it
        page.locator(f"#text_to_image-{side} input").fill("512")
    generate(page, "a fox in the meadow")
    expect(stage(page).locator(".ls-status")).to_have_text(re.compile(r"Step \d+ of 150"), timeout=30_000)
    page.wait_for_timeout(700)
    page.keyboard.press("Escape")
    expect(stage(page)).to_have_attribute("data-state", "stopped")
    expect(stage(page).locator(".ls-badge")).to_have_text("Stopped")
    assert shown_source(page).startswith("data:image/jpeg")


def test_a_reload_finds_the_run_again(visitor: Visitor, url: str) -> None:
    page = visitor(url=url)
    page.locator("#text_to_image-num_inference_steps input[type=number]").fill("150")
    for side in ("width", "height"):  # a run that goes on when the page is back
        page.locator(f"#text_to_image-{side} input").fill("320")
    generate(page, "a whale in the sea")
    expect(stage(page).locator(".ls-status")).to_have_text(re.compile(r"Step \d+ of 150"), timeout=30_000)
    page.reload()
    expect(stage(page).locator(".ls-film .ls-cells span")).to_have_count(
        150, timeout=180_000
    )  # the whole run, on a busy machine
    expect(prompt(page)).to_have_value("a whale in the sea")
    page.wait_for_function(
        "['finished', 'running'].includes(document.querySelector('#text_to_image-stage .ls-stage').dataset.state)"
    )
    finished(page)


def test_two_visitors_see_nothing_of_each_other(visitor: Visitor, url: str) -> None:
    first, second = visitor(url=url), visitor(url=url)
    generate(first, "an owl in the night sky")
    generate(second, "a cactus in the desert")
    finished(first)
    finished(second)
    expect(first.locator(".ls-thumb")).to_have_count(1)
    expect(second.locator(".ls-thumb")).to_have_count(1)
    other = urlsplit(url)._replace(path=shown_source(first)).geturl()
    assert second.request.get(other).status == 404
    assert first.request.get(other).status == 200


def test_bad_fields_are_marked(visitor: Visitor, url: str) -> None:
    page = visitor(url=url)
    page.locator("#text_to_image-width input").fill("513")
    generate(page)
    expect(page.locator("#text_to_image-width").get_by_role("alert")).to_contain_text("multiples of 8")


def test_the_run_is_moved_through_in_the_noise_viewer(visitor: Visitor, url: str) -> None:
    page = visitor(url=url)
    generate(page, "a rocket in the night sky")
    finished(page)
    stage(page).get_by_role("button", name="Noise viewer").click()
    where = page.locator(".ls-where")
    expect(where).to_have_text("Evaluation 25 of 25")
    quiet(page)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    seen = set()
    page.get_by_role("slider", name="Evaluations of this run").focus()
    for key in ("Home", "ArrowRight", "End"):
        page.keyboard.press(key)
        seen.add(tuple(page.eval_on_selector_all(".ls-panes .ls-frame canvas", "all => all.map((c) => c.toDataURL())")))
    assert len(seen) == 3
    assert requests == []


def test_a_picture_is_the_start_of_another(visitor: Visitor, url: str) -> None:
    page = visitor(url=url)
    generate(page, "a red apple in the snow")
    finished(page)
    stage(page).get_by_role("button", name="Image to image").click()
    expect(page.locator("#image_to_image-image img")).to_be_visible()
    page.locator("#image_to_image-prompt textarea").fill("a pumpkin in the snow")
    page.locator("#image_to_image-workspace").get_by_role("button", name="Generate").click()
    show = page.locator("#image_to_image-stage .ls-stage")
    expect(show).to_have_attribute("data-state", "finished", timeout=60_000)
    expect(show.locator(".ls-film .ls-cells span")).to_have_count(15)
    assert workspace(page).is_hidden()
