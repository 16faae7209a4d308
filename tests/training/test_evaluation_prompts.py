"""The prompts of the evaluation are those that were committed, fair, and hold nothing back."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from training.evaluation_prompts import DIGEST, UNKNOWN, Prompt, digest, draw_rows
from training.tokenizer import vocabulary_words
from training.world import BACKGROUNDS, OBJECTS, RELATIONS, SCENES, is_held_out


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Prompt]]:
    return draw_rows()


def test_they_are_the_committed_ones(rows: dict[str, list[Prompt]]) -> None:
    assert digest(rows) == DIGEST
    assert all(len(prompts) >= 500 for prompts in rows.values())
    assert draw_rows(7)["pairs"] == rows["pairs"][:7]


def test_only_one_row_asks_for_what_training_never_drew(rows: dict[str, list[Prompt]]) -> None:
    for name, prompts in rows.items():
        for prompt in prompts:
            assert prompt.background is not None
            on = [is_held_out(thing, prompt.background) for thing in prompt.objects]
            together = len(prompt.objects) == 2 and is_held_out(*prompt.objects)
            if name != "never seen":
                assert not together
                assert not any(on)
            elif len(prompt.objects) == 2:
                assert together
                assert not any(on)
            else:
                assert on == [True]


def test_everything_is_asked_for(rows: dict[str, list[Prompt]]) -> None:
    assert {prompt.objects[0] for prompt in rows["single"]} == set(OBJECTS)
    backgrounds = Counter(prompt.background for prompt in rows["single"])
    assert set(backgrounds) == {*BACKGROUNDS, *SCENES}
    assert min(backgrounds.values()) >= 20
    assert {prompt.relation for prompt in rows["pairs"]} == set(RELATIONS)
    assert {prompt.style for prompt in rows["style"]} == {"pixel art", "black and white", "pencil sketch"}
    assert {prompt.place for prompt in rows["single"]} == {None, "left", "right", "top", "bottom"}


def test_paraphrases_and_unknown_words_ask_for_the_same_pictures(rows: dict[str, list[Prompt]]) -> None:
    for plain, other, unknown in zip(rows["single"], rows["paraphrase"], rows["unknown word"], strict=True):
        assert (plain.objects, plain.background, plain.seed) == (other.objects, other.background, other.seed)
        assert other.prompt != plain.prompt
        assert (unknown.objects, unknown.seed) == (plain.objects, plain.seed)
        added = Counter(re.findall("[a-z]+", unknown.prompt)) - Counter(re.findall("[a-z]+", plain.prompt))
        assert set(added) <= set(UNKNOWN)
        assert added.total() == 1


def test_unknown_words_are_unknown() -> None:
    assert not set(UNKNOWN) & set(vocabulary_words())


def test_64_contact_sheet_prompts_begin_with_the_first_sixteen() -> None:
    prompts = Path("training/prompts.txt").read_text(encoding="utf-8").splitlines()
    assert len(prompts) == len(set(prompts)) == 64
    assert prompts[0] == "a red apple in the snow"
    assert prompts[15] == "black and white, a mushroom on a gray background"
