"""What AUTOMATIC1111's fields become: fields of a request, a refusal with the field's name, or a notice."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from studio.answered.models import Model
from studio.asked.fields import ImageToImage, Inpaint, TextToImage
from studio.asked.problems import InvalidRequest
from studio.picture import masks
from studio.picture.styles import Style
from studio.web.a1111 import options
from studio.web.a1111.fields import KNOWN
from studio.web.a1111.options import Options
from studio.web.a1111.reading import Order, read, style_names
from tests.ui.fake_models import MODELS

SMALL = next(model for model in MODELS if model.name == "small-world-128")


def png(colour: str = "teal", size: tuple[int, int] = (64, 64)) -> str:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


NOTHING_CHOSEN = Options()


def asked(*, chosen: Options = NOTHING_CHOSEN, models: tuple[Model, ...] = MODELS, **body: Any) -> Order:
    return read(body, chosen, models, from_picture="init_images" in body)


def refused(**body: Any) -> dict[str, str]:
    """The allowed values by field."""
    with pytest.raises(InvalidRequest) as caught:
        asked(**body)
    return {problem.field: problem.allowed for problem in caught.value.problems}


def noticed(**body: Any) -> list[str]:
    return [one.field for one in asked(**body).notices]


# What webuiapi 0.9.17 sends for api.txt2img(prompt="x"), by a call of it that was written down.
WEBUIAPI = {
    "enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent", "hr_second_pass_steps": 0, "hr_resize_x": 0,
    "hr_resize_y": 0, "hr_checkpoint_name": None, "hr_sampler_name": None, "hr_scheduler": None, "hr_prompt": "",
    "hr_negative_prompt": "", "denoising_strength": 0.7, "firstphase_width": 0, "firstphase_height": 0, "prompt": "x",
    "styles": [], "seed": -1, "subseed": -1, "subseed_strength": 0.0, "seed_resize_from_h": 0, "seed_resize_from_w": 0,
    "batch_size": 1, "n_iter": 1, "steps": 20, "cfg_scale": 7.0, "width": 512, "height": 512, "restore_faces": False,
    "tiling": False, "do_not_save_samples": False, "do_not_save_grid": False, "negative_prompt": "", "eta": 1.0,
    "s_churn": 0, "s_tmax": 0, "s_tmin": 0, "s_noise": 1, "override_settings": {},
    "override_settings_restore_afterwards": True, "sampler_name": "Euler a", "scheduler": "automatic",
    "sampler_index": "Euler a", "script_name": None, "script_args": [], "send_images": True, "save_images": False,
    "alwayson_scripts": {},
}  # fmt: skip


def test_what_a_client_sends_with_all_its_defaults_is_understood() -> None:
    wanted = asked(**WEBUIAPI)
    assert wanted.request == TextToImage(
        prompt="x", num_inference_steps=20, guidance_scale=7.0, width=512, height=512, scheduler="euler_a",
        noise_schedule="automatic",
    )  # fmt: skip
    assert [one.field for one in wanted.notices] == ["save_images"]


def test_what_depends_on_the_model_and_is_not_given_suits_the_checkpoint() -> None:
    request = asked(prompt="x").request
    assert (request.width, request.num_inference_steps, request.guidance_scale, request.scheduler) == (None,) * 4


@pytest.mark.parametrize(
    ("sampler", "scheduler", "expected"),
    [
        ("DPM++ 2M Karras", None, ("dpmpp_2m", "karras")),
        ("DPM++ 2M Karras", "automatic", ("dpmpp_2m", "karras")),
        ("DPM++ 2M", "Karras", ("dpmpp_2m", "karras")),
        ("DPM++ 2M", "karras", ("dpmpp_2m", "karras")),
        ("DPM++ 2M", None, ("dpmpp_2m", "automatic")),
        ("DPM++ 2M SDE Exponential", None, ("dpmpp_2m_sde", "exponential")),
        ("Euler", "sgm_uniform", ("euler", "sgm_uniform")),
        ("Euler", "align_your_steps", ("euler", "ays")),
        ("PLMS", None, ("pndm", "automatic")),
        ("euler_a", "Automatic", ("euler_a", "automatic")),
        (None, "Karras", (None, "karras")),
    ],
)
def test_samplers_with_and_without_their_schedule(sampler: str | None, scheduler: str | None, expected: Any) -> None:
    request = asked(prompt="x", sampler_name=sampler, scheduler=scheduler).request
    assert (request.scheduler, request.noise_schedule) == expected


def test_the_schedule_at_the_end_of_a_name_counts_and_the_other_is_named() -> None:
    wanted = asked(prompt="x", sampler_name="DPM++ 2M Karras", scheduler="Exponential")
    assert wanted.request.noise_schedule == "karras"
    assert [(one.field, one.value) for one in wanted.notices] == [("scheduler", "'Exponential'")]
    assert asked(prompt="x", sampler_index="Heun").request.scheduler == "heun"


@pytest.mark.parametrize(
    ("body", "field", "allowed"),
    [
        ({"sampler_name": "DPM adaptive"}, "sampler_name", "DPM++ 2M"),
        ({"sampler_index": "DPM fast"}, "sampler_index", "Euler a"),
        ({"scheduler": "align_your_steps_GITS"}, "scheduler", "Karras"),
        ({"steps": "20"}, "steps", "whole numbers from 1 to 150"),
        ({"steps": 0}, "steps", "whole numbers from 1 to 150"),
        ({"steps": 10**9}, "steps", "whole numbers from 1 to 150"),
        ({"cfg_scale": float("nan")}, "cfg_scale", "numbers from 0 to 30"),
        ({"width": 10**6}, "width", "multiples of 8"),
        ({"width": 513}, "width", "multiples of 8"),
        ({"height": -64}, "height", "multiples of 8"),
        ({"seed": 2**64}, "seed", "whole numbers from 0"),
        ({"seed": 1.5}, "seed", "whole numbers from 0"),
        ({"batch_size": 17}, "batch_size", "1 to 16"),
        ({"batch_size": 4, "n_iter": 5}, "batch_size x n_iter", "at most 16"),
        ({"batch_size": True}, "batch_size", "1 to 16"),
        ({"restore_faces": True}, "restore_faces", "False"),
        ({"tiling": True}, "tiling", "False"),
        ({"s_churn": 200}, "s_churn", "0 to 100"),
        ({"script_name": "x/y/z plot"}, "script_name", "the studio has nothing else"),
        ({"alwayson_scripts": {"ADetailer": {"args": [True]}}}, "alwayson_scripts", "no scripts"),
        ({"alwayson_scripts": ["ADetailer"]}, "alwayson_scripts", "an object"),
        ({"refiner_checkpoint": "sd_xl_refiner"}, "refiner_checkpoint", "None"),
        ({"sampler_name": "DPM++ SDE", "eta": 0.5}, "eta", "with DPM++ SDE 1"),
        ({"enable_hr": True, "hr_upscaler": "R-ESRGAN 4x+"}, "hr_upscaler", "Latent or Lanczos or small-world-4x"),
        ({"enable_hr": True, "hr_sampler_name": "DPM fast"}, "hr_sampler_name", "DPM++ 2M"),
        ({"enable_hr": True, "hr_scheduler": "other"}, "hr_scheduler", "Karras"),
        ({"enable_hr": True, "hr_prompt": 5}, "hr_prompt", "text"),
        ({"enable_hr": True, "hr_scale": 1}, "hr_scale", "above 1"),
        ({"enable_hr": "yes"}, "enable_hr", "true or false"),
        ({"override_settings": {"sd_model_checkpoint": "../x"}}, "override_settings.sd_model_checkpoint", "one of"),
        ({"override_settings": {"sd_vae": "/etc/passwd"}}, "override_settings.sd_vae", "Automatic"),
        ({"override_settings": {"randn_source": "GPU"}}, "override_settings.randn_source", "'CPU'"),
        ({"override_settings": {"CLIP_stop_at_last_layers": 0}}, "override_settings.CLIP_stop_at_last_layers", "1 to"),
        ({"override_settings": ["x"]}, "override_settings", "an object"),
        ({"prompt": ["a", "b"]}, "prompt", "text"),
    ],
)  # fmt: skip
def test_what_cannot_be_obeyed_is_refused_by_its_name_there(body: dict[str, Any], field: str, allowed: str) -> None:
    problems = refused(**({"prompt": "x"} | body))
    assert list(problems) == [field]
    assert allowed in problems[field]


def test_every_problem_is_named_at_once() -> None:
    problems = refused(prompt="x", tiling=True, sampler_name="DPM adaptive", script_name="loopback", n_iter=0)
    assert set(problems) == {"tiling", "sampler_name", "script_name", "n_iter"}
    assert set(refused(prompt="x", width=3, steps=-1)) == {"width", "steps"}


def test_what_changes_no_picture_is_named() -> None:
    assert noticed(prompt="x", force_task_id="task(1)", typo_field=3) == ["force_task_id", "typo_field"]
    assert noticed(prompt="x", override_settings={"show_warnings": True}) == ["override_settings.show_warnings"]
    assert noticed(prompt="x\x00y") == ["prompt"]
    assert noticed(prompt="x", s_tmin=0.5, override_settings={"eta_ddim": 0}) == []


def test_the_checkpoint_is_one_of_the_list_by_title_name_file_or_hash() -> None:
    hashed = tuple(replace(one, sha256="ab12cd34ef" + "0" * 54) if one is SMALL else one for one in MODELS)
    for name in ("small-world-128", "small-world-128.safetensors", "small-world-128 [ab12cd34ef]", "ab12cd34ef"):
        request = asked(prompt="x", models=hashed, override_settings={"sd_model_checkpoint": name}).request
        assert request.checkpoint == "small-world-128"
    chosen = Options(checkpoint="small-world-128", clip_skip=2)
    assert asked(chosen=chosen, prompt="x").request.clip_skip == 2
    assert asked(chosen=chosen, prompt="x", override_settings={"CLIP_stop_at_last_layers": 3}).request.clip_skip == 3


@pytest.mark.parametrize("name", ["soft-vae", "Soft-VAE.safetensors"])
def test_a_vae_is_the_runs_own(name: str) -> None:
    overrides = {"sd_model_checkpoint": "tiny-test", "sd_vae": name}
    wanted = asked(prompt="x", override_settings=overrides)
    assert (wanted.request.checkpoint, wanted.request.vae_name) == ("tiny-test", "soft-vae")
    assert wanted.options is None
    chosen = Options(checkpoint="tiny-test", vae="soft-vae")
    assert asked(chosen=chosen, prompt="x").request.vae_name == "soft-vae"
    for own in ("Automatic", "None"):
        assert asked(chosen=chosen, prompt="x", override_settings={"sd_vae": own}).request.vae_name == ""
    lasting = {"override_settings": overrides, "override_settings_restore_afterwards": False}
    assert asked(prompt="x", **lasting).options == chosen
    infotext = "x\nSteps: 4, Sampler: Euler, Seed: 1, Model: tiny-test, VAE: "
    assert asked(infotext=f"{infotext}{name}").request.vae_name == "soft-vae"
    assert asked(infotext=f"{infotext}Automatic").request.vae_name == ""
    assert asked(infotext=f"{infotext}{name}", override_settings={"sd_vae": "None"}).request.vae_name == ""


SOFT = next(one for one in MODELS if one.kind == "vae")
TAESD = replace(SOFT, id="taesd", name="taesd_decoder", facts=replace(SOFT.facts, kind="preview_decoder"))


def test_a1111s_methods_choose_a_tiny_autoencoder() -> None:
    models = (*MODELS, TAESD)
    chosen = Options(checkpoint="tiny-test")
    methods = {"sd_vae_encode_method": "TAESD", "sd_vae_decode_method": "TAESD"}
    run = asked(prompt="x", models=models, chosen=chosen, override_settings=methods)
    assert run.request.vae_name == "taesd_decoder"
    tiny = options.read(methods, chosen, models)[0]
    assert tiny.vae == "taesd_decoder"
    answer = options.answer(tiny, models)
    assert {key: answer[key] for key in methods} == methods
    assert options.read({"sd_vae_decode_method": "Full"}, tiny, models)[0].vae is None
    assert set(options.answer(chosen, models)[key] for key in methods) == {"Full"}
    infotext = "x\nSteps: 4, Sampler: Euler, Seed: 1, Model: tiny-test, VAE Decoder: TAESD"
    assert asked(infotext=infotext, models=models).request.vae_name == "taesd_decoder"
    assert noticed(infotext=infotext) == ["infotext.VAE Decoder"]
    for values, field in (
        ({"sd_vae_encode_method": "TAESD"}, "sd_vae_encode_method"),  # a run has one VAE
        ({"sd_vae_decode_method": "Approx"}, "sd_vae_decode_method"),
        (methods | {"sd_model_checkpoint": "dreamland-xl"}, "sd_vae_decode_method"),
    ):
        with pytest.raises(InvalidRequest, match=field) as caught:
            options.read(values, chosen, models)
        assert [one.field for one in caught.value.problems] == [field]


@pytest.mark.parametrize(
    ("checkpoint", "name", "says"),
    [
        ("tiny-test", "../vae/soft-vae", "which has a path in it"),
        ("tiny-test", "absent", "with tiny-test one of Automatic, None, soft-vae"),
        ("tiny-test", 7, "with tiny-test one of Automatic, None, soft-vae"),
        ("dreamland-xl", "soft-vae", "which does not fit dreamland-xl, is not allowed. Allowed: with dreamland-xl"),
        ("small-world-128", "soft-vae", "which does not fit small-world-128"),
    ],
)
def test_a_vae_that_cannot_be_used_is_refused(checkpoint: str, name: object, says: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(says)) as caught:
        asked(prompt="x", override_settings={"sd_model_checkpoint": checkpoint, "sd_vae": name})
    assert [one.field for one in caught.value.problems] == ["override_settings.sd_vae"]
    with pytest.raises(InvalidRequest, match=re.escape(says)):
        options.read({"sd_model_checkpoint": checkpoint, "sd_vae": name}, NOTHING_CHOSEN, MODELS)


def test_a_vae_that_was_chosen_before_must_still_fit() -> None:
    chosen = Options(checkpoint="tiny-test", vae="soft-vae")
    with pytest.raises(InvalidRequest, match="soft-vae', which does not fit dreamland-xl"):
        options.read({"sd_model_checkpoint": "dreamland-xl"}, chosen, MODELS)
    both = {"sd_model_checkpoint": "dreamland-xl", "sd_vae": "Automatic"}
    assert options.read(both, chosen, MODELS)[0] == Options(checkpoint="dreamland-xl")
    without = tuple(one for one in MODELS if one.kind != "vae")
    with pytest.raises(InvalidRequest, match="sd_vae: 'soft-vae' is not allowed"):
        asked(chosen=chosen, models=without, prompt="x")


def test_where_the_owner_has_chosen_another_vae_none_says_so() -> None:
    soft = next(one for one in MODELS if one.kind == "vae")
    models = tuple(replace(one, vae=soft.id) if one.name == "tiny-test" else one for one in MODELS)
    chosen = Options(checkpoint="tiny-test")
    assert options.answer(chosen, models)["sd_vae"] == "soft-vae"
    assert options.read({"sd_vae": "Automatic"}, chosen, models)[0].vae is None
    with pytest.raises(InvalidRequest, match="sd_vae: 'None' is not allowed"):
        options.read({"sd_vae": "None"}, chosen, models)


def test_styles_stand_around_the_prompts() -> None:
    styles = [Style(name="oil", prompt="oil of {prompt}", negative_prompt="photo"), Style(name="x", prompt="dark")]
    body = {"prompt": "a fox", "negative_prompt": "bad", "styles": ["oil", "x"]}
    order = read(body, NOTHING_CHOSEN, MODELS, from_picture=False, styles=styles)
    assert (order.request.prompt, order.request.negative_prompt) == ("oil of a fox, dark", "bad, photo")
    assert order.notices == ()
    infotext = {"infotext": "a cat\nSteps: 4, Sampler: Euler, Seed: 1", "styles": ["x"]}
    assert read(infotext, NOTHING_CHOSEN, MODELS, from_picture=False, styles=styles[1:]).request.prompt == "a cat, dark"
    assert style_names({"styles": ["oil", "None", ""]}) == ["oil"]
    for bad in ("oil", [1], {"oil": 1}):
        with pytest.raises(InvalidRequest, match=r"styles: .*a list of names of styles"):
            style_names({"styles": bad})


def test_the_emphasis_is_an_option() -> None:
    assert asked(prompt="x", override_settings={"emphasis": "No norm"}).request.emphasis == "no_norm"
    assert asked(chosen=Options(emphasis="comfyui"), prompt="x").request.emphasis == "comfyui"
    chosen = Options(emphasis="no_norm")
    assert asked(chosen=chosen, prompt="x", override_settings={"emphasis": "Original"}).request.emphasis == "original"
    assert asked(prompt="x").request.emphasis == "original"
    with pytest.raises(InvalidRequest, match=r"override_settings.emphasis: 'None' .*No norm \(no_norm\)"):
        asked(prompt="x", override_settings={"emphasis": "None"})


def test_clip_skip_is_obeyed_where_automatic1111_obeys_it() -> None:
    overrides = {"sd_model_checkpoint": "dreamland-xl", "CLIP_stop_at_last_layers": 1}
    assert asked(prompt="x", override_settings=overrides).request.clip_skip is None  # what suits SDXL is another layer
    wanted = asked(prompt="x", override_settings=overrides | {"CLIP_stop_at_last_layers": 3})
    assert wanted.request.clip_skip is None
    assert [one.field for one in wanted.notices] == ["CLIP_stop_at_last_layers"]


def test_a_second_pass() -> None:
    request = asked(
        prompt="x", enable_hr=True, width=128, height=64, hr_resize_x=256, hr_resize_y=128, hr_second_pass_steps=7
    ).request
    assert isinstance(request, TextToImage)
    assert (request.hires_scale, request.hires_upscaler, request.hires_strength, request.hires_steps) == (
        2.0,
        "latent",
        0.75,
        7,
    )
    assert "hr_resize_y" in refused(prompt="x", enable_hr=True, width=128, height=64, hr_resize_x=256, hr_resize_y=256)
    learned = asked(prompt="x", enable_hr=True, hr_upscaler="small-world-4x").request
    assert (learned.hires_upscaler, learned.upscaler_name) == ("lanczos", "small-world-4x")
    without = asked(prompt="x", enable_hr=False, hr_scale=2, hr_upscaler="R-ESRGAN 4x+", denoising_strength=0.7).request
    assert isinstance(without, TextToImage)
    assert without.hires_scale == 1.0


def test_a_picture_to_begin_with() -> None:
    request = asked(prompt="x", init_images=["data:image/png;base64," + png()], resize_mode=1).request
    assert type(request) is ImageToImage
    assert (request.strength, request.resize_mode) == (0.75, "crop")
    assert request.image == base64.b64decode(png())
    assert type(asked(prompt="x", init_images=[png()]).request) is ImageToImage


@pytest.mark.parametrize(
    ("images", "field"),
    [
        ([], "init_images"), ([png(), png()], "init_images"), ("text", "init_images"), (["no base64!"], "init_images"),
        (["http://evil.example/x.png"], "init_images"), (["/etc/passwd"], "init_images"),
        (["data:text/html;base64,AAAA"], "init_images"), ([{"path": "/etc/x"}], "init_images"), ([""], "init_images"),
    ],
)  # fmt: skip
def test_no_path_no_address_and_no_other_text_is_a_picture(images: Any, field: str) -> None:
    assert list(refused(prompt="x", init_images=images)) == [field]


def test_a_mask() -> None:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    data = io.BytesIO()
    mask.save(data, "PNG")
    text = base64.b64encode(data.getvalue()).decode()
    request = asked(prompt="x", init_images=[png()], mask=text).request
    assert isinstance(request, Inpaint)
    assert (request.mask_fill, request.inpaint_area, request.padding, request.mask_blur) == ("edges", "masked", 0, 4)
    inverted = asked(prompt="x", init_images=[png()], mask=text, inpainting_mask_invert=1, inpainting_fill=1).request
    assert isinstance(inverted, Inpaint)
    assert inverted.mask_fill == "original"
    assert masks.read_mask(inverted.mask, (64, 64)).getbbox() == (32, 0, 64, 64)
    assert masks.read_mask(request.mask, (64, 64)).getbbox() == (0, 0, 32, 64)
    assert "inpainting_fill" in refused(prompt="x", init_images=[png()], mask=text, inpainting_fill=3)
    assert "mask" in refused(prompt="x", init_images=[png()], mask="AAAA", inpainting_mask_invert=1)
    assert "mask_blur_y" in refused(prompt="x", init_images=[png()], mask=text, mask_blur_x=1, mask_blur_y=9)


def test_settings_of_an_infotext_are_taken_where_no_field_says_otherwise() -> None:
    settings = "Steps: 9, Sampler: Heun, Schedule type: Karras, Seed: 5, Size: 128x64, Face restoration: GFPGAN"
    text = f"a red cube\nNegative prompt: dark\n{settings}"
    wanted = asked(infotext=text, steps=11)
    request = wanted.request
    assert (request.prompt, request.negative_prompt, request.seed, request.width) == ("a red cube", "dark", 5, 128)
    assert (request.num_inference_steps, request.scheduler, request.noise_schedule) == (11, "heun", "karras")
    assert [one.field for one in wanted.notices] == ["infotext.Face restoration"]
    chosen = Options(checkpoint="tiny-test", clip_skip=3)
    text += ", Model: small-world-128, Clip skip: 2"
    request = asked(chosen=chosen, infotext=text).request
    assert (request.checkpoint, request.clip_skip) == ("small-world-128", 2)
    request = asked(chosen=chosen, infotext=text, override_settings={"CLIP_stop_at_last_layers": 1}).request
    assert (request.checkpoint, request.clip_skip) == ("small-world-128", 1)
    request = asked(infotext=text, override_settings={"CLIP_stop_at_last_layers": 1}).request
    assert request.clip_skip == 1


ODD: tuple[Any, ...] = (
    True, -1, 0, 2.5, 1e300, 10**30, "", "x", "../../etc/passwd", "\ud800", [], [1], ["x"], [[]], {}, {"a": 1},
    {"args": [{"image": "x"}]}, "A" * 5000,
)  # fmt: skip


def sentences(reading: Callable[[], Any]) -> list[str]:
    """What is said of values that are read or refused."""
    try:
        done = reading()
    except InvalidRequest as error:
        return [str(problem) for problem in error.problems] or ["refused without a reason"]
    notices = done[1] if isinstance(done, tuple) else done.notices
    return [one.why for one in notices]


@pytest.mark.parametrize("field", sorted(KNOWN))
def test_no_value_of_a_field_does_anything_but_run_or_be_refused(field: str) -> None:
    for value in ODD:
        for rest in ({}, {"enable_hr": True, "width": 64, "height": 64}, {"init_images": [png()], "mask": png()}):
            body = {"prompt": "x", **rest, field: value}
            for from_picture in (False, True):
                said = sentences(lambda: read(body, NOTHING_CHOSEN, MODELS, from_picture=from_picture))  # noqa: B023
                json.dumps(said).encode()
                assert "refused without a reason" not in said


@pytest.mark.parametrize("name", ["sd_model_checkpoint", "sd_vae", "CLIP_stop_at_last_layers", "randn_source", "x"])
def test_no_value_of_an_option_does_anything_else(name: str) -> None:
    for value in ODD:
        said = sentences(lambda: options.read({name: value}, NOTHING_CHOSEN, MODELS))  # noqa: B023
        assert "refused without a reason" not in said


def test_a_field_of_the_other_address_is_named() -> None:
    wanted = read({"prompt": "x", "init_images": [png()], "resize_mode": 0}, NOTHING_CHOSEN, MODELS, from_picture=False)
    assert [one.field for one in wanted.notices] == ["init_images"]
    assert noticed(prompt="x", init_images=[png()], enable_hr=True, hr_upscaler="Latent") == [
        "enable_hr",
        "hr_upscaler",
    ]
    assert noticed(prompt="x", init_images=[png()], enable_hr=False, hr_scale=0) == []
