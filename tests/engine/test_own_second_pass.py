"""A second pass with prompts, a scheduler and a guidance of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from studio.asked.fields import TextToImage
from studio.asked.guest_rules import Rules, check_words, with_locked
from studio.asked.problems import InvalidRequest
from studio.asked.resolved import Resolved, Suits, resolve
from studio.engine.engine import DiffusionEngine
from studio.picture.infotext import parameters_text, read_parameters
from studio.picture.metadata import picture_info, request_from_info
from studio.web.a1111.options import Options
from studio.web.a1111.reading import read
from tests.engine.conftest import ask, finish, pixels

FIRST = TextToImage(
    prompt="a fox", negative_prompt="blur", scheduler="dpmpp_2m", num_inference_steps=4, guidance_scale=3.0,
    width=64, height=64, seed=5, hires_scale=2.0,
)  # fmt: skip
OWN = {
    "hires_prompt": "a wolf, snow", "hires_negative_prompt": "grass", "hires_scheduler": "euler_a",
    "hires_noise_schedule": "simple", "hires_guidance_scale": 5.5,
}  # fmt: skip


def second(**fields: object) -> Resolved:
    found = resolve(replace(FIRST, **fields), Suits()).second_pass  # type: ignore[arg-type]
    assert found is not None
    return found


def test_it_has_its_own_values_and_else_those_of_the_first_pass() -> None:
    same = second()
    assert (same.request.prompt, same.request.negative_prompt) == ("a fox", "blur")
    assert (same.scheduler, same.noise_schedule, same.guidance_scale) == ("dpmpp_2m", "karras", 3.0)
    own = second(**OWN)
    assert (own.request.prompt, own.request.negative_prompt) == ("a wolf, snow", "grass")
    assert (own.scheduler, own.noise_schedule, own.guidance_scale) == ("euler_a", "simple", 5.5)
    # The same noise schedule, and the scheduler's own where it does not have that one.
    assert second(hires_scheduler="euler").noise_schedule == "karras"
    assert second(hires_scheduler="ddim").noise_schedule == "normal"


def test_a1111s_text_and_api_have_them() -> None:
    info = picture_info(resolve(replace(FIRST, **OWN), Suits()), width=128, height=128)  # type: ignore[arg-type]
    text = parameters_text(info)
    for pair in (
        'Hires prompt: "a wolf, snow"', "Hires negative prompt: grass", "Hires sampler: Euler a",
        "Hires schedule type: Simple", "Hires CFG Scale: 5.5",
    ):  # fmt: skip
        assert pair in text
    again = read_parameters(text)
    assert again is not None
    assert {name: getattr(again, name) for name in OWN} == OWN
    assert "Hires prompt" not in parameters_text(picture_info(resolve(FIRST, Suits()), width=128, height=128))
    older = read_parameters("x\nSteps: 9, Sampler: Euler, Hires upscale: 2, Hires sampler: DPM++ 2M Karras")
    assert isinstance(older, TextToImage)
    assert (older.hires_scheduler, older.hires_noise_schedule) == ("dpmpp_2m", "karras")
    body = {
        "prompt": "a fox", "sampler_name": "DPM++ 2M", "enable_hr": True, "hr_prompt": "a wolf",
        "hr_negative_prompt": "grass", "hr_sampler_name": "Euler a", "hr_scheduler": "sgm_uniform",
    }  # fmt: skip
    order = read(body, Options(), [], from_picture=False)
    request = order.request
    assert isinstance(request, TextToImage)
    assert (request.hires_prompt, request.hires_negative_prompt) == ("a wolf", "grass")
    assert (request.hires_scheduler, request.hires_noise_schedule) == ("euler_a", "sgm_uniform")
    assert order.notices == ()
    usual = {"hr_sampler_name": "Use same sampler", "hr_scheduler": "Use same scheduler", "hr_prompt": ""}
    request = read(body | usual, Options(), [], from_picture=False).request
    assert isinstance(request, TextToImage)
    assert (request.hires_prompt, request.hires_scheduler, request.hires_noise_schedule) == ("", "same", "same")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"hires_scheduler": "ddim", "hires_noise_schedule": "karras"}, "hires_noise_schedule"),
        ({"hires_scheduler": "lcm", "num_inference_steps": 60}, "hires_steps"),
        ({"hires_scheduler": "lcm", "hires_steps": 60}, "hires_steps"),
        ({"hires_guidance_scale": 31.0}, "hires_guidance_scale"),
        ({"hires_scheduler": "other"}, "hires_scheduler"),
    ],
)
def test_what_does_not_fit_is_named(fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        replace(FIRST, **fields)  # type: ignore[arg-type]
    assert [problem.field for problem in caught.value.problems] == [field]


def test_no_rule_of_the_owner_is_got_around_by_it() -> None:
    words = Rules(refused_words=("wolf",))
    with pytest.raises(InvalidRequest) as caught:
        check_words(replace(FIRST, **OWN), Suits(), words)  # type: ignore[arg-type]
    assert caught.value.problems[0].field == "hires_prompt"
    for name in ("negative_prompt", "scheduler", "guidance_scale"):
        rules = Rules(locked=((name, getattr(FIRST, name)),))
        with pytest.raises(InvalidRequest) as caught:
            with_locked(replace(FIRST, **OWN), rules)  # type: ignore[arg-type]
        assert [problem.field for problem in caught.value.problems] == [f"hires_{name}"]


def test_its_prompt_may_be_a_template() -> None:
    run = resolve(replace(FIRST, hires_prompt="a {wolf|wolf}", num_images_per_prompt=2), Suits())
    found = [image.second_pass for image in run.images]
    assert [one.request.prompt for one in found if one is not None] == ["a wolf", "a wolf"]
    assert {image.request.prompt for image in run.images} == {"a fox"}


def test_a_run_obeys_it_and_its_file_makes_the_picture_again(engine: DiffusionEngine) -> None:
    usual = {"num_inference_steps": 3, "hires_scale": 1.5, "hires_strength": 0.7, "guidance_scale": 3.0}
    plain = pixels(engine, finish(engine, ask(**usual)))
    for own in (
        {"hires_prompt": "snow"}, {"hires_negative_prompt": "grass"}, {"hires_scheduler": "euler_a"},
        {"hires_noise_schedule": "simple"}, {"hires_guidance_scale": 1.0},
    ):  # fmt: skip
        finished = finish(engine, ask(**usual, **own))
        assert not np.array_equal(pixels(engine, finished), plain), own
        again = request_from_info(finished.pictures[0].info)
        assert np.array_equal(pixels(engine, finish(engine, again)), pixels(engine, finished)), own
    same = {"hires_prompt": ask().prompt, "hires_scheduler": "dpmpp_2m", "hires_guidance_scale": 3.0}
    assert np.array_equal(pixels(engine, finish(engine, ask(**usual, **same))), plain)
