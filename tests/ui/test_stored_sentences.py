"""Sentences that were stored as text are known again by their form, and nothing else is touched."""

from __future__ import annotations

import pytest

from studio.ui import language
from studio.ui.stored_sentences import retold


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("This VAE makes latents of another kind than Stable Diffusion's.", None),
        ("old.ckpt is a pickle, which could run code when it is read. Only safetensors are loaded.", "old.ckpt"),
        ('In the negative prompt, "a b" has no closing bracket, so its weight holds to the end.', "a b"),
    ],
)
def test_a_stored_sentence_is_said_in_the_visitors_language(stored: str, said: str | None) -> None:
    assert retold(stored) == stored
    with language.speaking("zh"):
        chinese = retold(stored)
    assert chinese != stored
    assert "read" not in chinese
    assert said is None or said in chinese


@pytest.mark.parametrize("text", ["", "a red apple", "a: b", '"x" y', "{p0} {p1}", "The apple {} is {}.", "{"])
def test_other_text_stays_as_it_is(text: str) -> None:
    with language.speaking("zh"):
        assert retold(text) == text
