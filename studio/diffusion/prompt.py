"""Prompt grammar => weighted chunks => prompt_embeds. A prompt is never cut off: it is encoded in as many chunks as it
needs.

The grammar is the one prompts are pasted in everywhere: (a) [a] (a:1.3) weights, \\( escapes, BREAK, [a:b:0.5] and
[a|b] prompt scheduling. Nothing a visitor types is an error: what is no grammar is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from studio.asked.lora_tags import without_lora_tags
from studio.asked.requests import InvalidRequest, Problem
from studio.diffusion.components import Components
from studio.diffusion.embeddings import Embedding, Placed, Words, put_in, split_by_words
from studio.diffusion.lora import Applied, applied
from studio.diffusion.vae import NotFinite

PLACEHOLDER = 0  # the token whose embedding a learned vector replaces; which one it is does not matter
CHUNK_TOKENS = 75  # content tokens of a chunk; begin and end make 77
COMMA_BACKTRACK = 20  # a chunk that overflows ends at a comma this near its end, so that no phrase is torn
# Chunks that one run may have encoded: prompt scheduling can make a new text of every step, and a text may be a hundred
# chunks long. Stable Diffusion's text encoder does so many in about a minute on two CPU cores.
MAX_CHUNKS = 1200
MAX_WEIGHT = 100.0  # of one span; brackets nested a thousand deep must not make infinities

# ------------------------------------------------------------------------------------------------ prompt scheduling


@dataclass
class _Switch:
    """[before:after:when]"""

    before: list[Any]
    after: list[Any]
    when: int  # the last step, counted from 1, of `before`


@dataclass
class _Turns:
    """[a|b|c]: one per step, in turn."""

    choices: list[list[Any]]


@dataclass
class _Open:
    """An open bracket and what has been read since: parts between separators."""

    bracket: str
    parts: list[list[Any]] = field(default_factory=lambda: [[]])
    separators: list[str] = field(default_factory=list)

    def as_text(self) -> list[Any]:
        """The same as plain text, when it turns out to be no prompt scheduling. Nested scheduling stays."""
        items: list[Any] = [self.bracket, *self.parts[0]]
        for separator, part in zip(self.separators, self.parts[1:]):
            items += [separator, *part]
        return items


_SCHEDULE_TOKEN = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]+|\\", re.DOTALL)
_OPENER = {"]": "[", ")": "("}
_WHEN = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*")


def prompt_schedule(prompt: str, num_steps: int) -> list[tuple[int, str]]:
    """[(until, text)]: `text` holds up to and with step `until`, counted from 1; the last `until` is `num_steps`.

    `when` with a dot is a share of the steps, without one a step number: [a:b:1] switches after the first step,
    [a:b:1.0] never.
    """
    last = max(num_steps, 1)
    items = _parse_schedule(prompt, num_steps)
    if all(isinstance(item, str) for item in items):
        return [(last, "".join(items))]
    found: list[tuple[int, str]] = []
    for step in range(1, last + 1):
        text = _text_at(items, step)
        if found and found[-1][1] == text:
            found[-1] = (step, text)
        else:
            found.append((step, text))
    return found


def _parse_schedule(prompt: str, num_steps: int) -> list[Any]:
    stack = [_Open("")]
    opened = {"[": 0, "(": 0}
    for token in _SCHEDULE_TOKEN.findall(prompt):
        top = stack[-1]
        if token in opened:
            stack.append(_Open(token))
            opened[token] += 1
        elif token in _OPENER:
            bracket = _OPENER[token]
            if not opened[bracket]:
                top.parts[-1].append(token)
                continue
            first = next(k for k in range(len(stack) - 1, 0, -1) if stack[k].bracket == bracket)
            group, unclosed = stack[first], stack[first + 1 :]
            del stack[first:]
            for inner in [group, *unclosed]:
                opened[inner.bracket] -= 1
            for inner in unclosed:  # an unclosed bracket of the other kind is text
                group.parts[-1] += inner.as_text()
            stack[-1].parts[-1] += _closed(group, token, num_steps)
        elif token in ":|" and top.bracket == "[":
            top.separators.append(token)
            top.parts.append([])
        else:
            top.parts[-1].append(token)
    return [item for group in stack for item in group.as_text()]


def _closed(group: _Open, closer: str, num_steps: int) -> list[Any]:
    """What a bracket group means, now that its closing bracket has come."""
    kinds = set(group.separators)
    if kinds == {"|"}:
        return [_Turns(group.parts)]
    last = group.parts[-1]
    if kinds == {":"} and len(group.parts) in (2, 3) and all(isinstance(item, str) for item in last):
        number = _WHEN.fullmatch("".join(last))
        if number:
            text = number.group(1)
            when = float(text) * num_steps if "." in text else float(text)
            before = group.parts[0] if len(group.parts) == 3 else []
            return [_Switch(before, group.parts[-2], int(max(0, min(when, num_steps))))]
    return [*group.as_text(), closer]


def _text_at(items: list[Any], step: int) -> str:
    text: list[str] = []
    rest = list(reversed(items))
    while rest:  # no recursion: a prompt may nest thousands deep
        item = rest.pop()
        if isinstance(item, str):
            text.append(item)
        elif isinstance(item, _Switch):
            rest += reversed(item.before if step <= item.when else item.after)
        else:
            rest += reversed(item.choices[(step - 1) % len(item.choices)])
    return "".join(text)


# --------------------------------------------------------------------------------------------------------- weights


@dataclass(frozen=True)
class Span:
    """A piece of a prompt that has one weight, or a BREAK."""

    text: str
    weight: float = 1.0
    is_break: bool = False


_WEIGHT_TOKEN = re.compile(
    r"\\[\\()\[\]]|\\|\(|\[|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|\)|\]|[^\\()\[\]:]+|:",
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")


def weighted_spans(text: str) -> list[Span]:
    """Read the weights of a prompt: (a) x 1.1, [a] / 1.1, (a:1.3) exact; nested weights multiply.

    An unclosed bracket holds to the end, a stray closing one is text, a backslash takes the meaning from a bracket.
    """
    pieces: list[str | None] = []  # None is a BREAK
    factors: list[tuple[int, int, float]] = []  # first piece, last piece + 1, factor
    open_at: dict[str, list[int]] = {"(": [], "[": []}
    for match in _WEIGHT_TOKEN.finditer(text):
        token, number = match.group(0), match.group(1)
        if len(token) == 2 and token[0] == "\\":
            pieces.append(token[1])
        elif token == "\\":
            continue
        elif token in open_at:
            open_at[token].append(len(pieces))
        elif number is not None and open_at["("]:
            factors.append((open_at["("].pop(), len(pieces), float(number)))
        elif token == ")" and open_at["("]:
            factors.append((open_at["("].pop(), len(pieces), 1.1))
        elif token == "]" and open_at["["]:
            factors.append((open_at["["].pop(), len(pieces), 1 / 1.1))
        else:
            for index, part in enumerate(_BREAK.split(token)):
                if index:
                    pieces.append(None)
                pieces.append(part)
    factors += [(first, len(pieces), 1.1) for first in open_at["("]]
    factors += [(first, len(pieces), 1 / 1.1) for first in open_at["["]]
    weights = np.ones(len(pieces))
    with np.errstate(over="ignore", invalid="ignore"):
        for first, end, factor in factors:
            weights[first:end] *= factor
    weights = np.clip(np.nan_to_num(weights, nan=1.0), -MAX_WEIGHT, MAX_WEIGHT)
    return _merged(pieces, weights.tolist())


def _merged(pieces: Sequence[str | None], weights: Sequence[float]) -> list[Span]:
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
    return spans or [Span("")]


# ---------------------------------------------------------------------------------------------------------- chunks


@dataclass(frozen=True)
class Chunk:
    """Up to 75 content tokens and their weights. `placed`: where a learned vector stands instead of the token."""

    tokens: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    placed: tuple[Placed, ...] = ()


def chunks_of(tokenizer: Any, text: str, words: Words | None = None) -> list[Chunk]:
    """Weighted chunks of one prompt text; at least one, which is empty for an empty text. `words` stand for learned
    vectors, which are never torn apart."""
    comma = _ids(tokenizer, ",")
    chunks: list[Chunk] = []
    tokens: list[int] = []
    weights: list[float] = []
    placed: list[Placed] = []
    after_comma = 0  # tokens up to and with the chunk's last comma, 0 without one

    def close(end: int) -> None:
        nonlocal after_comma
        here = tuple(p for p in placed if p.position < end)
        chunks.append(Chunk(tuple(tokens[:end]), tuple(weights[:end]), here))
        placed[:] = [Placed(p.position - end, p.embedding, p.index) for p in placed if p.position >= end]
        del tokens[:end], weights[:end]
        after_comma = 0

    for span in weighted_spans(text):
        if span.is_break:
            close(len(tokens))
            continue
        pieces = split_by_words(span.text, words)
        for token in _tokens(tokenizer, pieces):
            if isinstance(token, Embedding):
                if len(tokens) + token.count > CHUNK_TOKENS:
                    close(len(tokens))
                placed += [Placed(len(tokens) + k, token, k) for k in range(token.count)]
                tokens += [PLACEHOLDER] * token.count
                weights += [span.weight] * token.count
                continue
            if len(tokens) == CHUNK_TOKENS:
                near = after_comma and CHUNK_TOKENS - after_comma < COMMA_BACKTRACK and [token] != comma
                close(after_comma if near else CHUNK_TOKENS)
            tokens.append(token)
            weights.append(span.weight)
            if [token] == comma:
                after_comma = len(tokens)
    if tokens or not chunks:
        close(len(tokens))
    return chunks


def _tokens(tokenizer: Any, pieces: Sequence[str | Embedding]) -> Iterator[int | Embedding]:
    for piece in pieces:
        if isinstance(piece, Embedding):
            yield piece
        else:
            yield from _ids(tokenizer, piece)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids)


@dataclass(frozen=True)
class Tokenized:
    """How a tokenizer sees a prompt: content tokens, the chunks they are encoded in, and the tokens as text."""

    count: int
    chunks: int
    pieces: tuple[str, ...]


def tokenize(components: Components, text: str) -> Tokenized:
    """Count and show the tokens of a prompt with its grammar applied; of prompt scheduling, the first text."""
    text = prompt_schedule(without_lora_tags(text), 1000)[0][1]
    chunks = chunks_of(components.encoders[0][0], text, components.words)
    ids = [token for chunk in chunks for token in chunk.tokens]
    pieces = [components.encoders[0][0].decode([token]).strip() for token in ids]
    position = 0
    for chunk in chunks:
        for one in chunk.placed:
            pieces[position + one.position] = one.embedding.word
        position += len(chunk.tokens)
    return Tokenized(len(ids), len(chunks), tuple(pieces))


# -------------------------------------------------------------------------------------------------------- encoding


@dataclass(frozen=True)
class Conditioning:
    """A prompt and a negative prompt, encoded: what the U-Net is told at each step.

    Each entry is (until, prompt_embeds (branches, tokens, dim), added), for steps below `until`, counted from 0.
    Branches: the negative prompt's first, or the prompt's alone without guidance.
    """

    entries: tuple[tuple[int, torch.Tensor, Mapping[str, torch.Tensor]], ...]
    prompt_tokens: int
    negative_prompt_tokens: int
    chunks: int
    embeddings: tuple[Embedding, ...] = ()  # textual inversions that the prompts name, each once

    def at(self, step: int) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """(prompt_embeds, added) of a 0-based step."""
        for until, embeds, added in self.entries:
            if step < until:
                return embeds, added
        return self.entries[-1][1:]


@torch.inference_mode()
def encode_prompts(
    components: Components,
    prompt: str,
    negative_prompt: str,
    *,
    num_steps: int,
    guidance_scale: float,
    adapters: Sequence[Applied] = (),
) -> Conditioning:
    """Encode a prompt and a negative prompt for a run of `num_steps` steps (those really run), with these adapters in
    the text encoders. LoRA tags are no words and are left out.

    Both are encoded in the same number of chunks: the shorter one gets empty chunks. Raises InvalidRequest when prompt
    scheduling asks for more than MAX_CHUNKS chunks in all.
    """
    prompt, negative_prompt = without_lora_tags(prompt), without_lora_tags(negative_prompt)
    texts = [prompt_schedule(prompt, num_steps)]
    if components.branches(guidance_scale) == 2:
        texts.insert(0, prompt_schedule(negative_prompt, num_steps))
    chunked: dict[str, list[Chunk]] = {}
    most = 0
    for text in {text: None for schedule in texts for _, text in schedule}:
        chunked[text] = chunks_of(components.encoders[0][0], text, components.words)
        most = max(most, len(chunked[text]))
        if len(chunked) * most > MAX_CHUNKS and len(chunked) > len(texts):
            raise InvalidRequest(
                Problem(
                    "prompt",
                    f"prompt scheduling with more than {len(chunked) - 1} different texts of up to {most} chunks",
                    f"at most {MAX_CHUNKS} chunks in all: fewer steps, fewer [a|b] and [a:b:when], or a shorter prompt",
                )
            )
    with applied(components, adapters, [one.part for one in components.text_encoders]):
        encoded = {text: _encode(components, chunks, most) for text, chunks in chunked.items()}
    if components.zero_empty_negative and len(texts) == 2 and not negative_prompt:
        # The same words may be the prompt's too, so the zeros have a key that no text has.
        encoded[_NOTHING] = _zeros_like(encoded[""])
        texts[0] = [(texts[0][-1][0], _NOTHING)]
        chunked[_NOTHING] = [Chunk()]
    entries: list[tuple[int, torch.Tensor, Mapping[str, torch.Tensor]]] = []
    for until in sorted({until for schedule in texts for until, _ in schedule}):
        now = [next(text for end, text in schedule if until <= end) for schedule in texts]
        rows = [encoded[text] for text in now]
        pooled = [row.pooled for row in rows if row.pooled is not None]
        added = {"text_embeds": torch.cat(pooled)} if pooled else {}
        entries.append((until, torch.cat([row.embeds for row in rows]), added))
    counts = [max(sum(len(c.tokens) for c in chunked[text]) for _, text in schedule) for schedule in texts]
    placed = (one.embedding for chunks in chunked.values() for chunk in chunks for one in chunk.placed)
    embeddings = tuple(dict.fromkeys(placed))
    return Conditioning(tuple(entries), counts[-1], counts[0] if len(texts) == 2 else 0, most, embeddings)


_NOTHING = "\0"  # no prompt holds it: requests refuse control characters


@dataclass(frozen=True)
class _Encoded:
    """A text: embeds (1, tokens, dim), and for SDXL the pooled embedding (1, dim) of its first chunk."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None = None


def _zeros_like(encoded: _Encoded) -> _Encoded:
    pooled = torch.zeros_like(encoded.pooled) if encoded.pooled is not None else None
    return _Encoded(torch.zeros_like(encoded.embeds), pooled)


def _encode(components: Components, chunks: Sequence[Chunk], length: int) -> _Encoded:
    """Chunks, filled up with empty ones to `length` => prompt_embeds (1, length * 77, dim).

    SDXL listens to the last layer but one of each encoder, without the final norm, one beside the other; the pooled
    embedding is the second encoder's.
    """
    padded = [*chunks, *[Chunk()] * (length - len(chunks))]
    weights = [[1.0, *chunk.weights, *[1.0] * (CHUNK_TOKENS + 1 - len(chunk.weights))] for chunk in padded]
    found: list[torch.Tensor] = []
    pooled: torch.Tensor | None = None
    for which, (tokenizer, encoder) in enumerate(components.encoders):
        ids = torch.tensor([_with_ends(chunk.tokens, tokenizer) for chunk in padded], device=components.device)
        with put_in(encoder, which, [chunk.placed for chunk in padded]):
            answer = encoder(ids, output_hidden_states=True) if components.is_xl else encoder(ids)
        embeds = answer.hidden_states[-2] if components.is_xl else answer[0]
        if components.is_xl and hasattr(answer, "text_embeds"):
            pooled = answer.text_embeds[:1].to(components.dtype)
        found.append(apply_weights(embeds, torch.tensor(weights, device=embeds.device)))
    joined = torch.cat(found, dim=-1).to(components.dtype)
    if not bool(torch.isfinite(joined).all()):
        raise NotFinite("the prompt's embeddings hold values that are not numbers", "text encoder")
    return _Encoded(joined.reshape(1, -1, joined.shape[-1]), pooled)


def _with_ends(tokens: Sequence[int], tokenizer: Any) -> list[int]:
    padding = CHUNK_TOKENS - len(tokens)
    return [tokenizer.bos_token_id, *tokens, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * padding]


def apply_weights(embeds: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weight each token's embedding and scale each chunk back to its former mean, as prompts in the wild expect.

    `embeds` (chunks, 77, dim), `weights` (chunks, 77). Chunks whose weights are all 1 stay bit for bit as they are.
    """
    if bool((weights == 1).all()):
        return embeds
    exact = embeds.float()
    weighted = exact * weights[..., None]
    restore = exact.mean(dim=(1, 2)) / weighted.mean(dim=(1, 2))
    restore = torch.where(torch.isfinite(restore), restore, 1.0)
    restored = weighted * restore[:, None, None]
    plain = (weights == 1).all(dim=1)[:, None, None]
    return torch.where(plain, exact, restored).to(embeds.dtype)
