"""The fields of guidance in infotexts: written, read back, and read as other programs call them."""

from __future__ import annotations

import pytest

from studio.asked.fields import TextToImage
from studio.asked.guidance import GUIDANCE_FIELDS, idle_fields
from studio.asked.requests import request_from_dict
from studio.asked.resolved import Suits, resolve
from studio.picture.infotext import parameters_text, parse_parameters, read_parameters, settings_of_pairs
from studio.picture.metadata import picture_info

LINE = "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 128x128, Model: small-world-128"


@pytest.mark.parametrize(
    ("fields", "pairs"),
    [
        ({"guidance_low": 0.5, "guidance_high": 6.0}, "Guidance sigma min: 0.5, Guidance sigma max: 6"),
        ({"guidance_rescale": 0.7}, "CFG Rescale phi: 0.7"),
        (
            {"guidance_method": "apg", "apg_eta": 0.2, "apg_norm": 7.5, "apg_momentum": -0.75},
            "Guidance method: APG, APG eta: 0.2, APG norm threshold: 7.5, APG momentum: -0.75",
        ),
        ({"guidance_method": "cfgpp", "scheduler": "euler"}, "Guidance method: CFG++"),
        ({"guidance_method": "cfgpp", "scheduler": "ddim"}, "Sampler: DDIM CFG++"),
        ({}, "Sampler: DPM++ 2M"),
    ],
)
def test_they_are_written_and_read_back(fields: dict[str, object], pairs: str) -> None:
    request = TextToImage.parse({"prompt": "a fox", "seed": 5} | fields)
    text = parameters_text(picture_info(resolve(request, Suits()), width=512, height=512))
    assert all(pair in text for pair in pairs.split(", "))
    again = read_parameters(text)
    assert again is not None
    names = {*GUIDANCE_FIELDS, *fields}
    assert {name: getattr(again, name) for name in names} == {name: getattr(request, name) for name in names} | fields
    assert request_from_dict(request.to_dict()) == request
    assert ("APG" in text or "Guidance" in text or "CFG++" in text or "phi" in text) == bool(fields)


@pytest.mark.parametrize(
    ("pairs", "name", "value"),
    [
        ("CFG rescale: 0.6", "guidance_rescale", 0.6),  # SD.Next
        ("NGMS: 2, NGMS all steps: True", "guidance_low", 2.0),  # A1111
    ],
)
def test_other_programs_words_are_read(pairs: str, name: str, value: float) -> None:
    request = read_parameters(f"{LINE}, {pairs}")
    assert getattr(request, name) == value


def test_what_acts_at_every_second_step_is_left_out() -> None:
    """Without "all steps" A1111 leaves the negative prompt out at every second step alone."""
    settings = settings_of_pairs(parse_parameters(f"{LINE}, NGMS: 2")[2])
    assert "guidance_low" not in settings.values
    assert "NGMS" in settings.others


def test_fields_without_a_say_are_named() -> None:
    values = vars(TextToImage(prompt="", guidance_low=2.0, apg_eta=0.5))
    assert idle_fields(values, guided=True) == ("apg_eta",)
    assert idle_fields(values, guided=False) == ("guidance_low", "apg_eta")
    assert idle_fields(values | {"guidance_method": "apg"}, guided=True) == ()
