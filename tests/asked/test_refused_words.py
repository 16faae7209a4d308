"""A refused word is found however it is typed, and nothing else is."""

from __future__ import annotations

import dataclasses

import pytest

from studio.asked.axes import Axis
from studio.asked.branch import Branch
from studio.asked.compare import Comparison
from studio.asked.fields import ImageToImage, Inpaint, TextToImage
from studio.asked.guest_rules import (
    Rules,
    check_branch,
    check_comparison_words,
    check_past,
    check_text,
    check_words,
    comparison_with_locked,
    with_locked,
)
from studio.asked.problems import InvalidRequest
from studio.asked.refused_words import RefusedWords
from studio.asked.requests import Request
from studio.asked.resolved import Suits

WORDS = ("nude", "red fox", "裸体", "Straße", "AV女优")
RULES = Rules(refused_words=WORDS)
SUITS = Suits(num_inference_steps=20)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a nude", "nude"),
        ("NUDE, a lake", "nude"),
        ("ｎｕｄｅ", "nude"),
        ("ⓝⓤⓓⓔ on a beach", "nude"),
        ("nu\u200bde", "nude"),
        ("nu\u00adde", "nude"),
        ("n\u034fude", "nude"),
        ("nude\ufe0f", "nude"),
        ("ńüdė", "nude"),
        ("_nude_", "nude"),
        ("nude2", "nude"),
        ("a red   fox", "red fox"),
        ("red,fox", "red fox"),
        ("一个裸体的人", "裸体"),
        ("裸 体", "裸体"),
        ("裸\u200b体", "裸体"),
        ("STRASSE", "Straße"),
        ("ａｖ女优", "AV女优"),
    ],
)
def test_a_word_is_found_in_every_spelling(text: str, word: str) -> None:
    assert RefusedWords(WORDS).first_in([text]) == word


@pytest.mark.parametrize("text", ["", "nudes", "denuded", "a red cat and a fox", "裸露的岩石", "体裸", "fox red"])
def test_other_words_are_not(text: str) -> None:
    assert RefusedWords(WORDS).first_in([text]) is None


def refused(prompt: str, **fields: object) -> str:
    """The field and the word that a run is refused for; "" for one that is not."""
    try:
        check_words(TextToImage(prompt=prompt, **fields), SUITS, RULES)  # type: ignore[arg-type]
    except InvalidRequest as error:
        [problem] = error.problems
        return f"{problem.field} {problem.value}"
    return ""


@pytest.mark.parametrize(
    "prompt",
    [
        "a (nude:1.3) lake",
        "nu()de",
        "(nu)de",
        "nude(woman)",
        r"nu\de",
        "nu<lora:style:0>de",
        "nu<hypernet:x:1>de",
        "[cat:nude:0.5]",
        "[nude::0.9]",
        "nu[:de:0]",
        "nu[x|de]",
        "[nu|cat][de|dog]",
        "red BREAK fox",
    ],
)
def test_the_prompt_is_read_as_the_text_encoder_reads_it(prompt: str) -> None:
    word = "red fox" if "red" in prompt else "nude"
    assert refused(prompt) == f"prompt the word '{word}'"


def test_a_switch_that_comes_too_late_says_nothing_but_in_the_second_pass() -> None:
    late = "[cat:nude:1.5]"
    assert refused(late) == ""
    assert refused(late, hires_scale=2.0) == "prompt the word 'nude'"


def test_steps_that_a_picture_skips_do_not_count() -> None:
    request = ImageToImage(prompt="[cat:nude:15]", image=b"x", strength=0.5)
    check_words(request, SUITS, RULES)
    with pytest.raises(InvalidRequest, match="nude"):
        check_words(TextToImage(prompt="[cat:nude:15]"), SUITS, RULES)


def test_the_negative_prompt_keeps_away_what_it_names_unless_its_weight_is_negative() -> None:
    assert refused("a cat", negative_prompt="nude, red fox") == ""
    assert refused("a cat", negative_prompt="(nude:-1)") == "negative_prompt the word 'nude'"
    # the span has seen the word before it, and asks for what it has seen
    assert refused("a cat", negative_prompt="nude, (in the snow:-1)") == "negative_prompt the word 'nude'"


@pytest.mark.parametrize("prompt", ["a (nude:-0.01) in the snow", "a (nude:0)", "a cat (nude:-1)", "a (red fox:-0.01)"])
def test_a_word_of_any_weight_is_refused_in_the_prompt(prompt: str) -> None:
    assert refused(prompt).startswith("prompt the word "), "the text encoder lets the words after it see it in full"


def test_an_axis_that_puts_a_word_of_negative_weight_into_the_prompt_is_named() -> None:
    axis = Axis(field="prompt", values=("lake", "(nude:-0.01)"))
    with pytest.raises(InvalidRequest, match=r"^x_values: the word 'nude'"):
        check_comparison_words(Comparison(base=TextToImage(prompt="a lake", seed=1), x=axis), {}, RULES)


def test_an_axis_that_puts_a_word_into_the_prompt_is_named() -> None:
    axis = Axis(field="prompt", values=("lake", "nude", "sea"))
    comparison = Comparison(
        base=TextToImage(prompt="a lake", seed=1), x=Axis(field="guidance_scale", values=(2.0, 3.0)), y=axis
    )
    with pytest.raises(InvalidRequest) as caught:
        check_comparison_words(comparison, {}, RULES)
    assert caught.value.problems[0].field == "y_values"
    comparison = Comparison(
        base=TextToImage(prompt="a nude", seed=1), x=Axis(field="guidance_scale", values=(2.0, 3.0))
    )
    with pytest.raises(InvalidRequest) as caught:
        check_comparison_words(comparison, {}, RULES)
    assert caught.value.problems[0].field == "prompt"


def test_a_caption_of_the_viewer_is_a_text_like_any_other() -> None:
    check_text("a lake", RULES, field="caption")
    with pytest.raises(InvalidRequest, match=r"caption: the word 'nude' is not allowed"):
        check_text("[a:NUDE:3]", RULES, field="caption")


def test_without_a_list_nothing_is_refused() -> None:
    check_words(TextToImage(prompt="nude"), SUITS, Rules())
    assert RefusedWords(()).first_in(["nude"]) is None


# ------------------------------------------------------------------------------------------------------ locked fields

LOCKED = Rules(
    locked=(("num_inference_steps", 12), ("negative_prompt", "ugly"), ("checkpoint", "Lesson"), ("width", 64))
)


def test_open_fields_get_the_locked_value_and_another_one_is_refused() -> None:
    made = with_locked(TextToImage(prompt="x"), LOCKED)
    assert (made.num_inference_steps, made.negative_prompt, made.checkpoint, made.width) == (12, "ugly", "Lesson", 64)
    same = TextToImage(prompt="x", num_inference_steps=12, negative_prompt="ugly", checkpoint="lesson", width=64)
    assert with_locked(same, LOCKED) == same
    with pytest.raises(InvalidRequest) as caught:
        with_locked(TextToImage(prompt="x", num_inference_steps=30, checkpoint="other"), LOCKED)
    assert [str(p) for p in caught.value.problems] == [
        "num_inference_steps: 30 is not allowed. Allowed: 12, which the owner of this studio has fixed for"
        " num_inference_steps.",
        "checkpoint: 'other' is not allowed. Allowed: 'Lesson', which the owner of this studio has fixed for"
        " checkpoint.",
    ]


@pytest.mark.parametrize(
    ("field", "values"), [("num_inference_steps", (5, 12)), ("checkpoint", ("a", "b")), ("size", ("64x64", "128x64"))]
)
def test_an_axis_over_a_locked_field_is_refused(field: str, values: tuple[object, ...]) -> None:
    comparison = Comparison(base=TextToImage(prompt="x", seed=1), x=Axis(field=field, values=values))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match=r"^x: .*fixed"):
        comparison_with_locked(comparison, LOCKED)


def test_a_comparison_and_its_words_keep_to_the_locked_fields() -> None:
    comparison = Comparison(base=TextToImage(prompt="cat", seed=1), x=Axis(field="prompt", values=("cat", "dog")))
    assert comparison_with_locked(comparison, LOCKED).base.num_inference_steps == 12
    comparison = Comparison(base=TextToImage(prompt="ugly", seed=1), x=Axis(field="prompt", values=("ugly", "dog")))
    with pytest.raises(InvalidRequest, match="negative_prompt"):
        comparison_with_locked(comparison, LOCKED)


def test_a_branch_changes_no_locked_field() -> None:
    rules = Rules(locked=(("seed", 7), ("guidance_scale", 3.0)))
    check_branch(Branch(evaluation=1, prompt="dog", guidance_scale=3.0), rules)
    for branch in (Branch(evaluation=0, noise_seed=8), Branch(evaluation=1, guidance_scale=4.0)):
        with pytest.raises(InvalidRequest, match="fixed"):
            check_branch(branch, rules)


def of_picture(**fields: object) -> ImageToImage:
    return ImageToImage(prompt="x", image=b"x", **fields)  # type: ignore[arg-type]


def of_mask(**fields: object) -> Inpaint:
    return Inpaint(prompt="x", image=b"x", mask=b"x", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("locked", "request_", "sentence"),
    [
        (("width", 64), TextToImage(prompt="x", hires_scale=2.0), "hires_scale: 2.0 is not allowed. Allowed: 1"),
        (("height", 64), TextToImage(prompt="x", hires_scale=1.5), "hires_scale: 1.5 is not allowed. Allowed: 1"),
        (("width", 64), of_mask(extend_left=64), "extend_left: 64 is not allowed. Allowed: 0"),
        (("height", 64), of_mask(extend_down=8), "extend_down: 8 is not allowed. Allowed: 0"),
        (
            ("width", 64),
            of_picture(resize_mode="fit"),
            "resize_mode: 'fit' is not allowed. Allowed: one of Crop (crop), Pad (pad), Stretch (stretch)",
        ),
        (
            ("num_inference_steps", 12),
            TextToImage(prompt="x", hires_scale=2.0, hires_steps=40),
            "hires_steps: 40 is not allowed. Allowed: 0, 12",
        ),
        (
            ("seed", 7),
            TextToImage(prompt="x", variation_strength=0.5),
            "variation_strength: 0.5 is not allowed. Allowed: 0",
        ),
    ],
)
def test_no_other_field_gets_around_a_locked_one(locked: tuple[str, int], request_: Request, sentence: str) -> None:
    whole = f"{sentence}, since the owner of this studio has fixed {locked[0]}."
    for judge in (with_locked, lambda request, rules: check_past(with_value(request, *locked), SUITS, rules)):
        with pytest.raises(InvalidRequest) as caught:
            judge(request_, Rules(locked=(locked,)))
        assert [str(problem) for problem in caught.value.problems] == [whole]


def with_value(request: Request, field: str, value: object) -> Request:
    return dataclasses.replace(request, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "fields"),
    [
        ("num_inference_steps", 12, {"hires_scale": 2.0, "hires_steps": 12}),
        ("num_inference_steps", 12, {"hires_scale": 2.0}),
        ("num_inference_steps", 12, {"hires_steps": 40}),
        ("seed", 7, {"variation_seed": 9}),
        ("seed", 7, {"hires_scale": 2.0}),
    ],
)
def test_a_field_that_leaves_the_locked_one_as_it_is_stays_free(
    field: str, value: int, fields: dict[str, object]
) -> None:
    made = with_locked(TextToImage(prompt="x", **fields), Rules(locked=((field, value),)))  # type: ignore[arg-type]
    assert getattr(made, field) == value


def past(**fields: object) -> TextToImage:
    """A recorded run, in which nothing is open."""
    values = {"prompt": "x", "width": 64, "height": 64, "num_inference_steps": 12, "seed": 7, "guidance_scale": 3.0}
    return TextToImage(**values | {"scheduler": "dpmpp_2m", "noise_schedule": "karras"} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "locked"),
    [
        ("width", 128),
        ("num_inference_steps", 20),
        ("seed", 8),
        ("seed", -9),
        ("negative_prompt", "ugly"),
        ("checkpoint", "Lesson"),
        ("scheduler", "euler"),
        ("noise_schedule", "exponential"),
    ],
)
def test_a_branch_of_a_run_from_before_the_lesson_is_refused_by_name(field: str, locked: object) -> None:
    with pytest.raises(InvalidRequest, match=rf"^{field}: .* which the owner of this studio has fixed for {field}\.$"):
        check_past(past(), SUITS, Rules(locked=((field, locked),)))  # type: ignore[arg-type]


def test_a_branch_of_a_run_of_the_lesson_is_not() -> None:
    rules = Rules(locked=(("seed", 7), ("num_inference_steps", 12), ("checkpoint", "Small-World-128"), ("width", 64)))
    check_past(past(), SUITS, rules)
    check_past(past(seed=9), SUITS, rules)  # its third image
    check_past(past(), SUITS, Rules(locked=(("noise_schedule", "automatic"),)))  # Karras is this scheduler's own


def test_a_word_that_comfyui_s_weights_put_together_is_found() -> None:
    rules = Rules(refused_words=("nude",))
    divided = "nu(d:1e2)e"
    check_words(TextToImage(prompt=divided), SUITS, rules)
    with pytest.raises(InvalidRequest, match="the word 'nude'"):
        check_words(TextToImage(prompt=divided, emphasis="comfyui"), SUITS, rules)
    with pytest.raises(InvalidRequest, match="negative_prompt: the word 'nude'"):
        check_words(TextToImage(prompt="", negative_prompt="(nude:-1e0)", emphasis="comfyui"), SUITS, rules)
