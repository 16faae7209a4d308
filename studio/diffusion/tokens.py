"""A prompt as the text encoder sees it: 77 tokens a chunk, each with its id, its piece of text, weight and place.

For showing; the same chunks are encoded by studio.diffusion.prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studio.asked.lora_tags import without_lora_tags
from studio.diffusion.components import Components
from studio.diffusion.prompt import CHUNK_TOKENS, Chunk, chunks_of, prompt_schedule


def token_table(components: Components, text: str, num_steps: int) -> list[dict[str, Any]]:
    """One entry per text of a prompt (prompt scheduling makes several), JSON-able.

    {"until": steps it holds for, counted from 1, "text", "chunks": [...]}; each chunk has lists of 77: `ids`, `pieces`
    (as in the vocabulary, `</w>` ends a word), `text` (the same, readable), `weights`, `kinds` (begin, content, end,
    padding) and `words` (which word of the chunk a content token belongs to, from 0; null for the others). `others` has
    `ids` and `pieces` for each further text encoder: SDXL's two read the same tokens, but pad with others.
    """
    tokenizer, *others = [one for one, _ in components.encoders]
    return [
        {
            "until": until,
            "text": part,
            "chunks": [_chunk(tokenizer, others, chunk) for chunk in chunks_of(tokenizer, part, components.words)],
        }
        for until, part in prompt_schedule(without_lora_tags(text), num_steps)
    ]


def text_encoders(components: Components) -> list[dict[str, Any]]:
    """The text encoders that read a prompt, in the order in which their answers are laid side by side, JSON-able."""
    found = []
    for _, encoder in components.encoders:
        width = int(encoder.config.hidden_size)
        name = _ENCODERS.get(width, "text encoder")
        found.append({"name": name, "width": width, "layers": int(encoder.config.num_hidden_layers)})
    return found


# By their width: what the families' text encoders are called.
_ENCODERS = {768: "CLIP ViT-L/14", 1024: "OpenCLIP ViT-H/14", 1280: "OpenCLIP ViT-bigG/14"}


def _read(tokenizer: Any, chunk: Chunk) -> tuple[list[int], list[str]]:
    """The 77 ids of a chunk as one text encoder is given them, and their pieces."""
    padding = CHUNK_TOKENS - len(chunk.tokens)
    ids = [tokenizer.bos_token_id, *chunk.tokens, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * padding]
    pieces = [str(piece) for piece in tokenizer.convert_ids_to_tokens(ids)]
    for one in chunk.placed:  # a learned vector instead of a token
        pieces[1 + one.position] = f"{one.embedding.word}</w>"
    return ids, pieces


def _chunk(tokenizer: Any, others: Sequence[Any], chunk: Chunk) -> dict[str, Any]:
    content = list(chunk.tokens)
    padding = CHUNK_TOKENS - len(content)
    ids, pieces = _read(tokenizer, chunk)
    texts = [tokenizer.decode([token]).strip() for token in content]
    for one in chunk.placed:
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
        "others": [dict(zip(("ids", "pieces"), _read(other, chunk))) for other in others],
    }
