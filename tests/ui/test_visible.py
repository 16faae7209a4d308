"""Text of others is shown without what cannot be seen."""

from __future__ import annotations

import pytest

from studio.answered.model_facts import ModelFacts
from studio.answered.models import Model
from studio.ui.models import model_list
from studio.ui.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines", "two⟨U+000A⟩lines"),
        ("\x1b[31mred", "⟨U+001B⟩[31mred"),
        ("cod\u202esrotcesetaf.exe", "cod⟨U+202E⟩srotcesetaf.exe"),
        ("\u2028\udc80", "⟨U+2028⟩⟨U+DC80⟩"),
        ("نموذج 中文 👩\u200d🚀", "نموذج 中文 👩\u200d🚀"),
    ],
)
def test_what_cannot_be_seen_is_written_as_its_number(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_the_list_of_models_shows_no_name_raw_and_keeps_the_lines_of_a_note() -> None:
    model = Model(
        id="1", name="a\nb\u202e", label="a\nb\u202e", where="x\x1b", state="usable", note="one\ntwo",
        facts=ModelFacts(kind="lora", metadata=(("title\n", "first\nsecond\x07"),)),
    )  # fmt: skip
    line = model_list._line(model_list._row(model))
    assert (line["name"], line["label"]) == ("a⟨U+000A⟩b⟨U+202E⟩",) * 2
    assert line["where"] == "x⟨U+001B⟩"
    assert line["note"] == "one\ntwo"
    assert line["metadata"] == [["title\n", "first\nsecond⟨U+0007⟩"]]
