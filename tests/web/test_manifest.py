"""The manifest and the icons are there before the login, and say no more than the form of the login does."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from studio.ui.text import say
from studio.web import manifest
from tests.web.asgi import Visitor, call, studio


def test_a_browser_without_cookies_gets_what_it_needs_to_install_the_closed_studio(tmp_path: Path) -> None:
    app = studio(tmp_path, auth=("ann", "secret"))
    answer = call(app, manifest.ADDRESS)
    assert (answer.status, answer.header("content-type")) == (200, "application/manifest+json")
    assert answer.header("set-cookie") is None
    assert "manifest-src 'self'" in str(answer.header("content-security-policy"))
    content = answer.json()
    assert {content[name] for name in ("name", "short_name")} == {say("page.title")}
    assert (content["start_url"], content["scope"], content["display"]) == ("/", "/", "standalone")
    assert {icon["purpose"] for icon in content["icons"]} == {"any", "maskable"}
    for icon in content["icons"]:
        picture = call(app, icon["src"])
        assert picture.header("set-cookie") is None
        with Image.open(io.BytesIO(picture.body)) as image:
            assert icon["sizes"] == f"{image.width}x{image.height}"
    touch = call(app, manifest.ICON_ADDRESS + manifest.TOUCH_ICON)
    assert Image.open(io.BytesIO(touch.body)).mode == "RGB"  # iOS shows what is transparent in black


def test_the_manifest_is_the_same_for_everybody_but_for_its_language(tmp_path: Path) -> None:
    app = studio(tmp_path, auth=("ann", "secret"))
    ann = Visitor(app)
    ann(
        "/login",
        method="POST",
        headers=[("content-type", "application/x-www-form-urlencoded")],
        body=b"username=ann&password=secret",
    )
    assert ann(manifest.ADDRESS).body == call(app, manifest.ADDRESS).body
    chinese = call(app, manifest.ADDRESS, headers=[("accept-language", "zh-CN")]).json()
    assert (chinese["lang"], chinese["name"]) == ("zh-CN", say("page.title"))
    assert chinese["description"] != call(app, manifest.ADDRESS).json()["description"]


@pytest.mark.parametrize("name", ["any.svg", "../favicon.png", "any-192.png/", "%2e%2e/favicon.png", ""])
def test_nothing_beside_the_icons_is_given_out(tmp_path: Path, name: str) -> None:
    assert call(studio(tmp_path, auth=("ann", "secret")), manifest.ICON_ADDRESS + name).status == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_manifest_is_only_read(tmp_path: Path, method: str) -> None:
    assert call(studio(tmp_path, auth=("ann", "secret")), manifest.ADDRESS, method=method).status == 401
