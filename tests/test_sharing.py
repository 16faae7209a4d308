"""`python app.py --share` as a process, on a terminal and without one, against stand-ins of Gradio's service."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.share_stand_ins import LINK, Client, black_hole, client, right, service, wait_for

pty = pytest.importorskip("pty", reason="a terminal of POSIX")
ROOT = Path(__file__).resolve().parent.parent
RUN = """
import sys, gradio.networking as n, gradio.tunneling as t
n.GRADIO_API_SERVER, t.BINARY_PATH, t.BINARY_URL = {service!r}, {path!r}, "http://127.0.0.1:9/frpc"
t.CHECKSUMS[t.BINARY_URL] = {sha256!r}
import studio.ui.tunnel as tunnel
tunnel.SERVICE_SECONDS = {seconds}
import app
sys.argv[1:] = {flags!r}
app.main()
"""


class Shared:
    """The studio, with what it prints; `terminal`: onto a terminal."""

    def __init__(
        self, folder: Path, stand_in: Client, service: str, *flags: str, terminal: bool = True, seconds: float = 60.0,
        **environment: str,
    ) -> None:  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        flags = ("--port", str(port), "--outputs-dir", str(folder / "o"), *flags)
        code = RUN.format(
            service=service, path=str(stand_in.path), sha256=stand_in.sha256, seconds=seconds, flags=list(flags)
        )
        (folder / "tmp").mkdir()
        reading, writing = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=writing, stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder / "tmp"), **environment},
        )  # fmt: skip
        os.close(writing)
        self.said = ""
        threading.Thread(target=self._read, args=(reading,), daemon=True).start()

    def _read(self, reading: int) -> None:
        try:
            while part := os.read(reading, 4096):
                self.said += part.decode("utf-8", "replace").replace("\r", "")
        except OSError:  # the terminal is gone
            return

    def wait_for(self, text: str) -> None:
        wait_for(lambda: text in self.said or self.process.poll() is not None, 120)
        assert text in self.said, self.said

    def link(self, label: str) -> str:
        found = re.search(rf"{label}:\s+(\S+)", self.said)
        assert found, self.said
        return found[1]

    def enter(self, link: str) -> httpx.Client:
        """A browser that has opened a link, through the tunnel where the link leads there."""
        address, _, key = link.partition("#")
        host = httpx.URL(address).netloc.decode()
        browser = httpx.Client(base_url=self.url, headers={"host": host}, timeout=60, trust_env=False)
        assert browser.post("/enter", data={"key": key}).status_code == 200
        return browser


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Callable[..., Shared]]:
    begun: list[Shared] = []

    def start(kind: str, service: str, *flags: str, **options: object) -> Shared:
        begun.append(Shared(tmp_path, client(tmp_path, kind), service, *flags, **options))  # type: ignore[arg-type]
        return begun[-1]

    yield start
    for one in begun:
        one.process.kill()
        one.process.wait(60)


def make_a_picture(browser: httpx.Client) -> None:
    body = {"prompt": "a red apple", "num_inference_steps": 2}
    event = browser.post("/gradio_api/call/v2/text_to_image", json=body).json()["event_id"]
    answer = browser.get(f"/gradio_api/call/v2/text_to_image/{event}").text
    assert '"finished"' in answer, answer


def test_share_alone_prints_once_two_links_and_what_they_open(shared: Callable[..., Shared]) -> None:
    with service(right) as address:
        here = shared("works", address, "--share", "--no-preload")
        here.wait_for("end it")
    guest_link, owner_link = here.link("Guests' link"), here.link("Your link")
    assert guest_link.startswith(f"{LINK}/enter#")
    assert owner_link.startswith(f"{LINK}/enter#")
    assert guest_link != owner_link
    for words in ("what ", "to whom", "until", "at the latest", "Ctrl+C"):
        assert here.said.count(words) >= 1, here.said
    assert here.said.count(guest_link) == here.said.count("Guests' link") == 1
    stranger = httpx.get(here.url, headers={"host": "a1b2c3.gradio.live"}, trust_env=False)
    assert stranger.status_code == 401
    guest, owner = here.enter(guest_link), here.enter(owner_link)
    assert guest.get("/models-found").json()["manages"] is False
    assert owner.get("/models-found").json()["manages"] is True
    page = guest.get("/").text
    assert not re.findall(r"""(?:src|href)=["'](https?:)?//[^"']*\.(?:js|css)""", page), "scripts come from here"
    here.process.terminate()
    assert here.process.wait(60) == 0


def test_behind_a_service_that_never_answers_the_page_makes_pictures_at_once(shared: Callable[..., Shared]) -> None:
    """The engine waited 31 seconds for it."""
    with black_hole() as address:
        here = shared("works", address, "--share", seconds=600.0)
        here.wait_for("It appears here when it is ready")
        make_a_picture(here.enter(here.link("on this computer")))
        assert "There is no public link" not in here.said


def test_why_there_is_no_link_is_said_once_and_the_studio_is_open_here(shared: Callable[..., Shared]) -> None:
    with black_hole() as address:
        here = shared("works", address, "--share", "--no-preload", seconds=1.0)
        here.wait_for("There is no public link")
    assert "Gradio's share service does not answer (within 1 seconds). The studio is open on this" in here.said
    assert here.said.count("share service") == 1
    assert "Traceback" not in here.said
    assert httpx.get(here.url, trust_env=False).status_code == 200


def test_without_a_terminal_no_key_is_printed_and_the_password_of_the_environment_opens(
    shared: Callable[..., Shared],
) -> None:
    with service(right) as address:
        here = shared("works", address, "--share", "--no-preload", terminal=False, STUDIO_AUTH="ann:long password")
        here.wait_for("Public link")
    assert LINK in here.said
    assert "enter#" not in here.said
    assert "long password" not in here.said
    browser = httpx.Client(base_url=here.url, trust_env=False)
    assert browser.post("/login", data={"username": "ann", "password": "long password"}).status_code == 200
    assert browser.get("/").status_code == 200
