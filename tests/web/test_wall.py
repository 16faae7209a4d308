"""The wall: guests' new pictures for all, once their page has said so, until the owner takes them down."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from studio.web.board import Board
from tests.web.asgi import Visitor
from tests.web.test_share_pictures import Folder, save


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    decide(folder, wall=True)
    return folder


def decide(folder: Folder, **decisions: object) -> None:
    answer = folder.here("/share/board", method="POST", body=json.dumps(decisions).encode())
    assert answer.status == 200, answer.body


def on_wall(visitor: Visitor) -> list[Any]:
    view = visitor("/wall").json()
    return [(one["id"], one["guest"], one["prompt"], one["mine"]) for one in view["pictures"]]


def test_all_guests_and_the_owner_see_new_pictures_by_number_with_their_prompts(folder: Folder) -> None:
    (ann, ann_id), (bob, bob_id) = folder.guest(), folder.guest()
    assert ann("/invitation").json() == bob("/invitation").json() == {"wall": True}
    first = save(folder.gallery, ann_id)
    os.utime(folder.gallery.outputs_dir / first.file_name, (time.time() + 1,) * 2)
    second = save(folder.gallery, bob_id)
    os.utime(folder.gallery.outputs_dir / second.file_name, (time.time() + 2,) * 2)
    save(folder.gallery, bob_id, part_of="a comparison")
    assert on_wall(ann) == [(second.id, 2, "a lake", False), (first.id, 1, "a lake", True)]
    assert on_wall(folder.here) == [(second.id, 2, "a lake", False), (first.id, 1, "a lake", False)]
    assert ann(f"/wall/picture/{second.id}").header("content-type") == "image/png"
    assert ann(f"/wall/thumbnail/{second.id}").header("content-type") == "image/jpeg"
    assert ann(f"/picture/{second.id}").status == 404, "elsewhere it is still Bob's alone"
    assert ann_id not in json.dumps(bob("/wall").json())


def test_nothing_is_shown_of_a_guest_who_was_not_told(folder: Folder) -> None:
    (ann, ann_id), (bob, _) = folder.guest(), folder.guest()
    hers = save(folder.gallery, ann_id)
    os.utime(folder.gallery.outputs_dir / hers.file_name, (time.time() - 60,) * 2)
    assert on_wall(bob) == []
    ann("/invitation")
    assert on_wall(bob) == [], "nor what was made before"
    assert bob(f"/wall/picture/{hers.id}").status == bob(f"/wall/thumbnail/{hers.id}").status == 404


def test_the_owner_takes_a_picture_down_and_nobody_else(folder: Folder) -> None:
    ann, ann_id = folder.guest()
    ann("/invitation")
    hers = save(folder.gallery, ann_id)
    body = json.dumps({"picture": hers.id}).encode()
    assert ann("/share/wall", method="POST", body=body).status == 403
    assert len(on_wall(ann)) == 1
    assert folder.here("/share/wall", method="POST", body=body).json()["pictures"] == []
    assert on_wall(ann) == []
    assert ann(f"/picture/{hers.id}").status == 200, "it stays hers"
    assert Board(folder.gallery.outputs_dir).share.hidden == (hers.id,)


def test_without_a_wall_pictures_are_private_and_one_that_is_switched_on_again_begins_anew(folder: Folder) -> None:
    ann, ann_id = folder.guest()
    ann("/invitation")
    hers = save(folder.gallery, ann_id)
    decide(folder, wall=False)
    assert ann("/wall").json() == {"on": False, "owner": False, "pictures": []}
    assert ann("/invitation").json() == {"wall": False}
    assert ann(f"/wall/picture/{hers.id}").status == 404
    os.utime(folder.gallery.outputs_dir / hers.file_name, (time.time() - 60,) * 2)
    decide(folder, wall=True)
    ann("/invitation")
    assert on_wall(ann) == []


def test_it_survives_a_restart_and_ends_with_the_share(folder: Folder) -> None:
    ann, _ = folder.guest()
    ann("/invitation")
    again = Board(folder.gallery.outputs_dir)
    assert again.now.wall
    assert again.share == folder.limits.board.share
    folder.act(folder.here, "end")
    assert not folder.limits.board.now.wall
    assert folder.limits.board.share.told == {}


def test_strangers_see_no_wall(folder: Folder) -> None:
    stranger = Visitor(folder.app)
    for path in ("/wall", "/wall/picture/" + "a" * 32, "/invitation", "/my-pictures.zip"):
        assert stranger(path).status == 401, path
