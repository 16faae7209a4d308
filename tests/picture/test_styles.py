"""Styles: AUTOMATIC1111's styles.csv, read and written, and what a style makes of a prompt."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from studio.asked.problems import InvalidRequest
from studio.picture import styles as module
from studio.picture.styles import Style, Styles, csv_of, styles_of, with_style, with_styles


@pytest.mark.parametrize(
    ("prompt", "words", "expected"),
    [
        ("a fox", "oil painting", "a fox, oil painting"),
        ("a fox", "oil of {prompt}, dark", "oil of a fox, dark"),
        ("", "oil", "oil"),
        ("", "oil of {prompt}", "oil of "),
        ("a fox", "", "a fox"),
        (" a fox ", " oil ", "a fox, oil"),
        ("a fox", "{prompt} and {prompt}", "a fox and a fox"),
    ],
)
def test_a_style_is_put_around_a_prompt_or_behind_it(prompt: str, words: str, expected: str) -> None:
    assert with_style(prompt, words) == expected


def test_several_styles_come_one_after_the_other() -> None:
    styles = [Style(name="a", prompt="oil of {prompt}", negative_prompt="photo"), Style(name="b", prompt="dark")]
    assert with_styles("a fox", "bad", styles) == ("oil of a fox, dark", "bad, photo")


def test_a_file_of_automatic1111_is_read_and_written_again() -> None:
    text = (
        'name,prompt,negative_prompt,comment\n"------ mine ------",,,\nOil,"oil of {prompt}, ""dark""",photo,old\n'
        'Two lines,"a\nb",,\n,no name,,\nOil,again,,\n'
    )
    styles = styles_of(text)
    assert [style.name for style in styles] == ["Oil", "Two lines"]
    assert styles[0] == Style(
        name="Oil", prompt='oil of {prompt}, "dark"', negative_prompt="photo", more={"comment": "old"}
    )
    assert styles[1].prompt == "a\nb"
    assert styles_of(csv_of(styles)) == styles
    assert next(csv.reader(csv_of([]).splitlines())) == ["name", "prompt", "negative_prompt"]
    assert styles_of("name,text\nOld,words\n") == [Style(name="Old", prompt="words")]


def test_each_has_their_own_and_the_owner_s_lie_in_the_outputs_folder(tmp_path: Path) -> None:
    styles = Styles(tmp_path)
    styles.save(None, "Oil", "oil", "")
    styles.save("ann", "  Ink  wash ", "ink", "photo")
    assert [one.name for one in styles.of(None)] == ["Oil"]
    assert [one.name for one in styles.of("ann")] == ["Ink wash"]
    assert styles.of("bob") == ()
    assert (tmp_path / "styles.csv").read_bytes().startswith("\ufeffname,prompt,negative_prompt\r\nOil,oil,".encode())
    styles.save(None, "Oil", "oil, thick", "flat")
    assert styles.of(None) == (Style(name="Oil", prompt="oil, thick", negative_prompt="flat"),)
    assert styles.delete("ann", "Ink wash") == ()
    with pytest.raises(InvalidRequest, match=r"'Ink wash' is not allowed. Allowed: the styles Oil"):
        styles.named(None, ["Oil", "Ink wash"])
    assert styles.named(None, ["Oil"])[0].prompt == "oil, thick"


@pytest.mark.parametrize(
    ("name", "prompt", "problem"),
    [("", "x", "name: nothing"), ("a", "", "prompt: nothing"), (7, "x", "name: 7"), ("n" * 101, "x", "at most 100")],
)
def test_what_is_no_style_is_refused_and_writes_nothing(
    tmp_path: Path, name: object, prompt: object, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        Styles(tmp_path).save(None, name, prompt, "")
    assert not list(tmp_path.iterdir())


def test_there_are_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    styles = Styles(tmp_path)
    monkeypatch.setattr(module, "MAX_STYLES", 1)
    monkeypatch.setattr(module, "MAX_FILES", 1)
    styles.save("ann", "a", "x", "")
    with pytest.raises(InvalidRequest, match="at most 1 styles"):
        styles.save("ann", "b", "x", "")
    with pytest.raises(InvalidRequest, match="styles of 1 guests"):
        styles.save("bob", "a", "x", "")
    (tmp_path / "styles.csv").write_bytes(b"\xff\xfe\x00name")
    assert styles.of(None) == ()
