"""The exported page replays a run from a disk: no studio, no network, the viewer's own panes and keys."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from studio.export.replay import Replay
from studio.ui.viewer.replay_page import replay_page
from tests.export.test_files import recording


def test_the_exported_page_replays_the_run_without_a_network(browser: Browser, tmp_path: Path) -> None:
    data = recording(5, total=5, job_id="a")
    file = tmp_path / "run.html"
    file.write_bytes(replay_page(data, Replay(data).run))
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    asked: list[str] = []
    broken: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(file.as_uri())
    where = page.locator(".ls-where")
    expect(where).to_contain_text("5")
    page.locator(".ls-pane canvas").first.wait_for()
    page.keyboard.press("Home")
    expect(where).to_contain_text("1")
    page.keyboard.press("ArrowRight")
    expect(where).to_contain_text("2")
    page.screenshot(path=str(tmp_path / "run.png"), full_page=True)
    assert asked == [file.as_uri()], "nothing but the file itself"
    assert not broken
    context.close()
