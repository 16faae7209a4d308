"""Where in a typed prompt the characters stand that a text encoder reads: what is left of it without comments, tags,
the later texts of a schedule, brackets and weights, each character with its place. For showing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from studio.asked.emphasis import BREAK, weighted_spans
from studio.asked.prompt import AND, COMMENT, COMMENT_LINE, TAG, Prompt


@dataclass(frozen=True)
class PlacedText:
    """A text and, for each of its characters, the place in the typed text where it stands."""

    text: str
    places: Sequence[int]

    def part(self, begin: int, end: int) -> PlacedText:
        """The characters from `begin` to before `end`."""
        return PlacedText(self.text[begin:end], self.places[begin:end])

    def replaced(self, pattern: re.Pattern[str], by: str) -> PlacedText:
        """With `by`, one character or none, instead of each match."""
        text, places, end = "", list[int](), 0
        for match in pattern.finditer(self.text):
            text += self.text[end : match.start()] + by
            places += self.places[end : match.start()]
            places += [self.places[match.start()]] * len(by)
            end = match.end()
        return PlacedText(text + self.text[end:], [*places, *self.places[end:]])


def first_texts(prompt: Prompt) -> list[PlacedText]:
    """The text of the first step of each of the texts that AND joins, as `studio.diffusion.tokens.tokenize` reads them;
    brackets and weights are still there."""
    typed = PlacedText(prompt.text, range(len(prompt.text)))
    words = typed.replaced(COMMENT_LINE, "\n").replaced(COMMENT, "\n").replaced(TAG, "")
    texts, begin = [], 0
    joints = [match.end() for match in AND.finditer(words.text)] if len(prompt.subprompts) > 1 else []
    for one, after in zip(prompt.subprompts, [*joints, len(words.text)]):
        own = words.part(begin, begin + len(one.words))  # the weight behind it is left out
        begin = after
        pieces = list(one.schedule.pieces_at(1, 1000))
        places = [own.places[piece.start + k] for piece in pieces for k in range(len(piece))]
        texts.append(PlacedText("".join(pieces), places))
    return texts


def placed_spans(text: PlacedText, prompt: Prompt) -> list[PlacedText]:
    """The spans between brackets of one weight each, without the BREAKs (`studio.asked.emphasis.weighted_spans`)."""
    spans = []
    at = 0
    for span in weighted_spans(text.text, prompt.emphasis):
        if span.is_break:
            match = BREAK.search(text.text, at)
            at = match.end() if match else at
            continue
        places = []
        for k in range(len(span.text)):
            while at < len(text.text) - 1 and not _stands_at(text.text, at, span.text, k):
                at += 1
            places.append(text.places[at])
            at = min(at + 1, len(text.text) - 1)
        spans.append(PlacedText(span.text, places))
    return spans


_WEIGHT = re.compile(r":\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\)")


def _stands_at(text: str, at: int, span: str, k: int) -> bool:
    """Whether character `k` of a span is this one, and not one of a weight that begins like it."""
    if text[at] != span[k]:
        return False
    weight = _WEIGHT.match(text, at)
    return weight is None or span.startswith(weight.group(), k)
