"""The prompt grammar by the vectors of the interface that prompts are pasted from, LoRA tags, and what is said of other
programs' syntax."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.asked.emphasis import Span, weighted_spans
from studio.asked.prompt import (
    LoraTag,
    has_lora,
    parse_prompt,
    with_lora,
    with_lora_names,
    with_lora_weight,
    without_lora,
)
from studio.asked.prompt_schedule import parse_schedule


def prompt_schedule(prompt: str, num_steps: int, steps_before: int | None = None) -> list[tuple[int, str]]:
    return parse_schedule(prompt).texts(num_steps, steps_before)


BREAK = Span("", is_break=True)


def spans(*pairs: tuple[str, float]) -> list[Span]:
    return [Span(text, pytest.approx(weight, rel=1e-6)) for text, weight in pairs]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("((a))", [("a", 1.21)]),
        ("(a:1.3)", [("a", 1.3)]),
        ("(a: 1.3 )", [("a", 1.3)]),
        ("(a :1.3)", [("a ", 1.3)]),
        ("(a:+1.3)", [("a", 1.3)]),
        ("(a:-.5)", [("a", -0.5)]),
        ("(a:0)", [("a", 0.0)]),
        ("((a:1.5))", [("a", 1.65)]),
        ("((a:1.5):1.2)", [("a", 1.8)]),
        ("(a (b:2) c:1.5)", [("a ", 1.5), ("b", 3.0), (" c", 1.5)]),
        ("[a]", [("a", 1 / 1.1)]),
        ("[a:1.3]", [("a:1.3", 1 / 1.1)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(a:b:1.5)", [("a:b", 1.5)]),
        ("(a:1e2)", [("a:1e2", 1.1)]),
        ("(a:1.2 b)", [("a:1.2 b", 1.1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("(a", [("a", 1.1)]),
        ("(a:1.3", [("a:1.3", 1.1)]),
        ("a]", [("a]", 1.0)]),
        ("(a]", [("a]", 1.1)]),
        (r"\(a\)", [("(a)", 1.0)]),
        (r"(a\):1.2)", [("a)", 1.2)]),
        (r"\n", [("n", 1.0)]),
        (r"\\", [("\\", 1.0)]),
        ("()", [("", 1.0)]),
        ("(:1.2)", [("", 1.0)]),
        ("", [("", 1.0)]),
        ("aBREAKb", [("aBREAKb", 1.0)]),
        ("a: b", [("a: b", 1.0)]),
    ],
)
def test_weights(text: str, expected: list[tuple[str, float]]) -> None:
    assert weighted_spans(text) == spans(*expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a]", [("[a]", 1.0)]),
        ("((a:1.5):1.2)", [("a", 1.5)]),
        ("(a (b:2) c:1.5)", [("a ", 1.5), ("b", 2.0), (" c", 1.5)]),
        ("((a))", [("a", 1.1 * 1.1)]),
        ("(a", [("(a", 1.0)]),
        ("x (a (b:1.5) c", [("x ", 1.0), ("(a (b:1.5) c", 1.0)]),
        ("(a (b:1.5)", [("a ", 1.5), ("(b", 1.5)]),
        ("a)", [("a)", 1.0)]),
        ("a) (b:1.5)", [("a) (b:1.5)", 1.0)]),
        ("a) ((b:1.5)", [("a) (", 1.0), ("b", 1.5)]),
        ("(:1.2)", [(":1.2", 1.1)]),
        ("()", [("", 1.0)]),
        ("(a:1e2)", [("a", 100.0)]),
        ("(a:many)", [("a:many", 1.1)]),
        ("(a:nan)", [("a:nan", 1.1)]),
        (r"\(a\) (b\):1.2)", [("(a) ", 1.0), ("b)", 1.2)]),
        (r"\{a\} \n", [(r"{a} \n", 1.0)]),
        ("", [("", 1.0)]),
    ],
)
def test_weights_as_comfyui_reads_them(text: str, expected: list[tuple[str, float]]) -> None:
    assert weighted_spans(text, "comfyui") == spans(*expected)


def test_comfyui_s_weights_have_limits_too_and_deep_brackets_cost_little() -> None:
    assert weighted_spans("(a:1000)", "comfyui") == [Span("a", 100.0)]
    assert weighted_spans("(" * 9000 + "a" + ")" * 9000, "comfyui")
    assert weighted_spans("(a BREAK b:1.2)", "comfyui") == [Span("a", 1.2), BREAK, Span("b", 1.2)]


def test_what_comfyui_reads_as_words_is_said() -> None:
    def said(text: str) -> str:
        return " ".join(parse_prompt(text, emphasis="comfyui").notices)

    assert "is read as words, as in ComfyUI" in said("(fox, snow")
    assert "closes no bracket" in said("fox), snow")
    assert "[ and ] are words" in said("[snow] fox")
    assert said("[a:b:0.5] (fox:1.2) [a|b]") == ""


def test_break_is_a_word_of_its_own() -> None:
    assert weighted_spans("a, BREAK, b") == [Span("a,"), BREAK, Span(", b")]
    # Where the original reads the word BREAK here, by an oversight, a break is what was meant.
    assert weighted_spans("(a BREAK b:1.2)") == [Span("a", 1.2), BREAK, Span("b", 1.2)]


def in_turn(until: int, *texts: str) -> list[tuple[int, str]]:
    return [(step + 1, texts[step % len(texts)]) for step in range(until)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", [(10, "a")]),
        ("[a:b:0.5]", [(5, "a"), (10, "b")]),
        ("[a:b:.5]", [(5, "a"), (10, "b")]),
        ("[a:b:5]", [(5, "a"), (10, "b")]),
        ("[a:b: 5 ]", [(5, "a"), (10, "b")]),
        ("[a:b:1]", [(1, "a"), (10, "b")]),
        ("[a:b:1.0]", [(10, "a")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:-1]", [(10, "b")]),
        ("[a:b:15]", [(10, "a")]),
        ("[a:b:" + "9" * 400 + "]", [(10, "a")]),
        ("[a:b:-" + "9" * 400 + "]", [(10, "b")]),
        ("[b:0.5]", [(5, ""), (10, "b")]),
        ("[a::0.5]", [(5, "a"), (10, "")]),
        ("[a:[b:c:7]:3]", [(3, "a"), (7, "b"), (10, "c")]),
        ("[[a|b]:c:5]", [*in_turn(5, "a", "b"), (10, "c")]),
        ("[fe|]male", in_turn(10, "female", "male")),
        ("[(a:1.3):(b:0.8):5]", [(5, "(a:1.3)"), (10, "(b:0.8)")]),
        ("([a:b:5]:1.2)", [(5, "(a:1.2)"), (10, "(b:1.2)")]),
        ("x [a:b:5] [y]", [(5, "x a [y]"), (10, "x b [y]")]),
        *[(p, [(10, p)]) for p in ("[a]", "[a:b]", "[a:b:c]", "[a|b:0.5]", "[a:b:c:5]", "[a:b:0.5", "a|b", "a:b:5]")],
        (r"\[a:b:5\]", [(10, r"\[a:b:5\]")]),
        ("[a:b:[c:5]", [(5, "[a:b:"), (10, "[a:b:c")]),
        ("[a (b:c:5]", [(10, "[a (b:c:5]")]),
    ],
)
def test_prompt_scheduling(prompt: str, expected: list[tuple[int, str]]) -> None:
    assert prompt_schedule(prompt, 10) == expected


@given(st.text(alphabet="ab ,:|.5()[]\\BREAK", max_size=60), st.integers(1, 7))
@settings(max_examples=300, deadline=None)
def test_nothing_a_visitor_types_is_an_error(prompt: str, num_steps: int) -> None:
    schedule = prompt_schedule(prompt, num_steps)
    assert schedule[-1][0] == num_steps
    assert [until for until, _ in schedule] == sorted({until for until, _ in schedule})
    for _, text in schedule:
        assert all(abs(span.weight) <= 100 for span in weighted_spans(text))


@pytest.mark.parametrize(
    "prompt",
    [
        "(" * 20000,
        "[" * 20000,
        "(a" * 6000,
        "[a:" * 3000 + "b" + ":5]" * 3000,
        "[a|" * 3000 + "b" + "]" * 3000,
        ")" * 9000,
    ],
)
def test_deep_nesting_is_read_without_recursion(prompt: str) -> None:
    for _, text in prompt_schedule(prompt, 5):
        assert all(abs(span.weight) <= 100 for span in weighted_spans(text))


def test_the_second_pass_goes_on_counting_where_the_first_one_ended() -> None:
    assert prompt_schedule("[a:b:0.5]", 10, steps_before=10) == [(10, "b")]
    assert prompt_schedule("[a:b:1.5]", 10) == [(10, "a")]
    assert prompt_schedule("[a:b:1.5]", 10, steps_before=10) == [(5, "a"), (10, "b")]
    assert prompt_schedule("[a:b:15]", 10) == [(10, "a")]
    assert prompt_schedule("[a:b:15]", 10, steps_before=10) == [(5, "a"), (10, "b")]
    assert prompt_schedule("[a:b:5]", 10, steps_before=10) == [(10, "b")]
    assert prompt_schedule("[a:b:2.0]", 10, steps_before=10) == [(10, "a")]
    assert prompt_schedule("[a:b:1.2]", 10, steps_before=25) == [(2, "a"), (10, "b")], "1.2 - 1 is 0.2"
    assert prompt_schedule("[a:b:28]", 6, steps_before=25) == [(3, "a"), (6, "b")]
    assert prompt_schedule("[a|b]", 3, steps_before=10) == [(1, "a"), (2, "b"), (3, "a")]


# ---------------------------------------------------------------------------------------------------------- LoRA tags


@pytest.mark.parametrize(
    ("prompt", "tags", "rest"),
    [
        ("a fox", [], "a fox"),
        ("a <lora:style> fox", [LoraTag("style", 1.0, 1.0)], "a  fox"),
        ("<lora:a b:0.5>x<LORA:c:.5:-1>", [LoraTag("a b", 0.5, 0.5), LoraTag("c", 0.5, -1.0)], "x"),
        ("<lora:c:te=0.2:unet=0.9:dyn=4>", [LoraTag("c", 0.2, 0.9)], ""),
        ("<lora:c:0.3:dyn=4>", [LoraTag("c", 0.3, 0.3)], ""),
        ("<lora:c:unet=0.9>", [LoraTag("c", 1.0, 0.9)], ""),
        ("<lora:c:0.8:lbw=1,0,0>", [LoraTag("c", 0.8, 0.8)], ""),
        ("<lora:c:0.8:0.6:4:5>", [LoraTag("c", 0.8, 0.6)], ""),
        ("<lyco:c:0.5>", [LoraTag("c", 0.5, 0.5)], ""),
        ("<lora:my:style:0.5>", [LoraTag("my:style", 0.5, 0.5)], ""),
        ("<lora:c:many>", [LoraTag("c:many")], ""),
        ("<lora:a<b:0.5> x", [LoraTag("a<b", 0.5, 0.5)], " x"),
        ("<lora:a <lora:b:0.5>", [LoraTag("b", 0.5, 0.5)], "<lora:a "),
        ("<lora:c", [], "<lora:c"),
        ("<lora:> <lora::0.5>", [], " "),
        ("<hypernet:c:1> <wildcard:animals> <random[2]:a|b>", [], "  "),
        ("a <3 b, <cat-toy>, 1 < 2 > 1", [], "a <3 b, <cat-toy>, 1 < 2 > 1"),
    ],
)
def test_tags(prompt: str, tags: list[LoraTag], rest: str) -> None:
    parsed = parse_prompt(prompt)
    assert (list(parsed.loras), parsed.words, parsed.text) == (tags, rest, prompt)
    assert not parsed.problems


@pytest.mark.parametrize("weight", ["nan", "inf", "101", "-1e9", ""])
def test_a_lora_weight_that_cannot_be_run_is_a_problem_and_no_plain_text(weight: str) -> None:
    parsed = parse_prompt(f"fox <lora:c:{weight}>")
    assert (parsed.words, parsed.loras) == ("fox ", ())
    assert [p.field for p in parsed.problems] == ["prompt"]
    assert "number from -100 to 100" in str(parsed.problems[0])
    assert f"'{weight}' of the LoRA 'c'" in str(parsed.problems[0])


def test_the_first_tag_is_given_another_weight() -> None:
    assert with_lora_weight("a <hypernet:x:1> <lora:b:c:0.5:lbw=A> <lora:d:1>", 0.25) == (
        "a <hypernet:x:1> <lora:b:c:0.25> <lora:d:1>"
    )
    assert with_lora_weight("no tag", 0.25) == "no tag"


# ------------------------------------------------------------------------------------------------------------ notices

SAID = [
    ("<hypernet:style:0.7> fox", '<hypernet:style:0.7> is left out: hypernetworks are not run here.'),
    ("<wildcard:animals>", 'is left out: there is no tag "wildcard" here'),
    ("<lora:x:0.8:lbw=OUTALL>", '"lbw=OUTALL" is not obeyed'),
    ("<lora:x:1:1:8>", '"8" is not obeyed'),
    ("<lora:x:dyn=8>", '"dyn=8" is not obeyed'),
    ("<lora:>", "names no LoRA"),
    ("<lora:x:1 fox", 'has no ">" at its end'),
    ("a fox :0.5", "multiplies the guidance by 0.5"),
    ("a fox AND a cat :500", "beyond 100"),
    ("a fox #1 of 3", '"#1 of 3" is left out: a comment'),
    ("foxBREAK cat", "BREAK stands between"),
    ("fox, break, cat", "only BREAK in capitals"),
    ("sky ADDCOMM fox", "Regional Prompter"),
    ("[[red, green]] fox", "no list of variants, as in Fooocus"),
    ("a __animals/*__ in snow", '"__animals/*__" is read as words: a wildcard is the name of one file'),
    ("a ${season} fox", "variables of dynamic prompts"),
    ("{masterpiece}, fox", "curly brackets have no meaning"),
    ("1.5::fox::, snow", "weights of NovelAI"),
    ("fox::2 snow::1", "weights of Midjourney"),
    ("a fox --ar 16:9 --v 6", '"--ar 16:9" (and 1 more) is read as words: options of Midjourney'),
    ("(fox)1.3 in snow", "weights of InvokeAI"),
    ("fox++ in snow", "weights of InvokeAI"),
    ('("fox", "cat").blend(0.5, 0.5)', "blends and swaps"),
    ("fox\nNegative prompt: cat\nSteps: 20, Sampler: Euler", "settings are taken from a picture"),
    ("[a:b]", '"[a:b]" is no prompt scheduling'),
    ("[a|b:0.5]", "no prompt scheduling"),
    ("[a:b:0.5, c", "no prompt scheduling"),
    ("(fox:1e2)", '"(fox:1e2)" has no weight of its own'),
    ("(fox:1,5)", "has no weight of its own"),
    ("(fox, snow", '"(fox, snow" has no closing bracket'),
    ("fox), snow", "closes no bracket"),
    ("(fox:500)", "beyond 100"),
    ("（fox：1.2）, snow", '"（fox：1.2）" is read as words: brackets and colons of a Chinese keyboard'),
    ("(fox：1.2)", "Chinese keyboard"),
    ("[fox：cat：0.5]", "Chinese keyboard"),
    ("＜lora：x：1＞", "Chinese keyboard"),
    ("a fox <lora x:1>", "a LoRA is written <lora:name:1>"),
    ("< lora:x:1>", "a LoRA is written"),
    ("&lt;lora:x:1&gt;", "a LoRA is written"),
    ("red apple:1.3, fox", '"red apple:1.3" is read as words: a weight stands in brackets'),
    ("fox MASK(0 0.5, 0 1)", "regions of ComfyUI's prompt control"),
    ("/imagine prompt: a fox", "there are no commands"),
    ("a fox <|endoftext|> in snow", '"<|endoftext|>" is the text encoder\'s own mark'),
    ("<|startoftext|> a fox", "the text encoder's own mark"),
    ("a\u200bfox", "U+200B, zero width space, cannot be seen, and goes to the text encoder"),
    ("a \u202efox\ufeff", "U+202E, right-to-left override, (and 1 more) cannot be seen"),
    ("\ufeffa fox", "U+FEFF, zero width no-break space, cannot be seen"),
    ("a fox\U000e0041", "U+E0041, tag latin capital letter a, cannot be seen"),
    ("a\x07fox", "U+0007 is a control character and is left out"),
]  # fmt: skip


@pytest.mark.parametrize(("prompt", "sentence"), SAID)
def test_what_looks_like_an_instruction_and_is_none_is_said(prompt: str, sentence: str) -> None:
    notices = parse_prompt(prompt).notices
    assert any(sentence in notice for notice in notices), notices
    assert len(set(notices)) == len(notices)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a fox, in snow",
        "(fox:1.3), [snow], ((sea)), [[sky]], [a:b:0.5], [a|b], [b:3], [a::.5]",
        "sky, BREAK, fox BREAK (cat BREAK dog:1.2)",
        "<lora:x:0.8> <lora:y:1:0.5> <lyco:z:te=0.5:unet=1>",
        r"ganyu \(genshin impact\), \{a\|b\}, \__x__",
        "a fox and a cat, coffee break, <3, C++, well--known, 16:9, mother-in-law, 50 % :D",
        "time: noon; ratio 3:2 of 3",
        "a fox AND a cat :0.5 AND snow:-1",
        "fox\n# a remark\nsnow",
        "狐狸，雪地，(红色:1.2)",
        "a family \U0001f469\u200d\U0001f469\u200d\U0001f467, \u2764\ufe0f, "
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645, "
        "a flag \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "two\tlines\nof words",
        "他说：你好（狐狸），at 7:45, a mask (blue), f:1.4 lens",
    ],
)
def test_what_is_understood_is_no_remark(prompt: str) -> None:
    assert parse_prompt(prompt).notices == ()


def test_the_negative_prompt_has_no_tags_and_no_and() -> None:
    parsed = parse_prompt("bad AND ugly <lora:x:1>", negative=True)
    assert (parsed.words, parsed.loras) == ("bad AND ugly ", ())
    assert parsed.notices[0] == "<lora:x:1> does nothing in the negative prompt and is left out."
    assert "AND" in parsed.notices[1]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", [("a", 1)]),
        ("a :1.2 AND b :0.5", [("a", 1.2), (" b", 0.5)]),
        ("a AND b:-.5", [("a ", 1), (" b", -0.5)]),
        ("a:1.2", [("a", 1.2)]),
        ("(a AND b:1.2)", [("(a ", 1), (" b:1.2)", 1)]),
        ("a and b ANDc", [("a and b ANDc", 1)]),
        ("a AND", [("a ", 1), ("", 1)]),
        ("<lora:x:1>a AND b", [("a ", 1), (" b", 1)]),
        ("a:1e2 AND b:1 2", [("a:1e2 ", 1), (" b:1 2", 1)]),
    ],
)
def test_and_divides_a_prompt_before_brackets_are_read(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert [(one.words, one.weight) for one in parse_prompt(prompt).subprompts] == expected


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a # b", "a \n"),
        ("# b\na", "\na"),
        ("a\n# b\nc", "a\nc"),
        ("a #b\nc", "a \nc"),
        ("#a\n#b\n#c", "\n\n"),
        ("a\n  # b", "a\n  \n"),
        ("<lora:x#1:1>a", "<lora:x\n"),
    ],
)
def test_comments_are_left_out_as_in_a1111(prompt: str, words: str) -> None:
    assert parse_prompt(prompt).words == words


def test_more_texts_than_a_call_may_have_are_a_problem() -> None:
    assert not parse_prompt(" AND ".join("a" * 16)).problems
    assert "at most 16 texts" in str(parse_prompt(" AND ".join("a" * 17)).problems[0])


@given(st.text(alphabet="ab<>:lora_ {}|[]()\\#-+.1\nANDBREAK", max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_text_is_parsed(prompt: str) -> None:
    parsed = parse_prompt(prompt)
    assert parsed.text == prompt
    assert len(parsed.notices) <= 100
    assert parse_prompt(parsed.words).words == parsed.words or "<" in parsed.words


LONG = (
    "(", "[a:", "<lora:", "<lora:a", "{|", "[[,", "__a", "a", "1::", ".and(", "--ar ", "\\", "(a:1", ":1e)", "<a:", ")",
    "[a:1]", "#", "（", "[：", "(：", "＜a", "&lt;lora:", "<lora ", "MASK(", "a:1.5 ", "a ",
)  # fmt: skip


@pytest.mark.parametrize("piece", LONG)
def test_no_text_takes_long(piece: str) -> None:
    began = time.perf_counter()
    parse_prompt((piece * 20000)[:20000])
    assert time.perf_counter() - began < 3


def test_other_names_are_put_into_the_tags_and_all_else_stays() -> None:
    prompt = "a <lora:Old:0.5:lbw=A> <lyco:my:old:te=1> <hypernet:old:1> old"
    assert with_lora_names(prompt, {"old": "new", "my:old": "b/new"}) == (
        "a <lora:new:0.5:lbw=A> <lora:b/new:te=1> <hypernet:old:1> old"
    )


@pytest.mark.parametrize(
    ("prompt", "without"),
    [
        ("a fox", "a fox"),
        ("a fox <lora:quick:1>", "a fox"),
        ("<lora:Quick> a fox <lora:other:1> <lyco:quick:te=1>", " a fox <lora:other:1>"),
        ("a <lora:quicker:1> fox", "a <lora:quicker:1> fox"),
        ("a <lora:quick:0.5> fox", "a fox"),
    ],
)
def test_the_tags_of_one_lora_are_taken_out(prompt: str, without: str) -> None:
    assert without_lora(prompt, "quick") == without
    assert has_lora(prompt, "quick") == (prompt != without)
    assert not has_lora(without, "quick")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", "<lora:quick:1>"),
        ("a fox", "a fox <lora:quick:1>"),
        ("a fox <lora:Quick:0.5>, red", "a fox, red <lora:quick:1>"),
        ("a fox # a note", "a fox <lora:quick:1> # a note"),
        ("# a note", "<lora:quick:1> # a note"),
        ("a fox # a note\nin the snow", "a fox # a note\nin the snow <lora:quick:1>"),
        ("a fox\n# a note", "a fox\n<lora:quick:1> # a note"),
        ("a fox AND a house :0.5", "a fox AND a house :0.5 <lora:quick:1>"),
    ],
)
def test_a_tag_that_is_added_is_read_and_changes_no_words(prompt: str, expected: str) -> None:
    added = with_lora(prompt, "quick")
    assert added == expected
    assert has_lora(added, "quick")
    assert with_lora(added, "quick") == added
    words = [(one.words.split(), one.weight) for one in parse_prompt(without_lora(prompt, "quick")).subprompts]
    assert [(one.words.split(), one.weight) for one in parse_prompt(added).subprompts] == words
