"""Wildcard files: which lines they have, that no name and no link leads out, and that a change is seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from studio.asked.guest_rules import Rules
from studio.asked.template import NoSuchLines, resolve_template
from studio.checkpoints import wildcards
from studio.checkpoints.wildcards import WildcardFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    folder = tmp_path / "wildcards"
    (folder / "animals").mkdir(parents=True)
    (folder / "colour.txt").write_bytes("\ufeffred\r\n# a comment\n\n  sky blue  \n".encode())
    (folder / "animals" / "big-ones.txt").write_text("bear\n")
    return folder


@pytest.fixture
def files(folder: Path) -> WildcardFiles:
    return WildcardFiles([folder.parent / "models"])


def test_lines_are_stripped_without_comments_and_empty_ones(files: WildcardFiles) -> None:
    assert files.lines("colour") == ("red", "sky blue")
    assert files.lines("animals/big-ones") == ("bear",)
    assert files.names() == ("animals/big-ones", "colour")


def test_a_file_that_changes_is_read_again(files: WildcardFiles, folder: Path) -> None:
    assert files.lines("colour") == ("red", "sky blue")
    (folder / "colour.txt").write_text("green\nyellow\nblack")
    assert files.lines("colour") == ("green", "yellow", "black")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "animals/../../secret", "animals//big-ones", "a.b", "", "/"]
)
def test_no_name_leads_out(files: WildcardFiles, folder: Path, name: str) -> None:
    (folder.parent / "secret.txt").write_text("secret")
    with pytest.raises(NoSuchLines, match="no wildcard file"):
        files.lines(name)


def test_links_are_not_followed_out(files: WildcardFiles, folder: Path) -> None:
    (folder.parent / "secret.txt").write_text("secret")
    (folder.parent / "outside").mkdir()
    (folder.parent / "outside" / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "there").symlink_to(folder.parent / "outside")
    (folder / "same.txt").symlink_to(folder / "colour.txt")
    for name in ("link", "there/secret"):
        with pytest.raises(NoSuchLines, match="no wildcard file"):
            files.lines(name)
    assert files.lines("same") == ("red", "sky blue")
    assert "link" not in files.names()


def test_a_file_that_cannot_be_used_is_named(
    files: WildcardFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "empty.txt").write_text("# nothing\n")
    assert resolve_template("__empty__", 1, files).notices == ('"__empty__" is read as words: its file has no lines.',)
    monkeypatch.setattr(wildcards, "MAX_BYTES", 4)
    assert "its file is larger than" in resolve_template("__colour__", 1, files).notices[0]


def test_a_fifo_is_no_file(files: WildcardFiles, folder: Path) -> None:
    os.mkfifo(folder / "pipe.txt")
    with pytest.raises(NoSuchLines):
        files.lines("pipe")


def test_guests_have_them_only_where_the_owner_lets_them(files: WildcardFiles) -> None:
    assert files.for_visitor(Rules(wildcards=True)) is files
    refused = resolve_template("__colour__ __none__", 1, files.for_visitor(Rules(wildcards=False)))
    assert refused.text == r"\__colour__ \__none__"
    assert all("keeps the wildcard files to themselves" in notice for notice in refused.notices)
    assert resolve_template("{a|a}", 1, files.for_visitor(Rules(wildcards=False))).text == "a"
