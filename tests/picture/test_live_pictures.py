"""Live pictures: held apart, saved when they are kept or at a pause, and never lost once kept."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from PIL import Image

from studio.answered.events import Picture
from studio.asked.fields import TextToImage
from studio.asked.resolved import Suits, resolve
from studio.picture import live_pictures
from studio.picture.gallery import Gallery, SaveFailed
from studio.picture.infotext import parameters_text
from studio.picture.metadata import picture_info
from studio.picture.saved_files import digest
from tests.picture.test_gallery import ANN, BOB, save


def live(gallery: Gallery, owner: str = ANN, seed: int = 7, job: str = "here-1", tab: str = "text_to_image") -> Picture:
    request = TextToImage(prompt="a fox", seed=seed, width=64, height=64)
    info = picture_info(resolve(request, Suits()), width=64, height=64)
    picture = Image.frombytes("RGB", (64, 64), os.urandom(64 * 64 * 3))
    return gallery.save(picture, info=info, parameters=parameters_text(info), owner=owner, job=job, live_tab=tab)


def saved(gallery: Gallery) -> list[str]:
    return [file.name for file in gallery.files(ANN)]


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_a_live_picture_is_seen_by_its_owner_and_saved_nowhere(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    before, picture = save(gallery), live(gallery)
    assert picture.file_name == ""
    assert gallery.earlier(ANN) == [picture, before]
    assert [one.id for one in gallery.earlier(BOB)] == []
    path = gallery.path(picture.id, ANN)
    assert path is not None
    assert path.parent.name == ".live"
    assert gallery.path(picture.id, BOB) is None
    assert gallery.thumbnail(picture.id, ANN)
    assert saved(gallery) == [before.file_name]
    assert picture.id not in (tmp_path / "index.jsonl").read_text()


def test_what_is_kept_is_the_same_file_in_the_index_and_after_a_restart(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    picture = live(gallery)
    held = gallery.path(picture.id, ANN)
    assert held is not None
    content = held.read_bytes()
    assert gallery.keep_live(picture.id, BOB) is None
    kept = gallery.keep_live(picture.id, ANN)
    assert kept is not None
    assert (kept.id, kept.info, kept.parameters) == (picture.id, picture.info, picture.parameters)
    assert gallery.keep_live(picture.id, ANN) == kept, "keeping twice saves once"
    for again in (gallery, Gallery(tmp_path)):
        assert again.earlier(ANN) == [kept]
        assert again.path(picture.id, ANN) == tmp_path / kept.file_name
        assert again.of_job("here-1", ANN) == [kept]
        assert saved(again) == [kept.file_name]
    assert (tmp_path / kept.file_name).read_bytes() == content
    assert not held.exists()
    assert gallery.keep_live("0" * 32, ANN) is None


def test_a_pause_saves_the_newest_of_a_tab_and_going_on_does_not(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    gallery.live.pause_seconds = 0.1
    live(gallery, seed=1)
    gallery.live.go_on(digest(ANN), "text_to_image")
    live(gallery, seed=2, job="here-2")
    live(gallery, seed=3, job="here-3")
    other = live(gallery, seed=4, job="here-4", tab="image_to_image")
    newest = [live(gallery, seed=5, job="here-5"), live(gallery, seed=6, job="here-5")]  # two pictures of one run
    wait_until(lambda: len(saved(gallery)) == 3)
    time.sleep(0.15)
    assert {one.id for one in gallery.files(ANN)} == {other.id, *(one.id for one in newest)}
    assert len(gallery.earlier(ANN)) == 6


def test_the_studios_end_is_a_pause(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    live(gallery, seed=1)
    last = live(gallery, seed=2, job="here-2")
    gallery.live.close()
    assert [one.id for one in Gallery(tmp_path).files(ANN)] == [last.id]


def test_a_picture_that_two_keep_at_once_is_saved_once(tmp_path: Path) -> None:
    galleries = [Gallery(tmp_path), Gallery(tmp_path)]  # the page's and the engine's process
    picture = live(galleries[0])
    barrier, answers = Barrier(4), []

    def keep(gallery: Gallery) -> None:
        barrier.wait()
        answers.append(gallery.keep_live(picture.id, ANN))

    threads = [Thread(target=keep, args=(galleries[k % 2],)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.file_name for one in answers}) == 1
    assert [one.id for one in Gallery(tmp_path).files(ANN)] == [picture.id]
    assert len(list(tmp_path.glob("*/*.png"))) == 1


def test_what_cannot_be_saved_now_is_kept_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery(tmp_path)
    picture = live(gallery)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr("studio.picture.gallery.give_name", full)
        with pytest.raises(SaveFailed, match="full"):
            gallery.keep_live(picture.id, ANN)
    assert gallery.picture(picture.id, ANN) == picture
    assert gallery.keep_live(picture.id, ANN) is not None


def test_what_was_being_kept_when_the_studio_was_killed_is_kept_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = Gallery(tmp_path)
    picture, other = live(gallery, seed=1), live(gallery, seed=2, job="here-2")
    (held,) = [one for one in gallery.live.of(digest(ANN)) if one.id == picture.id]
    assert gallery.live.claim(held)
    monkeypatch.setattr(live_pictures, "CLAIM_SECONDS", -1.0)
    again = Gallery(tmp_path)
    assert [one.id for one in again.files(ANN)] == [picture.id]
    assert [one.id for one in again.earlier(ANN)] == [other.id, picture.id]


def test_the_oldest_go_and_those_of_an_earlier_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery(tmp_path)
    monkeypatch.setattr(live_pictures, "MOST_OF_OWNER", 3)
    made = [live(gallery, seed=seed, job=f"here-{seed}") for seed in range(5)]
    assert [one.id for one in gallery.earlier(ANN)] == [one.id for one in reversed(made[2:])]
    theirs = live(gallery, BOB)
    monkeypatch.setattr(live_pictures, "MOST_BYTES", 1)
    newest = live(gallery, seed=9, job="here-9")
    assert gallery.picture(theirs.id, BOB) is None
    assert [one.id for one in gallery.earlier(ANN)] == [newest.id]
    path = gallery.path(newest.id, ANN)
    assert path is not None
    os.utime(path, (1, 1))
    assert Gallery(tmp_path).earlier(ANN) == []
    gallery.live.go_on(digest(ANN), "text_to_image")


def test_a_folder_that_is_a_link_is_not_used(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / ".live").symlink_to(elsewhere)
    with pytest.raises(SaveFailed, match="link"):
        live(Gallery(tmp_path / "outputs"))
    assert list(elsewhere.iterdir()) == []
