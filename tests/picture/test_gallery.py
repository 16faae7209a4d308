"""Pictures are on disk whole or not at all, found by their owner alone, and survive what disks and people do."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from studio.answered.events import Picture
from studio.asked.fields import TextToImage
from studio.asked.resolved import Suits, resolve
from studio.picture import gallery as gallery_module
from studio.picture.gallery import Gallery, SaveFailed
from studio.picture.gallery_index import INDEX_NAME
from studio.picture.infotext import parameters_text
from studio.picture.metadata import picture_info, read_png, request_from_info
from studio.picture.saved_files import LEFTOVER_AGE, THUMBNAIL_SIDE
from tests.audit import paths_opened

ANN, BOB = "a" * 32, "b" * 32


def save(gallery: Gallery, owner: str = ANN, *, seed: int = 7, size: tuple[int, int] = (24, 16)) -> Picture:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    request = TextToImage(prompt="a fox, <b>é</b> 🍎", seed=seed, width=64, height=64)
    info = picture_info(resolve(request, Suits()), width=64, height=64, seconds=1.25)
    return gallery.save(Image.fromarray(noise), info=info, parameters=parameters_text(info), owner=owner)


def finals(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.png"))


def whole(path: Path) -> bool:
    with Image.open(path) as image:
        image.load()
    return read_png(path) is not None


# ------------------------------------------------------------------------------------------------ save and find


def test_a_saved_picture_is_what_was_given(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    picture = save(gallery, seed=123)
    path = gallery.path(picture.id, ANN)
    assert path is not None
    assert path == tmp_path / picture.file_name
    assert path.name == "00001-123.png"
    assert len(path.parent.name) == len("2026-11-22")
    with Image.open(path) as image:
        expected = np.random.default_rng(123).integers(0, 256, (16, 24, 3), dtype=np.uint8)
        assert (np.asarray(image) == expected).all()
        assert image.text["parameters"] == picture.parameters
    assert read_png(path) == request_from_info(picture.info)
    assert (picture.width, picture.height, picture.seed, len(picture.id)) == (24, 16, 123, 32)
    assert sorted(os.listdir(path.parent)) == ["00001-123.png"]


def test_pictures_belong_to_their_owner(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    hers, his = save(gallery, ANN), save(gallery, BOB)
    assert gallery.path(hers.id, ANN)
    assert gallery.path(hers.id, BOB) is None
    assert gallery.thumbnail(hers.id, BOB) is None
    assert gallery.earlier(ANN) == [hers]
    assert gallery.earlier(BOB) == [his]
    assert gallery.earlier("") == []
    assert ANN.encode() not in (tmp_path / INDEX_NAME).read_bytes()


def test_earlier_is_newest_first_and_survives_a_restart(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    pictures = [save(gallery, seed=k) for k in range(5)]
    for again in (gallery, Gallery(tmp_path)):
        assert again.earlier(ANN) == pictures[::-1]
        assert again.earlier(ANN, limit=2) == [pictures[4], pictures[3]]
        assert again.path(pictures[0].id, ANN) == tmp_path / pictures[0].file_name


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    assert save(Gallery(tmp_path), seed=1).file_name.endswith("/00001-1.png")
    assert save(Gallery(tmp_path), seed=1).file_name.endswith("/00002-1.png")


def test_two_servers_on_one_folder_see_each_others_pictures(tmp_path: Path) -> None:
    one, two = Gallery(tmp_path), Gallery(tmp_path)
    first, second = save(one), save(two)
    assert one.earlier(ANN) == two.earlier(ANN) == [second, first]
    assert two.path(first.id, ANN)


def test_thumbnails_are_small_and_keep_the_shape(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    large, small = save(gallery, size=(1024, 512)), save(gallery, size=(40, 24))
    for picture, size in ((large, (THUMBNAIL_SIDE, 128)), (small, (40, 24))):
        jpeg = gallery.thumbnail(picture.id, ANN)
        assert jpeg is not None
        with Image.open(io.BytesIO(jpeg)) as image:
            assert (image.format, image.size) == ("JPEG", size)
        assert gallery.thumbnail(picture.id, ANN) is jpeg


def test_a_picture_removed_by_hand_is_gone_and_nothing_else(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    first, second = save(gallery, seed=1), save(gallery, seed=2)
    (tmp_path / first.file_name).unlink()
    assert gallery.earlier(ANN) == [second]
    assert gallery.path(first.id, ANN) is None
    assert gallery.thumbnail(first.id, ANN) is None
    (tmp_path / second.file_name).write_bytes(b"not a picture any more")
    assert gallery.earlier(ANN) == []
    assert gallery.thumbnail(second.id, ANN) is None


@pytest.mark.parametrize("seed", [-1, None, "7", 1.0, True])
def test_a_seed_that_could_not_be_a_file_name_is_refused(tmp_path: Path, seed: object) -> None:
    with pytest.raises(ValueError, match="seed"):
        Gallery(tmp_path).save(Image.new("RGB", (8, 8)), info={"seed": seed}, parameters="", owner=ANN)
    assert finals(tmp_path) == []


@given(st.text(max_size=80))
@example("../../../etc/passwd")
@example("..\\..\\windows\\win.ini")
@example("0" * 32)
@example("CON")
@example("0" * 31 + "\n")
@example("\0")
def test_no_id_reaches_a_file_outside(tmp_path_factory: pytest.TempPathFactory, picture_id: str) -> None:
    gallery = Gallery(tmp_path_factory.getbasetemp() / "ids")
    with paths_opened() as paths:
        assert gallery.path(picture_id, ANN) is None
        assert gallery.thumbnail(picture_id, ANN) is None
    assert all(Path(path).is_relative_to(gallery.outputs_dir) for path in paths), paths


# -------------------------------------------------------------------------------------------------- a bad index


@pytest.mark.parametrize(
    "torn",
    [b'\n{"id": "0123', b"\n\xff\xfe\x00garbage", b"\n[]\n", b"\nnull\n", b'\n{"id": 5, "owner": 6, "file": 7}\n'],
)
def test_a_torn_or_foreign_line_costs_no_other(tmp_path: Path, torn: bytes) -> None:
    gallery = Gallery(tmp_path)
    before = save(gallery, seed=1)
    with (tmp_path / INDEX_NAME).open("ab") as index:
        index.write(torn)
    after = save(gallery, seed=2)
    assert Gallery(tmp_path).earlier(ANN) == [after, before]
    assert gallery.earlier(ANN) == [after, before]


@pytest.mark.parametrize(
    "file", ["../outside.png", "/etc/passwd", "2026-11-22/../../outside.png", "C:\\x.png", "index.jsonl", ""]
)
def test_an_index_that_points_elsewhere_is_not_followed(tmp_path: Path, file: str) -> None:
    outputs = tmp_path / "outputs"
    (tmp_path / "outside.png").write_bytes(b"secret")
    gallery = Gallery(outputs)
    real = save(gallery)
    line = json.loads((outputs / INDEX_NAME).read_text().splitlines()[-1]) | {"id": "f" * 32, "file": file}
    announced = {"version": 1, "saving": line | {"id": "e" * 32}, "sha256": "0" * 64}
    (outputs / INDEX_NAME).write_text(f"{json.dumps(line)}\n{json.dumps(announced)}\n")
    again = Gallery(outputs)
    assert again.path("f" * 32, ANN) is None
    assert again.path(real.id, ANN) is None


def test_an_index_that_cannot_be_written_costs_no_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / INDEX_NAME).mkdir()
    gallery = Gallery(tmp_path)
    picture = save(gallery)
    assert gallery.earlier(ANN) == [picture]
    assert "index" in caplog.text


# -------------------------------------------------------------------------------------------------------- links


def test_links_are_not_followed(tmp_path: Path) -> None:
    outputs, elsewhere = tmp_path / "outputs", tmp_path / "elsewhere"
    elsewhere.mkdir()
    gallery = Gallery(outputs)
    picture = save(gallery)
    day = (outputs / picture.file_name).parent
    secret = elsewhere / "secret.png"
    (outputs / picture.file_name).rename(secret)
    (outputs / picture.file_name).symlink_to(secret)
    assert gallery.path(picture.id, ANN) is None
    (outputs / picture.file_name).unlink()
    day.rename(tmp_path / "moved")
    day.symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(SaveFailed, match="is a link to another place"):
        save(gallery)
    assert os.listdir(elsewhere) == ["secret.png"]


def test_the_outputs_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "outputs").symlink_to(tmp_path / "disk", target_is_directory=True)
    gallery = Gallery(tmp_path / "outputs")
    assert gallery.path(save(gallery).id, ANN)


def test_a_final_name_that_is_a_dangling_link_is_left_alone(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    day = (tmp_path / save(gallery, seed=5).file_name).parent
    (day / "00002-5.png").symlink_to(tmp_path / "target.png")
    assert save(gallery, seed=5).file_name.endswith("/00003-5.png")
    assert not (tmp_path / "target.png").exists()


# ------------------------------------------------------------------------------------------------- disks at fault


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "The disk of the outputs folder is full. Free some space and try again."),
        (errno.EROFS, "is on a read-only disk"),
        (errno.EACCES, "may not be written to"),
        (errno.EIO, "cannot be written to"),
    ],
)
def test_a_failing_disk_is_named_and_the_next_save_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    gallery = Gallery(tmp_path)

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number), "/secret/place")

    with monkeypatch.context() as patch:
        patch.setattr(gallery_module.os, "fsync", fail)
        with pytest.raises(SaveFailed, match=words) as caught:
            save(gallery)
    assert str(tmp_path) not in str(caught.value)
    assert "/secret" not in str(caught.value)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == []
    assert gallery.earlier(ANN) == []
    assert gallery.path(save(gallery).id, ANN)


def test_a_really_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """A file size limit makes the kernel refuse in mid-file, as a full disk does."""
    resource = pytest.importorskip("resource")
    gallery = Gallery(tmp_path)
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, kept[1]))
        with pytest.raises(SaveFailed):
            save(gallery, size=(256, 256))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert whole(tmp_path / save(gallery, size=(256, 256)).file_name)


def test_a_folder_that_vanished_is_made_again(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "outputs")
    for seed in range(3):
        save(gallery, seed=seed)
    (tmp_path / "outputs").rename(tmp_path / "old")
    found = save(gallery, seed=9)
    assert gallery.earlier(ANN) == [found]
    assert Gallery(tmp_path / "outputs").earlier(ANN) == [found]


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    gallery = Gallery(tmp_path / "outputs")
    with pytest.raises(SaveFailed, match="not a folder"):
        save(gallery)
    assert gallery.earlier(ANN) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root and Windows write where modes forbid it")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(SaveFailed, match="may not be written to"):
            save(gallery)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_disks_without_hard_links_keep_the_same_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_links(source: object, target: object) -> None:
        raise OSError(number, "no hard links here")

    monkeypatch.setattr(gallery_module.os, "link", no_links)
    one, two = Gallery(tmp_path), Gallery(tmp_path)
    assert save(one, seed=3).file_name.endswith("/00001-3.png")
    two._numbers = {}  # a second server that has not looked yet
    assert save(two, seed=3).file_name.endswith("/00002-3.png")
    assert all(whole(path) for path in finals(tmp_path))
    assert list(tmp_path.glob("*/.*")) == []


def test_systems_without_os_link_keep_the_same_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(gallery_module.os, "link")
    gallery = Gallery(tmp_path)
    assert whole(tmp_path / save(gallery).file_name)


# ------------------------------------------------------------------------------------------ kills and crowds


def test_leftovers_of_killed_saves_are_swept_when_old(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    picture = save(gallery)
    day = (tmp_path / picture.file_name).parent
    old, fresh, foreign = day / ".old.part", day / ".fresh.part", tmp_path / "notes.part"
    for file in (old, fresh, foreign):
        file.write_bytes(b"half a picture")
    long_ago = time.time() - LEFTOVER_AGE - 60
    for file in (old, foreign, tmp_path / picture.file_name):
        os.utime(file, (long_ago, long_ago))
    assert Gallery(tmp_path).earlier(ANN) == [picture]
    assert (old.exists(), fresh.exists(), foreign.exists()) == (False, True, True)


SAVER = """
import os, sys
from PIL import Image
from studio.picture.gallery import Gallery
gallery = Gallery(sys.argv[1])
image = Image.frombytes("RGB", (192, 192), os.urandom(192 * 192 * 3))
info = {"schema": 1, "kind": "text_to_image", "prompt": "p", "seed": int(sys.argv[2])}
for _ in range(int(sys.argv[3])):
    print(gallery.save(image, info=info, parameters="p", owner="o").file_name, flush=True)
"""


def start_saver(folder: Path, seed: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SAVER, str(folder), str(seed), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_a_save_that_is_killed_leaves_no_broken_picture(tmp_path: Path) -> None:
    """kill -9 at twenty chance moments of a process that does nothing but save."""
    chance = random.Random(20261122)
    promised: list[str] = []
    for seed in range(20):
        with start_saver(tmp_path, seed, 10**6) as saver:
            assert saver.stdout is not None
            promised += [saver.stdout.readline().strip() for _ in range(chance.randint(1, 3))]
            time.sleep(chance.random() * 0.03)
            saver.kill()
            promised += saver.stdout.read().split("\n")[:-1]
    found = finals(tmp_path)
    assert len(found) >= 20
    assert all(whole(path) for path in found)
    names = {path.relative_to(tmp_path).as_posix() for path in found}
    assert set(promised) <= names
    gallery = Gallery(tmp_path)
    assert {p.file_name for p in gallery.earlier("o", limit=10**6)} >= set(promised)


def test_two_processes_lose_no_picture(tmp_path: Path) -> None:
    savers = [start_saver(tmp_path, seed=5, count=60) for _ in range(2)]
    names = [name for saver in savers for name in saver.communicate()[0].split()]
    assert [saver.returncode for saver in savers] == [0, 0]
    assert len(set(names)) == 120
    assert len(finals(tmp_path)) == 120
    assert len(Gallery(tmp_path).earlier("o", limit=1000)) == 120


def test_many_threads_lose_no_picture(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(lambda k: save(gallery, seed=k % 3), range(64)))
    assert len({picture.file_name for picture in pictures}) == len({p.id for p in pictures}) == 64
    assert {p.id for p in gallery.earlier(ANN, limit=100)} == {p.id for p in pictures}


def test_pictures_are_listed_without_a_look_at_their_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery(tmp_path)
    kept = save(gallery, size=(64, 48))
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("a picture was opened"))
    assert gallery.earlier(ANN) == [kept]
    file = tmp_path / kept.file_name
    data = file.read_bytes()
    file.write_bytes(data[: data.index(b"IDAT") + 10])  # of a file that is cut off in its pixels, the texts are there
    assert gallery.earlier(ANN) == [kept]
    file.write_bytes(data[:20])
    assert gallery.earlier(ANN) == []


# ------------------------------------------------------------------------------------------ a server that is killed


def test_a_picture_whose_server_was_killed_before_it_was_listed_is_found_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = Gallery(tmp_path)
    saved = save(killed)

    def kill(entry: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(killed._index, "append", kill)
    with pytest.raises(KeyboardInterrupt):
        save(killed)
    assert len(list(tmp_path.rglob("*.png"))) == 2
    after = Gallery(tmp_path)
    mine = after.earlier(ANN)
    assert len(mine) == 2
    assert mine[1].id == saved.id
    assert after.path(mine[0].id, ANN) is not None
    assert after.path(mine[0].id, BOB) is None
    assert [picture.id for picture in Gallery(tmp_path).earlier(ANN)] == [picture.id for picture in mine], "once"


def test_a_name_that_somebody_else_got_is_nobodys_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Gallery(tmp_path)

    def taken(part: Path, final: Path) -> None:
        final.write_bytes(b"another server's picture")
        raise KeyboardInterrupt

    monkeypatch.setattr(gallery_module, "give_name", taken)
    with pytest.raises(KeyboardInterrupt):
        save(mine)
    assert Gallery(tmp_path).earlier(ANN) == []


def test_the_pictures_of_a_run_are_found_by_its_id(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    info = {"seed": 1, "image": 1}
    image = Image.new("RGB", (8, 8))
    second = gallery.save(image, info=info, parameters="", owner=ANN, job="here-1")
    first = gallery.save(image, info=info | {"image": 0}, parameters="", owner=ANN, job="here-1")
    gallery.save(image, info=info, parameters="", owner=ANN, job="here-2")
    gallery.save(image, info=info, parameters="", owner=BOB, job="here-1")
    assert [picture.id for picture in Gallery(tmp_path).of_job("here-1", ANN)] == [first.id, second.id]
    assert gallery.of_job("", ANN) == []
