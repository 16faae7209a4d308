"""Styles on the page: the visitor's own, saved, deleted and taken away as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.web.asgi import Visitor
from tests.web.test_share_pictures import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def post(visitor: Visitor, **order: object) -> Any:
    return visitor("/styles", method="POST", body=json.dumps(order).encode())


def names(visitor: Visitor) -> list[str]:
    return [one["name"] for one in visitor("/styles").json()["styles"]]


def test_guests_styles_are_their_own(folder: Folder, tmp_path: Path) -> None:
    (ann, _), (bob, _) = folder.guest(), folder.guest()
    assert post(folder.here, name="Oil", prompt="oil of {prompt}").status == 200
    assert post(ann, name="Ink", prompt="ink", negative_prompt="photo").json() == {
        "styles": [{"name": "Ink", "prompt": "ink", "negative_prompt": "photo"}]
    }
    assert (names(folder.here), names(ann), names(bob)) == (["Oil"], ["Ink"], [])
    assert "Oil" in (tmp_path / "styles.csv").read_text("utf-8-sig")
    assert post(bob, delete="Ink").json() == {"styles": []}
    assert names(ann) == ["Ink"]
    assert ann("/styles.csv").body.decode("utf-8-sig").splitlines()[1] == "Ink,ink,photo"
    assert post(ann, delete="Ink").json() == {"styles": []}


def test_a_bad_style_is_refused_in_a_sentence(folder: Folder) -> None:
    answer = post(folder.here, name="", prompt="x")
    assert (answer.status, answer.body.decode()) == (400, "name: nothing is not allowed. Allowed: a name.")
    assert post(folder.here, name="x", prompt="y" * 300_000).status == 413
