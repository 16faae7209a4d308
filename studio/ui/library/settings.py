"""The settings of a picture in the library in the page's words: those that had a say in it, with their labels."""

from __future__ import annotations

from collections.abc import Mapping

from studio.asked.requests import REQUEST_KINDS, ROWS
from studio.picture.enlarged import POSTPROCESS
from studio.picture.library.reading import Facts
from studio.ui.render import choice, enlargement_texts
from studio.ui.text import say
from studio.ui.visible import visible

# The page says them elsewhere: the prompts above, the size below. The pictures that it began with are not in the file.
_SHOWN_ELSEWHERE = {name for name, row in ROWS.items() if row.place in ("prompt", "negative_prompt", "size")}
_NOT_IN_THE_FILE = {name for name, row in ROWS.items() if row.kind == "file"}
_FACTS = ("evaluations", "seconds", "threads", "model_hash")  # what the studio writes beside the fields


def settings_of(facts: Facts) -> list[tuple[str, str]]:
    """Label and value of every setting. Of another program's, one that is no field here has the name and the value
    that stand in its file."""
    if facts.info is None:
        return [(_label(name), _value(name, value)) for name, value in facts.settings.items()]
    pairs = [(name, value) for name, value in facts.settings.items() if _has_a_say(name, facts.info)]
    settings = [(_label(name), _value(name, value)) for name, value in pairs if name != POSTPROCESS]
    return settings + [(say("library.fact.postprocess"), text) for text in enlargement_texts(facts.info)]


def _has_a_say(name: str, info: Mapping[str, object]) -> bool:
    if name in _SHOWN_ELSEWHERE or name in _NOT_IN_THE_FILE:
        return False
    row = ROWS.get(name)
    if row is None:
        return True
    return row.acts(info) and not (row.effect == "cosmetic" and info.get(name) == row.default)


def _label(name: str) -> str:
    if name in _FACTS or name == "kind":
        return say(f"library.fact.{name}")
    return say(ROWS[name].label) if name in ROWS else visible(name)


def _value(name: str, value: str) -> str:
    if name == "kind" and value in REQUEST_KINDS:
        return say(f"tab.{value}")
    if name in ROWS and ROWS[name].kind == "flag":
        return say("library.fact.yes" if value == "True" else "library.fact.no")
    if name == "threads":  # a list of numbers
        return visible(value.strip("[]"))
    if name in ROWS and value in ROWS[name].choices:
        return choice(name, value)
    return visible(value)
