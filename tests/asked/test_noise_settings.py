"""The fields of fresh noise: read and written in A1111's text and API, taken over, and named where they do nothing."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.answered.model_facts import ModelFacts
from studio.answered.models import Model
from studio.asked.fields import TextToImage
from studio.asked.problems import InvalidRequest
from studio.asked.resolved import Suits, resolve
from studio.diffusion.schedule import make_schedule
from studio.picture.infotext import parameters_text, read_parameters
from studio.picture.metadata import picture_info
from studio.picture.taken_over import take_over
from studio.web.a1111.options import Options
from studio.web.a1111.reading import read
from tests.tiny import SCHEDULER_CONFIG

MODELS = [
    Model(
        id="a", name="small-world-128", label="a", where="models", state="usable", facts=ModelFacts(kind="checkpoint")
    )
]
CHURN = "Sigma churn: 8, Sigma tmin: 0.05, Sigma tmax: 20, Sigma noise: 1.003"
CHURN_FIELDS = {"s_churn": 8.0, "s_tmin": 0.05, "s_tmax": 20.0, "s_noise": 1.003}


def png(line: str) -> bytes:
    file, texts = io.BytesIO(), PngInfo()
    texts.add_text("parameters", f"a fox\n{line}")
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=texts)
    return file.getvalue()


@pytest.mark.parametrize(
    ("sampler", "pairs", "fields"),
    [
        ("Euler", CHURN, CHURN_FIELDS),
        ("Heun", f"{CHURN}, ENSD: 31337", CHURN_FIELDS | {"noise_seed_delta": 31337}),
        ("Euler a", "Eta: 0.67, ENSD: 31337", {"eta": 0.67, "noise_seed_delta": 31337}),
        ("DDIM", "Eta: 0.4", {"eta": 0.4}),
        ("DPM++ 2S a", "Eta: 0.5, Sigma noise: 0.9", {"eta": 0.5, "s_noise": 0.9}),
    ],
)
def test_they_are_read_taken_and_written_as_a1111_does(sampler: str, pairs: str, fields: dict[str, object]) -> None:
    line = f"Steps: 20, Sampler: {sampler}, CFG scale: 7, Seed: 5, Size: 128x128, Model: small-world-128, {pairs}"
    taken = take_over(png(line), MODELS)
    assert taken is not None
    assert taken.left_out == ()
    assert taken.settings.items() >= fields.items()
    request = read_parameters(f"a fox\n{line}")
    assert request is not None
    assert {name: getattr(request, name) for name in fields} == fields
    text = parameters_text(picture_info(resolve(request, Suits()), width=128, height=128))
    assert all(pair in text for pair in pairs.split(", "))
    again = read_parameters(text)
    assert again is not None
    assert {name: getattr(again, name) for name in fields} == fields


def test_usual_values_are_not_written_and_idle_ones_neither() -> None:
    for fields in ({"scheduler": "euler_a", "eta": 1.0}, {"scheduler": "dpmpp_2m", "eta": 0.5, "s_churn": 3.0}):
        text = parameters_text(picture_info(resolve(TextToImage(prompt="x", **fields), Suits()), width=64, height=64))  # type: ignore[arg-type]
        assert not any(key in text for key in ("Eta", "Sigma", "ENSD"))


def test_what_does_nothing_is_left_out_by_name() -> None:
    taken = take_over(png("Steps: 9, Sampler: DPM++ 2M, Seed: 1, Eta: 0.5, ENSD: 31337, Sigma churn: 3"), MODELS)
    assert taken is not None
    left = {one.key: (one.why.key, one.why.values) for one in taken.left_out}
    assert left == dict.fromkeys(("Eta", "ENSD", "Sigma churn"), ("not_of_scheduler", {"scheduler": "DPM++ 2M"}))


def test_a1111s_api_obeys_them_or_says_that_they_do_nothing() -> None:
    def ask(**body: object) -> tuple[object, dict[str, str]]:
        order = read({"prompt": "x"} | body, Options(), MODELS, from_picture=False)
        return order.request, {one.field: one.why for one in order.notices}

    request, notices = ask(sampler_name="Euler", **CHURN_FIELDS)
    assert {name: getattr(request, name) for name in CHURN_FIELDS} == CHURN_FIELDS
    assert notices == {}
    request, notices = ask(sampler_name="Euler a", eta=0.3, override_settings={"eta_noise_seed_delta": 31337})
    assert (request.eta, request.noise_seed_delta, notices) == (0.3, 31337, {})  # type: ignore[attr-defined]
    _, notices = ask(sampler_name="DPM++ 2M", eta=0.3, s_churn=2, override_settings={"eta_noise_seed_delta": 5})
    assert notices == dict.fromkeys(("eta", "s_churn", "eta_noise_seed_delta"), "It does nothing with DPM++ 2M.")
    with pytest.raises(InvalidRequest, match="eta_noise_seed_delta"):
        ask(override_settings={"eta_noise_seed_delta": -1})


@pytest.mark.parametrize(
    ("field", "value"), [("eta", 1.5), ("s_churn", -1), ("s_tmin", 2000), ("s_noise", 3), ("noise_seed_delta", 0.5)]
)
def test_values_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(InvalidRequest) as caught:
        TextToImage.parse({"prompt": "x", field: value})
    assert [problem.field for problem in caught.value.problems] == [field]


def test_a_path_of_noise_without_them_refuses_them_by_name() -> None:
    flow = SCHEDULER_CONFIG | {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    noise = resolve(TextToImage(prompt="x", scheduler="euler", s_churn=4.0), Suits()).noise
    with pytest.raises(InvalidRequest, match=r"s_churn: 4 is not allowed\. Allowed: for a rectified"):
        make_schedule("euler", "simple", 5, flow, prediction_type="flow_prediction", noise=noise)


def test_a_large_limit_is_told_in_full() -> None:
    with pytest.raises(InvalidRequest, match="whole numbers from 0 to 2147483647"):
        TextToImage(prompt="a fox", noise_seed_delta=2**31)
