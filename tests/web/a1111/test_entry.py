"""Who may use AUTOMATIC1111's API: nobody without a login where there is one, nobody else's things, no other page."""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from webuiapi import WebUIApi

from studio.picture.gallery import Gallery
from studio.web.a1111 import routes
from studio.web.access import Access
from studio.web.failures import FAILURES_PER_SENDER
from studio.web.guard import MAX_PICTURES_BYTES, Guard
from studio.web.owner import Owner
from tests.web.asgi import Page, Records, call
from tests.web.asgi import studio as without_it
from tests.web.serving import Serving, in_background, serving
from tests.web.test_login import Clock

OWNER, GUEST = ("ann", "correct horse"), ("friends", "battery staple")
EVERY = (
    "txt2img", "img2img", "progress", "interrupt", "png-info", "sd-models", "samplers", "schedulers", "upscalers",
    "sd-vae", "loras", "embeddings", "scripts", "script-info", "cmd-flags", "options", "memory", "server-kill",
    "extra-single-image", "extra-batch-images", "realesrgan-models",
)  # fmt: skip


class Entrance:
    def __init__(self, served: Serving, access: Access, clock: Clock) -> None:
        self.served, self.access, self.clock = served, access, clock

    def api(self, user: str = "", password: str = "") -> WebUIApi:
        return WebUIApi(
            host=self.served.host, port=self.served.port, steps=2, username=user or None, password=password or None
        )

    def get(self, name: str, *auth: str, **headers: str) -> httpx.Response:
        given = (auth[0], auth[1]) if auth else None
        return httpx.get(f"{self.served.url}sdapi/v1/{name}", auth=given, headers=headers)


@pytest.fixture
def entrance(tmp_path: Path) -> Iterator[Entrance]:
    clock = Clock()
    access = Access(auth=OWNER, guest=GUEST, clock=clock)
    with serving(tmp_path, routes.interface, access=access, seconds_per_step=0.02) as served:
        yield Entrance(served, access, clock)


def test_without_its_flag_there_is_no_such_address(tmp_path: Path) -> None:
    app = without_it(tmp_path)
    assert call(app, "/sdapi/v1/options").json()["path"] == "/sdapi/v1/options"  # it is the page's
    locked = without_it(tmp_path, auth=OWNER)
    basic = base64.b64encode(":".join(OWNER).encode()).decode()
    assert call(locked, "/sdapi/v1/options", headers=[("authorization", f"Basic {basic}")]).status == 401


@pytest.mark.parametrize("name", EVERY)
def test_nothing_answers_without_a_login(entrance: Entrance, name: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = httpx.request(method, f"{entrance.served.url}sdapi/v1/{name}", json={})
        assert answer.status_code == 401
        assert answer.json()["error"] == "unauthorized"
        assert "small-world" not in answer.text
        assert answer.headers["www-authenticate"].startswith("Basic")


def test_a_studio_that_admits_everybody_asks_programs_who_they_are(tmp_path: Path) -> None:
    access = Access(auth=OWNER, admits_everybody=True)
    with serving(tmp_path, routes.interface, access=access) as served:
        entrance = Entrance(served, access, Clock())
        assert entrance.get("options").status_code == 401
        assert entrance.get("options", *OWNER).status_code == 200


def test_the_owner_the_guests_and_a_program_enter(entrance: Entrance) -> None:
    for user, password in (OWNER, GUEST):
        assert entrance.get("options", user, password).status_code == 200
    token, _ = entrance.access.programs.make("krita")
    assert entrance.get("options", "token", token).status_code == 200
    assert entrance.get("options", authorization=f"Bearer {token}").status_code == 200
    assert entrance.get("options", "token", token[:-1] + "x").status_code == 401
    assert entrance.get("options", authorization="Bearer of bad news").status_code == 401
    assert entrance.get("options", authorization="Basic %%%").status_code == 401
    assert entrance.api(*OWNER).txt2img(prompt="x", width=128, height=128).image.size == (128, 128)
    # Nowhere else do name and password open anything.
    assert httpx.get(f"{entrance.served.url}config", auth=OWNER).status_code == 401


def test_wrong_passwords_are_slowed_as_at_the_login(entrance: Entrance) -> None:
    assert entrance.get("options", *OWNER).status_code == 200
    tries = [entrance.get("options", OWNER[0], f"guess {k}").status_code for k in range(FAILURES_PER_SENDER + 5)]
    assert tries == [401] * FAILURES_PER_SENDER + [429] * 5
    assert entrance.get("options", *OWNER).status_code == 200  # who was in stays in
    refused = entrance.get("options", *GUEST)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    entrance.clock.now += 61
    assert entrance.get("options", *GUEST).status_code == 200


def test_a_name_and_a_password_with_each_request_take_one_session(entrance: Entrance) -> None:
    for _ in range(5):
        assert entrance.get("options", *GUEST).status_code == 200
    assert len(entrance.access.guests()) == 1
    assert entrance.access.show_out(*entrance.access.guests())
    assert entrance.get("options", *GUEST).status_code == 200  # as somebody new
    assert len(entrance.access.guests()) == 1


def test_a_guest_has_a_guests_limits(entrance: Entrance) -> None:
    with pytest.raises(RuntimeError) as caught:
        entrance.api(*GUEST).txt2img(prompt="x", width=128, height=128, steps=150, n_iter=16)
    status, text = caught.value.args
    assert (status, json.loads(text)["error"]) == (403, "forbidden")


def test_one_does_not_see_or_stop_anothers_run(entrance: Entrance) -> None:
    token, _ = entrance.access.programs.make("krita")
    guest, owner, program = entrance.api(*GUEST), entrance.api(*OWNER), entrance.api("token", token)
    thread, results = in_background(lambda: guest.txt2img(prompt="x", width=128, height=128, steps=100))
    while not guest.get_progress()["progress"]:
        assert thread.is_alive()
        time.sleep(0.01)
    for other in (owner, program):
        assert other.get_progress()["current_image"] is None
        assert other.interrupt() == {}
    assert thread.is_alive()
    guest.interrupt()
    thread.join(20)
    assert results


def test_clients_that_keep_no_cookie_are_one_visitor_and_others_are_apart(tmp_path: Path) -> None:
    with serving(tmp_path, routes.interface, seconds_per_step=0.05) as served:
        url = f"{served.url}sdapi/v1/"
        body = {"prompt": "x", "width": 128, "height": 128, "steps": 60}
        thread, results = in_background(lambda: httpx.post(f"{url}txt2img", json=body, timeout=60).json())
        while not httpx.get(f"{url}progress").json()["progress"]:
            assert thread.is_alive()
            time.sleep(0.01)
        with httpx.Client() as browser:
            browser.get(f"{url}options")
            assert browser.get(f"{url}progress").json()["progress"] == 0
        httpx.post(f"{url}interrupt")
        thread.join(20)
        assert results[0]["images"]  # type: ignore[index]


def test_no_other_web_page_can_use_it(entrance: Entrance) -> None:
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}):
        answer = entrance.get("options", *OWNER, **headers)
        assert answer.status_code in (403, 421)
    answer = entrance.get("options", *OWNER)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"null", b'{"steps": NaN}', b'{"cfg_scale": 1e999}', b'{"a":' * 5000, b"\xff\xfe",
     b'{"init_images": [{"url": "data:image/png;base64,AAAA"}]}'],
)  # fmt: skip
def test_bodies_that_are_no_run_are_refused_in_its_form(tmp_path: Path, body: bytes) -> None:
    with serving(tmp_path, routes.interface) as served:
        for name in ("txt2img", "img2img", "png-info", "options"):
            headers = {"content-type": "application/json"}
            answer = httpx.post(f"{served.url}sdapi/v1/{name}", content=body, headers=headers)
            assert 400 <= answer.status_code < 500, (name, body, answer.text)
            assert {"error", "detail", "body", "errors"} <= set(answer.json())
            assert "Traceback" not in answer.text


def test_a_body_has_its_limit(tmp_path: Path) -> None:
    records: Any = Records()
    app = Guard(
        Owner(routes.A1111(Page(), engine=records, gallery=Gallery(tmp_path))), hosts=(), with_pictures=["/sdapi/"]
    )
    declared = [("content-length", str(MAX_PICTURES_BYTES + 1))]
    assert call(app, "/sdapi/v1/png-info", method="POST", headers=declared).status == 413
    with serving(tmp_path, routes.interface) as served:  # in the form of this API, though the guard says it
        connection = http.client.HTTPConnection(served.host, served.port)
        connection.putrequest("POST", "/sdapi/v1/png-info")
        connection.putheader("content-length", str(MAX_PICTURES_BYTES + 1))
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]) == (413, "too_large")
        connection.close()
    assert call(app, "/sdapi/v1/png-info", method="POST", body=[b" " * 2**20] * 29).status == 413
    assert call(app, "/other", method="POST", body=[b" " * 2**20] * 3).status == 413


def test_a_body_counts_as_an_upload(tmp_path: Path) -> None:
    with serving(tmp_path, routes.interface) as served:
        url = f"{served.url}sdapi/v1/png-info"
        large = json.dumps({"image": "A" * (4 * 2**20)}).encode()
        headers = {"content-type": "application/json"}
        assert httpx.post(url, content=large, headers=headers).status_code == 200
    with serving(tmp_path / "full", routes.interface) as served:
        served.room._free = lambda folder: 1000
        assert httpx.post(f"{served.url}sdapi/v1/png-info", content=large, headers=headers).status_code == 507
