"""The weights of a prompt: (a) x 1.1, [a] / 1.1, (a:1.3) exact, \\( escapes, and BREAK, by A1111's grammar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_WEIGHT = 100.0  # of one span; brackets nested a thousand deep must not make infinities


@dataclass(frozen=True)
class Span:
    """A piece of a prompt that has one weight, or a BREAK."""

    text: str
    weight: float = 1.0
    is_break: bool = False


@dataclass(frozen=True)
class WeightedText:
    """A prompt's spans, and what in its brackets may not do what was meant, each as an excerpt of the text."""

    spans: tuple[Span, ...]
    unclosed_brackets: tuple[str, ...] = ()  # from an opening bracket without its closing one to the end
    stray_brackets: tuple[str, ...] = ()  # closing brackets without an opening one
    bad_weights: tuple[str, ...] = ()  # round brackets that end in ":" and something like a number
    limited_weights: tuple[float, ...] = ()  # weights beyond MAX_WEIGHT


_TOKEN = re.compile(
    r"\\[\\()\[\]]|\\|\(|\[|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|\)|\]|[^\\()\[\]:]+|:",
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_LIKE_A_NUMBER = re.compile(r"\s*[+-]?\.?\d[^()\[\]]*")
_EXCERPT = 48  # characters


def excerpt(text: str, begin: int, end: int | None = None) -> str:
    """What stands in a text from `begin` on, on one line, shortened."""
    end = len(text) if end is None else end
    short = text[begin : min(end, begin + _EXCERPT)].replace("\n", " ")
    return short if end - begin <= _EXCERPT else f"{short[:-1]}…"


def weighted_spans(text: str) -> list[Span]:
    """The spans of a text; at least one, which is empty for an empty text."""
    return list(read_weights(text).spans)


def read_weights(text: str) -> WeightedText:
    """Read the weights of a text; nested ones multiply.

    An unclosed bracket holds to the end, a stray closing one is text, a backslash takes the meaning from a bracket.
    """
    pieces: list[str | None] = []  # None is a BREAK
    factors: list[tuple[int, int, float]] = []  # first piece, last piece + 1, factor
    open_at: dict[str, list[tuple[int, int]]] = {"(": [], "[": []}  # the next piece, and the place in the text
    stray: list[str] = []
    bad_weights: list[str] = []
    for match in _TOKEN.finditer(text):
        token, number = match.group(0), match.group(1)
        if len(token) == 2 and token[0] == "\\":
            pieces.append(token[1])
        elif token == "\\":
            continue
        elif token in open_at:
            open_at[token].append((len(pieces), match.start()))
        elif number is not None and open_at["("]:
            factors.append((open_at["("].pop()[0], len(pieces), float(number)))
        elif token == ")" and open_at["("]:
            first, begin = open_at["("].pop()
            factors.append((first, len(pieces), 1.1))
            colon = text.rfind(":", begin, match.start())
            if colon >= 0 and _LIKE_A_NUMBER.fullmatch(text, colon + 1, match.start()):
                bad_weights.append(excerpt(text, begin, match.end()))
        elif token == "]" and open_at["["]:
            factors.append((open_at["["].pop()[0], len(pieces), 1 / 1.1))
        else:
            stray += [token] if token in ")]" or number is not None else []
            for index, part in enumerate(_BREAK.split(token)):
                if index:
                    pieces.append(None)
                pieces.append(part)
    factors += [(first, len(pieces), 1.1) for first, _ in open_at["("]]
    factors += [(first, len(pieces), 1 / 1.1) for first, _ in open_at["["]]
    weights = np.ones(len(pieces))
    with np.errstate(over="ignore", invalid="ignore"):
        for first, end, factor in factors:
            weights[first:end] *= factor
    excessive = sorted({float(weight) for weight in weights[np.abs(weights) > MAX_WEIGHT]})
    weights = np.clip(np.nan_to_num(weights, nan=1.0), -MAX_WEIGHT, MAX_WEIGHT)
    open_brackets = tuple(excerpt(text, place) for bracket in "([" for _, place in open_at[bracket])
    return WeightedText(
        _merge(pieces, weights.tolist()), open_brackets, tuple(stray), tuple(bad_weights), tuple(excessive)
    )


def _merge(pieces: Sequence[str | None], weights: Sequence[float]) -> tuple[Span, ...]:
    """Neighbours of one weight become one span, so that the tokenizer sees whole words."""
    spans: list[Span] = []
    for piece, weight in zip(pieces, weights):
        if piece is None:
            spans.append(Span("", is_break=True))
        elif not piece:
            continue
        elif spans and not spans[-1].is_break and spans[-1].weight == weight:
            spans[-1] = Span(spans[-1].text + piece, weight)
        else:
            spans.append(Span(piece, weight))
    return tuple(spans) or (Span(""),)
