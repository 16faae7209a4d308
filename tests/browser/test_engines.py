"""The same tour in Chromium, Firefox and WebKit, on the built-in model, with every script delayed at random.

Firefox is Debian's, driven over WebDriver BiDi by puppeteer-core (`npm ci`); WebKit is Debian's MiniBrowser, driven by
Selenium, under Xvfb. An engine that is not installed is skipped, with what is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[2]
NEXT = "import('/tour.mjs').then((tour) => tour.next())"
MOST_SECONDS = 300  # of one tour, on a machine that does much else
PANELS = {
    "guidance", "schedules", "forward", "latent", "vae", "words", "attention", "weights", "branches", "runs",
    "trajectories", "architecture", "export",
}  # fmt: skip
pytestmark = [
    pytest.mark.alone,  # three browsers that answer in time
    pytest.mark.skipif(
        not (ROOT / "models" / "small-world-128" / "model_index.json").is_file(),
        reason="the built-in model is not in models/",
    ),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The studio behind a slow tunnel, in a process of its own."""
    folder = tmp_path_factory.mktemp("tunnel")
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "tests.browser.tunnel", str(folder / "outputs")]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip() or pytest.fail((folder / "log").read_text())
        finally:
            process.terminate()
            process.wait(90)


def test_chromium_takes_the_tour(address: str, browser: Browser) -> None:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(MOST_SECONDS * 1000)
    page.goto(address)
    message: dict[str, Any] = page.evaluate(NEXT)
    while "drag" in message:
        x, y, to_x, to_y = message["drag"]
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(to_x, to_y, steps=5)
        page.mouse.up()
        message = page.evaluate(NEXT)
    page.context.close()
    check(message)


def test_firefox_takes_the_tour(address: str) -> None:
    node, firefox = shutil.which("node"), shutil.which("firefox-esr") or shutil.which("firefox")
    skip_without(node=node, **{"firefox-esr": firefox})
    skip_without(**{"puppeteer-core (npm ci)": (ROOT / "node_modules" / "puppeteer-core").is_dir()})
    script = ROOT / "tests" / "browser" / "firefox.mjs"
    command = [str(node), str(script), str(firefox), address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout.splitlines()[-1]))


def test_webkit_takes_the_tour(address: str, display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from selenium import webdriver

    monkeypatch.setenv("DISPLAY", display)
    options = webdriver.WebKitGTKOptions()
    options.binary_location = str(mini_browser())
    options.add_argument("--automation")
    driver = webdriver.WebKitGTK(options=options, service=webdriver.WebKitGTKService(shutil.which("WebKitWebDriver")))
    try:
        driver.set_window_size(1280, 800)
        driver.set_script_timeout(MOST_SECONDS)
        driver.get(address)
        ask = f"const done = arguments[arguments.length - 1]; {NEXT}.then(done)"
        message = driver.execute_async_script(ask)
        while "drag" in message:
            drag(webdriver, driver, message["drag"])
            message = driver.execute_async_script(ask)
        overlap = driver.execute_script(
            """const tabs = [...document.querySelectorAll("#tabs [role=tab]")];
            tabs.find((tab) => tab.textContent.includes("Noise")).click();
            const [run, last] = ["run", "last"].map((name) => document.getElementById(`noise_viewer-${name}`));
            return run.getBoundingClientRect().right > last.getBoundingClientRect().left;"""
        )
    finally:
        driver.quit()
    check(message)
    assert not overlap, "one button lies over the other"


def drag(webdriver: Any, driver: Any, way: list[int]) -> None:
    """A stroke with the mouse."""
    mouse = webdriver.ActionChains(driver, duration=50)
    steps = [round(way[k] + (way[k + 2] - way[k]) * share) for share in (0, 0.25, 0.5, 0.75, 1) for k in (0, 1)]
    for number, place in enumerate(zip(steps[::2], steps[1::2])):
        mouse.w3c_actions.pointer_action.move_to_location(*place)
        if number == 0:
            mouse.w3c_actions.pointer_action.pointer_down()
    mouse.w3c_actions.pointer_action.pointer_up()
    mouse.perform()


@pytest.fixture
def display() -> Iterator[str]:
    """An X display of its own, without a screen."""
    pytest.importorskip("selenium")
    skip_without(WebKitWebDriver=shutil.which("WebKitWebDriver"), MiniBrowser=mini_browser(), Xvfb=shutil.which("Xvfb"))
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1400x1000x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    try:
        with os.fdopen(reader) as number:
            yield f":{number.readline().strip()}"
    finally:
        server.terminate()
        server.wait(30)


def mini_browser() -> Path | None:
    """WebKit's own small browser, which Debian puts beside its libraries."""
    return next(iter(sorted(Path("/usr/lib").glob("*/webkit2gtk-4*/MiniBrowser"), reverse=True)), None)


def skip_without(**parts: object) -> None:
    missing = [name for name, part in parts.items() if not part]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def check(message: dict[str, Any]) -> None:
    facts = message["facts"]
    print(json.dumps(facts))
    assert message["problems"] == []
    assert facts["picture"] > 20, "the first picture is empty"
    assert facts["frames"] > 5
    assert facts["timeline"] == facts["evaluations"] == 25
    assert all(colours > 20 for colours in facts["panes"]), "a pane of the viewer is empty"
    assert len(facts["panes"]) >= 2
    assert set(facts["panels"]) == PANELS
    assert facts["cells"] == 4
    assert facts["inpainted"] > 20
    assert facts["models"] > 20
    assert facts["landmarks"] > 5
    assert facts["examples"] >= 3
