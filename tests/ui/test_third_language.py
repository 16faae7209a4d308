"""A third language, put in by the steps of docs/translating.md: it is there everywhere, or English stands in for it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import studio
from studio.asked.messages import Message, listed
from studio.ui import assets, language, text
from studio.ui.generate.starting import offer_of_file
from studio.ui.learn_texts import LEARN
from studio.ui.preset_texts import PRESETS
from studio.ui.prompt_texts import PROMPT_BOX
from studio.ui.queue_texts import QUEUE
from studio.ui.viewer import noise_viewer
from studio.ui.word_texts import PROMPT_WORDS
from studio.web.entrance import login_page
from tests.picture.test_taken_over import infotext

ROOT = Path(studio.__file__).parent
STEPS = (ROOT.parent / "docs" / "translating.md").read_text().split("## A third language")[1].split("\n## ")[0]
TABLES = {
    name: getattr(text, name)
    for name in (
        "VIEWER_CAPTIONS",
        "PICTURE_SETTINGS",
        "SHARING",
        "LEARN",
        "QUEUE",
        "PRESETS",
        "NEW_MODELS",
        "PROMPT_WORDS",
        "UPSCALING",
        "PROMPT_BOX",
        "GUIDANCE",
    )
}
FRENCH = {"line.seed": "graine {seed}", "prompt.label": "Invite"}
MESSAGES = {"There is no {part} in {file}.": "{file} n'a pas de {part}.", "text encoder": "encodeur de texte"}


@pytest.fixture
def put_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Put the language in; with a column in each of the tables, or without."""

    def put(tables: bool) -> None:
        monkeypatch.setitem(language.TAGS, "fr", "fr")
        monkeypatch.setitem(language.NAMES, "fr", "français")
        monkeypatch.setitem(text.COLUMNS["en"], "viewer.language.fr", "français")
        monkeypatch.setitem(text.OTHER_COLUMNS, "fr", lambda: FRENCH)
        monkeypatch.setitem(text.OTHER_MESSAGES, "fr", MESSAGES.get)
        for name, table in TABLES.items() if tables else ():
            first = next(key for key, words in table["en"].items() if "{" not in words)
            monkeypatch.setitem(table, "fr", {first: f"{name} en français"})

    text.column.cache_clear()
    yield put
    text.column.cache_clear()  # what was put in goes with monkeypatch
    text._choices.cache_clear()
    assets.texts.cache_clear()


def side_by_side() -> set[str]:
    """The tables of the source that have a column per language, by their name."""
    names = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.value, ast.Dict)
                and isinstance(node.target, ast.Name)
            ):
                keys = {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
                names |= {node.target.id} if "zh" in keys else set()
    return names


def test_the_steps_name_every_table_with_a_column_per_language() -> None:
    tables = side_by_side()
    assert {*TABLES, "TAGS", "NAMES", "OTHER_COLUMNS", "OTHER_MESSAGES"} == tables
    assert not [name for name in tables if f"`{name}`" not in STEPS]
    assert TABLES["LEARN"] is LEARN
    assert TABLES["QUEUE"] is QUEUE
    assert TABLES["PRESETS"] is PRESETS
    assert TABLES["PROMPT_WORDS"] is PROMPT_WORDS
    assert TABLES["PROMPT_BOX"] is PROMPT_BOX


def test_every_language_has_been_put_in_whole() -> None:
    for name in language.TAGS:
        assert name in language.NAMES
        assert f"viewer.language.{name}" in text.COLUMNS["en"]
        if name != language.DEFAULT:
            assert name in text.OTHER_COLUMNS
            assert name in text.OTHER_MESSAGES


@pytest.mark.parametrize("tables", [True, False])
def test_a_third_language_has_every_key_in_english_where_it_has_none(
    put_in: Callable[[bool], None], tables: bool
) -> None:
    put_in(tables)
    english, french = text.COLUMNS["en"], text.column("fr")
    assert french.keys() == english.keys()
    own = {key for key, words in french.items() if words != english[key]}
    assert set(FRENCH) < own if tables else set(FRENCH) == own
    assert {french[key] for key in own - set(FRENCH)} == (
        {f"{name} en français" for name in TABLES.keys() - {"VIEWER_CAPTIONS", "PICTURE_SETTINGS"}} if tables else set()
    )
    for table in (text.VIEWER_CAPTIONS, text.PICTURE_SETTINGS):
        texts = text.in_every_language(table)
        assert set(texts) == {"en", "zh", "fr"}
        assert texts["fr"].keys() == table["en"].keys()
        assert len({key for key in texts["fr"] if texts["fr"][key] != table["en"][key]}) == tables


def test_a_third_language_is_spoken_everywhere(put_in: Callable[[bool], None]) -> None:
    put_in(True)
    with language.speaking("fr"):
        assert text.say("line.seed", seed=7) == "graine 7"
        assert text.say("tab.compare") == "Compare"
        part = Message("text encoder")
        refusal = Message("There is no {part} in {file}.", part=part, file="a.safetensors")
        assert text.spoken(refusal) == "a.safetensors n'a pas de encodeur de texte."
        assert text.spoken(listed([part, Message("nothing known")])) == "encodeur de texte, nothing known"
        page = bytes(login_page().body).decode()
    assert '<html lang="fr">' in page
    assert "中文" in page
    assert '"prompt.label": "Invite"' in assets.texts("fr").content.decode()
    assert set(noise_viewer.props(())["captions"]) == set(language.TAGS)
    notes = offer_of_file(infotext("Steps: 200, Sampler: Nobody knows"), ())["notes"]
    assert notes["fr"] == notes["en"] != []
