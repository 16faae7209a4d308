"""Names by the owner's pattern: AUTOMATIC1111's words, safe on every system, never another picture's."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from studio.answered.events import Picture
from studio.asked.fields import TextToImage
from studio.asked.problems import InvalidRequest
from studio.asked.resolved import Suits, resolve
from studio.picture import free_names
from studio.picture.gallery import Gallery
from studio.picture.gallery_index import INDEX_NAME
from studio.picture.infotext import parameters_text
from studio.picture.library.library import Library
from studio.picture.library.search import OWNER, Search
from studio.picture.metadata import picture_info
from studio.picture.naming import DEFAULT_PATTERN, EXAMPLE, WORDS, example_of, name_of, parse_pattern
from studio.picture.saving import Saving, as_text

ANN, BOB = "a" * 32, "b" * 32
WHEN = datetime(2026, 11, 29, 9, 5, 7)


def save(gallery: Gallery, *, seed: int = 7, prompt: str = "a red fox", owner: str = ANN) -> Picture:
    info = picture_info(resolve(TextToImage(prompt=prompt, seed=seed), Suits()), width=64, height=64)
    return gallery.save(Image.new("RGB", (8, 8)), info=info, parameters=parameters_text(info), owner=owner)


def gallery_of(folder: Path, pattern: str) -> Gallery:
    gallery = Gallery(folder)
    gallery.saving.path.write_text(as_text(Saving(pattern=pattern)))
    return gallery


# ---------------------------------------------------------------------------------------------------- the pattern


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (DEFAULT_PATTERN, "2026-11-29/00001-814512"),
        ("[model_name]/[date]/[seed]-[number]", "small-world-128/2026-11-29/814512-00001"),
        ("[prompt_words]", "a red fox in the snow golden hour"),
        ("[prompt]", "a_red_fox_in_the_snow,_golden_hour"),
        ("[prompt_spaces]", "a red fox in the snow, golden hour"),
        ("[width]x[height] [sampler] [steps] cfg[cfg]", "512x768 DPM++ 2M 25 cfg7.5"),
        ("[sampler_scheduler]", "DPM++ 2M Karras"),
        ("[datetime]", "20261129090507"),
        ("[datetime<%Y-%m>]/[datetime<%H.%M>]", "2026-11/09.05"),
        ("[model_hash]_[clip_skip]_[batch_number]_[vae_filename]", "5c1ab9d0e2_1_1_Automatic"),
        ("compare/[seed]", "_compare/814512"),
        ("con/nul.[seed]", "_con/_nul.814512"),
        ("[denoising]", "_"),
    ],
)
def test_a_pattern_gives_a_name(pattern: str, name: str) -> None:
    assert example_of(pattern, WHEN) == name


def test_the_hashes_are_those_of_automatic1111() -> None:
    def digits(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    prompt = str(EXAMPLE["prompt"])
    expected = f"{digits(prompt)}-{digits(prompt + ' ')}-{digits('')}"  # as its images.py joins the two prompts
    assert example_of("[prompt_hash]-[full_prompt_hash]-[negative_prompt_hash]", WHEN) == expected


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("[sed]", "[sed]: the words are"),
        ("[seed]-[generation_number]", "[generation_number]"),
        ("", "1 to 200 characters"),
        ("x" * 201, "1 to 200 characters"),
        ("../[seed]", "with a name each"),
        ("/[seed]", "with a name each"),
        ("[date]/", "with a name each"),
        ("a/b/c/d/e/[seed]", "at most 4 folders"),
        ("C:\\[seed]", "outside its words"),
        ("a\n[seed]", "outside its words"),
        ("a\u202e[seed]", "outside its words"),
        ("[seed", "outside its words"),
        ("[seed]<x>", "outside its words"),
        ("[datetime<%d/%m>]", "[datetime<"),
        ("[datetime<%Q>]", "[datetime<"),
        ("[seed<1>]", "[datetime<"),
        ("[number]/[seed]", "[number] once"),
        ("[number][number]", "[number] once"),
        ("🍎" * 40 + "[seed]", "bytes of text of its own"),
    ],
)
def test_a_bad_pattern_is_named(pattern: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_pattern(pattern)
    assert words in str(caught.value)
    with pytest.raises(InvalidRequest):
        Saving.parse({"pattern": pattern})


SAFE = re.compile(r'[^<>:"/\\|?*\x00-\x1f\x7f]+')


@settings(max_examples=150, deadline=None)
@given(
    prompt=st.text(max_size=400),
    pattern=st.lists(st.sampled_from([f"[{word}]" for word in WORDS if word != "number"]), min_size=1, max_size=5),
    slash=st.booleans(),
)
def test_whatever_a_prompt_says_the_name_is_safe(prompt: str, pattern: list[str], slash: bool) -> None:
    name = name_of(("/" if slash else "-").join(pattern), {**EXAMPLE, "prompt": prompt, "checkpoint": prompt}, WHEN)
    path = f"{name.folder}/{name.stem(12)}.png" if name.folder else f"{name.stem(12)}.png"
    assert len(path.encode()) < 250
    for part in path.split("/"):
        assert SAFE.fullmatch(part)
        assert not part.startswith((".", " "))
        assert not part.endswith((".", " "))
        assert len(part.encode()) < 200


@pytest.mark.parametrize("prompt", ["CON", "aux.", "com1", "LPT9.txt", "..", "....", "~", "/etc/passwd", "\0", "　"])
def test_names_that_windows_or_a_path_would_take_otherwise(prompt: str) -> None:
    name = name_of("[prompt_spaces]", {**EXAMPLE, "prompt": prompt}, WHEN).stem(1)
    assert SAFE.fullmatch(name)
    assert name.partition(".")[0].casefold() not in ("con", "aux", "com1", "lpt9", "")


# ------------------------------------------------------------------------------------------------------- on disk


def test_pictures_lie_where_the_pattern_says_and_are_found(tmp_path: Path) -> None:
    gallery = gallery_of(tmp_path, "[model_name]/[prompt_words]/[seed]-[number]")
    first, second = save(gallery, seed=11), save(gallery, seed=12)
    assert first.file_name == "small-world-128/a red fox/11-00001.png"
    assert second.file_name == "small-world-128/a red fox/12-00002.png"
    again = Gallery(tmp_path)
    assert again.earlier(ANN) == [second, first]
    assert again.path(first.id, BOB) is None
    assert again.thumbnail(first.id, ANN)
    assert save(again, seed=13).file_name == "small-world-128/a red fox/13-00003.png"
    library = Library(again)
    try:
        library.look()
        assert {one.row.id for one in library.page(OWNER, Search())} >= {first.id, second.id}
    finally:
        library.close()


@pytest.mark.parametrize("pattern", ["[seed]", "[prompt_words]", "x/[prompt_words]"])
def test_a_taken_name_is_never_given_again(tmp_path: Path, pattern: str) -> None:
    gallery = gallery_of(tmp_path, pattern)
    pictures = [save(gallery) for _ in range(3)]
    names = [picture.file_name.rpartition("/")[2].removesuffix(".png") for picture in pictures]
    assert names[1:] == [f"{names[0]}-2", f"{names[0]}-3"]
    assert gallery.remove(pictures[0].id, ANN)
    for other in (gallery, Gallery(tmp_path)):  # a deleted one's neither, in capitals or not
        later = save(other, prompt="A RED FOX", owner=BOB)
        assert later.file_name.casefold() not in {one.file_name.casefold() for one in pictures}
        assert other.path(pictures[0].id, ANN) is None


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    gallery = gallery_of(tmp_path, "[seed]")
    (tmp_path / "7.png").write_bytes(b"another program's")
    assert save(gallery).file_name == "7-2.png"
    assert (tmp_path / "7.png").read_bytes() == b"another program's"


def test_a_disk_that_takes_no_such_name_gets_the_usual_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gallery = gallery_of(tmp_path, "taken/[seed]")
    (tmp_path / "taken").write_bytes(b"a file where a folder would be")
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}/00001-7\.png", save(gallery).file_name)
    assert "by the owner's pattern" in caplog.text


def test_a_link_on_the_way_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    gallery = gallery_of(outputs := tmp_path / "outputs", "a/b/[seed]")
    (outputs / "a").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(OSError, match="link"):
        save(gallery)
    assert list(elsewhere.iterdir()) == []


def test_comparisons_stay_in_their_folder(tmp_path: Path) -> None:
    gallery = gallery_of(tmp_path, "mine/[seed]")
    info = picture_info(resolve(TextToImage(prompt="x", seed=7), Suits()), width=64, height=64)
    cell = gallery.save(Image.new("RGB", (8, 8)), info=info, parameters="", owner=ANN, part_of="job")
    assert cell.file_name.startswith("compare/")
    kept = gallery.keep(cell.id, ANN)
    assert kept is not None
    assert kept.file_name == "mine/7.png"


def test_an_older_studio_reads_what_it_understands(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    save(gallery)
    gallery.saving.path.write_text(as_text(Saving(pattern="[seed]")))
    save(gallery)
    lines = [json.loads(line) for line in (tmp_path / INDEX_NAME).read_text().splitlines() if line]
    assert [line["version"] for line in lines if "id" in line] == [1, 2]


def test_leftovers_of_killed_saves_go_from_every_folder(tmp_path: Path) -> None:
    gallery = gallery_of(tmp_path, "deep/[model_name]/[seed]")
    folder = tmp_path / Path(save(gallery).file_name).parent
    (folder / ".0123.part").write_bytes(b"x")
    (folder / ".0123.part").touch()
    os.utime(folder / ".0123.part", (time.time() - 7200,) * 2)
    Gallery(tmp_path)
    assert not (folder / ".0123.part").exists()


def test_a_name_is_found_soon_among_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = gallery_of(tmp_path, "same")
    for number in range(1, 2000):
        (tmp_path / ("same.png" if number == 1 else f"same-{number}.png")).touch()
    looks = []

    def look(folder: Path) -> list[str]:
        looks.append(folder)
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]

    monkeypatch.setattr(free_names.os, "listdir", look)
    assert save(gallery).file_name == "same-2000.png"
    assert save(gallery).file_name == "same-2001.png"
    assert len(looks) == 1
