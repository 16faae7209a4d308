"""A prompt as one or two text encoders are given it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from studio.asked.prompt import parse_prompt
from studio.diffusion.chunks import ChunkedPrompt, ChunkedText, chunks_of, with_ends
from studio.diffusion.components import Components, TextEncoder
from studio.diffusion.tokens import text_encoders, token_table
from tests.tiny import tiny_components, tiny_text_encoder, tiny_tokenizer


def table(components: Components, text: str, num_steps: int = 4) -> list[dict[str, Any]]:
    chunks = tuple(chunks_of(components.text_encoders[0].tokenizer, text, components.chunk_tokens, components.words))
    return token_table(components, ChunkedPrompt(parse_prompt(text), (ChunkedText(4, text, chunks),)), num_steps)


def test_both_encoders_of_sdxl_are_told_with_what_each_is_given() -> None:
    components = tiny_components()
    second = tiny_tokenizer()
    second.pad_token = "a</w>"  # as SDXL's second pads with "!" where the first pads with its end
    added = TextEncoder("text_encoder_2", second, tiny_text_encoder(second))
    both = replace(components, text_encoders=(*components.text_encoders, added))
    [entry] = table(both, "a (red:1.3) fox")
    [chunk] = entry["chunks"]
    [other] = chunk["others"]
    [parsed] = chunks_of(components.text_encoders[0].tokenizer, "a (red:1.3) fox", 75)
    assert chunk["ids"] == with_ends(parsed.tokens, components.text_encoders[0].tokenizer, 75), (
        "as the encoder is given them"
    )
    assert other["ids"] == with_ends(parsed.tokens, second, 75)
    assert chunk["ids"][:5] == other["ids"][:5]
    assert {*other["pieces"][5:]} == {"a</w>"}
    assert chunk["pieces"][:5] == other["pieces"][:5]
    assert chunk["pieces"][5:] != other["pieces"][5:]
    told = text_encoders(both)
    assert [one["width"] for one in told] == [8, 8]
    assert all(one["layers"] >= 1 for one in told)


def test_one_encoder_has_no_others() -> None:
    components = tiny_components()
    [entry] = table(components, "fox")
    assert entry["chunks"][0]["others"] == []
    assert len(text_encoders(components)) == 1


def test_chunks_that_another_run_has_made_hold_to_the_end_of_this_one() -> None:
    components = tiny_components()
    assert table(components, "fox", 4)[0]["until"] == 4
    assert table(components, "fox", 25)[0]["until"] == 25
