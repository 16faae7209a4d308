"""The words of a prompt => weighted chunks of tokens. A prompt is never cut off: it has as many chunks as it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from studio.asked.emphasis import EmphasisName, weighted_spans
from studio.asked.prompt import Prompt
from studio.diffusion.embeddings import Embedding, PlacedVector, Words, split_by_words

PLACEHOLDER = 0  # the token whose embedding a learned vector replaces; which one it is does not matter
COMMA_BACKTRACK = 20  # a chunk that overflows ends at a comma this near its end, so that no phrase is torn


@dataclass(frozen=True)
class Chunk:
    """Content tokens, as many as a chunk has room for, and their weights. `vectors`: where a learned vector stands
    instead of the token."""

    tokens: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    vectors: tuple[PlacedVector, ...] = ()


@dataclass(frozen=True)
class ChunkedText:
    """One text of a prompt's schedule, which holds up to and with step `until`, counted from 1."""

    until: int
    text: str
    chunks: tuple[Chunk, ...]

    @property
    def count(self) -> int:
        """Its content tokens."""
        return sum(len(chunk.tokens) for chunk in self.chunks)


@dataclass(frozen=True)
class ChunkedPrompt:
    """A parsed prompt with the chunks of each of its texts, for one pass. `notices`: the prompt's own, and those about
    embeddings that it names but that are not installed."""

    prompt: Prompt
    texts: tuple[ChunkedText, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Content tokens of its longest text."""
        return max((text.count for text in self.texts), default=0)

    @property
    def embeddings(self) -> tuple[Embedding, ...]:
        """The embeddings that stand in it, each once."""
        embeddings = (one.embedding for text in self.texts for chunk in text.chunks for one in chunk.vectors)
        return tuple(dict.fromkeys(embeddings))


def chunks_of(
    tokenizer: Any, text: str, size: int, words: Words | None = None, emphasis: EmphasisName = "original"
) -> list[Chunk]:
    """Weighted chunks of one text, of at most `size` content tokens each (`Components.chunk_tokens`); at least one,
    which is empty for an empty text. `words` stand for learned vectors, which are never torn apart."""
    comma = _ids(tokenizer, ",")
    chunks: list[Chunk] = []
    tokens: list[int] = []
    weights: list[float] = []
    embeddings: list[PlacedVector] = []
    after_comma = 0  # tokens up to and with the chunk's last comma, 0 without one

    def close(end: int) -> None:
        nonlocal after_comma
        here = tuple(p for p in embeddings if p.position < end)
        chunks.append(Chunk(tuple(tokens[:end]), tuple(weights[:end]), here))
        embeddings[:] = [PlacedVector(p.position - end, p.embedding, p.index) for p in embeddings if p.position >= end]
        del tokens[:end], weights[:end]
        after_comma = 0

    for span in weighted_spans(text, emphasis):
        if span.is_break:
            close(len(tokens))
            continue
        for token in _tokens(tokenizer, split_by_words(span.text, words)):
            if isinstance(token, Embedding):
                if len(tokens) + token.count > size:
                    close(len(tokens))
                embeddings += [PlacedVector(len(tokens) + k, token, k) for k in range(token.count)]
                tokens += [PLACEHOLDER] * token.count
                weights += [span.weight] * token.count
                continue
            if len(tokens) == size:
                near = after_comma and size - after_comma < COMMA_BACKTRACK and [token] != comma
                close(after_comma if near else size)
            tokens.append(token)
            weights.append(span.weight)
            if [token] == comma:
                after_comma = len(tokens)
    if tokens or not chunks:
        close(len(tokens))
    return chunks


def with_ends(tokens: Sequence[int], tokenizer: Any, size: int) -> list[int]:
    """The ids that a text encoder is given for a chunk of `size` content tokens: begin, content, end, padding;
    `size` + 2 of them."""
    padding = size - len(tokens)
    return [tokenizer.bos_token_id, *tokens, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * padding]


def _tokens(tokenizer: Any, pieces: Sequence[str | Embedding]) -> Iterator[int | Embedding]:
    for piece in pieces:
        if isinstance(piece, Embedding):
            yield piece
        else:
            yield from _ids(tokenizer, piece)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids)
