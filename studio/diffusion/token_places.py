"""Where each token of a prompt stands in the text that was typed. For showing; studio.diffusion.chunks makes the same
tokens of the same pieces, without places."""

from __future__ import annotations

from typing import Any

from studio.asked.names import split_at_names
from studio.asked.prompt import Prompt
from studio.asked.prompt_places import first_texts, placed_spans
from studio.diffusion.embeddings import Embedding, Words, split_by_words


def token_places(tokenizer: Any, prompt: Prompt, words: Words | None = None) -> tuple[tuple[int, int], ...]:
    """(start, end) in the typed text for each content token, in their order; the vectors of an embedding share the
    place of its name. Empty for a tokenizer that cannot say places."""
    if not getattr(tokenizer, "is_fast", False):
        return ()
    places: list[tuple[int, int]] = []
    for text in first_texts(prompt):
        for span in placed_spans(text, prompt):
            end = 0
            names = split_at_names(span.text, words.names, prefix="embedding:") if words is not None else []
            pieces = [piece for piece, _ in names] if words is not None else [span.text]
            for typed, piece in zip(pieces, split_by_words(span.text, words)):
                begin = span.text.index(typed, end)
                end = begin + len(typed)
                if isinstance(piece, Embedding):
                    places += [_whole(span.places, begin, end)] * piece.count
                    continue
                offsets = tokenizer(
                    piece, add_special_tokens=False, truncation=False, verbose=False, return_offsets_mapping=True
                ).offset_mapping
                places += [_whole(span.places, begin + first, begin + last) for first, last in offsets]
    return tuple(places)


def _whole(places: Any, begin: int, end: int) -> tuple[int, int]:
    """From the place of the first to behind the place of the last character of a part."""
    if not len(places):
        return 0, 0
    last = min(max(end - 1, begin), len(places) - 1)
    return int(places[min(begin, last)]), int(places[last]) + 1
