"""Templates: what is chosen, that the seed alone decides it, and what stays as it is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import pytest

from studio.asked.fields import TextToImage
from studio.asked.problems import InvalidRequest
from studio.asked.resolved import Suits, resolve
from studio.asked.template import NoSuchLines, is_template, resolve_template

LINES = {
    "colour": ["red", "blue", "3::green"],
    "animals/big": ["a __colour__ bear"],
    "both": ["p|q"],
    "loop": ["__loop__"],
    "twice": ["__twice____twice__"],
    "long": ["x" * 19_000],
}


COLOURS = ("red", "blue", "green")
FOREVER = ["d e,f", "c e,f", "a f,g", "c e,f"]


class Files:
    def lines(self, name: str) -> Sequence[str]:
        if name not in LINES:
            raise NoSuchLines("is read as words: none.")
        return LINES[name]


def chosen(text: str, seeds: int = 200) -> set[str]:
    texts = [resolve_template(text, seed, Files()).text for seed in range(seeds)]
    for words in dict.fromkeys(texts):
        assert resolve_template(words, 7, Files()).text == words, "what is resolved stays as it is"
    return set(texts)


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("{a|b} fox", {"a fox", "b fox"}),
        ("{ a |b}x", {"a x", "bx"}),
        ("{a|}x", {"ax", "x"}),
        ("{a|{b|c} d}", {"a", "b d", "c d"}),
        ("{2$$a|b}", {"a,b", "b,a"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{2$$|$$a|b}", {"a|b", "b|a"}),
        ("{1-2$$ $$a|b}", {"a", "b", "a b", "b a"}),
        ("{-2$$ $$a|b}", {"a", "b", "a b", "b a"}),
        ("{2-$$ $$a|b}", {"a b", "b a"}),
        ("{0-1$$a}", {"", "a"}),
        ("{3$$ $$a|b}", {"a b", "b a"}),
        ("{0::a|b}", {"b"}),
        ("{~a|b}", {"a", "b"}),
        ("__colour__ fox", {"red fox", "blue fox", "green fox"}),
        ("__animals/big__", {"a red bear", "a blue bear", "a green bear"}),
        ("{2$$-$$__colour__|x}", {"red-x", "blue-x", "green-x", "x-red", "x-blue", "x-green"}),
        (
            "{3$$ $$__colour__}",
            {f"{a} {b} {c}" for a in COLOURS for b in COLOURS for c in COLOURS if len({a, b, c}) == 3},
        ),
        ("({red|blue}:1.3) [{a|b}|c]", {f"({x}:1.3) [{y}|c]" for x in ("red", "blue") for y in "ab"}),
        ("{[a|b]|c}", {"[a|b]", "c"}),
        ("{(a:1.2)|b}", {"(a:1.2)", "b"}),
        ("<lora:{a|b}:1>", {"<lora:a:1>", "<lora:b:1>"}),
    ],
)
def test_each_choice_comes_and_nothing_else(text: str, texts: set[str]) -> None:
    assert is_template(text)
    assert chosen(text) == texts


@pytest.mark.parametrize(
    "text",
    [
        "a fox, 100% wool, $5, (a:1.3), [a|b], [a:b:0.5]",
        "{masterpiece}, {{best}}",
        "{a|b",
        "a|b} c",
        r"\{a|b\} \__colour__",
        "# {a|b}",
        "${a|b} %{a|b}",
        "____ _____ snake_case __*__",
    ],
)
def test_what_is_no_choice_stays_as_it_is(text: str) -> None:
    assert not is_template(text)
    assert resolve_template(text, 1, Files()).text == text


@pytest.mark.parametrize(
    ("text", "words"),
    [("a __none__", r"a \__none__"), ("{__both__}", r"\{p|q}"), ("<lora:x__none__y:1>", "<lora:x__none__y:1>")],
)
def test_what_looks_like_a_choice_afterwards_gets_a_backslash_but_for_a_lora_s_name(text: str, words: str) -> None:
    assert resolve_template(text, 1, Files()).text == words


def test_what_is_not_chosen_is_said() -> None:
    assert resolve_template("__none__ {a|__none__}", 1, Files()).notices == ('"__none__" is read as words: none.',)
    [notice] = resolve_template("{@a|b}", 1, Files()).notices
    assert notice.startswith('"{@" asks for each in turn')


def test_chance_is_fair_and_follows_the_weights() -> None:
    counts = Counter(resolve_template("{a|b|c}", seed, Files()).text for seed in range(3000))
    assert all(900 < counts[letter] < 1100 for letter in "abc")
    weighted = Counter(resolve_template("__colour__", seed, Files()).text for seed in range(3000))
    assert 1700 < weighted["green"] < 1900


def test_the_choice_of_a_seed_is_the_same_for_ever() -> None:
    texts = [resolve_template("{a|b|c|d} {2$$e|f|g}", seed, Files()).text for seed in range(4)]
    assert texts == FOREVER


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("__loop__", "at most 10 wildcards within each other"),
        ("__twice__", "at most 10 wildcards within each other"),
        ("__long__ __long__", "at most 20,000 characters once everything is chosen"),
        ("{" * 12 + "a|b" + "|0::c}" * 12, "at most 10 braces within each other"),
    ],
)
def test_a_template_without_end_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        resolve_template(text, 1, Files())


@pytest.mark.parametrize("text", ["{" * 19_000, "{a|" * 6000, "[" * 9000 + "]" * 9000, "__" * 9000, "{[|]" * 4900])
def test_hostile_texts_cost_no_more_than_their_length(text: str) -> None:
    start = time.perf_counter()
    resolve_template(text + "{a|b}", 1, Files())
    assert time.perf_counter() - start < 2


def test_each_picture_of_a_run_has_its_own_words_and_a_variation_keeps_them() -> None:
    request = TextToImage(prompt="{a|b|c|d|e|f} fox", negative_prompt="{x|y}", seed=3, num_images_per_prompt=4)
    run = resolve(request, Suits())
    assert len({words.prompt for words in run.words}) > 1
    for number, image in enumerate(run.images):
        alone = resolve(TextToImage(prompt=request.prompt, negative_prompt="{x|y}", seed=3 + number), Suits())
        assert image.request.prompt == alone.words[0].prompt == run.words[number].prompt
        assert image.template == (request.prompt, request.negative_prompt)
        again = resolve(image.request, Suits())
        assert (again.words, again.request.prompt) == ((), image.request.prompt)
    varied = resolve(
        TextToImage(prompt="{a|b|c|d|e|f}", seed=3, num_images_per_prompt=4, variation_strength=0.2), Suits()
    )
    assert len({words.prompt for words in varied.words}) == 1
