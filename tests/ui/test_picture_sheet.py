"""What the sheet of a picture sends into the fields and to the noise viewer."""

from __future__ import annotations

import json

from studio.asked.fields import TextToImage
from studio.asked.resolved import Suits, resolve
from studio.picture.file_formats import A1111_CHUNK, OWN_CHUNK
from studio.picture.infotext import parameters_text
from studio.picture.metadata import picture_info
from studio.ui.language import speaking
from studio.ui.picture_settings import sheet_of
from studio.ui.picture_sheet.sheet import run_values, settings_of_event

SENT = {"prompt": "a fox", "seed": 7, "width": 512, "height": 768}


def test_all_settings_leave_nothing_of_an_earlier_run_but_what_follows_the_checkpoint() -> None:
    whole = settings_of_event({"settings": SENT, "whole": True}, "text_to_image")
    assert whole.items() >= SENT.items()
    assert whole["hires_scale"] == 1
    assert whole["negative_prompt"] == ""
    assert whole["variation_strength"] == 0
    assert not {"checkpoint", "num_inference_steps", "scheduler", "num_images_per_prompt", "preview"} & whole.keys()
    assert settings_of_event({"settings": {"seed": 7}}, "text_to_image") == {"seed": 7}
    for rubbish in (None, 7, "settings", []):
        assert settings_of_event({"settings": rubbish}, "text_to_image") == {}


def test_a_tab_that_starts_from_a_picture_keeps_its_size_and_what_belongs_to_its_picture() -> None:
    for tab in ("image_to_image", "inpaint"):
        whole = settings_of_event({"settings": SENT, "whole": True}, tab)
        assert whole["seed"] == 7
        assert not {"width", "height", "strength", "mask_blur", "extend_left", "hires_scale"} & whole.keys()


def test_the_run_for_the_noise_viewer_is_of_one_image_by_a_checkpoint_that_is_here() -> None:
    data = {"settings": SENT | {"checkpoint": "far", "num_images_per_prompt": 4, "strength": 0.5}, "whole": True}
    request = TextToImage.parse(run_values(data, ["near", "other"]))
    assert (request.checkpoint, request.num_images_per_prompt, request.seed) == ("near", 1, 7)
    assert run_values({"settings": {"checkpoint": "other"}}, ["near", "other"])["checkpoint"] == "other"
    assert "checkpoint" not in run_values({}, [])


TEMPLATE = "a {red|blue|green} fox"


def texts_of_run(prompt: str, negative_prompt: str, seed: int) -> dict[str, dict[str, str]]:
    """The texts of the picture of such a run, as our own record and as A1111's text alone."""
    (image,) = resolve(TextToImage(prompt=prompt, negative_prompt=negative_prompt, seed=seed), Suits()).images
    info = picture_info(image, width=64, height=64)
    return {"own": {OWN_CHUNK: json.dumps(info)}, "text": {A1111_CHUNK: parameters_text(info)}}


def test_the_template_of_a_picture_is_shown_and_its_settings_choose_the_same_words_again() -> None:
    for texts in texts_of_run(TEMPLATE, "{bad|ugly}, grey", 7).values():
        says = sheet_of(texts, [])
        assert says is not None
        assert says["template"] == {"prompt": TEMPLATE, "negative_prompt": "{bad|ugly}, grey"}
        assert says["stated"][:2] == [("Template", TEMPLATE), ("Negative template", "{bad|ugly}, grey")]
        assert "{" not in says["settings"]["prompt"]
        again = resolve(TextToImage(**says["template"], seed=int(says["settings"]["seed"])), Suits()).images[0]
        assert again.prompt.text == says["settings"]["prompt"]
        with speaking("zh"):
            in_chinese = sheet_of(texts, [])
        assert in_chinese is not None
        assert in_chinese["stated"][0][0] == "模板"


def test_a_picture_without_a_template_offers_none_and_a_fixed_field_keeps_its_words() -> None:
    texts = texts_of_run("a fox", "grey", 7)["own"]
    says = sheet_of(texts, [])
    assert says is not None
    assert says["template"] == {}
    fixed = sheet_of(texts_of_run(TEMPLATE, "{bad|ugly}", 7)["own"], [], {"negative_prompt": "grey"})
    assert fixed is not None
    assert fixed["template"] == {"prompt": TEMPLATE}
    broken = sheet_of({A1111_CHUNK: "a fox\nSteps: 9, Sampler: Euler, Seed: 1, Template: a {b|c}" + "x" * 30_000}, [])
    assert broken is not None
    assert broken["template"] == {}
