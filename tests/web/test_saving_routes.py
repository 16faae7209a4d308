"""How pictures are saved is the owner's choice; what each visitor takes away of them is their own."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from studio.picture.metadata import texts_of
from studio.picture.saving import Saving
from tests.web.asgi import Visitor
from tests.web.test_share_pictures import Folder, save


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def choose(visitor: Visitor, **values: object) -> Any:
    return visitor("/saving", method="POST", body=json.dumps(values).encode())


def test_the_owner_chooses_and_guests_cannot(folder: Folder) -> None:
    guest, guest_id = folder.guest()
    assert guest("/saving").status == 403
    assert choose(guest, format="webp").status == 403
    assert folder.here("/saving").json()["saving"] == Saving().to_dict()
    answer = choose(folder.here, format="webp", quality=70)
    assert answer.json()["saving"]["format"] == "webp"
    assert folder.gallery.saving.now() == Saving(format="webp", quality=70)
    assert choose(folder.here, lossless=True).json()["saving"]["quality"] == 70
    assert stat.S_IMODE(folder.gallery.saving.path.stat().st_mode) == 0o600
    assert save(folder.gallery, guest_id).file_name.endswith(".webp")


def test_a_bad_choice_is_named_and_changes_nothing(folder: Folder) -> None:
    for values, words in (
        ({"format": "gif"}, "format"),
        ({"quality": 0}, "quality"),
        ({"lossless": 1}, "lossless"),
        ({"folder": "/tmp"}, "folder"),
    ):
        answer = choose(folder.here, **values)
        assert answer.status == 400
        assert words in answer.body.decode()
    assert folder.gallery.saving.now() == Saving()


@pytest.mark.parametrize("address", ["/picture/{}", "/library/picture/{}", "/api/v1/pictures/{}"])
def test_a_picture_is_taken_away_in_another_format_and_without_metadata(folder: Folder, address: str) -> None:
    guest, guest_id = folder.guest()
    hers = save(folder.gallery, guest_id)
    guest("/library")
    place = address.format(hers.id)
    answer = guest(place, query="download=1&format=jpeg&quality=80")
    assert answer.header("content-type") == "image/jpeg"
    assert '.jpg"' in (answer.header("content-disposition") or "")
    assert texts_of(answer.body)["parameters"] == hers.parameters
    bare = guest(place, query="metadata=0").body
    assert texts_of(bare) == {}
    with Image.open(io.BytesIO(bare)) as image:
        assert image.size == (hers.width, hers.height)
    assert guest(place, query="format=bmp").status in (400, 422)


def test_the_name_that_a_pattern_gives_is_shown_while_it_is_typed(folder: Folder) -> None:
    view = folder.here("/saving", query="pattern=%5Bmodel_name%5D%2F%5Bseed%5D&format=webp").json()
    assert (view["example"], view["problem"]) == ("small-world-128/814512.webp", "")
    assert view["words"]["[sampler]"] == "DPM++ 2M"
    view = folder.here("/saving", query="pattern=%5Bsed%5D").json()
    assert view["example"] == ""
    assert "[sed]" in view["problem"]
    assert choose(folder.here, pattern="../[seed]").status == 400
    assert choose(folder.here, pattern="[seed]").json()["saving"]["pattern"] == "[seed]"
    assert save(folder.gallery, "c" * 32).file_name.count("/") == 0
