"""Where tokens stand in a typed prompt: behind comments, tags, brackets, weights, schedules and AND."""

from __future__ import annotations

import pytest

from studio.asked.emphasis import EmphasisName
from studio.asked.prompt import parse_prompt
from studio.diffusion.token_places import token_places
from studio.diffusion.tokens import tokenize
from studio.families.configs import clip_tokenizer
from tests.tiny import tiny_components


@pytest.mark.parametrize(
    ("typed", "emphasis", "pieces"),
    [
        ("a (red:1.3) fox", "original", "a red fox"),
        ("a <lora:ink:1> fox # hidden\nsnow", "original", "a fox snow"),
        ("fox BREAK REd birds", "original", "fox REd birds"),
        ("[cat:tree:0.5] tail [b|c] [x::2]", "original", "cat tail b x"),
        (r"birds \(s\) (a:1.1):1 end", "original", "birds ( s ) a : 1 end"),
        (r"birds \(s\) (a:1.1):1 end", "comfyui", "birds ( s ) a : 1 end"),
        ("((deep [x]) word)", "comfyui", "deep [ x ] word"),
        ("cat AND dog:1.2 AND Bird", "original", "cat dog Bird"),
        ("🦊 ÉTÉ", "original", "🦊 🦊 É TÉ"),
        ("unclosed (a:1.2 x", "original", "un closed a : 1 . 2 x"),
        ("", "original", ""),
    ],
)
def test_each_token_stands_where_it_was_typed(typed: str, emphasis: EmphasisName, pieces: str) -> None:
    prompt = parse_prompt(typed, emphasis=emphasis)
    places = token_places(clip_tokenizer("<|endoftext|>", 77), prompt)
    assert " ".join(typed[start:end] for start, end in places) == pieces


@pytest.mark.parametrize("text", ["a fox", "fox, " * 60 + "BREAK end", "a AND (b:1.2)", "[a:b:3] c <lora:x:1>", " "])
def test_there_is_a_place_for_each_token_and_a_size_for_each_chunk(text: str) -> None:
    answer = tokenize(tiny_components(), text)
    assert len(answer.places) == answer.count == sum(answer.sizes)
    assert len(answer.sizes) == answer.chunks
    assert max(answer.sizes) <= answer.chunk_tokens
