"""All pictures of a share in one ZIP, a guest's own in another, their deletion, and the time of the share's end."""

from __future__ import annotations

import io
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from studio.picture.gallery import Gallery
from studio.web.access import LONGEST_SHARE, Access
from studio.web.board import Board
from studio.web.share_pictures import SharePictures, zip_stream
from tests.web.asgi import Visitor
from tests.web.test_enter import enter, who
from tests.web.test_limits import Clock
from tests.web.test_share_routes import Panel

INFO = {"seed": 7, "prompt": "a lake"}


def save(gallery: Gallery, owner: str, colour: str = "red", part_of: str | None = None) -> Any:
    return gallery.save(Image.new("RGB", (8, 8), colour), info=INFO, parameters="a lake", owner=owner, part_of=part_of)


class Folder(Panel):
    """A shared studio, and who is in."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gallery = Gallery(folder)
        self.here = Visitor(self.app)
        self.here("/")
        self.link = self.shared(self.here)["link"]

    def guest(self) -> tuple[Visitor, str]:
        """Somebody new, who makes a picture."""
        guest = Visitor(self.app)
        enter(guest, self.link.partition("#")[2])
        person = who(guest)
        self.limits.board.meet(person)
        return guest, person


def names(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return sorted(archive.namelist())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_owners_zip_has_the_guests_pictures_and_a_guests_their_own(folder: Folder) -> None:
    (ann, ann_id), (bob, bob_id) = folder.guest(), folder.guest()
    mine = save(folder.gallery, who(folder.here))
    first, cell = save(folder.gallery, ann_id), save(folder.gallery, ann_id, part_of="job")
    second = save(folder.gallery, bob_id, "blue")
    everything = folder.here("/share/pictures.zip")
    assert everything.header("content-type") == "application/zip"
    assert names(everything.body) == sorted(
        [f"guest-1/{first.file_name}", f"guest-1/{cell.file_name}", f"guest-2/{second.file_name}"]
    )
    assert names(bob("/my-pictures.zip").body) == [second.file_name]
    assert names(folder.here("/my-pictures.zip").body) == [mine.file_name]
    assert ann("/share/pictures.zip").status == ann("/share/clear", method="POST").status == 403
    with zipfile.ZipFile(io.BytesIO(bob("/my-pictures.zip").body)) as archive:
        picture = Image.open(io.BytesIO(archive.read(second.file_name)))
        assert picture.getpixel((0, 0)) == (0, 0, 255)
        assert picture.text["parameters"] == "a lake"  # type: ignore[attr-defined]


def test_pictures_from_before_the_share_are_not_of_it(folder: Folder) -> None:
    guest, person = folder.guest()
    old = folder.gallery.path(save(folder.gallery, person).id, person)
    assert old is not None
    os.utime(old, (time.time() - 3600,) * 2)
    assert folder.here("/share/pictures.zip").status == 404
    assert len(names(guest("/my-pictures.zip").body)) == 1
    assert folder.here("/share/board").json()["pictures"] == 0


def test_all_are_deleted_for_good_and_nobody_elses(folder: Folder) -> None:
    guest, person = folder.guest()
    kept, gone = save(folder.gallery, who(folder.here)), [save(folder.gallery, person) for _ in range(3)]
    assert folder.here("/share/board").json()["pictures"] == 3
    answer = folder.here("/share/clear", method="POST").json()
    assert (answer["cleared"], answer["pictures"]) == (3, 0)
    assert all(guest(f"/picture/{one.id}").status == 404 for one in gone)
    assert all(guest(f"/thumbnail/{one.id}").status == 404 for one in gone)
    assert folder.here(f"/picture/{kept.id}").status == 200
    assert [path.name for path in folder.gallery.outputs_dir.rglob("*.png")] == [Path(kept.file_name).name]
    assert guest("/my-pictures.zip").status == 404


def test_who_is_a_guest_of_the_share_survives_a_restart_and_ends_with_the_next(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.begin_share()
    board.meet("a" * 32)
    board.meet("b" * 32)
    board.meet("a" * 32)
    assert Board(tmp_path).share == board.share
    assert board.share.people == ("a" * 32, "b" * 32)
    board.begin_share()
    assert Board(tmp_path).share.people == ()


def test_a_file_that_goes_while_the_zip_is_sent_is_left_out(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    pictures = [save(gallery, "ann") for _ in range(3)]
    files = SharePictures(Board(), gallery).of("ann")
    pieces = zip_stream(files)
    content = next(pieces)
    files[1][1].unlink()
    assert names(content + b"".join(pieces)) == [pictures[0].file_name, pictures[2].file_name]


# --------------------------------------------------------------------------------------------------- the time of end


def test_the_time_of_end_is_changed_while_it_runs_and_guests_stay_so_long() -> None:
    clock = Clock()
    access = Access(clock=clock)
    key = access.share(3600).guest
    entered = access.by_key(key, "")
    assert entered is not None
    assert access.end_in(7200) == 7200
    clock.now = 7000
    assert access.session(entered[0]) is not None, "longer than at first"
    assert access.end_in(100) == 100
    clock.now = 7101
    assert access.session(entered[0]) is None
    with pytest.raises(ValueError, match="nothing is shared"):
        Access().end_in(60)


def test_no_share_is_longer_than_a_week() -> None:
    clock = Clock()
    access = Access(clock=clock)
    access.share(3600)
    clock.now = 1000
    assert access.end_in(LONGEST_SHARE) == LONGEST_SHARE - 1000


def test_the_panel_changes_the_end(folder: Folder) -> None:
    before = folder.here("/share").json()["ends"]
    after = folder.act(folder.here, "change_end", seconds=24 * 3600).json()["ends"]
    assert after == pytest.approx(time.time() + 24 * 3600, abs=30)
    assert after > before
    folder.act(folder.here, "end")
    assert folder.act(folder.here, "change_end", seconds=3600).json()["state"] == "off"
