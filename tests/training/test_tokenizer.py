"""Our vocabulary in transformers' CLIPTokenizer: any text, one token per word of the world, padded like CLIP's."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from training.tokenizer import MODEL_MAX_LENGTH, byte_alphabet, learn_merges, load_tokenizer, save_tokenizer
from training.world import draw_scene


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return load_tokenizer(folder)


def test_byte_alphabet_is_a_bijection() -> None:
    assert len(set(byte_alphabet())) == 256


def test_merges_join_the_most_frequent_pair_first() -> None:
    from collections import Counter

    assert learn_merges(Counter({"ab": 2, "cd": 1})) == [("a", "b</w>"), ("c", "d</w>")]


def test_words_of_the_world_are_single_tokens(tokenizer: CLIPTokenizer) -> None:
    for index in range(200):
        caption = draw_scene(4, index).caption
        assert len(tokenizer.tokenize(caption)) == len(caption.replace(",", " ,").split()), caption


@pytest.mark.parametrize("text", ["", "Zürich 🦊", "שלום עולם", "\x00\x07", "日本語 text", "don't", "a" * 5000])
def test_any_text_becomes_77_known_ids(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text, padding="max_length", max_length=MODEL_MAX_LENGTH, truncation=True).input_ids
    assert len(ids) == MODEL_MAX_LENGTH
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id == tokenizer.pad_token_id
    assert max(ids) < len(tokenizer)


def test_the_shipped_vocabulary_is_the_one_this_code_makes(tokenizer: CLIPTokenizer) -> None:
    shipped = load_tokenizer(Path("models/small-world-128/tokenizer"))
    assert shipped.get_vocab() == tokenizer.get_vocab()
