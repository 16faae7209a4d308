"""Prompts => prompt_embeds: every text of their schedules, encoded, and which text holds at which step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from studio.asked.emphasis import EmphasisName
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem
from studio.asked.prompt import Prompt, parse_prompt
from studio.diffusion.chunks import Chunk, ChunkedPrompt, ChunkedText, chunks_of, with_ends
from studio.diffusion.components import Components
from studio.diffusion.conditions import text_conditions
from studio.diffusion.embeddings import Embedding, put_in, unread_names
from studio.diffusion.lora import AppliedAdapter, apply_adapters
from studio.diffusion.vae import NotFinite

# Chunks that one run may have encoded: prompt scheduling can make a new text of every step, and a text may be a hundred
# chunks long. Stable Diffusion's text encoder does so many in about a minute on two CPU cores.
MAX_CHUNKS = 1200


@dataclass(frozen=True)
class Conditioning:
    """A prompt and a negative prompt, encoded: what the U-Net is given at each step.

    Each entry is (until, prompt_embeds (branches, tokens, dim), added), for steps below `until`, counted from 0.
    Branches: the negative prompt's first, or the prompt's alone without guidance. `negative_prompt` is None there.
    Of texts joined by AND each has a branch, the first text's is the last; `weights` are theirs, in the same order, and
    empty for a prompt that is not composed.
    `chunks`: the number of chunks to which each text was filled up.
    """

    entries: tuple[tuple[int, torch.Tensor, Mapping[str, torch.Tensor]], ...]
    prompt: ChunkedPrompt
    negative_prompt: ChunkedPrompt | None = None
    chunks: int = 1
    weights: tuple[float, ...] = ()
    others: tuple[ChunkedPrompt, ...] = ()  # the texts behind AND

    @property
    def rows(self) -> int:
        """Branches of each entry."""
        return len(self.entries[0][1])

    @property
    def embeddings(self) -> tuple[Embedding, ...]:
        """Textual inversions that the prompts name, each once."""
        prompts = (self.prompt, *self.others, self.negative_prompt)
        return tuple(dict.fromkeys(one for prompt in prompts if prompt is not None for one in prompt.embeddings))

    @property
    def positions(self) -> int:
        """Tokens of a chunk, those of begin and end included."""
        return self.entries[0][1].shape[1] // self.chunks

    def prompt_alone(self) -> Conditioning:
        """The same without the negative prompt's branch, for a prompt that is not composed."""
        entries = ((until, e[-1:], {k: v[-1:] for k, v in added.items()}) for until, e, added in self.entries)
        return replace(self, entries=tuple(entries), negative_prompt=None)

    def at(self, step: int) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """(prompt_embeds, added) of a 0-based step."""
        for until, embeds, conditions in self.entries:
            if step < until:
                return embeds, conditions
        return self.entries[-1][1:]


@torch.inference_mode()
def encode_prompts(
    components: Components,
    prompt: Prompt | str,
    negative_prompt: Prompt | str,
    *,
    num_steps: int,
    guidance_scale: float,
    adapters: Sequence[AppliedAdapter] = (),
    steps_before: int | None = None,
    clip_skip: int | None = None,
    models: Sequence[str] | None = None,
) -> Conditioning:
    """Encode a prompt and a negative prompt for a pass of `num_steps` steps (those that run), with these adapters in
    the text encoders. `steps_before`: the steps of the pass before, in the second pass of a picture made twice.
    `clip_skip`: the layer of every text encoder that is listened to, counted from the last one, which is 1; None: the
    one that the checkpoint was trained with. `models`: ids of the embeddings that may be named; None: all.

    Both are encoded in the same number of chunks: the shorter one gets empty chunks. Raises InvalidRequest when prompt
    scheduling asks for more than MAX_CHUNKS chunks in all, for a layer that is not there, and for the problems of a
    prompt.
    """
    prompts = [parse_prompt(prompt) if isinstance(prompt, str) else prompt]
    if components.branches(guidance_scale) == 2 or prompts[0].is_composed:
        negative = parse_prompt(negative_prompt, negative=True) if isinstance(negative_prompt, str) else negative_prompt
        prompts.insert(0, negative)
    problems = [problem for one in prompts for problem in one.problems]
    if problems:
        raise InvalidRequest(*problems)
    clip_skip = components.suits.clip_skip if clip_skip is None else clip_skip
    if not 1 <= clip_skip <= components.encoder_depth:
        expectation = Message(
            "with this checkpoint whole numbers from 1 to {last}, its text encoder's layers",
            last=components.encoder_depth,
        )
        raise InvalidRequest(Problem("clip_skip", str(clip_skip), expectation))
    words = components.words.of_models(models) if components.words is not None else None
    # The negative prompt's, then those of the prompt's texts, the first one last.
    subprompts = [*(one.as_one_text().subprompts[0] for one in prompts[:-1]), *reversed(prompts[-1].subprompts)]
    schedules = [one.schedule.texts(num_steps, steps_before) for one in subprompts]
    size, emphasis = components.chunk_tokens, prompts[-1].emphasis
    text_chunks: dict[str, tuple[Chunk, ...]] = {}
    most = 0
    for text in {text: None for schedule in schedules for _, text in schedule}:
        text_chunks[text] = tuple(chunks_of(components.encoders[0][0], text, size, words, emphasis))
        most = max(most, len(text_chunks[text]))
        if len(text_chunks) * most > MAX_CHUNKS and len(text_chunks) > len(schedules):
            raise InvalidRequest(
                Problem(
                    "prompt",
                    Message(
                        "prompt scheduling with more than {count} different texts of up to {most} chunks",
                        count=len(text_chunks) - 1,
                        most=most,
                    ),
                    Message(
                        "at most {most} chunks in all: fewer steps, fewer [a|b] and [a:b:when], or a shorter prompt",
                        most=MAX_CHUNKS,
                    ),
                )
            )
    with apply_adapters(components, adapters, [one.part for one in components.text_encoders]):
        encodings = {
            text: _encode(components, chunks, most, clip_skip, emphasis) for text, chunks in text_chunks.items()
        }
    read = []
    owners = [*prompts[:-1], *[prompts[-1]] * len(prompts[-1].subprompts)]
    for one, schedule in zip(owners, schedules):
        chunked_texts = tuple(ChunkedText(until, text, text_chunks[text]) for until, text in schedule)
        notices = (*one.notices, *unread_names(one.words, words))
        read.append(ChunkedPrompt(one, chunked_texts, notices))
    if components.zero_empty_negative and len(prompts) == 2 and not prompts[0].words:
        # The same words may be the prompt's too, so the zeros have a key that no text has.
        encodings[_NOTHING] = _zeros_like(encodings[""])
        schedules[0] = [(schedules[0][-1][0], _NOTHING)]
    entries: list[tuple[int, torch.Tensor, Mapping[str, torch.Tensor]]] = []
    for until in sorted({until for schedule in schedules for until, _ in schedule}):
        now = [next(text for end, text in schedule if until <= end) for schedule in schedules]
        rows = [encodings[text] for text in now]
        conditions = text_conditions(components, [row.pooled for row in rows])
        entries.append((until, torch.cat([row.embeds for row in rows]), conditions))
    weights = tuple(one.weight for one in reversed(prompts[-1].subprompts)) if prompts[-1].is_composed else ()
    negative_read, others = (read[0], tuple(read[1:-1])) if len(prompts) == 2 else (None, ())
    return Conditioning(tuple(entries), read[-1], negative_read, most, weights, others)


_NOTHING = "\0"  # no prompt holds it: requests refuse control characters


@dataclass(frozen=True)
class _Encoding:
    """A text: embeds (1, tokens, dim), and for SDXL the pooled embedding (1, dim) of its first chunk."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None = None


def _zeros_like(encoding: _Encoding) -> _Encoding:
    pooled = torch.zeros_like(encoding.pooled) if encoding.pooled is not None else None
    return _Encoding(torch.zeros_like(encoding.embeds), pooled)


def _encode(
    components: Components, chunks: Sequence[Chunk], length: int, clip_skip: int, emphasis: EmphasisName
) -> _Encoding:
    """Chunks, filled up with empty ones to `length` => prompt_embeds (1, length * positions, dim).

    SD 1 and SD 2 use the last layer with the final norm, SDXL the last but one of each encoder without it, and joins
    the two; an earlier layer is treated alike (diffusers' clip_skip). The pooled embedding is the second
    encoder's, always of its last layer.
    """
    padded = [*chunks, *[Chunk()] * (length - len(chunks))]
    has_empty = emphasis == "comfyui" and any(weight != 1 for chunk in padded for weight in chunk.weights)
    if has_empty:  # weights lead from there
        padded.append(Chunk())
    size = components.chunk_tokens
    weights = [[1.0, *chunk.weights, *[1.0] * (size + 1 - len(chunk.weights))] for chunk in padded]
    parts: list[torch.Tensor] = []
    pooled: torch.Tensor | None = None
    for which, (tokenizer, encoder) in enumerate(components.encoders):
        ids = torch.tensor([with_ends(chunk.tokens, tokenizer, size) for chunk in padded], device=components.device)
        with put_in(encoder, which, [chunk.vectors for chunk in padded]):
            layers = components.is_xl or clip_skip > 1
            answer = encoder(ids, output_hidden_states=True) if layers else encoder(ids)
            embeds = answer.hidden_states[-clip_skip] if layers else answer[0]
            if layers and not components.is_xl:
                embeds = _final_norm(encoder)(embeds)
        if components.is_xl and hasattr(answer, "text_embeds"):
            pooled = answer.text_embeds[:1].to(components.dtype)
        token_weights = torch.tensor(weights, device=embeds.device)
        if has_empty:
            parts.append(weighted_from_empty(embeds[:-1], token_weights[:-1], embeds[-1:]))
        else:
            parts.append(apply_weights(embeds, token_weights, restores_mean=emphasis == "original"))
    all_embeds = torch.cat(parts, dim=-1).to(components.dtype)
    if not bool(torch.isfinite(all_embeds).all()):
        raise NotFinite(Message("the prompt's embeddings hold values that are not numbers"), "text encoder")
    return _Encoding(all_embeds.reshape(1, -1, all_embeds.shape[-1]), pooled)


def _final_norm(encoder: Any) -> Any:
    """A text encoder's last layer norm; with a projection the model lies one level deeper."""
    return getattr(encoder, "text_model", encoder).final_layer_norm


def weighted_from_empty(embeds: torch.Tensor, weights: torch.Tensor, empty: torch.Tensor) -> torch.Tensor:
    """Each token's embedding on the line from that of the empty prompt, as ComfyUI does: e + w (z - e).

    `embeds` (chunks, positions, dim), `weights` (chunks, positions), `empty` (1, positions, dim). Tokens of weight 1
    stay bit for bit as they are.
    """
    exact, beginning = embeds.float(), empty.float()
    weighted_embeds = (exact - beginning) * weights[..., None] + beginning
    return torch.where(weights[..., None] == 1, exact, weighted_embeds).to(embeds.dtype)


def apply_weights(embeds: torch.Tensor, weights: torch.Tensor, *, restores_mean: bool = True) -> torch.Tensor:
    """Weight each token's embedding and scale each chunk back to its former mean, as A1111 does; `restores_mean` False
    is its "No norm", which leaves out the latter.

    `embeds` (chunks, positions, dim), `weights` (chunks, positions). Chunks whose weights are all 1 stay bit for bit
    as they are.
    """
    if bool((weights == 1).all()):
        return embeds
    exact = embeds.float()
    weighted_embeds = exact * weights[..., None]
    if not restores_mean:
        return weighted_embeds.to(embeds.dtype)
    restore = exact.mean(dim=(1, 2)) / weighted_embeds.mean(dim=(1, 2))
    restore = torch.where(torch.isfinite(restore), restore, 1.0)
    result = weighted_embeds * restore[:, None, None]
    plain = (weights == 1).all(dim=1)[:, None, None]
    return torch.where(plain, exact, result).to(embeds.dtype)
