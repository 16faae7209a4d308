"""Nothing of an upload outlives its use: files go with the last page or call that has them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.ui import uploads as module
from studio.ui.uploads import Uploads


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts an upload where Gradio does, a folder for each content."""
    monkeypatch.setattr(module, "get_upload_folder", lambda: str(tmp_path / "uploads"))

    def put(content: str) -> Path:
        file = tmp_path / "uploads" / f"hash of {content}" / "picture.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name("new")  # in the way of Gradio: another file takes the old one's place
        new.write_text(content)
        return new.replace(file)

    return put


def test_a_replaced_upload_is_deleted_and_so_is_a_cleared_one(given: Callable[[str], Path]) -> None:
    uploads, first, second = Uploads(), given("a"), given("b")
    uploads.hold("page", "inpaint", str(first))
    uploads.hold("page", "inpaint", str(first))  # Gradio tells the same value twice
    assert first.exists()
    uploads.hold("page", "inpaint", str(second))
    assert not first.parent.exists()
    assert second.exists()
    uploads.hold("page", "inpaint", None)
    assert not second.parent.exists()


def test_what_two_have_goes_with_the_last_of_them(given: Callable[[str], Path]) -> None:
    uploads, file, other = Uploads(), given("a"), given("b")
    uploads.hold("one", "inpaint", file)
    uploads.hold("one", "image_to_image", file)
    uploads.hold("two", "inpaint", file)
    uploads.hold("two", "image_to_image", other)
    uploads.leave("one")
    assert file.exists()
    uploads.leave("two")
    assert not file.exists()
    assert not other.exists()
    uploads.leave("two")


def test_an_upload_of_the_same_content_that_nobody_has_used_yet_stays(given: Callable[[str], Path]) -> None:
    uploads, file = Uploads(), given("a")
    uploads.hold("one", "inpaint", file)
    given("a")
    uploads.leave("one")
    assert file.exists()
    uploads.hold("two", "inpaint", file)
    uploads.leave("two")
    assert not file.exists()


def test_nothing_outside_the_folder_of_uploads_is_ever_deleted(given: Callable[[str], Path], tmp_path: Path) -> None:
    uploads, mine = Uploads(), tmp_path / "mine.png"
    mine.write_text("mine")
    link = given("a").with_name("link.png")
    link.symlink_to(mine)
    for path in (mine, link, tmp_path / "uploads", tmp_path / "nothing", ""):
        uploads.hold("page", "inpaint", path)
    uploads.leave("page")
    assert mine.exists()
    assert link.is_symlink()


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def no_timer(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """The sweeps that would come, instead of threads that wait for them."""
    coming: list[Callable[[], None]] = []

    class Timer:
        def __init__(self, seconds: float, act: Callable[..., None]) -> None:
            assert seconds == module.SECONDS_BETWEEN_SWEEPS
            coming.append(act)

        def start(self) -> None:
            pass

    monkeypatch.setattr(threading, "Timer", Timer)
    return coming


def test_an_upload_that_is_never_used_goes_minutes_after_its_visitor(
    given: Callable[[str], Path], no_timer: list[Callable[[], None]]
) -> None:
    clock = Clock()
    uploads, hers, his = Uploads(clock), given("a"), given("b")
    uploads.visitor("ann", here=True)
    uploads.accept("ann", [str(hers), "/nowhere", "no path"])
    uploads.accept("a program", [str(his)])  # that has no page
    assert len(no_timer) == 1, "one timer for all"
    clock.now = module.SECONDS_UNUSED - 1
    no_timer.pop()()
    assert hers.exists()
    assert his.exists()
    clock.now += 1
    no_timer.pop()()
    assert hers.exists(), "her page shows it still"
    assert not his.parent.exists()
    uploads.visitor("ann", here=False)
    clock.now += module.SECONDS_UNUSED - 1
    uploads.visitor("ann", here=True)  # a reload
    clock.now += 2 * module.SECONDS_UNUSED
    no_timer.pop()()
    assert hers.exists()
    uploads.visitor("ann", here=False)
    clock.now += module.SECONDS_UNUSED
    no_timer.pop()()
    assert not hers.parent.exists()
    assert not no_timer, "nothing is left to sweep"


def test_an_upload_that_is_used_goes_with_its_use_and_not_with_its_arrival(
    given: Callable[[str], Path], no_timer: list[Callable[[], None]]
) -> None:
    clock = Clock()
    uploads, file = Uploads(clock), given("a")
    uploads.accept("ann", [str(file)])
    uploads.hold("page", "inpaint", file)
    clock.now = 10 * module.SECONDS_UNUSED
    uploads.sweep()
    assert file.exists()
    uploads.leave("page")
    assert not file.exists()


def test_the_same_picture_of_another_visitor_waits_for_his_own_use(
    given: Callable[[str], Path], no_timer: list[Callable[[], None]]
) -> None:
    clock = Clock()
    uploads, file = Uploads(clock), given("a")
    uploads.hold("page", "inpaint", file)
    uploads.accept("ben", [str(file)])
    uploads.leave("page")
    assert file.exists()
    clock.now = module.SECONDS_UNUSED
    uploads.sweep()
    assert not file.exists()


def test_a_call_keeps_its_upload_for_a_while(given: Callable[[str], Path], no_timer: list[Callable[[], None]]) -> None:
    clock = Clock()
    uploads, file = Uploads(clock), given("a")
    uploads.hold("call", "image", file)
    uploads.leave("call", after=60)
    uploads.leave("another call", after=60)  # that had nothing
    assert len(no_timer) == 1, "one timer for all calls"
    clock.now = 59.0
    no_timer.pop()()
    assert file.exists()
    uploads.hold("page", "inpaint", file)
    uploads.leave("page")
    assert file.exists(), "the call's time is not over"
    clock.now = 60.0
    no_timer.pop()()
    assert not file.exists()
    assert not no_timer, "nothing is left to sweep"


def test_a_result_can_be_fetched_for_some_minutes(
    given: Callable[[str], Path], no_timer: list[Callable[[], None]], tmp_path: Path
) -> None:
    clock, picture = Clock(), tmp_path / "00001-5.png"
    picture.write_bytes(b"a picture")
    uploads = Uploads(clock)
    first = Path(uploads.result(picture, picture.name, "ann"))
    sheet = Path(uploads.result(b"a sheet", "compare.png", "ann"))
    assert (first.read_bytes(), sheet.read_bytes()) == (b"a picture", b"a sheet")
    clock.now = module.SECONDS_UNUSED - 1
    assert Path(uploads.result(picture, picture.name, "ann")) == first
    no_timer.pop()()
    assert first.exists()
    clock.now += 1
    no_timer.pop()()
    assert first.exists(), "the second call's time is not over"
    assert not sheet.parent.exists()
    clock.now += module.SECONDS_UNUSED
    no_timer.pop()()
    assert not first.parent.exists()
    assert picture.exists()
    assert not no_timer, "nothing is left to sweep"


def test_a_file_belongs_to_all_who_sent_it_or_got_it_and_to_nobody_once_it_is_gone(
    given: Callable[[str], Path], no_timer: list[Callable[[], None]], tmp_path: Path
) -> None:
    clock, file = Clock(), given("a")
    uploads = Uploads(clock)
    assert uploads.owners(str(file)) == frozenset(), "of a file that nobody sent nobody is the owner"
    uploads.announce("ann", [str(file)])
    uploads.accept("ann", [str(file)])
    uploads.accept("ben", [str(file)])
    assert uploads.owners(str(file)) == {"ann", "ben"}
    assert uploads.owners(str(file.parent / ".." / file.parent.name / file.name)) == {"ann", "ben"}
    sheet = uploads.result(b"a sheet", "compare.png", "ann")
    assert uploads.owners(sheet) == {"ann"}
    for elsewhere in (str(tmp_path / "mine.png"), "/etc/passwd", "", "a\0b", str(file) + ".png"):
        assert uploads.owners(elsewhere) is None, elsewhere
    clock.now = module.SECONDS_UNUSED
    uploads.sweep()
    assert uploads._owners == {}
