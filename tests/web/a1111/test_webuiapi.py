"""The client `webuiapi` against the API, as its users call it."""

from __future__ import annotations

import base64
import io
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from webuiapi import WebUIApi

from studio.picture.metadata import texts_of
from studio.web.a1111 import routes
from tests.web.serving import Serving, in_background, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("a1111"), routes.interface) as here:
        yield here


@pytest.fixture
def api(served: Serving) -> WebUIApi:
    return WebUIApi(host=served.host, port=served.port, steps=4)


def small(colour: str = "teal") -> Image.Image:
    return Image.new("RGB", (128, 128), colour)


def make(api: WebUIApi, **fields: Any) -> Any:
    return api.txt2img(**({"prompt": "a red apple", "width": 128, "height": 128} | fields))


def test_words_become_a_picture_with_its_settings(api: WebUIApi) -> None:
    result = make(api, negative_prompt="dark", seed=1003, cfg_scale=6, sampler_name="DPM++ 2M Karras", n_iter=2)
    assert [image.size for image in result.images] == [(128, 128), (128, 128)]
    text = result.image.text["parameters"]
    assert text.startswith("a red apple\nNegative prompt: dark\nSteps: 4, Sampler: DPM++ 2M, Schedule type: Karras")
    info = result.info
    assert info["infotexts"][0] == text
    assert (info["seed"], info["all_seeds"], info["cfg_scale"], info["steps"]) == (1003, [1003, 1004], 6, 4)
    assert (info["sampler_name"], info["width"], info["sd_model_name"]) == ("DPM++ 2M", 128, "small-world-128")
    assert len(info["job_timestamp"]) == 14
    assert info["extra_generation_params"]["Schedule type"] == "Karras"
    assert [one["field"] for one in info["latent_studio"]["notices"]] == ["save_images"]
    assert (result.parameters["prompt"], result.parameters["seed"]) == ("a red apple", 1003)


def test_a_style_of_the_csv_stands_in_the_infotext(api: WebUIApi, served: Serving) -> None:
    assert api.get_prompt_styles() == []
    (served.gallery.outputs_dir / "styles.csv").write_text("name,prompt,negative_prompt\noil,oil of {prompt},photo\n")
    assert api.get_prompt_styles() == [{"name": "oil", "prompt": "oil of {prompt}", "negative_prompt": "photo"}]
    result = make(api, styles=["oil"])
    assert result.image.text["parameters"].startswith("oil of a red apple\nNegative prompt: photo\n")
    assert result.info["styles"] == ["oil"]
    with pytest.raises(RuntimeError, match="Allowed: the styles oil"):
        make(api, styles=["none of these"])


def test_a_random_seed_is_told(api: WebUIApi) -> None:
    first, second = make(api).info["seed"], make(api).info["seed"]
    assert first >= 0
    assert first != second


def test_pictures_need_not_be_sent(api: WebUIApi) -> None:
    result = make(api, send_images=False)
    assert result.images == []
    assert len(result.info["infotexts"]) == 1


def test_a_picture_becomes_a_picture(api: WebUIApi) -> None:
    result = api.img2img(images=[small()], prompt="a fox", denoising_strength=0.5, width=128, height=64, resize_mode=1)
    assert result.image.size == (128, 64)
    assert result.info["denoising_strength"] == 0.5
    assert result.parameters["init_images"] is None  # they are sent back to who wants them
    again = api.img2img(images=[small()], prompt="a fox", width=128, height=128, include_init_images=True)
    assert again.parameters["init_images"][0].startswith("data:image/png;base64,")


def test_a_part_of_a_picture(api: WebUIApi, served: Serving) -> None:
    mask = Image.new("L", (128, 128), 0)
    ImageDraw.Draw(mask).rectangle((32, 32, 96, 96), fill=255)
    result = api.img2img(images=[small()], mask_image=mask, prompt="a fox", width=128, height=128, inpainting_fill=1)
    assert result.image.size == (128, 128)
    assert served.engine.asked[-1].request.kind == "inpaint"


def test_progress_and_interrupt_are_the_callers_own(api: WebUIApi, served: Serving, tmp_path: Path) -> None:
    idle = api.get_progress()
    assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0.0, 0, None)
    with serving(tmp_path, routes.interface, seconds_per_step=0.05) as slow:
        ann, bob = (WebUIApi(host=slow.host, port=slow.port, steps=60) for _ in range(2))
        thread, results = in_background(lambda: make(ann))
        seen: list[float] = []
        picture = None
        while len(seen) < 3 or picture is None:
            now = ann.get_progress()
            seen += [now["progress"]] if now["progress"] not in seen[-1:] and now["progress"] else []
            picture = now["current_image"]
            assert thread.is_alive()
            time.sleep(0.02)
        assert seen == sorted(seen)
        assert 0 < seen[-1] < 1
        assert Image.open(io.BytesIO(base64.b64decode(picture))).format == "JPEG"
        assert (now["state"]["job"], now["state"]["sampling_steps"]) == ("txt2img", 60)
        assert now["eta_relative"] > 0
        others = bob.get_progress()
        assert (others["progress"], others["current_image"]) == (0.0, None)
        assert bob.interrupt() == {}
        assert thread.is_alive()
        ann.interrupt()
        thread.join(20)
        (result,) = results
        assert result.info["latent_studio"]["stopped"]  # type: ignore[attr-defined]
        assert [image.format for image in result.images] == ["PNG"]  # type: ignore[attr-defined]


def test_a_caller_who_leaves_stops_the_run(served: Serving, tmp_path: Path) -> None:
    import httpx

    with serving(tmp_path, routes.interface, seconds_per_step=0.05) as slow:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{slow.url}sdapi/v1/txt2img", json={"prompt": "x", "steps": 150}, timeout=0.5)
        patience = time.monotonic() + 10
        while any(job.ended is None for job in (one.job for one in slow.engine.asked)):
            assert time.monotonic() < patience
            time.sleep(0.02)


def test_a_picture_is_enlarged_and_keeps_its_settings(api: WebUIApi) -> None:
    picture = make(api, seed=7).image
    result = api.extra_single_image(picture, upscaler_1="small-world-4x", upscaling_resize=4)
    assert result.image.size == (512, 512)
    text = result.image.text["parameters"]
    assert text.startswith("a red apple\nSteps: 4,")
    assert text.endswith("Postprocess upscale by: 4, Postprocess upscaler: small-world-4x")
    cut = api.extra_single_image(
        picture, upscaler_1="Lanczos", resize_mode=1, upscaling_resize_w=300, upscaling_resize_h=200
    )
    assert cut.image.size == (300, 200)
    whole = api.extra_single_image(
        picture, upscaler_1="Lanczos", resize_mode=1, upscaling_resize_w=300, upscaling_resize_h=200,
        upscaling_crop=False,
    )  # fmt: skip
    assert whole.image.size == (300, 300)
    assert api.extra_single_image(picture, upscaler_1="None").image.size == (128, 128)
    several = api.extra_batch_images([picture, small()], upscaler_1="small-world-4x", upscaling_resize=2)
    assert [image.size for image in several.images] == [(256, 256), (256, 256)]
    with pytest.raises(RuntimeError, match=r"422.*imageList: "):
        api.extra_batch_images([small()] * 17, upscaler_1="Lanczos")


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"upscaler_1": "R-ESRGAN 4x+"}, "upscaler_1"),
        ({"upscaler_1": "Lanczos", "upscaling_resize": 9}, "upscaling_resize"),
        ({"upscaler_1": "Lanczos", "upscaling_resize": "twice"}, "upscaling_resize"),
        ({"upscaler_1": "Lanczos", "resize_mode": 2}, "resize_mode"),
        (
            {"upscaler_1": "Lanczos", "resize_mode": 1, "upscaling_resize_w": 64, "upscaling_resize_h": 64},
            "upscaling_resize_w",
        ),
        ({"upscaler_1": "Lanczos", "gfpgan_visibility": 0.5}, "gfpgan_visibility"),
        ({"upscaler_1": "Lanczos", "codeformer_visibility": 1}, "codeformer_visibility"),
        ({"upscaler_1": 3}, "upscaler_1"),
        (
            {"upscaler_1": "Lanczos", "upscaler_2": "small-world-4x", "extras_upscaler_2_visibility": 0.5},
            "upscaler_2",
        ),
    ],
)
def test_what_cannot_be_enlarged_is_named_by_its_field(api: WebUIApi, fields: dict[str, Any], name: str) -> None:
    with pytest.raises(RuntimeError, match=f"422.*{name}: "):
        api.extra_single_image(small(), **fields)


def test_lists(api: WebUIApi) -> None:
    assert api.util_get_model_names()[:2] == ["bare", "dreamland-xl"]
    models = {one["model_name"]: one for one in api.get_sd_models()}
    assert models["small-world-128"]["title"] == "small-world-128 [5c1ab9d0e2]"
    assert "old-model" not in models
    assert {"DPM++ 2M", "Euler a", "PLMS", "DDIM"} <= set(api.util_get_sampler_names())
    assert {"automatic", "karras", "sgm_uniform", "align_your_steps"} <= set(api.util_get_scheduler_names())
    assert [(one["name"], one["scale"]) for one in api.get_upscalers()] == [("Lanczos", 4), ("small-world-4x", 4)]
    assert [one["name"] for one in api.get_realesrgan_models()] == ["small-world-4x"]
    assert [one["name"] for one in api.get_latent_upscale_modes()] == ["Latent"]
    assert api.get_sd_vae() == [{"model_name": "soft-vae", "filename": "soft-vae"}]
    assert [one["name"] for one in api.get_loras()] == ["ink-lines"]
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert api.get_scripts() == {"txt2img": [], "img2img": []}
    assert api.custom_get("sdapi/v1/script-info") == []
    assert api.get_cmd_flags() == {"api": True}
    everything = json.dumps([api.get_sd_models(), api.get_sd_vae(), api.get_loras(), api.get_options()])
    assert "/" not in everything
    assert "\\\\" not in everything


@pytest.mark.parametrize("name", ["samplers", "schedulers"])
def test_every_name_of_the_lists_is_understood(api: WebUIApi, name: str) -> None:
    field = {"samplers": "sampler_name", "schedulers": "scheduler"}[name]
    for entry in api.custom_get(f"sdapi/v1/{name}"):
        for called in filter(None, (entry["name"], entry.get("label"), *(entry["aliases"] or ()))):
            options = {"sampler_name": "Euler", field: called}
            options |= {"eta": 0} if entry["name"] == "DDIM" else {}  # its sampler here adds no noise
            assert make(api, steps=1, **options).image.size == (128, 128), called


def test_options_are_the_callers_own(served: Serving, api: WebUIApi) -> None:
    other = WebUIApi(host=served.host, port=served.port)
    before = api.get_options()
    assert (before["sd_model_checkpoint"], before["sd_vae"]) == ("small-world-128 [5c1ab9d0e2]", "Automatic")
    api.util_set_model("tiny-test")
    api.set_options({"CLIP_stop_at_last_layers": 2})
    assert api.util_get_current_model() == "tiny-test"
    assert other.util_get_current_model() == "small-world-128 [5c1ab9d0e2]"
    assert make(api, steps=1).info["sd_model_name"] == "tiny-test"
    assert make(api, steps=1).info["clip_skip"] == 2
    overridden = make(api, steps=1, override_settings={"sd_model_checkpoint": "small-world-128"})
    assert overridden.info["sd_model_name"] == "small-world-128"
    assert api.util_get_current_model() == "tiny-test"
    lasting = {"override_settings": {"CLIP_stop_at_last_layers": 1}, "override_settings_restore_afterwards": False}
    assert make(api, steps=1, **lasting).info["clip_skip"] == 1
    assert api.get_options()["CLIP_stop_at_last_layers"] == 1
    options = api.get_options() | {"sd_model_checkpoint": "small-world-128"}
    assert api.set_options(options) is None  # what was read can be sent back
    assert served.engine.models.all["small-world-128x"[:16]].place == "device"


def test_a_callers_vae_is_nobody_elses(served: Serving, api: WebUIApi) -> None:
    other = WebUIApi(host=served.host, port=served.port)
    for one in (api, other):
        one.util_set_model("tiny-test")
    assert api.set_options({"sd_vae": "soft-vae"}) is None
    assert api.get_options()["sd_vae"] == "soft-vae"
    assert other.get_options()["sd_vae"] == "Automatic"
    make(api, steps=1)
    assert served.engine.asked[-1].job.request.vae_name == "soft-vae"
    make(other, steps=1)
    assert served.engine.asked[-1].job.request.vae_name == ""
    make(other, steps=1, override_settings={"sd_vae": "soft-vae"})
    assert served.engine.asked[-1].job.request.vae_name == "soft-vae"
    assert other.get_options()["sd_vae"] == "Automatic"
    assert all(one.vae == "" for one in served.engine.models.all.values())
    answer = api.set_options({"sd_vae": "../soft-vae"})
    assert [one["field"] for one in answer["latent_studio"]["error"]["problems"]] == ["sd_vae"]
    assert api.set_options({"sd_vae": "Automatic"}) is None


def test_an_option_that_is_not_obeyed_is_named_or_refused(api: WebUIApi) -> None:
    answer = api.set_options({"show_warnings": True})
    assert answer["latent_studio"]["notices"][0]["field"] == "show_warnings"
    answer = api.set_options({"sd_model_checkpoint": "../../etc/passwd", "randn_source": "GPU"})
    assert answer["error"] == "invalid"
    assert [one["field"] for one in answer["latent_studio"]["error"]["problems"]] == [
        "sd_model_checkpoint",
        "randn_source",
    ]


def answered_file(served: Serving, **options: object) -> tuple[bytes, dict[str, Any]]:
    body = {"prompt": "a red apple", "width": 128, "height": 128, "steps": 1, "override_settings": options}
    request = urllib.request.Request(
        f"{served.url}sdapi/v1/txt2img", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    return base64.b64decode(answer["images"][0]), json.loads(answer["info"])


def test_the_format_of_an_answer_is_as_asked_for_and_its_text_is_in_it(served: Serving, api: WebUIApi) -> None:
    for asked_for, beginning in (("jpg", b"\xff\xd8"), ("webp", b"RIFF"), ("png", b"\x89PNG")):
        file, info = answered_file(served, samples_format=asked_for, jpeg_quality=60)
        assert file.startswith(beginning)
        assert texts_of(file)["parameters"] == info["infotexts"][0]
        assert [one for one in info["latent_studio"]["notices"] if "format" in one["field"]] == []
    file, info = answered_file(served, enable_pnginfo=False)
    assert texts_of(file) == {}
    answer = api.set_options({"samples_format": "tiff"})
    assert answer["latent_studio"]["error"]["problems"][0]["field"] == "samples_format"
    assert api.get_options()["samples_format"] == "png"


def test_what_a_picture_says(api: WebUIApi) -> None:
    picture = make(api, seed=7).image
    result = api.png_info(picture)
    assert result.info.startswith("a red apple\nSteps: 4, Sampler: Euler a")
    assert (result.parameters["Seed"], result.parameters["Prompt"]) == ("7", "a red apple")
    assert api.png_info(small()).info == ""


def test_refusals_have_the_form_that_clients_read(api: WebUIApi) -> None:
    with pytest.raises(RuntimeError) as caught:
        make(api, tiling=True, script_name="x/y/z plot")
    status, text = caught.value.args
    body = json.loads(text)
    assert (status, body["error"], set(body)) == (
        422,
        "invalid",
        {"error", "detail", "body", "errors", "latent_studio"},
    )
    assert body["detail"].startswith("tiling: True is not allowed.") or "script_name" in body["detail"]
    with pytest.raises(RuntimeError) as caught:
        make(api, prompt="fail: oom")
    assert caught.value.args[0] == 500
    assert "ran out of memory" in json.loads(caught.value.args[1])["detail"]
