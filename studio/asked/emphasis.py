"""The weights of a prompt: (a) x 1.1, [a] / 1.1, (a:1.3) exact, \\( escapes, and BREAK, by A1111's grammar; and what
round brackets are in ComfyUI.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

# How weights are read and act. "original": as A1111 does, with the mean of each chunk restored; "no_norm": without
# that; "comfyui": by ComfyUI's grammar, on the way from the empty prompt. The labels are A1111's where it has one.
EmphasisName = Literal["original", "no_norm", "comfyui"]
EMPHASES: Mapping[str, str] = {"original": "Original", "no_norm": "No norm", "comfyui": "ComfyUI"}

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
BREAK = re.compile(r"\s*\bBREAK\b\s*")
_LIKE_A_NUMBER = re.compile(r"\s*[+-]?\.?\d[^()\[\]]*")
_EXCERPT = 48  # characters


def excerpt(text: str, begin: int, end: int | None = None) -> str:
    """What stands in a text from `begin` on, on one line, shortened."""
    end = len(text) if end is None else end
    short = text[begin : min(end, begin + _EXCERPT)].replace("\n", " ")
    return short if end - begin <= _EXCERPT else f"{short[:-1]}…"


def weighted_spans(text: str, emphasis: EmphasisName = "original") -> list[Span]:
    """The spans of a text; at least one, which is empty for an empty text."""
    return list(read_weights(text, emphasis).spans)


def read_weights(text: str, emphasis: EmphasisName = "original") -> WeightedText:
    """Read the weights of a text."""
    return _read_comfyui(text) if emphasis == "comfyui" else _read_a1111(text)


def _read_a1111(text: str) -> WeightedText:
    """By A1111's grammar: nested weights multiply.

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
            for index, part in enumerate(BREAK.split(token)):
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


# --------------------------------------------------------------------------------------------------------- ComfyUI

_DEEPEST = 100  # brackets within each other; what lies deeper is words
_OPEN, _CLOSE = "\0", "\1"  # escaped brackets; no prompt holds these characters
_ESCAPE = re.compile(r"\\([()\[\]{}|_])")  # ComfyUI knows those of ( ) alone; the others are the prompt language's


def _read_comfyui(text: str) -> WeightedText:
    """By ComfyUI's grammar: only round brackets weight, the innermost number replaces those around it, an unclosed
    bracket is words, and so is a group behind a stray closing one. BREAK, which it has not, stays."""
    escaped = _ESCAPE.sub(lambda match: {"(": _OPEN, ")": _CLOSE}.get(match[1], match[1]), text)
    spans: list[Span] = []
    limited_weights: set[float] = set()
    unclosed: list[str] = []
    stray: list[str] = []
    work = [(escaped, 1.0, 0)]
    while work:
        words, weight, depth = work.pop()
        if depth < 0:  # words without groups
            spans += _comfyui_spans(words, weight)
            continue
        inner = []
        for piece, is_group in _comfyui_pieces(words, unclosed, stray) if depth <= _DEEPEST else [(words, False)]:
            if not is_group:
                inner.append((piece, weight, -1))
                continue
            content, own_weight = _comfyui_weight(piece[1:-1], weight)
            if abs(own_weight) > MAX_WEIGHT:
                limited_weights.add(own_weight)
            inner.append((content, max(-MAX_WEIGHT, min(own_weight, MAX_WEIGHT)), depth + 1))
        work += reversed(inner)
    return WeightedText(
        tuple(spans) or (Span(""),), tuple(unclosed), tuple(stray), limited_weights=tuple(sorted(limited_weights))
    )


def _comfyui_pieces(text: str, unclosed: list[str], stray: list[str]) -> list[tuple[str, bool]]:
    """A text as groups in brackets and what lies between them."""
    pieces: list[tuple[str, bool]] = []
    begin = level = 0
    for match in re.finditer(r"[()]", text):
        if match[0] == "(":
            if level == 0:
                pieces.append((text[begin : match.start()], False))
                begin = match.start()
            level += 1
        else:
            level -= 1
            if level == 0:
                piece = text[begin : match.end()]
                pieces.append((piece, piece.startswith("(")))
                begin = match.end()
            elif level < 0:
                stray.append(")")
    rest = text[begin:]
    if level > 0:
        unclosed.append(excerpt(rest.replace(_OPEN, "(").replace(_CLOSE, ")"), 0))
    pieces.append((rest, level > 0 and len(rest) > 1 and rest.startswith("(") and rest.endswith(")")))
    return [piece for piece in pieces if piece[0]]


def _comfyui_weight(content: str, weight: float) -> tuple[str, float]:
    """What stands in a pair of brackets, and its weight: the number behind its last colon, else 1.1 times the one
    around it."""
    colon = content.rfind(":")
    if colon > 0:
        try:
            number = float(content[colon + 1 :])
        except ValueError:
            number = np.nan
        if np.isfinite(number):
            return content[:colon], number
    return content, weight * 1.1


def _comfyui_spans(words: str, weight: float) -> list[Span]:
    plain = words.replace(_OPEN, "(").replace(_CLOSE, ")")
    spans = []
    for index, part in enumerate(BREAK.split(plain)):
        spans += [Span("", is_break=True)] if index else []
        spans += [Span(part, weight)] if part else []
    return spans
