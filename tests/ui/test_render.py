"""Events become views: plain data that says what the stage shows."""

from __future__ import annotations

import json

import pytest

from studio.answered.events import Failed, Finished, Loading, Picture, Preview, Queued, Started, Step, Stopped
from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.problems import InvalidRequest, Problem
from studio.asked.resolved import Suits, resolve
from studio.ui import render
from tests.ui.fake_models import CATALOG

REQUEST = TextToImage(prompt="a fox", num_images_per_prompt=2, width=144, height=112)
JPEG = Preview(jpeg=b"\xff\xd8", width=144, height=112, decoder="fast")


def asked() -> render.View:
    catalog = CATALOG
    return render.new_job_view(REQUEST, "job", catalog, [])


def picture(**changes: object) -> Picture:
    values: dict[str, object] = {
        "id": "ab",
        "file_name": "2026-01-01/00001-7.png",
        "width": 144,
        "height": 112,
        "seed": 7,
        "info": resolve(REQUEST, Suits(width=128, height=128)).request.to_dict() | {"noise_schedule": "karras"},
        "parameters": "a fox",
        "filmstrip": tuple(bytes([k]) for k in range(100)),
    }
    return Picture(**(values | changes))  # type: ignore[arg-type]


def started() -> Started:
    return Started(
        job_id="job", seeds=(7, 8), width=144, height=112, total=25, prompt_tokens=2, negative_prompt_tokens=0, chunks=1
    )


def step(index: int, image: int = 0, preview: Preview | None = JPEG) -> Step:
    return Step(
        job_id="job",
        image=image,
        index=index,
        total=25,
        timestep=500,
        sigma=1.0,
        seconds_per_step=0.061,
        seconds_left=1.4,
        images_done=0,
        preview=preview,
    )


def test_the_view_of_a_new_job_has_the_size_before_anything_is_known() -> None:
    view = asked()
    assert (view["width"], view["height"], view["images"], view["state"]) == (144, 112, 2, "queued")
    native = render.new_job_view(TextToImage(prompt=""), "job", CATALOG, [])
    assert (native["width"], native["height"]) == (128, 128)


def test_waiting_is_explained() -> None:
    assert render.follow(asked(), Queued(job_id="job", ahead=0))["message"] == "Next in line."
    assert "1 run is ahead" in render.follow(asked(), Queued(job_id="job", ahead=1))["message"]
    assert "3 runs are ahead" in render.follow(asked(), Queued(job_id="job", ahead=3))["message"]
    loading = Loading(job_id="job", checkpoint="c", message="Loading it", fraction=0.4)
    view = render.follow(asked(), loading)
    assert (view["state"], view["message"], view["fraction"]) == ("loading", "Loading it", 0.4)


def test_steps_keep_the_newest_preview_of_each_image_and_change_no_earlier_view() -> None:
    before = render.follow(asked(), started())
    after = render.follow(before, step(3, image=1))
    assert before["previews"] == [None, None]
    assert after["previews"] == [None, "data:image/jpeg;base64,/9g="]
    assert (after["step"]["index"], after["step"]["pace"], after["step"]["left"]) == (3, "0.06", "1")
    later = render.follow(after, step(4, image=0, preview=None))
    assert later["previews"] == after["previews"]


def test_the_line_names_what_held_the_picture() -> None:
    control = {"model": "control-segmentation", "scale": 0.75}
    info = REQUEST.to_dict() | {"controls": [control, "no control"]}
    assert render.settings_line(picture(info=info)).endswith(" · control-segmentation at 0.75 · 144 × 112")


def test_a_finished_view_has_line_settings_and_a_thinned_strip() -> None:
    event = Finished(job_id="job", pictures=(picture(),), seconds=1.26, exact=False)
    view = render.follow(render.follow(asked(), started()), event)
    shown = view["pictures"][0]
    assert view["message"] == "Done in 1.3 s"
    assert shown["line"] == "seed 7 · 25 × DPM++ 2M Karras · guidance 5 · 144 × 112"
    assert len(shown["film"]) == render.FRAMES_PER_PICTURE
    assert shown["evaluations"] == 100
    assert shown["settings"]["seed"] == "7"
    assert shown["settings"]["num_images_per_prompt"] == 1
    assert "image" not in shown["settings"]


def test_a_picture_that_was_made_before_brings_the_remarks_on_its_prompt() -> None:
    notes = ['"AND" is read as the word.']
    assert render.picture_view(picture(info={"prompt": "a AND b", "prompt_notes": [*notes, 5]}))["notes"] == notes
    for strange in (None, "x", {"a": 1}):  # a file that another program has written
        assert render.picture_view(picture(info={"prompt_notes": strange}))["notes"] == []


def test_thinning_keeps_first_and_last() -> None:
    frames = [bytes([k]) for k in range(150)]
    kept = render.spread_frames(frames, 8)
    assert (len(kept), kept[0], kept[-1]) == (8, frames[0], frames[-1])
    assert render.spread_frames(frames[:5], 8) == frames[:5]


def test_sixteen_pictures_stay_within_the_frames_of_a_run() -> None:
    event = Finished(job_id="job", pictures=(picture(),) * 16, seconds=1, exact=False)
    view = render.follow(asked(), event)
    assert sum(len(p["film"]) for p in view["pictures"]) <= render.FRAMES_PER_RUN


def test_stopped_and_failed_say_so() -> None:
    stopped = Stopped(job_id="job", pictures=(), last=(JPEG,), index=4, total=25)
    assert render.follow(asked(), stopped)["message"] == "Stopped at step 4 of 25."
    early = Stopped(job_id="job", pictures=(), last=(), index=0, total=0)
    assert render.follow(asked(), early)["message"] == "Stopped before the first step."
    failed = render.follow(asked(), Failed(job_id="job", kind="disk", message="Full.", error_id="ab12"))
    assert (failed["state"], failed["message"], failed["error_id"]) == ("failed", "Full.", "ab12")


def test_a_stop_after_some_pictures_shows_the_others_as_far_as_they_came() -> None:
    stopped = Stopped(job_id="job", pictures=(picture(),), last=(JPEG,), index=4, total=25)
    view = render.follow(asked(), stopped)
    assert len(view["pictures"]) == 1
    assert view["previews"] == [None, "data:image/jpeg;base64,/9g="]


def test_every_problem_is_told_for_its_field() -> None:
    error = InvalidRequest(Problem("width", "513", "multiples of 8"), Problem("seed", "'x'", "whole numbers"))
    view = render.problems_view(error, [])
    assert [p["field"] for p in view["problems"]] == ["width", "seed"]
    assert view["problems"][0]["message"] == "513 is not allowed here. Allowed: multiples of 8."


def test_a_missing_picture_is_asked_for() -> None:
    with pytest.raises(InvalidRequest) as caught:
        ImageToImage.parse({"prompt": "", "image": b""})
    assert render.problems_view(caught.value, [])["problems"][0]["message"].startswith("A picture is needed")


def test_views_are_json() -> None:
    event = Finished(job_id="job", pictures=(picture(),), seconds=1.26, exact=False)
    for view in (asked(), render.follow(asked(), event), render.first_view([picture()])):
        assert json.loads(json.dumps(view)) == view


@pytest.mark.parametrize(
    ("steps", "strength", "sentence"),
    [
        (25, 0.6, "Runs 15 of 25 steps."),
        (25, 0, "Runs no steps: the result is the picture, encoded and decoded by the VAE."),
        (50, 1, "Runs 50 of 50 steps."),
        (2.5, 0.5, ""),
        (None, 0.5, ""),
        (20, 2, ""),
    ],
)
def test_strength_says_how_many_steps_run(steps: object, strength: object, sentence: str) -> None:
    assert render.strength_sentence(steps, strength) == sentence
