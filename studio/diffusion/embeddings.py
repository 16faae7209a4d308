"""Textual inversion (Gal et al. 2022): words of a prompt that stand for learned vectors instead of tokens.

The vectors take the place of a token's embedding for one call of a text encoder; vocabulary and weights stay as they
are, so end-of-text remains the highest token and nothing has to be undone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from studio.asked.messages import Message
from studio.asked.names import name_key, split_at_names


@dataclass(frozen=True, eq=False)
class Embedding:
    """The vectors of one word, (count, width), one set for each text encoder in the order in which they are joined."""

    word: str
    vectors: tuple[torch.Tensor, ...]
    sha256: str = ""  # of the file it was read from, 64 hexadecimal digits

    @property
    def count(self) -> int:
        return int(self.vectors[0].shape[0])


class Words(Protocol):
    """The words that stand for vectors in a checkpoint's prompts."""

    @property
    def names(self) -> Sequence[str]: ...

    def embedding(self, name: str) -> Embedding:
        """The vectors of one of `names`, in any spelling. Raises InvalidRequest for a name that several files have, and
        for a file that does not fit the checkpoint."""
        ...

    def of_models(self, models: Sequence[str] | None) -> Words:
        """Those whose files have these ids; None: all."""
        ...

    def of_others(self, text: str) -> Sequence[tuple[str, str]]:
        """Names in a text of embeddings for another model family, each with the family's name."""
        ...


@dataclass(frozen=True)
class PlacedVector:
    """One vector of an embedding at a place of a chunk: content token `position`, counted from 0."""

    position: int
    embedding: Embedding
    index: int


def split_by_words(text: str, words: Words | None) -> list[str | Embedding]:
    """The text cut where an embedding's name stands as a word of its own, in any spelling; "embedding:name" too."""
    if words is None:
        return [text] if text else []
    spellings: dict[str, list[str]] = {}
    for name in words.names:
        spellings.setdefault(name_key(name), []).append(name)
    pieces = split_at_names(text, words.names, prefix="embedding:")
    return [words.embedding(_matching_name(piece, spellings[key])) if key else piece for piece, key in pieces]


def unread_names(text: str, words: Words | None) -> list[str]:
    """Sentences about what looks like an embedding's name in a prompt but stands for no vectors."""
    between = [text] if words is None else [p for p, key in split_at_names(text, words.names, "embedding:") if not key]
    unknown = dict.fromkeys(match.group() for piece in between for match in _LIKE_A_NAME.finditer(piece))
    notices: list[str] = [
        Message('"{name}" is read as words: there is no embedding of this name here.', name=name) for name in unknown
    ]
    if words is not None:
        notices += [
            Message('"{name}" is read as words: the embedding of this name is for {family}.', name=name, family=family)
            for name, family in dict.fromkeys(words.of_others(text))
        ]
    return notices


# ComfyUI's form of an embedding's name, and that of diffusers' placeholders.
_LIKE_A_NAME = re.compile(r"\bembedding:[\w./-]+|<[a-zA-Z][\w-]*>")


def _matching_name(piece: str, names: Sequence[str]) -> str:
    """The name that a piece of text means. Where names differ only in spelling, the text as it is written."""
    return names[0] if len(names) == 1 else piece


@contextmanager
def put_in(encoder: Any, which: int, rows: Sequence[Sequence[PlacedVector]]) -> Iterator[None]:
    """The text encoder with vectors in the place of tokens, for one call with `rows` of ids until the block ends.

    `which` encoder of the checkpoint it is, counted from 0. Positions count from the token after the begin token.
    """
    places: Mapping[tuple[int, int], torch.Tensor] = {
        (row, 1 + embedding.position): embedding.embedding.vectors[which][embedding.index]
        for row, chunk in enumerate(rows)
        for embedding in chunk
    }
    if not places:
        yield
        return

    def replace(_: torch.nn.Module, __: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        for (row, position), vector in places.items():
            output[row, position] = vector.to(output)
        return output

    handle = encoder.get_input_embeddings().register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
