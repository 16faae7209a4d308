"""Our vocabulary in transformers' CLIPTokenizer: any text, one token per word of the world, padded like CLIP's."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.tokenizer import (
    BOS,
    EOS,
    MODEL_MAX_LENGTH,
    byte_alphabet,
    carry_over,
    ensure_tokenizer,
    learn_merges,
    load_tokenizer,
    read_merges,
    save_tokenizer,
    split_token,
    vocabulary_words,
)
from training.world import (
    BACKGROUND_SYNONYMS,
    BACKGROUNDS,
    FILLERS,
    MEDIA,
    OBJECTS,
    PLACES,
    RELATIONS,
    SCENE_NOUNS,
    SCENES,
    SIZE_WORDS,
    STYLE_ENDINGS,
    STYLES,
    reserve_words,
)

OLD = Path("models/small-world-128/tokenizer")


TABLES = (OBJECTS, SCENES, SCENE_NOUNS, SIZE_WORDS, PLACES, RELATIONS, STYLES, STYLE_ENDINGS, BACKGROUND_SYNONYMS)


def world_words() -> set[str]:
    """Every word that a caption can have, reserve and nonsense apart."""
    texts = [*BACKGROUNDS, *FILLERS, *MEDIA, "background", "with", "front", *OBJECTS, *SCENES]
    texts += [text for table in TABLES for row in table.values() for text in row]
    return {word for text in texts for word in re.findall("[a-z]+", text)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> CLIPTokenizer:
    return load_tokenizer(folder)


def test_byte_alphabet_is_a_bijection() -> None:
    assert len(set(byte_alphabet())) == 256


def test_merges_join_the_most_frequent_pair_first() -> None:
    assert learn_merges(Counter({"ab": 2, "cd": 1})) == [("a", "b</w>"), ("c", "d</w>")]


def test_words_of_the_world_and_of_the_reserve_are_single_tokens(tokenizer: CLIPTokenizer) -> None:
    for word in [*sorted(world_words()), *reserve_words()]:
        assert tokenizer.tokenize(word) == [f"{word}</w>"]


def test_the_reserve_has_no_word_of_the_world() -> None:
    assert not world_words() & set(reserve_words())
    assert len(vocabulary_words()) == len(set(vocabulary_words())) > 500


@pytest.mark.parametrize("text", ["", "Zürich 🦊", "שלום עולם", "\x00\x07", "日本語 text", "don't", "a" * 5000])
def test_any_text_becomes_77_known_ids(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text, padding="max_length", max_length=MODEL_MAX_LENGTH, truncation=True).input_ids
    assert len(ids) == MODEL_MAX_LENGTH
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id == tokenizer.pad_token_id
    assert max(ids) < len(tokenizer)


def test_the_shipped_tokenizer_knows_the_words_of_its_world() -> None:
    """The checkpoint's own vocabulary and words, which may be those of an earlier world than the code's."""
    shipped = load_tokenizer(OLD)
    words = json.loads((OLD.parent / "world.json").read_text(encoding="utf-8"))["words"]
    for word in {word for text in words for word in text.split()}:
        assert len(shipped.tokenize(word)) == 1, word


def test_a_run_keeps_the_vocabulary_it_began_with(tmp_path: Path) -> None:
    ensure_tokenizer(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    ensure_tokenizer(tmp_path)
    assert read_merges(tmp_path) == [("a", "b")]
    (tmp_path / "tokenizer_config.json").unlink()  # as after kill -9 while it was written
    ensure_tokenizer(tmp_path)
    assert len(read_merges(tmp_path)) > 500


def test_split_token_reads_as_the_other_vocabulary_would() -> None:
    merges = [("o", "w"), ("ow", "l</w>"), ("x", "y")]
    assert split_token("owl</w>", merges) == ("owl</w>",)
    assert split_token("bowl</w>", merges) == ("b", "owl</w>")
    assert split_token("owls</w>", merges) == ("ow", "l", "s</w>")
    assert split_token("ow", merges) == ("ow",)


def test_a_text_encoder_is_carried_over_to_a_new_vocabulary(tmp_path: Path) -> None:
    """Known words keep their rows under new ids, new words begin as the mean of their pieces, the rest is the same."""
    old_folder, new_folder = tmp_path / "old", tmp_path / "new"
    small_vocabulary(old_folder, Counter({"fox": 2, "red": 1}))
    small_vocabulary(new_folder, Counter({"red": 3, "foxes": 2, "fox": 1}))
    old, new = load_tokenizer(old_folder), load_tokenizer(new_folder)
    torch.manual_seed(0)
    before = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(old),
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            bos_token_id=old.bos_token_id,
            eos_token_id=old.eos_token_id,
            pad_token_id=old.pad_token_id,
        )
    )
    after = carry_over(before, old_folder, new_folder)
    assert old.get_vocab()["fox</w>"] != new.get_vocab()["fox</w>"]
    assert (after.config.vocab_size, after.config.bos_token_id) == (len(new), new.bos_token_id)
    assert after.config.eos_token_id == after.config.pad_token_id == new.eos_token_id

    def answer(model: CLIPTextModel, tokenizer: CLIPTokenizer, text: str) -> list[torch.Tensor]:
        ids = tokenizer(text, padding="max_length", max_length=MODEL_MAX_LENGTH, return_tensors="pt").input_ids
        with torch.inference_mode():
            return [model(ids).last_hidden_state, model(ids).pooler_output]

    for mine, theirs in zip(answer(after, new, "red fox"), answer(before, old, "red fox"), strict=True):
        torch.testing.assert_close(mine, theirs)
    rows, old_rows = (model.get_input_embeddings().weight for model in (after, before))
    ids = old.get_vocab()
    pieces = [ids[piece] for piece in split_token("foxes</w>", read_merges(old_folder))]
    assert len(pieces) > 1
    torch.testing.assert_close(rows[new.get_vocab()["foxes</w>"]], old_rows[pieces].mean(dim=0))
    assert carry_over(before, old_folder, old_folder) is before


def small_vocabulary(folder: Path, words: Counter[str]) -> None:
    """A CLIP tokenizer that has learned these words alone."""
    save_tokenizer(folder)
    merges = learn_merges(words)
    alphabet = byte_alphabet()
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *(a + b for a, b in merges), BOS, EOS]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
