"""Names are compared in one place: normalised, in any case, with or without folders; never in the middle of a word."""

from __future__ import annotations

import unicodedata

import pytest

from studio.asked.names import best_matches, listed_name, name_key, same_name, short_names, split_at_names

PATHS = ["models/loras/same", "models/loras/anime/same", "models/loras/Straße", "models/loras/cafe\u0301", "a/b/other"]


def named(name: str) -> list[str]:
    return best_matches(name, PATHS, lambda path: (path, f"{path}.safetensors"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("café", "cafe\u0301", True),
        ("CAFÉ", "cafe\u0301", True),
        ("Straße", "STRASSE", True),
        ("Straße", "strasse", True),
        ("한국", unicodedata.normalize("NFD", "한국"), True),
        ("İstanbul", "i\u0307stanbul", True),
        ("İstanbul", "istanbul", False),
        ("ılık", "ilik", False),
        ("ﬁlm", "film", True),
        ("ᾳ", "\u03b1\u0345", True),
        ("cafe", "café", False),
    ],
)
def test_two_spellings_of_one_name(one: str, other: str, same: bool) -> None:
    assert same_name(one, other) is same


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("anime/same", ["models/loras/anime/same"]),
        ("ANIME\\Same.safetensors", ["models/loras/anime/same"]),
        ("loras/same", ["models/loras/same"]),
        ("same", ["models/loras/same", "models/loras/anime/same"]),
        ("strasse", ["models/loras/Straße"]),
        ("STRASSE", ["models/loras/Straße"]),
        ("café", ["models/loras/cafe\u0301"]),
        ("other.ckpt", ["a/b/other"]),
        ("ther", []),
        ("", []),
        ("/", []),
    ],
)
def test_a_name_is_the_end_of_a_path_at_a_folders_border(name: str, found: list[str]) -> None:
    assert named(name) == found


@pytest.mark.parametrize(
    ("name", "listed"),
    [("Fox", "Fox"), ("FOX", None), ("POKÉMON", "Poke\u0301mon"), ("wolf", None), ("fox", "fox")],
)
def test_a_spelling_of_a_listed_name(name: str, listed: str | None) -> None:
    assert listed_name(name, ["Fox", "fox", "Poke\u0301mon"]) == listed


def test_the_same_letters_come_before_another_spelling() -> None:
    both = ["a/Style", "a/style"]
    assert best_matches("style", both, lambda path: (path,)) == ["a/style"]
    assert best_matches("STYLE", both, lambda path: (path,)) == both


def test_short_names_are_no_other_files() -> None:
    paths = ["m/loras/one", "m/loras/a/same", "m/loras/same", "m/x/twin", "m/x/twin", "m/y/alike", "m/y/alike"]
    endings = dict(zip(range(7), [".s", ".s", ".s", ".s", ".c", ".s", ".s"]))
    names = short_names(range(7), lambda k: paths[k], lambda k: endings[k])
    assert names == ["one", "a/same", "loras/same", "twin.s", "twin.c", "", ""]


KOREAN = unicodedata.normalize("NFD", "한국 한")
NAMES = ["toy", "toy car", "Straße", "istanbul", "cafe", "i", "sub/toy", "한", "हिन्दी"]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a TOY, embedding:toy", [("a ", ""), ("TOY", "toy"), (", ", ""), ("toy", "toy")]),
        ("Embedding:Toy", [("Toy", "toy")]),
        ("toy cars", [("toy", "toy"), (" cars", "")]),
        ("toy car!", [("toy car", "toy car"), ("!", "")]),
        ("toys my-toy toy_2 étoy e\u0301toy toy\u0301", [("toys my-toy toy_2 étoy e\u0301toy toy\u0301", "")]),
        ("STRASSE strasse", [("STRASSE", "strasse"), (" ", ""), ("strasse", "strasse")]),
        ("İstanbul ıstanbul İ ı", [("İstanbul ıstanbul İ ı", "")]),
        ("I", [("I", "i")]),
        ("café cafe\u0301", [("café cafe\u0301", "")]),
        ("sub/toy", [("sub/toy", "sub/toy")]),
        ("한국", [("한국", "")]),
        (KOREAN, [(KOREAN[:-3], ""), (KOREAN[-3:], name_key("한"))]),
        ("a हिन्दी word", [("a ", ""), ("हिन्दी", "हिन्दी"), (" word", "")]),
        ("", []),
    ],
)  # fmt: skip
def test_a_name_inside_a_text_is_a_word_of_its_own(text: str, pieces: list[tuple[str, str]]) -> None:
    assert split_at_names(text, NAMES, prefix="embedding:") == pieces


def test_every_character_beside_a_name_leaves_the_text_whole() -> None:
    for code in range(0x110000):
        if 0xD800 <= code <= 0xDFFF or (code % 7 and code > 0x3000):
            continue
        text = f"a{chr(code)} toy {chr(code)}b"
        pieces = split_at_names(text, ["toy", "straße"])
        assert "".join(piece for piece, _ in pieces) == text
        assert ("toy", "toy") in pieces
