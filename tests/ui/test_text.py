"""The catalogue holds every word of the page, and nothing that nobody says."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path
from typing import get_args

import pytest

from studio.answered.models import PredictionName
from studio.ui import text

UI = Path(text.__file__).parent
PYTHON = sorted(
    p
    for p in UI.rglob("*.py")
    if not p.name.endswith("_texts.py") and p.name not in ("text.py", "chinese.py", "chinese_messages.py")
)
SCRIPTS = sorted(UI.rglob("*.js"))
# The login page and the terminal speak from the same catalogue.
WEB = [*sorted((UI.parent / "web").glob("*.py")), UI.parent.parent / "app.py"]
PREFIXES = {
    "generate/static/stage.js": "stage",
    "generate/static/stage/": "stage",
    "generate/static/helper.js": "helper",
    "generate/static/presets.js": "presets",
    "compare/": "compare",
    "library/": "library",
    "models/": "models",
    "learn/": "learn",
    "queue/": "queue",
    "static/machine.js": "machine",
    "static/upscaling.js": "upscaling",
    "picture_sheet/": "picture_sheet",
}  # what the texts of a script, or of a folder of scripts, begin with; the others are the viewer's
SHOWN = {"label", "info", "placeholder", "title"}  # arguments of components whose value a visitor reads


def test_every_language_has_the_same_keys_and_places() -> None:
    first = text.COLUMNS[text.DEFAULT_LANGUAGE]
    for column in text.COLUMNS.values():
        assert column.keys() == first.keys()
        for key, words in column.items():
            assert places(words) == places(first[key]), key


def places(words: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(words) if name}


def test_a_text_is_filled_and_an_unknown_one_is_an_error() -> None:
    assert text.say("line.seed", seed=7) == "seed 7"
    with pytest.raises(KeyError):
        text.say("no.such.text")
    assert text.words("viewer.decoder") == {
        "fast": text.say("viewer.decoder.fast"),
        "tiny": text.say("viewer.decoder.tiny"),
        "vae": text.say("viewer.decoder.vae"),
        "channels": text.say("viewer.decoder.channels"),
        "cells": text.say("viewer.decoder.cells"),
    }


def test_the_explanations_of_the_viewer_are_the_same_in_every_language() -> None:
    first = text.VIEWER_CAPTIONS[text.DEFAULT_LANGUAGE]
    assert set(text.VIEWER_CAPTIONS) == {"en", "zh"}
    for captions in text.VIEWER_CAPTIONS.values():
        assert captions.keys() == first.keys()
        assert all(captions.values())


def test_what_is_said_of_a_picture_is_said_in_every_language_and_somewhere() -> None:
    first = text.PICTURE_SETTINGS[text.DEFAULT_LANGUAGE]
    picture = UI.parent / "picture"
    sources = "\n".join(p.read_text(encoding="utf-8") for p in [*PYTHON, *picture.glob("*.py"), *SCRIPTS])
    assert set(text.PICTURE_SETTINGS) == {"en", "zh"}
    for texts in text.PICTURE_SETTINGS.values():
        assert texts.keys() == first.keys()
        for key, words in texts.items():
            assert places(words) == places(first[key]), key
            assert f'"{key}"' in sources or f'"{key.split(".")[-1]}"' in sources or f"words.{key}" in sources, key
    for key in re.findall(r'Remark\(\s*"(\w+)"', sources):
        assert f"why.{key}" in first or f"note.{key}" in first, key


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: p.name)
def test_no_component_is_given_words_from_outside_the_catalogue(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg in SHOWN:
                    literal = isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
                    assert not literal, f"{path.name}:{keyword.value.lineno} {keyword.arg}"
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in ("Button", "Tab", "Accordion"):
                assert not (node.args and isinstance(node.args[0], ast.Constant)), f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: p.name)
def test_every_key_that_is_said_is_in_the_catalogue(path: Path) -> None:
    for key in re.findall(r'\bsay\("([a-z0-9_.]+)"', path.read_text(encoding="utf-8")):
        assert key in text.COLUMNS["en"], key


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_scripts_say_only_what_is_in_the_catalogue_and_write_no_markup(path: Path) -> None:
    script = path.read_text(encoding="utf-8")
    name = path.relative_to(UI).as_posix()
    prefix = next((prefix for place, prefix in PREFIXES.items() if name.startswith(place)), "viewer")
    for key in re.findall(r'\bsay\("([a-z0-9_.]+)"', script):
        assert f"{prefix}.{key}" in text.COLUMNS["en"], key
    for parser in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert parser not in script


@pytest.mark.parametrize("prediction", get_args(PredictionName))
def test_every_prediction_has_its_words(prediction: str) -> None:
    for prefix in ("viewer.formula", "viewer.formula.type", "viewer.architecture.predicts", "models.prediction"):
        assert f"{prefix}.{prediction}" in text.COLUMNS["en"]


def test_the_sheet_of_keys_has_a_text_for_each_and_no_other() -> None:
    script = (UI / "static/shortcuts.js").read_text(encoding="utf-8")
    names = re.findall(r'\]\s*, "(\w+)"\],?$', script, re.MULTILINE)
    places = re.findall(r"^  (\w+): \[$", script, re.MULTILINE)
    assert len(names) > 10
    assert len(places) > 3
    assert {f"shortcuts.does.{name}" for name in names} == {k for k in text.COLUMNS["en"] if ".does." in k}
    assert {f"shortcuts.place.{name}" for name in places} == {k for k in text.COLUMNS["en"] if "shortcuts.place." in k}


def test_no_text_is_left_that_nobody_says() -> None:
    sources = "\n".join(p.read_text(encoding="utf-8") for p in [*PYTHON, *SCRIPTS, *WEB])
    dynamic = (
        "landmark.",
        "canvas.color.",
        "library.saving.note.",
        "aspect.",
        "line.guidance.",
        "viewer.guidance.method.",
        "viewer.whatif.",
        "choice.",
        "stage.decoder.",
        "stage.keys.",
        "compare.keys.",
        "viewer.pane.",
        "prompt_box.kind.",
        "viewer.how.",
        "viewer.number.",
        "viewer.decoder.",
        "viewer.mode.",
        "viewer.language.",
        "viewer.group.",
        "library.fact.",
        "library.mode.",
        "queue.queued",
        "viewer.symbol.",
        "viewer.formula.",
        "viewer.undefined.",
        "viewer.tab.",
        "viewer.latent.",
        "viewer.schedules.",
        "viewer.forward.",
        "viewer.loss.line.",
        "viewer.vae.",
        "viewer.words.",
        "viewer.attention.",
        "helper.",
        "control.paint.",
        "compare.axis.",
        "compare.values.help.",
        "compare.state.",
        "compare.mode.",
        "viewer.branches.",
        "viewer.architecture.",
        "viewer.export.",
        "models.kind.",
        "models.form.",
        "models.part.",
        "models.one.",
        "models.short.",
        "models.place.",
        "models.state.",
        "models.prediction.",
        "models.load.of",
        "models.hub.",
        "models.unload.of",
        "models.vae.choose.of",
        "models.convert.of",
        "models.conversion.",
        "models.merge.",
        "models.link.",
        "api.",
        "sharing.",
        "shortcuts.place.",
        "shortcuts.does.",
        "page.",
        "learn.chapter.",
        "learn.cost.",
        "learn.kinds.",
        "learn.under_mask.",
        "learn.objective.",
        "learn.plane.",
        "learn.whole.part.",
        "machine.",
        "slider.",
        "picture_sheet.compared.",
        "picture_sheet.template.",
        "styles.",
    )
    for key in text.COLUMNS["en"]:
        last = key.split(".", 1)[-1]
        said = f'"{key}"' in sources or f'"{last}"' in sources or key.startswith(dynamic)
        by_field = key.endswith((".label", ".help", ".placeholder"))
        scripts = ("prompts.", "header.", "compare.", "copying.", "announcement.", "camera.", "shortcuts.")
        scripts += ("picture_sheet.choose", "prompt_box.", "drawer.", "save_as.", "presets.")
        by_words = key.startswith(scripts) and f".{last}" in sources.replace("words.", ".").replace("words().", ".")
        assert said or by_field or by_words, key
