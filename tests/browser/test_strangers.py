"""What other web pages can do to the studio through the visitor's own browser, and what the login shows: nothing."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect

from studio.picture.gallery import Gallery
from tests.browser.conftest import FLAGS, Studio
from tests.ui.fake_app import launch
from tests.ui.fake_engine import FakeEngine

# What a hostile page would try. Each gives true where it got through.
ATTACK = """async (target) => {
  const tried = async (act) => { try { return await act() } catch { return false } };
  const form = new FormData();
  form.append('files', new Blob(['planted']), 'planted.txt');
  const loads = (tag) => new Promise((done) => {
    const element = document.createElement(tag);
    element.onload = () => done(true);
    element.onerror = () => done(false);
    element.src = target + 'studio-static/page.js';
    document.body.append(element);
  });
  return {
    read: await tried(async () => (await fetch(target + 'config')).ok),
    start: await tried(async () => (await fetch(target + 'gradio_api/call/text_to_image', {
      method: 'POST', headers: {'content-type': 'application/json'}, body: '{"data": ["planted"]}'})).ok),
    plain: await tried(async () => (await fetch(target + 'gradio_api/call/text_to_image', {
      method: 'POST', headers: {'content-type': 'text/plain'}, body: '{"data": ["planted"]}'})).ok),
    upload: await tried(async () => {
      await fetch(target + 'gradio_api/upload', {method: 'POST', mode: 'no-cors', body: form}); return false}),
    script: await loads('script'),
  };
}"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The port of another web server on this machine."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "index.html").write_text("<!doctype html><title>hostile</title><body>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield str(server.server_address[1])
        server.shutdown()


@pytest.fixture(scope="module")
def misled(browser: Browser) -> Iterator[Browser]:
    """A browser for which two foreign names lead to this machine, as after a DNS rebinding."""
    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP rebind.example 127.0.0.1"
    path = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")
    opened = browser.browser_type.launch(executable_path=path, args=[*FLAGS, rules])
    yield opened
    opened.close()


@pytest.fixture
def stranger(misled: Browser) -> Iterator[Page]:
    with misled.new_context() as context:
        yield context.new_page()


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], list[str]]:
    """The names of files that strangers brought onto this machine."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return lambda: [path.name for path in tmp_path.rglob("planted*")]


def test_the_same_page_gets_through_to_a_bare_gradio(
    stranger: Page, hostile: str, planted: Callable[[], list[str]]
) -> None:
    """That the attack is one: without the guard it reads, loads scripts and plants files."""
    with gr.Blocks() as bare:
        gr.Textbox()
    _, url, _ = bare.launch(server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, share=False)
    try:
        stranger.goto(f"http://127.0.0.1:{hostile}/")
        assert stranger.evaluate(ATTACK, url)["read"]
        assert planted() == ["planted.txt"]
    finally:
        bare.close(verbose=False)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "evil.example"])
def test_another_page_can_neither_read_nor_start_nor_upload(
    studio: Studio, stranger: Page, hostile: str, planted: Callable[[], list[str]], name: str
) -> None:
    stranger.goto(f"http://{name}:{hostile}/")
    found = stranger.evaluate(ATTACK, studio.url)
    assert found == {"read": False, "start": False, "plain": False, "upload": False, "script": False}
    assert planted() == []
    assert not [job for job in studio.engine.asked if job.request.prompt == "planted"]


def test_another_page_cannot_frame_the_studio(studio: Studio, stranger: Page, hostile: str) -> None:
    stranger.goto(f"http://127.0.0.1:{hostile}/")
    with stranger.expect_response(studio.url) as answer:
        stranger.set_content(f"<iframe src='{studio.url}'></iframe>")
    assert answer.value.status == 403
    expect(stranger.frame_locator("iframe").get_by_role("button", name="Generate")).to_have_count(0)


def test_a_rebound_name_finds_nobody(studio: Studio, stranger: Page) -> None:
    port = urlsplit(studio.url).port
    answer = stranger.goto(f"http://rebind.example:{port}/")
    assert answer is not None
    assert answer.status == 421
    assert stranger.evaluate("fetch('/config').then((r) => r.status)") == 421


def test_a_link_on_another_page_opens_the_studio(studio: Studio, stranger: Page, hostile: str) -> None:
    stranger.goto(f"http://127.0.0.1:{hostile}/")
    stranger.set_content(f"<a href='{studio.url}'>the studio</a>")
    stranger.get_by_role("link").click()
    expect(stranger.get_by_role("button", name="Generate").first).to_be_visible(timeout=60_000)


def test_the_page_needs_nothing_that_the_policy_forbids(studio: Studio, visitor: Callable[..., Page]) -> None:
    page = visitor()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.add_init_script(
        "window.violations = []; document.addEventListener('securitypolicyviolation',"
        " (e) => window.violations.push(`${e.violatedDirective} ${e.blockedURI}`))"
    )
    page.reload()
    page.locator("#text_to_image-prompt textarea").fill("a fox")
    page.locator("#text_to_image-workspace").get_by_role("button", name="Generate").click()
    expect(page.locator("#text_to_image-stage .ls-stage")).to_have_attribute("data-state", "finished", timeout=30_000)
    for tab in page.get_by_role("tab").all():
        tab.click()
    assert page.evaluate("window.violations") == []
    assert [text for text in said if "Content Security Policy" in text or "Refused to" in text] == []


def test_a_browser_logs_in_and_sees_the_page(browser: Browser, tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    engine = FakeEngine(gallery)
    demo, url = launch(engine, gallery, auth=("ann", "correct horse"))
    try:
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(url)
            expect(page).to_have_url(f"{url}login")
            page.get_by_label("Name").fill("ann")
            page.get_by_label("Password").fill("wrong")
            page.get_by_role("button", name="Log in").click()
            expect(page.get_by_role("alert")).to_have_text("This name and password do not match.")
            page.get_by_label("Name").fill("ann")
            page.get_by_label("Password").fill("correct horse")
            page.keyboard.press("Enter")
            expect(page.get_by_role("button", name="Generate").first).to_be_visible(timeout=60_000)
            page.get_by_role("link", name="Log out").click()
            expect(page).to_have_url(f"{url}logout")
            page.get_by_role("button", name="Log out").click()
            expect(page).to_have_url(f"{url}login")
            page.goto(url)
            expect(page).to_have_url(f"{url}login")
    finally:
        demo.close(verbose=False)
        engine.close()
