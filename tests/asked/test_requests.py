"""The gate: every field just outside its range is refused by name, value and range; what is valid round-trips."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.asked.control import Control
from studio.asked.fields import NO_FILE, PREVIEWS, ImageToImage, Inpaint, TextToImage
from studio.asked.problems import InvalidRequest
from studio.asked.requests import RANGES, ROWS, request_from_dict
from studio.asked.rows import MAX_SEED
from studio.asked.schedulers import NOISE_SCHEDULES, SCHEDULERS, evaluations, resolve_noise_schedule, steps_run


def refused(**given: object) -> dict[str, str]:
    """The problems of a request as {field: message}; fails when it is accepted."""
    with pytest.raises(InvalidRequest) as caught:
        TextToImage.parse({"prompt": "a fox"} | given)
    return {p.field: str(p) for p in caught.value.problems}


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("num_inference_steps", v)
        for v in (0, -3, 2.5, 151, 1001, True, "20", "abc", math.nan, math.inf, [20], {"a": 1}, 2**70)
    ]
    + [("guidance_scale", v) for v in (-0.01, 30.01, 1e9, -5, math.nan, math.inf, -math.inf, "5", True, [5])]
    + [("width", v) for v in (0, 56, -64, 513, 2056, 10**6, 64.5, math.nan, math.inf, "128", [128], True)]
    + [("height", v) for v in (0, 56, 2056, 100, "abc", [])]
    + [("num_images_per_prompt", v) for v in (0, 17, 10**6, 1.5, None, "2", False)]
    + [("seed", v) for v in (-2, 2**63, 2**70, 1.5, "abc", "-7", "1.5", [7], True, "9" * 30, math.nan)]
    + [("scheduler", v) for v in ("ddimm", "", ["ddim"], 7, "../../etc/passwd")]
    + [("noise_schedule", v) for v in ("karas", ["karras"], 0)]
    + [("preview", v) for v in ("none", None, ["fast"])]
    + [("checkpoint", v) for v in ("", None, ["small-world-128"], 3, "x" * 301)]
    + [("prompt", v) for v in (None, 5, ["a"], "x" * 20_001)]
    + [("exact", v) for v in (1, "yes", None)]
    + [("controls", v) for v in (5, "canny", {"model": "x"}, [5], [None], [{}] * 4)],
)
def test_a_bad_value_is_refused_by_name_value_and_range(field: str, bad: object) -> None:
    message = refused(**{field: bad})[field]
    assert message.startswith(f"{field}: ")
    assert "is not allowed. Allowed: " in message
    if field in RANGES and field not in ("width", "height"):
        assert RANGES[field].describe() in message


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.suits])
def test_null_asks_for_what_suits_the_checkpoint(name: str) -> None:
    asked = TextToImage.parse({"prompt": "", name: None})
    assert getattr(asked, name) is None
    assert asked == TextToImage(prompt="")


@pytest.mark.parametrize("name", RANGES)
def test_the_ends_of_every_range_are_allowed(name: str) -> None:
    for value in (RANGES[name].low, RANGES[name].high):
        kind = int if RANGES[name].whole else float
        files = {"image": b"a picture", "mask": b"a mask"}
        request = TextToImage if hasattr(TextToImage(prompt=""), name) else Inpaint
        rest = files if request is Inpaint else {}
        assert getattr(request.parse({"prompt": "", name: kind(value)} | rest), name) == value


def test_every_bad_field_is_reported_at_once() -> None:
    assert set(refused(num_inference_steps=0, guidance_scale=math.nan, seed="abc", scheduler="x", foo=1)) == {
        "num_inference_steps", "guidance_scale", "seed", "scheduler", "foo",
    }  # fmt: skip


def test_a_missing_prompt_is_named_and_an_empty_one_is_allowed() -> None:
    with pytest.raises(InvalidRequest, match="prompt: nothing is not allowed"):
        TextToImage.parse({})
    assert TextToImage.parse({"prompt": ""}).prompt == ""


@pytest.mark.parametrize("random", [None, "", "  ", -1, "-1"])
def test_no_seed_and_minus_one_mean_random(random: object) -> None:
    assert TextToImage.parse({"prompt": "", "seed": random}).seed is None


def test_seeds_beyond_the_double_are_exact_as_text() -> None:
    assert TextToImage.parse({"prompt": "", "seed": str(MAX_SEED)}).seed == MAX_SEED
    assert TextToImage.parse({"prompt": "", "seed": str(2**53 + 1)}).seed == 2**53 + 1
    assert "seed" in refused(seed=str(MAX_SEED), num_images_per_prompt=2)  # image 1 would have no seed


def test_names_are_understood_as_label_or_short_form_in_any_case() -> None:
    for short, facts in SCHEDULERS.items():
        for name in (short, short.upper(), facts.label, facts.label.lower(), f" {facts.label} "):
            assert TextToImage.parse({"prompt": "", "scheduler": name}).scheduler == short


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_schedule_a_scheduler_cannot_run_is_refused_with_those_it_can(scheduler: str) -> None:
    able = SCHEDULERS[scheduler].noise_schedules
    for schedule in NOISE_SCHEDULES:
        if schedule in able:
            request = TextToImage.parse({"prompt": "", "scheduler": scheduler, "noise_schedule": schedule})
            assert resolve_noise_schedule(request.scheduler, request.noise_schedule) in able
        else:
            message = refused(scheduler=scheduler, noise_schedule=schedule)["noise_schedule"]
            assert all(NOISE_SCHEDULES[name] in message for name in able)


def test_few_step_schedulers_stop_at_fifty() -> None:
    for scheduler in ("lcm", "tcd"):
        assert TextToImage.parse({"prompt": "", "scheduler": scheduler, "num_inference_steps": 50})
        assert "from 1 to 50" in refused(scheduler=scheduler, num_inference_steps=51)["num_inference_steps"]


def test_evaluations_of_second_order_schedulers() -> None:
    assert [evaluations(s, 25) for s in ("euler", "pndm", "heun", "dpmpp_sde")] == [25, 26, 49, 49]


def test_control_characters_go_and_everything_else_stays() -> None:
    typed = "a\x00b\x1b[31m c\r\nd\te \U0001f98a שלום \u202e é \ud800"
    assert TextToImage.parse({"prompt": typed}).prompt == "ab[31m c\nd\te \U0001f98a שלום \u202e é "
    with pytest.raises(InvalidRequest, match="prompt"):
        TextToImage(prompt="a\x00b")  # a request that exists is clean: only `parse` cleans


@given(
    prompt=st.text(max_size=200),
    steps=st.integers(1, 50),
    guidance=st.floats(1, 30),
    seed=st.none() | st.integers(0, MAX_SEED - 15),
    scheduler=st.sampled_from(list(SCHEDULERS)),
    preview=st.sampled_from(list(PREVIEWS)),
    images=st.integers(1, 16),
)
def test_a_request_reads_back_equal(
    prompt: str, steps: int, guidance: float, seed: int | None, scheduler: str, preview: str, images: int
) -> None:
    request = TextToImage.parse(
        {
            "prompt": prompt, "num_inference_steps": steps, "guidance_scale": guidance, "seed": seed,
            "scheduler": scheduler, "preview": preview, "num_images_per_prompt": images,
        }
    )  # fmt: skip
    assert request_from_dict(json.loads(request.to_json())) == request


def test_image_to_image_keeps_the_picture_out_of_its_metadata() -> None:
    request = ImageToImage.parse({"prompt": "a fox", "image": b"not yet decoded", "strength": 0.3})
    values = request.to_dict()
    assert "image" not in values
    assert len(str(values["image_sha256"])) == 64
    assert request_from_dict(values, image=b"not yet decoded") == request
    for bad in ({"image": b""}, {"image": "data:image/png;base64,AAAA"}, {"image": b"x", "strength": math.nan}):
        with pytest.raises(InvalidRequest):
            ImageToImage.parse({"prompt": ""} | bad)


def test_an_inpaint_request_needs_a_mask_or_a_larger_canvas() -> None:
    with pytest.raises(InvalidRequest, match="mask: nothing is not allowed"):
        Inpaint.parse({"prompt": "", "image": b"x"})
    assert Inpaint.parse({"prompt": "", "image": b"x", "extend_left": 64}).extensions == (64, 0, 0, 0)
    request = Inpaint.parse({"prompt": "", "image": b"x", "mask": b"y", "mask_fill": "Edge colours"})
    assert request.mask_fill == "edges"
    assert request_from_dict(request.to_dict(), image=b"x", mask=b"y") == request
    for field, bad in (("mask_fill", "red"), ("inpaint_area", None), ("mask_blur", -1), ("padding", 1.5)):
        with pytest.raises(InvalidRequest, match=f"{field}: "):
            Inpaint.parse({"prompt": "", "image": b"x", "mask": b"y", field: bad})


def test_a_variation_seed_is_a_seed_and_its_strength_a_share() -> None:
    request = TextToImage.parse({"prompt": "", "variation_seed": "12", "variation_strength": 1})
    assert (request.variation_seed, request.variation_strength) == (12, 1.0)
    assert TextToImage.parse({"prompt": "", "variation_seed": -1}).variation_seed is None
    assert set(refused(variation_seed="abc", variation_strength=1.1)) == {"variation_seed", "variation_strength"}


def test_steps_run_is_diffusers_rule() -> None:
    assert [steps_run(20, s) for s in (0.0, 0.3, 0.99, 1.0)] == [0, 6, 19, 20]


def test_requests_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TextToImage(prompt="a").prompt = "b"  # type: ignore[misc]


def test_an_unknown_schema_or_kind_is_refused() -> None:
    values = TextToImage(prompt="a").to_dict()
    for change in ({"schema": 99}, {"kind": "video"}, {"schema": None}):
        with pytest.raises(InvalidRequest):
            request_from_dict(values | change)


GOOD_CONTROL = {"model": "lines", "image": b"map"}


@pytest.mark.parametrize(
    ("field", "bad", "allowed"),
    [("scale", v, "numbers from 0 to 2") for v in (-0.1, 2.01, math.nan, math.inf, "1", None, True)]
    + [("start", v, "numbers from 0 to 1") for v in (-0.1, 1.1, "0")]
    + [("end", v, "numbers from 0 to 1") for v in (-0.1, 1.1, None)]
    + [("end", 0.0, "numbers above its start, 0")]
    + [("preprocessor", v, "Canny edges (canny)") for v in ("depth", "", None, ["canny"])]
    + [("model", v, "the name of an installed ControlNet") for v in ("", None, 3, "x" * 301, ["lines"])]
    + [("image", v, "a PNG, JPEG, WebP or GIF file") for v in (b"", None, "a path", 5)]
    + [("image", b"x" * (20 * 2**20 + 1), "at most 20 MiB")]
    + [("colour", "red", "the fields model, image, preprocessor, scale, start, end")],
)
def test_a_bad_control_is_refused_by_field_value_range_and_number(field: str, bad: object, allowed: str) -> None:
    message = refused(controls=[GOOD_CONTROL, GOOD_CONTROL | {field: bad}])["controls"]
    assert field in message
    assert "control 2 is not allowed. Allowed: " in message
    assert allowed in message


def test_controls_are_read_as_the_page_and_the_api_send_them() -> None:
    asked = TextToImage.parse(
        {"prompt": "x", "controls": [GOOD_CONTROL | {"preprocessor": "Canny edges", "scale": 1, "end": 1}]}
    )
    assert asked.controls == (Control(model="lines", image=b"map", preprocessor="canny", scale=1.0, end=1.0),)
    assert TextToImage.parse({"prompt": "x", "controls": None}).controls == ()
    with pytest.raises(InvalidRequest, match="3"):
        TextToImage(prompt="x", controls=asked.controls * 4)


@pytest.mark.parametrize("kind", [TextToImage, ImageToImage, Inpaint])
def test_controls_round_trip_with_their_pictures_and_are_forgotten_with_them(kind: type[TextToImage]) -> None:
    files = {"image": b"i", "mask": b"m"} if kind is Inpaint else {"image": b"i"} if kind is ImageToImage else {}
    controls = (
        Control(model="a", image=b"1", scale=0.5),
        Control(model="b", image=b"a second map", start=0.2, end=0.9),
    )
    asked = kind(prompt="x", controls=controls, **files)  # type: ignore[arg-type]
    values = json.loads(asked.to_json())
    assert "a second map" not in asked.to_json()
    assert request_from_dict(values, **files, control_images=[b"1", b"a second map"]) == asked  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="image nothing of control 2"):
        request_from_dict(values, **files, control_images=[b"1"])  # type: ignore[arg-type]
    assert asked.file_bytes == 13 + sum(map(len, files.values()))
    forgotten = asked.without_pictures()
    assert forgotten.file_bytes == 0
    assert {control.image for control in forgotten.controls} == {NO_FILE}
    assert {getattr(forgotten, name) for name in files} <= {NO_FILE}
    assert forgotten.problems() == [], "what is read of a run that is over is as valid as before"
    assert [control.model for control in forgotten.controls] == ["a", "b"]
    assert "controls" not in kind(prompt="x", **files).to_dict()  # type: ignore[arg-type]
