"""The exported page replays a run from a disk: no studio, no network, the viewer's own panes and keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect

from studio.export.page_answers import PageAnswer
from studio.export.replay import Replay
from studio.ui.viewer.replay_page import replay_page
from tests.export.test_files import recording


def schedule() -> PageAnswer:
    """The studio's answer about the schedule of a run of DDIM, as the page asks for it."""
    evaluations = [{"index": k, "a": 0.9, "s": 0.4, "sigma": 0.44, "log_snr": k - 2.0, "position": k} for k in range(5)]
    answer: dict[str, Any] = {"noise_schedule": "normal", "evaluations": evaluations, "training": {"a": [1], "s": [0]}}
    fields = {"checkpoint": "tiny", "scheduler": "ddim", "noise_schedule": "normal", "num_inference_steps": "5"}
    return PageAnswer("schedule", fields, "application/json", json.dumps(answer).encode())


def test_the_exported_page_replays_the_run_without_a_network(browser: Browser, tmp_path: Path) -> None:
    data = recording(5, total=5, job_id="a", scheduler="ddim", noise_schedule="normal", steps=5)
    file = tmp_path / "run.html"
    file.write_bytes(replay_page(data, Replay(data).run, [schedule()]))
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
    page.get_by_role("button", name="Show everything").click()
    page.get_by_role("tab", name="Schedules").click()
    panel = page.get_by_role("tabpanel", name="Schedules")
    expect(panel.locator(".ls-curve").first).to_be_visible()  # the answer in the file is found
    expect(panel.get_by_role("button", name="Add")).to_be_hidden()
    expect(page.get_by_role("tab", name="VAE")).to_have_count(0)
    page.screenshot(path=str(tmp_path / "run.png"), full_page=True)
    assert asked == [file.as_uri()], "nothing but the file itself"
    assert not broken
    context.close()
