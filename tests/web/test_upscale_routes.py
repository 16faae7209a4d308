"""The page enlarges a picture: its own, one of the library, a file that comes; each result is one more picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from studio.answered.engine import Refused
from studio.asked.upscale import MAX_PIXELS
from studio.picture.gallery import Gallery, SaveFailed
from studio.picture.library.library import Library
from studio.web.limits import GUEST_UPSCALE_PIXELS
from studio.web.login import GUEST_HEADER
from studio.web.upscale_routes import UpscaleRoutes
from tests.ui.fake_engine import FakeEngine
from tests.web.api.studio import Studio
from tests.web.asgi import Answer, Page, Visitor, call
from tests.web.test_enter import who
from tests.web.test_share_pictures import INFO

IMAGE = [("content-type", "image/png")]


def png(width: int = 24, height: int = 16) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def here(studio: Studio) -> Visitor:
    one = Visitor(studio.app)
    one("/")
    return one


def upscale(one: Visitor, query: str, body: bytes = b"") -> Answer:
    return one("/ask/upscale", method="POST", query=query, body=body, headers=IMAGE if body else ())


def saved(studio: Studio, owner: str) -> Any:
    return studio.engine.gallery.save(Image.new("RGB", (24, 16)), info=INFO, parameters="a lake", owner=owner)


def test_what_there_is_to_enlarge_with(here: Visitor) -> None:
    offer = here("/ask/upscalers").json()
    assert offer["upscalers"] == [{"name": "small-world-4x", "label": "small-world-4x", "scale": 4}]
    assert (offer["factors"], offer["most_side"], offer["most_pixels"]) == ([1, 8], 16_384, MAX_PIXELS)


def test_a_picture_of_the_gallery_the_library_and_a_file_become_pictures(studio: Studio, here: Visitor) -> None:
    owner = who(here)
    picture = saved(studio, owner)
    view = upscale(here, f"picture={picture.id}&upscaler=small-world-4x&factor=4").json()
    assert (view["width"], view["height"], view["unsaved"]) == (96, 64, False)
    assert view["line"].endswith("96 × 64 · upscaled 4× by small-world-4x")
    kept = studio.engine.gallery.picture(view["id"], owner)
    assert kept is not None
    assert kept.info == {**INFO, "postprocess": [{"upscaler": "small-world-4x", "factor": 4.0, "size": [96, 64]}]}
    assert here(f"/picture/{view['id']}").status == 200
    here("/library")
    cut = upscale(here, f"library={picture.id}&upscaler=lanczos&width=64&height=64&crop=1").json()
    assert (cut["width"], cut["height"]) == (64, 64)
    sent = upscale(here, "upscaler=lanczos&factor=1.5", png()).json()
    assert (sent["width"], sent["height"], sent["settings"]) == (36, 24, None)
    assert {one["id"] for one in here("/library").json()["pictures"]} >= {view["id"], cut["id"], sent["id"]}


def test_nothing_of_anothers_is_enlarged(studio: Studio, here: Visitor) -> None:
    picture = saved(studio, "b" * 32)
    for query in (f"picture={picture.id}", "picture=x", "library=x"):
        assert upscale(here, query).status == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("factor=9", "factor"),
        ("factor=nan", "factor"),
        ("factor=many", "factor"),
        ("width=64", "height"),
        ("width=6.5&height=64", "width"),
        ("width=64&height=64&crop=2", "crop"),
        ("upscaler=absent", "upscaler"),
        ("most_pixels=9", "most_pixels"),
        ("width=30000&height=30000", "width"),
        ("width=8&height=8", "width"),
    ],
)
def test_a_wrong_value_is_named_in_a_sentence(here: Visitor, query: str, field: str) -> None:
    answer = upscale(here, query, png())
    assert (answer.status, answer.body.decode().split(":")[0]) == (400, field)


def test_a_picture_that_is_none_a_busy_studio_and_a_full_disk(
    studio: Studio, here: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert upscale(here, "", b"no picture").status == 400
    assert upscale(here, "").status == 400
    studio.engine.refusal = Refused("later")
    assert upscale(here, "", png()).status == 409
    studio.engine.refusal = None

    def full(*args: object, **more: object) -> None:
        raise SaveFailed("The disk is full.")

    monkeypatch.setattr(Gallery, "save", full)
    answer = upscale(here, "", png())
    assert (answer.status, answer.body) == (507, b"The disk is full.")


def test_a_guest_has_smaller_limits(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    engine = FakeEngine(gallery)
    routes = UpscaleRoutes(Page(), engine=engine, gallery=gallery, library=Library(gallery))  # type: ignore[arg-type]
    offer = call(routes, "/ask/upscalers", headers=[(GUEST_HEADER, "1")]).json()
    assert offer["most_pixels"] == GUEST_UPSCALE_PIXELS < MAX_PIXELS
    engine.close()
