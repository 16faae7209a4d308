"""What the sheet of a picture sends into the fields and to the noise viewer."""

from __future__ import annotations

from studio.asked.fields import TextToImage
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
