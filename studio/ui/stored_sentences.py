"""Sentences that were stored as English text, in a picture's file or beside a model, said in the visitor's language.

A `Message` keeps its key and values; what was written to a file does not. It is known again by its form.
"""

from __future__ import annotations

import re
from functools import cache

from studio.asked.messages import Message
from studio.ui import language
from studio.ui.chinese_messages import CHINESE_MESSAGES
from studio.ui.text import spoken

FEWEST_LETTERS = 12  # of a form beside its places: a shorter one fits too much, unless what stands in it is known
MAX_DEPTH = 3  # of sentences within sentences


def retold(text: str, depth: int = 0) -> str:
    """The sentence in the language of this request; the text itself where it is none that the studio says."""
    if isinstance(text, Message) or language.current() == language.DEFAULT or depth > MAX_DEPTH:
        return str(spoken(text))
    if text in CHINESE_MESSAGES:
        return str(spoken(Message.of(text, text, {})))
    for form, sentence, particular in _forms():
        if match := form.fullmatch(text):
            values = {name: retold(value, depth + 1) for name, value in match.groupdict().items()}
            if particular or values != match.groupdict():
                return str(spoken(Message.of(sentence, text, values)))
    return text


@cache
def _forms() -> list[tuple[re.Pattern[str], str, bool]]:
    """Each sentence with places: its form, the sentence with named places, and whether its own words tell it from
    others. The longest come first."""
    forms = []
    for english in sorted(CHINESE_MESSAGES, key=len, reverse=True):
        first, *rest = english.split("{}")
        if not rest:
            continue
        form, sentence = re.escape(first), first
        for k, piece in enumerate(rest):
            form += f"(?P<p{k}>.+?){re.escape(piece)}"
            sentence += f"{{p{k}}}{piece}"
        particular = sum(map(str.isalpha, "".join((first, *rest)))) >= FEWEST_LETTERS
        forms.append((re.compile(form, re.DOTALL), sentence, particular))
    return forms
