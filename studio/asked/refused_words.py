"""A list of words that are refused in prompts, and whether a text holds one of them.

Words in scripts that divide words by spaces are matched as whole words, or as whole words in a row; those in Chinese,
Japanese, Korean, Thai, Lao, Khmer or Burmese wherever they stand. Letters are compared without case, width, marks above
them and invisible characters: an owner's list is not to be passed by typing a word in full-width letters. Plain data.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence

from studio.asked.emphasis import EmphasisName, read_weights

MAX_WORDS = 1000
MAX_CHARACTERS = 100  # of one word

_WORD = re.compile(r"[^\W\d_]+|\d")  # as CLIP divides a text: runs of letters, and single digits
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
# Shown as nothing, and of no category that says so (Unicode, Default_Ignorable_Code_Point).
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def folded(text: str) -> str:
    """What spellings of one text have in common: no case, width, ligature, mark or invisible character."""
    text = unicodedata.normalize("NFKD", _INVISIBLE.sub("", text)).casefold()
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) not in ("Cf", "Mn"))
    return unicodedata.normalize("NFC", text)


class RefusedWords:
    """A list of words, made ready for looking them up."""

    def __init__(self, words: Sequence[str]) -> None:
        self._whole: list[tuple[str, str]] = []  # a word in the form of `_spaced`, and as it was typed
        self._anywhere: list[tuple[str, str]] = []
        for word in words:
            text = folded(word)
            if _WITHOUT_SPACES.search(text):
                self._anywhere.append((_dense(text), word))
            elif _WORD.search(text):
                self._whole.append((_spaced(text), word))

    @staticmethod
    @functools.lru_cache(maxsize=4)
    def of(words: tuple[str, ...]) -> RefusedWords:
        """The list of these words, made once."""
        return RefusedWords(words)

    def first_in(self, texts: Iterable[str]) -> str | None:
        """The first word of the list that one of the texts holds, as the owner has typed it; None where none does."""
        for text in texts:
            plain = folded(text)
            spaced, dense = _spaced(plain), _dense(plain)
            for word, entry in self._whole:
                if word in spaced:
                    return entry
            for word, entry in self._anywhere:
                if word in dense:
                    return entry
        return None


def has_negative_weight(text: str, emphasis: EmphasisName = "original") -> bool:
    """Whether a span of this text has a weight below 0."""
    return any(span.weight < 0 for span in read_weights(text, emphasis).spans)


def texts_read(texts: Iterable[str], emphasis: EmphasisName = "original") -> list[str]:
    """The texts of a prompt's schedule as the text encoder reads them: without the brackets and numbers of their
    weights. Each once with the spans joined and once apart, since a bracket within a
    word may divide it and may not."""
    read: dict[str, None] = {}
    for text in dict.fromkeys(texts):
        pieces = [" " if span.is_break else span.text for span in read_weights(text, emphasis).spans]
        read |= {"".join(pieces): None, " ".join(pieces): None}
    return list(read)


def _spaced(text: str) -> str:
    return f" {' '.join(_WORD.findall(text))} "


def _dense(text: str) -> str:
    return "".join(text.split())
