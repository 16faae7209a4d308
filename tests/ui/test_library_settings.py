"""The settings of a picture in the library: those that had a say, in the page's words."""

from __future__ import annotations

from studio.asked.fields import TextToImage
from studio.picture.library.reading import Facts
from studio.ui import language
from studio.ui.library.settings import settings_of


def of_run(**fields: object) -> dict[str, str]:
    """The settings of a picture of our own, as the library shows them."""
    request = TextToImage.parse({"prompt": "a fox", "scheduler": "dpmpp_2m", "seed": 7} | fields).to_dict()
    info = request | {"seconds": 1.5, "model_hash": "28cf", "image": 0}
    values = {name: str(value) for name, value in info.items() if value is not None and name != "schema"}
    return dict(settings_of(Facts(info=info, settings=values)))


def test_what_had_no_say_is_not_shown_and_names_are_words() -> None:
    shown = of_run(width=128, height=128)
    assert shown["Made by"] == "Text to image"
    assert shown["Scheduler"] == "DPM++ 2M"
    assert shown["Seed"] == "7"
    assert shown["Seconds"] == "1.5"
    assert not {"Upscaler", "Variation strength", "Preview", "Width", "Prompt", "image"} & shown.keys()
    assert not [name for name in shown if "Exact" in name]


def test_a_second_pass_and_exact_are_shown() -> None:
    shown = of_run(hires_scale=2.0, exact=True)
    assert shown["Upscaler"] == "Lanczos"
    assert [value for name, value in shown.items() if name.startswith("Exact")] == ["yes"]


def test_in_chinese_and_of_another_program() -> None:
    with language.speaking("zh"):
        assert of_run()["生成方式"] == "文生图"
    other = Facts(settings={"Face restoration": "CodeFormer"})
    assert settings_of(other) == [("Face restoration", "CodeFormer")]
