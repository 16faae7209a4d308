"""The middleware before a real Gradio page on a real server: what worked works on, and what leaked leaks no more."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
from gradio_client import Client, handle_file
from gradio_client.exceptions import AuthenticationError

from studio.asked.fields import TextToImage
from studio.asked.resolved import Suits, resolve
from studio.picture.gallery import Gallery
from studio.picture.infotext import parameters_text
from studio.picture.metadata import picture_info
from studio.ui.application import application, close, functions
from studio.web import middleware
from studio.web.access import Access
from studio.web.login import PUBLIC
from studio.web.owner import COOKIE, HEADER
from studio.web.server import Server
from tests.web.asgi import Records, call

AUTH = ("ann", "correct horse")
LAUNCH = {"ssr_mode": False, "run_history": False, "enable_monitoring": False, "show_error": False}


@dataclass
class Served:
    url: str
    gallery: Gallery
    records: Records
    steps: threading.Semaphore  # the streaming handler waits for one of these before each step

    def post(self, client: httpx.Client, name: str, data: list[Any]) -> httpx.Response:
        return client.post(f"{self.url}gradio_api/call/{name}", json={"data": data})

    def result(self, client: httpx.Client, name: str, data: list[Any]) -> list[Any]:
        event = self.post(client, name, data).json()["event_id"]
        lines = client.get(f"{self.url}gradio_api/call/{name}/{event}").text.strip().splitlines()
        assert lines[-2] == "event: complete", lines
        found = json.loads(lines[-1].removeprefix("data: "))
        assert isinstance(found, list)
        return found


def blocks(steps: threading.Semaphore) -> gr.Blocks:
    def who(request: gr.Request) -> str:
        return str(request.headers[HEADER])

    def stream() -> Iterator[str]:
        for k in range(3):
            assert steps.acquire(timeout=60)
            yield f"step {k}"

    def size(path: str) -> str:
        with Image.open(path) as image:
            return f"{image.width}x{image.height}"

    with gr.Blocks(title="the hidden title", analytics_enabled=False) as page:
        gr.Dropdown(["hidden-model.safetensors"], label="hidden label")
        text = gr.Textbox()
        picture = gr.Image(type="filepath", image_mode=None)
        gr.Button("who").click(who, None, text, api_name="who")
        gr.Button("stream").click(stream, None, text, api_name="stream")
        gr.Button("size").click(size, picture, text, api_name="size")
    return page


def serve(folder: Path, auth: tuple[str, str] | None) -> Iterator[Served]:
    gallery, records, steps = Gallery(folder / "outputs"), Records(), threading.Semaphore(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "uploads"))
        page = blocks(steps)
        called = functions(page)
        layers = middleware(records, gallery, hosts=set(), access=Access(auth=auth), functions=called)  # type: ignore[arg-type]
        site = application(page, LAUNCH, layers)
        server = Server(site, host="127.0.0.1", port=0)
        server.start()
        yield Served(server.url, gallery, records, steps)
        close(page, site)
        server.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("open"), None)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("locked"), AUTH)


@contextmanager
def browser(served: Served) -> Iterator[httpx.Client]:
    """A client that keeps cookies and has opened the page."""
    with httpx.Client(timeout=60) as client:
        assert client.get(served.url).status_code == 200
        yield client


# ------------------------------------------------------------------------------------------------ what goes on working


def test_the_page_and_its_files_are_served_with_our_headers(served: Served) -> None:
    with browser(served) as client:
        page = client.get(served.url, headers={"accept": "text/html"})
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        script = re.search(r'src="([^"]+\.js)"', page.text)
        assert script
        answer = client.get(httpx.URL(served.url).join(script[1]))
        assert answer.status_code == 200
        assert "javascript" in answer.headers["content-type"]  # with nosniff, nothing else would run


def test_two_browsers_are_two_owners_and_each_stays_one(served: Served) -> None:
    with browser(served) as ann, browser(served) as bob:
        assert served.result(ann, "who", []) == [ann.cookies[COOKIE]]
        assert served.result(ann, "who", []) == [ann.cookies[COOKIE]]
        assert served.result(bob, "who", []) == [bob.cookies[COOKIE]]
        assert ann.cookies[COOKIE] != bob.cookies[COOKIE]
        forged = ann.post(f"{served.url}gradio_api/call/who", json={"data": []}, headers={HEADER: "f" * 32}).json()
        assert "f" * 32 not in ann.get(f"{served.url}gradio_api/call/who/{forged['event_id']}").text


def test_a_picture_is_shown_to_its_owner_alone(served: Served) -> None:
    with browser(served) as ann, browser(served) as bob:
        info = picture_info(resolve(TextToImage(prompt="x", seed=1), Suits()), width=64, height=64)
        owner = ann.cookies[COOKIE]
        saved = served.gallery.save(
            Image.new("RGB", (64, 64)), info=info, parameters=parameters_text(info), owner=owner
        )
        served.records.owners["job"] = owner
        for path in (f"picture/{saved.id}", f"thumbnail/{saved.id}", "record/job"):
            assert ann.get(served.url + path).status_code == 200
            assert bob.get(served.url + path).status_code == 404


def test_events_arrive_one_by_one(served: Served) -> None:
    """The second step is not made before the first has been seen."""
    with browser(served) as client:
        event = served.post(client, "stream", []).json()["event_id"]
        served.steps.release()  # before the answer is awaited: its headers leave with the first event
        with client.stream("GET", f"{served.url}gradio_api/call/stream/{event}") as answer:
            assert answer.headers["x-accel-buffering"] == "no"
            assert answer.headers["cache-control"] == "no-cache"
            seen = []
            for line in answer.iter_lines():
                if line.startswith("data: [") and len(seen) < 3:
                    seen.append(json.loads(line.removeprefix("data: "))[0])
                    served.steps.release()
    assert seen == ["step 0", "step 1", "step 2"]


def test_uploads_work_and_are_limited(served: Served, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "p.png")
    with browser(served) as client:
        files = {"files": ("p.png", (tmp_path / "p.png").read_bytes(), "image/png")}
        (path,) = client.post(f"{served.url}gradio_api/upload", files=files).json()
        assert served.result(client, "size", [{"path": path, "meta": {"_type": "gradio.FileData"}}]) == ["30x20"]
        large = client.post(
            f"{served.url}gradio_api/upload", files={"files": ("p.png", bytes(26 * 2**20), "image/png")}
        )
        assert large.status_code == 413

        def endless() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="p.png"\r\n\r\n'
            for _ in range(30):
                yield bytes(2**20)
            yield b"\r\n--x--\r\n"

        kind = {"content-type": "multipart/form-data; boundary=x"}
        try:
            status = client.post(f"{served.url}gradio_api/upload", content=endless(), headers=kind).status_code
        except httpx.TransportError:  # the server closed the connection before reading the rest
            status = 413
        assert status == 413


def test_a_picture_written_into_json_is_refused(served: Served) -> None:
    with browser(served) as client:
        assert served.post(client, "size", [{"url": "data:image/png;base64,AAAA"}]).status_code == 413
        assert served.post(client, "size", [{"path": "http://127.0.0.1:9/x.png"}]).status_code == 400


def test_another_page_in_the_same_browser_gets_nothing(served: Served) -> None:
    with browser(served) as client:
        for headers in (
            {"origin": "http://evil.example", "sec-fetch-site": "cross-site"},
            {"origin": "http://127.0.0.1:9998", "sec-fetch-site": "same-site"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        ):
            assert client.get(f"{served.url}config", headers=headers).status_code == 403
            assert (
                client.post(f"{served.url}gradio_api/call/who", json={"data": []}, headers=headers).status_code == 403
            )
            files = {"files": ("p.png", b"x", "image/png")}
            assert client.post(f"{served.url}gradio_api/upload", files=files, headers=headers).status_code == 403
        assert client.get(f"{served.url}config", headers={"host": "rebind.example"}).status_code == 421


@pytest.mark.parametrize(
    ("path", "request_", "status"),
    [
        ("gradio_api/call/nothing", {"json": {"data": []}}, 404),
        ("gradio_api/call/v2/nothing", {"json": {}}, 404),
        ("gradio_api/call/size", {"json": {"data": []}}, 422),
        ("gradio_api/call/size", {"json": {"data": [1, 2, 3]}}, 422),
        ("gradio_api/call/size", {"content": b'{"data":[NaN]}', "headers": {"content-type": "application/json"}}, 400),
        ("gradio_api/queue/join", {"json": {"data": [], "fn_index": 99, "session_hash": "s"}}, 404),
        ("gradio_api/run/size", {"json": {"data": []}}, 422),
        ("gradio_api/upload", {"files": {"files": (None, b"abc")}}, 400),
        ("gradio_api/component_server", {"files": {"files": (None, b"abc")}}, 400),
        ("gradio_api/cancel", {"json": {}}, 422),
    ],
)  # fmt: skip
def test_what_gradio_does_not_understand_is_refused_in_a_sentence(
    served: Served, path: str, request_: dict[str, Any], status: int, capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with browser(served) as client:
        caplog.clear()
        answer = client.post(served.url + path, **request_)
    assert answer.status_code == status
    assert len(answer.text) > 20
    assert "null" not in answer.text.replace("null byte", "")
    assert sum(record.levelno >= 30 for record in caplog.records) <= 1
    assert "Traceback" not in caplog.text
    assert "Traceback" not in capfd.readouterr().err


def test_a_value_that_a_component_cannot_take_is_a_sentence_too(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    with browser(served) as client:
        event = served.post(client, "size", [7]).json()["event_id"]
        lines = client.get(f"{served.url}gradio_api/call/size/{event}").text
    assert "event: error" in lines
    assert "a value is of the wrong type" in lines
    assert "Traceback" not in capfd.readouterr().err


def test_an_unknown_call_is_404(served: Served) -> None:
    with browser(served) as client:
        for path in ("call/size/nothing", "call/v2/size/nothing"):
            answer = client.get(f"{served.url}gradio_api/{path}")
            assert answer.status_code == 404
            assert "no call of this id" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["", "config", "gradio_api/queue/join", "picture/x", "studio-static/studio.css"])
@pytest.mark.parametrize("host", ["evil.example", None])
def test_preflights_meet_the_guard_before_gradio(served: Served, path: str, host: str | None) -> None:
    headers = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    headers |= {"access-control-request-headers": "x-y"} | ({"host": host} if host else {})
    answer = httpx.options(served.url + path, headers=headers)
    assert answer.status_code == (421 if host else 403)
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("origin", ["own", None])
def test_no_answer_lets_other_pages_in(served: Served, origin: str | None) -> None:
    headers = {"origin": served.url.rstrip("/")} if origin else {}
    for method, path in (("GET", "config"), ("GET", "nothing"), ("OPTIONS", "config"), ("POST", "gradio_api/cancel")):
        answer = httpx.request(method, served.url + path, headers=headers | {"access-control-request-method": "GET"})
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"


# ------------------------------------------------------------------------------------------------------- with a login


def test_gradios_own_client_logs_in(locked: Served, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "p.png")
    client = Client(locked.url, auth=AUTH, verbose=False)
    owner = client.predict(api_name="/who")
    assert client.predict(api_name="/who") == owner
    assert client.predict(handle_file(tmp_path / "p.png"), api_name="/size") == "30x20"
    with pytest.raises(AuthenticationError):
        Client(locked.url, verbose=False)
    with pytest.raises(AuthenticationError):
        Client(locked.url, auth=("ann", "wrong"), verbose=False)


def test_a_browser_logs_in_through_the_form(locked: Served) -> None:
    with httpx.Client(follow_redirects=True, headers={"accept": "text/html"}) as client:
        form = client.get(locked.url)
        assert form.url.path == "/login"
        assert "hidden" not in form.text
        form = {"username": AUTH[0], "password": AUTH[1]}
        page = client.post(f"{locked.url}login", data=form)
        assert page.url.path == "/"
        assert "hidden title" in page.text


def test_no_route_but_the_public_ones_answers_without_a_login(tmp_path: Path) -> None:
    page = blocks(threading.Semaphore())
    layers = middleware(Records(), Gallery(tmp_path), hosts=(), access=Access(auth=AUTH))  # type: ignore[arg-type]
    app = application(page, LAUNCH, layers)
    paths = {re.sub(r"\{[^}]*\}", "x", path) for path in walk(app.routes[-1].app.routes)}
    assert {"/", "/config", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/info", "/login"} <= paths
    assert len(paths) > 40
    paths |= {"/picture/x", "/thumbnail/x", "/record/x", "/studio-static/studio.css", "/enter", "/personal-link"}
    opened = set()
    for path in sorted(paths - {"/logout", "/logout/"}):
        for method in ("GET", "POST", "HEAD"):
            answer = call(app, path, method=method)
            assert not re.search(rb"hidden|gradio|api_info|config", answer.body, re.IGNORECASE), path
            if answer.status != 401:
                opened.add(path)
    assert opened == PUBLIC


def walk(routes: list[Any]) -> list[str]:
    """The paths of all routes, those of included routers and mounted apps too."""
    found: list[str] = []
    for route in routes:
        inner = getattr(route, "original_router", route)
        found += walk(inner.routes) if hasattr(inner, "routes") else [route.path]
    return found
