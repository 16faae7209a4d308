"""A prompt as the text encoder sees it, in chunks as long as it reads at once: each token with its id, its piece of
text, weight and place.

For showing; the same chunks are encoded by studio.diffusion.prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.asked.prompt import Prompt, parse_prompt
from studio.diffusion.chunks import Chunk, ChunkedPrompt, chunks_of, with_ends
from studio.diffusion.components import Components
from studio.diffusion.embeddings import unread_names
from studio.diffusion.token_places import token_places


@dataclass(frozen=True)
class TokenizedText:
    """How a tokenizer sees a prompt: content tokens, the chunks they are encoded in, and the tokens as text. `notices`:
    sentences about what may be meant otherwise than it is read. The rest as in `TokensAnswer`."""

    count: int
    chunks: int
    pieces: tuple[str, ...]
    notices: tuple[str, ...] = ()
    places: tuple[tuple[int, int], ...] = ()
    sizes: tuple[int, ...] = ()
    chunk_tokens: int = 0


def tokenize(components: Components, prompt: Prompt | str, models: Sequence[str] | None = None) -> TokenizedText:
    """Count and show the tokens of a prompt with its grammar applied; of prompt scheduling, the first text; of AND, all
    texts. `models`: ids of the embeddings that may be named; None: all."""
    words = components.words.of_models(models) if components.words is not None else None
    prompt = parse_prompt(prompt) if isinstance(prompt, str) else prompt
    tokenizer = components.encoders[0][0]
    texts = [one.schedule.texts(1000)[0][1] for one in prompt.subprompts]
    size = components.chunk_tokens
    chunks = [chunk for text in texts for chunk in chunks_of(tokenizer, text, size, words, prompt.emphasis)]
    ids = [token for chunk in chunks for token in chunk.tokens]
    pieces = [tokenizer.decode([token]).strip() for token in ids]
    position = 0
    for chunk in chunks:
        for one in chunk.vectors:
            pieces[position + one.position] = one.embedding.word
        position += len(chunk.tokens)
    notices = (*prompt.notices, *unread_names(prompt.words, words))
    places = token_places(tokenizer, prompt, words)
    sizes = tuple(len(chunk.tokens) for chunk in chunks)
    return TokenizedText(len(ids), len(chunks), tuple(pieces), notices, places, sizes, size)


def token_table(components: Components, prompt: ChunkedPrompt, num_steps: int) -> list[dict[str, Any]]:
    """One entry per text of a prompt (prompt scheduling makes several) in a run of `num_steps` steps, JSON-able.

    {"until": steps it holds for, counted from 1, "text", "chunks": [...]}. Each chunk has lists with an entry for each
    of its positions:

        ids, weights   numbers
        pieces         as in the vocabulary, `</w>` ends a word
        text           the same, readable
        kinds          begin, content, end or padding
        words          which word of the chunk a content token belongs to, from 0; null for the others

    `others` has `ids` and `pieces` for each further text encoder: SDXL's two read the same tokens, but pad with others.
    """
    tokenizer, *others = [one for one, _ in components.encoders]
    size = components.chunk_tokens
    untils = [*(part.until for part in prompt.texts[:-1]), num_steps]  # chunks of one text may be another run's
    return [
        {
            "until": until,
            "text": part.text,
            "chunks": [_chunk(tokenizer, others, chunk, size) for chunk in part.chunks],
        }
        for until, part in zip(untils, prompt.texts)
    ]


@dataclass(frozen=True)
class Word:
    """A word of a text: how it reads, and the places of its tokens among those of all chunks, each of which has as many
    positions."""

    label: str
    places: tuple[int, ...]


def words_of(entry: Mapping[str, Any]) -> list[Word]:
    """The words of one text of a `token_table`, in their order."""
    words: list[Word] = []
    last: tuple[int, int] | None = None
    for c, chunk in enumerate(entry["chunks"]):
        positions = len(chunk["kinds"])
        for position, (word, text) in enumerate(zip(chunk["words"], chunk["text"])):
            if word is None:
                continue
            place = c * positions + position
            if (c, word) == last:
                words[-1] = Word(words[-1].label + text, (*words[-1].places, place))
            else:
                words.append(Word(text, (place,)))
            last = c, word
    return words


def text_at(table: Sequence[Mapping[str, Any]], step: int) -> int:
    """Which text of a prompt (a `token_table`) holds at a 0-based step."""
    return next((place for place, entry in enumerate(table) if step < entry["until"]), len(table) - 1)


def text_encoders(components: Components) -> list[dict[str, Any]]:
    """The text encoders that read a prompt, in the order in which their answers are joined, JSON-able."""
    encoders = []
    for _, encoder in components.encoders:
        width = int(encoder.config.hidden_size)
        name = _ENCODERS.get(width, "text encoder")
        encoders.append({"name": name, "width": width, "layers": int(encoder.config.num_hidden_layers)})
    return encoders


# By their width: what the families' text encoders are called.
_ENCODERS = {768: "CLIP ViT-L/14", 1024: "OpenCLIP ViT-H/14", 1280: "OpenCLIP ViT-bigG/14"}


def _read(tokenizer: Any, chunk: Chunk, size: int) -> tuple[list[int], list[str]]:
    """The ids of a chunk for one text encoder, and their pieces."""
    ids = with_ends(chunk.tokens, tokenizer, size)
    pieces = [str(piece) for piece in tokenizer.convert_ids_to_tokens(ids)]
    for one in chunk.vectors:  # a learned vector instead of a token
        pieces[1 + one.position] = f"{one.embedding.word}</w>"
    return ids, pieces


def _chunk(tokenizer: Any, others: Sequence[Any], chunk: Chunk, size: int) -> dict[str, Any]:
    content = list(chunk.tokens)
    padding = size - len(content)
    ids, pieces = _read(tokenizer, chunk, size)
    texts = [tokenizer.decode([token]).strip() for token in content]
    for one in chunk.vectors:
        texts[one.position] = one.embedding.word
    words: list[int | None] = [None]
    word = 0
    for piece in pieces[1 : len(content) + 1]:
        words.append(word)
        word += piece.endswith("</w>")
    return {
        "ids": ids,
        "pieces": pieces,
        "text": ["", *texts, *[""] * (padding + 1)],
        "weights": [1.0, *chunk.weights, *[1.0] * (padding + 1)],
        "kinds": ["begin", *["content"] * len(content), "end", *["padding"] * padding],
        "words": words + [None] * (padding + 1),
        "others": [dict(zip(("ids", "pieces"), _read(other, chunk, size))) for other in others],
    }
