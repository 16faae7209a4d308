"""A browser stays the same owner; nobody becomes another one by asking."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from studio.web.owner import COOKIE, Owner
from tests.web.asgi import Answer, Page, Visitor, call, studio


def owner(answer: Answer) -> str:
    (only,) = answer.json()["owners"]
    assert re.fullmatch(r"[0-9a-f]{32}", only)
    return only


def test_a_browser_keeps_its_owner(tmp_path: Path) -> None:
    app = studio(tmp_path)
    ann, bob = Visitor(app), Visitor(app)
    hers = owner(ann("/"))
    assert ann.cookies == {COOKIE: hers}
    assert [owner(ann("/")), owner(ann("/gradio_api/queue/join", method="POST"))] == [hers, hers]
    assert owner(bob("/")) != hers


def test_the_cookie_is_set_once_and_kept_from_scripts(tmp_path: Path) -> None:
    app = studio(tmp_path)
    visitor = Visitor(app)
    cookie = visitor("/").header("set-cookie") or ""
    assert cookie.endswith("; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax")
    assert visitor("/").header("set-cookie") is None
    assert (call(app, "/", scheme="https").header("set-cookie") or "").endswith("; SameSite=Lax; Secure")


def test_without_a_cookie_every_request_is_its_own_owner(tmp_path: Path) -> None:
    app = studio(tmp_path)
    assert len({owner(call(app, "/")) for _ in range(20)}) == 20


@pytest.mark.parametrize("name", ["x-studio-owner", "X-Studio-Owner", "X-STUDIO-OWNER"])
def test_the_header_cannot_be_brought_along(tmp_path: Path, name: str) -> None:
    forged = "f" * 32
    answer = call(studio(tmp_path), "/", headers=[(name, forged), (name, forged)])
    assert owner(answer) != forged


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=";,"), max_size=50))
@example("f" * 31)
@example("f" * 33)
@example("F" * 32)
@example('"' + "f" * 32 + '"')
def test_a_cookie_that_is_not_ours_is_replaced(value: str) -> None:
    if re.fullmatch(r'"?[0-9a-f]{32}"?', value):
        value = ""
    answer = call(Owner(Page()), "/", headers=[("cookie", f"{COOKIE}={value}")])
    assert owner(answer) != value
    assert f"{COOKIE}={owner(answer)};" in (answer.header("set-cookie") or "")
