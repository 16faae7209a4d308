"""Spaces beside the values of a Chinese sentence: one between a Chinese sign and Latin letters or digits, none between
two Chinese signs. What a value is, a name or a Chinese phrase, is known only when it is filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLACE = re.compile(r"( ?)\{(\w+)\}( ?)")
_HAN = re.compile("[\u4e00-\u9fff]")
# What needs no space beside a Chinese sign: another, punctuation as wide as these, a space.
_CLOSE = re.compile(r"[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef“”‘’…\s]")


def spaced(sentence: str, values: Mapping[str, object]) -> str:
    """The sentence with its {places}, and spaces beside them as these values need them."""

    def place(match: re.Match[str]) -> str:
        text = str(values.get(match[2], ""))
        before, after = sentence[: match.start()][-1:], sentence[match.end() :][:1]
        left, right = match[1], match[3]
        if text and _HAN.match(before):
            left = "" if _CLOSE.match(text[0]) else " "
        if text and _HAN.match(after):
            right = "" if _CLOSE.match(text[-1]) else " "
        return f"{left}{{{match[2]}}}{right}"

    return _PLACE.sub(place, sentence)
