"""The line under the prompts: counts of both, and what is not understood, also while nobody can count."""

from __future__ import annotations

import asyncio

import pytest

from studio.answered.engine import Refused, TokensAnswer
from studio.asked.orders import Tokens
from studio.asked.prompt import parse_prompt
from studio.ui.generate.token_line import token_view


class Counting:
    """An engine that counts words, or is still loading."""

    def __init__(self, *, loading: bool = False) -> None:
        self.loading = loading

    async def ask(self, question: Tokens) -> TokensAnswer:
        if self.loading:
            raise Refused("Tokens are counted once the checkpoint is loaded.")
        pieces = tuple(question.text.split())
        notices = parse_prompt(question.text, negative=question.negative).notices
        return TokensAnswer(count=len(pieces), chunks=1 + len(pieces) // 75, pieces=pieces, notices=notices)


def line(prompt: str, negative_prompt: str = "", *, loading: bool = False) -> list[str]:
    engine = Counting(loading=loading)
    view = asyncio.run(token_view(engine, "tiny", prompt, negative_prompt))  # type: ignore[arg-type]
    assert ("waits" in view) == (loading and bool(prompt + negative_prompt))
    return [view["counts"], *view["remarks"]]


@pytest.mark.parametrize(
    ("prompt", "negative_prompt", "said"),
    [
        ("", " ", ""),
        ("fox", "", "1 token, 1 chunk"),
        ("a red fox", "bad, ugly", "3 tokens, 1 chunk · negative prompt: 2 tokens, 1 chunk"),
        ("", "bad", "negative prompt: 1 token, 1 chunk"),
        ("fox " * 80, "", "80 tokens, 2 chunks"),
    ],
)
def test_both_prompts_are_counted(prompt: str, negative_prompt: str, said: str) -> None:
    assert line(prompt, negative_prompt) == [said]


def test_what_is_not_understood_has_a_line_each() -> None:
    said = line("a fox AND a __beast__", "{ugly|bad} <lora:x:1>")
    assert said[0] == "5 tokens, 1 chunk · negative prompt: 2 tokens, 1 chunk"
    assert [words[:40] for words in said[1:]] == [
        "What is in { | } and __ __ is chosen ane",
        "negative prompt: What is in { | } and __",
        "negative prompt: <lora:x:1> does nothing",
    ]
    assert line("a fox AND a __beast__", "{ugly|bad} <lora:x:1>", loading=True) == ["", *said[1:]]


def test_what_would_be_refused_is_said_while_it_is_typed() -> None:
    assert "prompt: the weight '1000' of the LoRA 'x' is not allowed" in line("<lora:x:1000>")[1]


def test_a_control_character_is_said_and_the_rest_is_counted() -> None:
    said = ["2 tokens, 1 chunk", "U+0007 is a control character and is left out."]
    assert line("a fo\x07x") == said
    assert line("a fo\x07x", loading=True) == ["", *said[1:]]


class Choosing(Counting):
    """An engine that remarks on the words that a template's seed has chosen."""

    async def ask(self, question: Tokens) -> TokensAnswer:
        return TokensAnswer(count=2, chunks=1, pieces=("(a", "fox"), notices=parse_prompt("(a fox").notices)


def test_the_remarks_on_a_template_are_those_on_its_chosen_words() -> None:
    said = asyncio.run(token_view(Choosing(), "tiny", "(a {fox|fox}"))["remarks"]  # type: ignore[arg-type]
    assert [words for words in said if "bracket" in words] == list(parse_prompt("(a fox").notices)


class Placing(Counting):
    """An engine that says where its words stand."""

    async def ask(self, question: Tokens) -> TokensAnswer:
        return TokensAnswer(
            count=2, chunks=2, pieces=("🦊", "x"), places=((0, 1), (2, 3)), sizes=(1, 1), chunk_tokens=1
        )


def test_the_page_learns_where_tokens_stand_as_browsers_count_characters() -> None:
    view = asyncio.run(token_view(Placing(), "tiny", "🦊 x"))  # type: ignore[arg-type]
    assert view["prompt"] == {"text": "🦊 x", "count": 2, "sizes": [1, 1], "most": 1, "places": [0, 2, 3, 4]}
    assert "negative_prompt" not in view
