"""What a comparison asks for: grammar of the axes, cells, order, cost, and the ways out and back."""

from __future__ import annotations

import ast
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from studio.answered.engine import Pace
from studio.asked import compare
from studio.asked.axes import AXIS_FIELDS, MAX_CELLS, Axis, AxisField, Value, parse_values, values_text
from studio.asked.compare import Comparison, comparison_from_dict, fields_of_link, outside_the_form
from studio.asked.fields import NO_FILE, ImageToImage, TextToImage
from studio.asked.problems import InvalidRequest
from studio.asked.resolved import Suits

CONTROLS = [{"model": "lines", "image": b"map", "scale": 0.75}, {"model": "maps", "image": b"other", "scale": 0.25}]


def comparison(**given: object) -> Comparison:
    plain = {"prompt": "a red fox", "x": "num_inference_steps", "x_values": "5, 10, 20"}
    return Comparison.parse(plain | {"y": "guidance_scale", "y_values": "1, 5", "seed": 3} | given)


@pytest.mark.parametrize(
    ("axis", "text", "values"),
    [
        ("num_inference_steps", "2, 4, 8", (2, 4, 8)),
        ("num_inference_steps", "1-20 (+3)", (1, 4, 7, 10, 13, 16, 19)),
        ("num_inference_steps", "1-10 [5]", (1, 3, 5, 7, 10)),
        ("num_inference_steps", "5-3", (5, 4, 3)),
        ("num_inference_steps", "10-1 (-3)", (10, 7, 4, 1)),
        ("num_inference_steps", "1 - 3 , 3, 30", (1, 2, 3, 30)),
        ("guidance_scale", "1-9 (+3)", (1.0, 4.0, 7.0)),
        ("guidance_scale", "1-2 (+.25)", (1.0, 1.25, 1.5, 1.75, 2.0)),
        ("guidance_scale", "1-8 [3]", (1.0, 4.5, 8.0)),
        ("guidance_scale", "7.5", (7.5,)),
        ("seed", "9007199254740993-9007199254740995", (9007199254740993, 9007199254740994, 9007199254740995)),
        ("scheduler", "Euler a, DPM++ 2M, ddim", ("euler_a", "dpmpp_2m", "ddim")),
        ("noise_schedule", "Karras,SGM uniform", ("karras", "sgm_uniform")),
        ("prompt", 'fox, "owl, small", a "b"', ("fox", "owl, small", 'a "b"')),
        ("size", "64x128, 128 × 64", ("64x128", "128x64")),
        ("checkpoint", "small-world-128", ("small-world-128",)),
    ],
)
def test_the_forms_of_the_grammar(axis: AxisField, text: str, values: tuple[object, ...]) -> None:
    assert parse_values(axis, text, "x_values") == values
    assert parse_values(axis, list(values), "x_values") == values


@pytest.mark.parametrize(
    ("axis", "given", "said"),
    [
        ("num_inference_steps", "", "at least one value"),
        ("num_inference_steps", None, "a list (2, 4, 8)"),
        ("num_inference_steps", "0-3", "whole numbers from 1 to 150"),
        ("num_inference_steps", "2.5", "whole numbers from 1 to 150"),
        ("num_inference_steps", "ten", "a range with a step (1-20 (+3))"),
        ("num_inference_steps", "1-9 (-2)", "a step that leads from the first number to the last"),
        ("num_inference_steps", "1-9 (+0)", "a step that leads"),
        ("num_inference_steps", "1-99999999999999999999", f"at most {MAX_CELLS} values"),
        ("num_inference_steps", "1-9 [999999999]", f"a count from 1 to {MAX_CELLS}"),
        ("guidance_scale", "1-1000000000 (+0.0001)", f"at most {MAX_CELLS} values"),
        ("guidance_scale", [float("nan")], "numbers from 0 to 30"),
        ("guidance_scale", [True], "numbers from 0 to 30"),
        ("seed", "-1", "whole numbers from 0"),
        ("seed", str(2**70), "whole numbers from 0"),
        ("scheduler", "euler b", "Euler a (euler_a)"),
        ("size", "100x100", "multiples of 8"),
        ("size", "512", "width x height"),
        ("prompt", "a\x07b", "without control characters"),
    ],
)
def test_what_the_grammar_refuses_names_the_field_and_what_is_allowed(
    axis: AxisField, given: object, said: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_values(axis, given, "y_values")
    assert refused.value.problems[0].field == "y_values"
    assert said in refused.value.problems[0].allowed


WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).map(str.strip).filter(bool)


@drawn(st.lists(WORDS, min_size=1, max_size=9, unique=True))
def test_any_words_survive_their_way_through_text(words: list[str]) -> None:
    assert parse_values("prompt", values_text(words), "x_values") == tuple(words)


@settings(max_examples=50)
@drawn(st.text(max_size=60))
def test_no_text_breaks_the_grammar(text: str) -> None:
    for axis in AXIS_FIELDS:
        values: tuple[Value, ...] = ()
        with suppress(InvalidRequest):
            values = parse_values(axis, text, "x_values")
            assert values
        assert len(values) == len(set(values)) <= MAX_CELLS


def test_a_cell_is_the_request_with_both_values() -> None:
    made = comparison()
    assert len(made) == 6
    assert made.place(4) == (1, 1)
    assert made.request(4) == TextToImage(prompt="a red fox", num_inference_steps=10, guidance_scale=5.0, seed=3)


def test_search_and_replace_works_on_both_prompts_and_keeps_the_first_value() -> None:
    made = comparison(negative_prompt="fox tail", x="Prompt S/R", x_values='fox, "owl, big"', y=None)
    assert [made.request(k) and made.request(k).prompt for k in range(2)] == ["a red fox", "a red owl, big"]  # type: ignore[union-attr]
    assert made.request(1).negative_prompt == "owl, big tail"  # type: ignore[union-attr]
    with pytest.raises(InvalidRequest, match="stands in the prompt"):
        comparison(x="prompt", x_values="wolf, owl")


def test_a_pair_that_cannot_be_run_says_so_and_the_others_remain() -> None:
    made = comparison(x="scheduler", x_values="euler, lcm", y="num_inference_steps", y_values="20, 100")
    assert made.possible == (0, 1, 2)
    assert made.request(3) is None
    assert "with LCM whole numbers from 1 to 50" in str(made.refusal(3))
    assert set(made.order()) == {0, 1, 2}
    with pytest.raises(InvalidRequest, match="a pair that can be run"):
        comparison(x="scheduler", x_values="lcm", y="num_inference_steps", y_values="100")


def test_two_axes_that_only_fit_together_do_not_depend_on_their_order() -> None:
    base = TextToImage(prompt="", scheduler="ddim")
    for fields in (("noise_schedule", "scheduler"), ("scheduler", "noise_schedule")):
        values = {"noise_schedule": ("karras",), "scheduler": ("euler",)}
        made = Comparison(base=base, **{n: Axis(field=f, values=values[f]) for n, f in zip("xy", fields)})  # type: ignore[arg-type]
        assert made.request(0) == TextToImage(prompt="", scheduler="euler", noise_schedule="karras")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"x": "colour"}, "x"),
        ({"x": None}, "x"),
        ({"x": "guidance_scale", "x_values": "2"}, "y"),
        ({"x": "strength", "x_values": "0.5"}, "x"),
        ({"x": "lora_weight", "x_values": "0.5"}, "x"),
        ({"x": "control_scale", "x_values": "0.5"}, "x"),
        ({"x": "control_scale", "x_values": "3", "controls": CONTROLS}, "x_values"),
        ({"prompt": "a fox <lora:ink:1>", "x": "lora_weight", "x_values": "5"}, "x_values"),
        ({"prompt": "a fox <lora:ink:nan>", "x": "lora_weight", "x_values": "0.5"}, "x"),  # no weight to change
        ({"num_images_per_prompt": 2}, "num_images_per_prompt"),
        ({"x_values": "1-20", "y_values": "1-20"}, "y_values"),
        ({"x_values": "0"}, "x_values"),
        ({"width": 65}, "width"),
    ],
)
def test_a_bad_comparison_is_refused_with_the_field_named(given: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        comparison(**given)
    assert field in [problem.field for problem in refused.value.problems]


def test_the_weight_of_a_lora_is_that_of_the_first_one_the_prompt_names() -> None:
    prompt = "a fox <lora:ink:0.3:0.9>, <LORA:snow:1>"
    made = comparison(prompt=prompt, x="LoRA weight", x_values="-1, 0, 0.5", y=None)
    assert [made.request(k).prompt for k in range(3)] == [  # type: ignore[union-attr]
        f"a fox <lora:ink:{weight}>, <LORA:snow:1>" for weight in ("-1", "0", "0.5")
    ]
    assert made.base.prompt == prompt
    given = fields_of_link(made.link())
    assert given is not None
    assert Comparison.parse(given) == made
    words = comparison(prompt=prompt, x="prompt", x_values="fox, owl", y="lora_weight", y_values="0, 1")
    assert words.request(3).prompt == "a owl <lora:ink:1>, <LORA:snow:1>"  # type: ignore[union-attr]


def test_the_scale_of_the_first_control_is_an_axis_and_all_cells_have_the_same_maps() -> None:
    made = comparison(
        controls=CONTROLS, x="[controlnet] weight", x_values="0, 0.5, 2", y="guidance_scale", y_values="1, 5"
    )
    for index in range(6):
        first, second = made.request(index).controls  # type: ignore[union-attr]
        assert (first.scale, second.scale) == ((0.0, 0.5, 2.0)[index % 3], 0.25)
        assert (first.image, second.image) == (b"map", b"other")
    assert made.base.controls[0].scale == 0.75
    given = fields_of_link({**made.link(), "controls": "[]"})
    assert given is not None
    assert "controls" not in given, "a link holds nothing of a visitor"
    told = json.loads(json.dumps(made.to_dict()))
    assert comparison_from_dict(told, control_images=[b"map", b"other"]) == made
    with pytest.raises(InvalidRequest, match="image nothing of control 1"):
        comparison_from_dict(told)
    over = made.without_pictures()
    assert over.resolve_cell(0).request.prompt == made.base.prompt, "its sheet says what was run"
    assert [one.image for index in range(6) for one in over.request(index).controls] == [NO_FILE] * 12  # type: ignore[union-attr]


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InvalidRequest) as refused:
        comparison(x_values="nine", y_values="-1", width=65)
    assert [problem.field for problem in refused.value.problems] == ["x_values", "y_values", "width"]


def test_the_cell_under_the_slider_comes_first_then_its_neighbours() -> None:
    made = comparison(x_values="1-5", y_values="1-5")
    order = made.order(focus=12)
    assert order[0] == 12
    assert set(order[1:5]) == {7, 11, 13, 17}
    assert set(order[:9]) == {6, 7, 8, 11, 12, 13, 16, 17, 18}
    assert sorted(order) == list(range(25))


def test_a_checkpoint_is_outermost_whichever_axis_it_is_on() -> None:
    for axes in ({"x": "checkpoint", "x_values": "one, two"}, {"y": "checkpoint", "y_values": "one, two"}):
        made = comparison(**axes)
        for focus in range(len(made)):
            names = [made.request(k).checkpoint for k in made.order(focus)]  # type: ignore[union-attr]
            assert names == sorted(names, key=lambda name: name != made.request(focus).checkpoint)  # type: ignore[union-attr]


def test_the_cost_is_known_before_the_start() -> None:
    made = comparison(x_values="5, 10, 20, 40", y_values="1, 3, 5, 8")
    assert made.cost == compare.Cost(cells=16, evaluations=300, rows=75 + 2 * 225)
    pace = Pace(width=128, height=128, seconds_per_row={2: 0.03, 8: 0.02, 32: 0.01}, seconds_per_picture=0.5)
    # 28 rows for 5 calls, 21 for 5, 14 for 10, 7 for 20, each at the cost of the nearest measured size
    assert pace.seconds(made) == pytest.approx((28 * 5 + 21 * 5) * 0.01 + (14 * 10 + 7 * 20) * 0.02 + 16 * 0.5)
    larger = comparison(x="size", x_values="128x128, 256x256", y=None, num_inference_steps=10, guidance_scale=1.0)
    # 5 rows lie as near to 2 as to 8: the dearer of the two is promised
    assert pace.seconds(larger) == pytest.approx(5 * 10 * 0.03 + 5 * 0.5)
    assert comparison(scheduler="heun", x_values="10", y=None).cost.evaluations == 19
    picture = comparison(image=b"png", x="strength", x_values="0, 0.5", y=None, num_inference_steps=10)
    assert isinstance(picture.base, ImageToImage)
    assert picture.cost.evaluations == 5


def test_a_comparison_reads_back_equal_from_json_and_from_its_link() -> None:
    for made in (
        comparison(),
        comparison(
            x="prompt",
            x_values='fox, "owl, \u96ea"',
            y="size",
            y_values="64x64, 128x64",
            exact=True,
            guidance_scale=7.5,
        ),
        comparison(x="seed", x_values="9007199254740993", y=None, negative_prompt="snow & = ?", checkpoint="other"),
    ):
        assert comparison_from_dict(json.loads(json.dumps(made.to_dict()))) == made
        given = fields_of_link(made.link())
        assert given is not None
        assert Comparison.parse(given) == made
    picture = comparison(image=b"png", x="strength", x_values="0.25, 0.5")
    assert comparison_from_dict(picture.to_dict(), image=b"png") == picture
    assert "image" not in picture.link()


# What a link of the first version meant by a field that it left out.
FIRST_DEFAULTS = {
    "num_inference_steps": 25, "guidance_scale": 5.0, "scheduler": "dpmpp_2m", "noise_schedule": "automatic",
}  # fmt: skip


def test_what_the_form_does_not_have_is_named() -> None:
    values = {"prompt": "x", "vae_name": "soft", "scheduler": "euler_a", "eta": 0.5, "num_inference_steps": 4}
    made = Comparison.parse(values | {"x": "guidance_scale", "x_values": "1, 5"})
    assert {row.name for row in outside_the_form(made)} == {"vae_name", "eta"}


def test_a_link_says_its_version_and_a_newer_one_is_refused() -> None:
    link = comparison().link()
    assert link["v"] == "2"
    given = fields_of_link(link)
    assert given is not None
    assert "guidance_scale" not in given or given["guidance_scale"] == comparison().base.guidance_scale
    for version in ("3", "0", "-1", "two", ""):
        with pytest.raises(InvalidRequest, match=r"^v: .* is not allowed\. Allowed: links of the versions 1 to 2"):
            fields_of_link(link | {"v": version})


def test_what_is_left_open_is_what_suits_each_checkpoint() -> None:
    suits = {
        "small-world-128": Suits(width=128, height=128, guidance_scale=3.0),
        "turbo": Suits(num_inference_steps=4, guidance_scale=1.0, scheduler="lcm"),
    }
    made = Comparison.parse({"prompt": "a fox", "x": "checkpoint", "x_values": "small-world-128, turbo"}).with_suits(
        suits
    )
    assert [made.resolve_cell(k).steps for k in range(2)] == [25, 4]
    assert [made.resolve_cell(k).guidance_scale for k in range(2)] == [3.0, 1.0]
    assert made.cost.rows == 2 * 25 + 4
    assert made.base.guidance_scale is None
    plain = Comparison.parse({"prompt": "a fox", "x": "scheduler", "x_values": "Euler, LCM"}).with_suits(suits)
    assert (plain.base.guidance_scale, plain.base.scheduler, plain.base.noise_schedule) == (3.0, None, None)
    assert [plain.resolve_cell(k).noise_schedule for k in range(2)] == ["normal", "sgm_uniform"]
    assert comparison_from_dict(plain.to_dict()) == plain


def test_a_link_of_somebody_else_is_none_and_a_bad_one_goes_to_the_gate() -> None:
    assert fields_of_link({"prompt": "fox", "__theme": "dark"}) is None
    given = fields_of_link({"x": "seed", "x_values": "1", "width": "wide", "__theme": "dark", "image": "/etc/passwd"})
    assert given == {"x": "seed", "x_values": "1", "width": "wide"} | FIRST_DEFAULTS
    with pytest.raises(InvalidRequest, match="width"):
        Comparison.parse(given | {"prompt": ""})
    assert not set(comparison().link()) & {"owner", "job", "session"}


@pytest.mark.parametrize("values", [{}, {"kind": "surface", "schema": 9}, {"kind": "surface", "schema": 1, "base": 4}])
def test_what_is_no_comparison_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        comparison_from_dict(values)


def test_compare_imports_plain_data_alone() -> None:
    tree = ast.parse(Path(compare.__file__).read_text(encoding="utf-8"))
    ours = {
        n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module and n.module.startswith("studio")
    }
    assert all(name.startswith("studio.asked.") for name in ours if name is not None)


@pytest.mark.parametrize(
    ("axis", "typed", "values"),
    [
        ("prompt", '"a",""', ("a", "")),
        ("prompt", 'a, "", b,', ("a", "", "b")),
        ("prompt", "a, , b,", ("a", "b")),
        ("prompt", 'red，ripe, "say ""hi"", twice"', ("red，ripe", 'say "hi", twice')),
        ("prompt", 'a "b" c\nd', ('a "b" c', "d")),
        ("num_inference_steps", "3，6，9", (3, 6, 9)),
        ("num_inference_steps", "3、6､９", (3, 6, 9)),
        ("guidance_scale", "１－５（＋2）", (1.0, 3.0, 5.0)),
        ("seed", "1－3", (1, 2, 3)),
        ("scheduler", "ddim、euler", ("ddim", "euler")),
        ("size", "128x128，64×64", ("128x128", "64x64")),
    ],
)
def test_empty_texts_and_the_commas_of_other_keyboards(axis: AxisField, typed: str, values: tuple[Value, ...]) -> None:
    assert parse_values(axis, typed, "x_values") == values
    assert parse_values(axis, values_text(values), "x_values") == values
