"""Settings of other programs' pictures: what fits is taken, what does not is named with the reason."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.answered.model_facts import ModelFacts
from studio.answered.models import Model
from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.resolved import Suits, resolve
from studio.asked.template import is_template
from studio.picture.file_formats import OWN_CHUNK, png_info
from studio.picture.file_settings import Remark
from studio.picture.infotext import parameters_text
from studio.picture.metadata import picture_info
from studio.picture.taken_over import TakenOver, take_over, take_over_texts

CASES = Path(__file__).parents[1] / "cases"


def checkpoint(name: str, sha256: str = "", family: str = "sd1") -> Model:
    return Model(
        id=name, name=name, label=name, where="models", state="usable",
        facts=ModelFacts(kind="checkpoint", family=family), sha256=sha256 or None,
    )  # fmt: skip


INSTALLED = [checkpoint("small-world-128"), checkpoint("bigger", "ab" * 32, "sdxl")]


def taken(name: str, models: list[Model] = INSTALLED) -> TakenOver:
    found = take_over(CASES / name, models)
    assert found is not None, name
    return found


def infotext(line: str, prompt: str = "a fox") -> bytes:
    file, texts = io.BytesIO(), PngInfo()
    texts.add_text("parameters", f"{prompt}\nNegative prompt: blur\n{line}")
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=texts)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "key", "fits"),
    [
        ("sampler_DPM_fast.png", "Sampler", {"noise_schedule": "karras", "guidance_scale": 7.0, "seed": 5}),
        ("size_513x769.png", "Size", {"scheduler": "euler", "seed": 5, "checkpoint": "small-world-128"}),
        ("size_3072x2048.png", "Size", {"guidance_scale": 7.0, "seed": 5}),
        ("hires2x.png", "Hires upscale", {"width": 832, "height": 1216, "seed": 2718281828, "scheduler": "euler_a"}),
        ("odd_size.png", "Size", {"scheduler": "dpmpp_2m", "noise_schedule": "karras", "strength": 0.55}),
        ("restart.png", "Model", {"scheduler": "restart", "width": 512, "height": 768, "guidance_scale": 6.5}),
        ("a1111_nomodel.png", "Model", {"scheduler": "dpmpp_2m", "noise_schedule": "karras", "seed": 1234567}),
    ],
)
def test_what_fits_is_taken_and_the_rest_is_named_with_the_reason(name: str, key: str, fits: dict[str, object]) -> None:
    found = taken(name)
    assert found.settings.items() >= fits.items()
    left = {one.key: one for one in found.left_out}
    assert key in left
    assert left[key].value
    assert left[key].why.key
    asked = {n: v for n, v in found.settings.items() if n in TextToImage.rows()}
    assert TextToImage.parse(asked)


@pytest.mark.parametrize(
    ("line", "key"),
    [("Steps: 200, Sampler: Euler, Seed: 1", "Steps"), (f"Steps: 9, Sampler: DDIM, Seed: {2**64 - 1}", "Seed")],
)
def test_numbers_out_of_range_are_named(line: str, key: str) -> None:
    found = take_over(infotext(line), INSTALLED)
    assert found is not None
    assert [one.key for one in found.left_out] == [key]
    assert found.settings["prompt"] == "a fox"


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("CFG_0.9.png", {"guidance_scale": 0.9, "seed": 5}),
        ("schedule_KL_Optimal.png", {"noise_schedule": "kl_optimal"}),
    ],
)
def test_guidance_below_one_and_kl_optimal_are_taken(name: str, fits: dict[str, object]) -> None:
    found = taken(name)
    assert found.settings.items() >= fits.items()
    assert found.left_out == ()


def test_a_second_pass_that_is_too_large_goes_and_its_upscaler_is_named() -> None:
    found = taken("hires2x.png")
    assert not any(name.startswith("hires_") for name in found.settings)
    assert Remark("hires_upscaler", {"upscaler": "R-ESRGAN 4x+", "instead": "Lanczos"}) in found.remarks
    assert Remark("no_second_pass") in found.remarks
    assert {one.key for one in found.left_out} == {"Hires upscale", "Model"}
    assert found.settings["clip_skip"] == 2


@pytest.mark.parametrize(
    ("name", "program", "fits"),
    [
        ("comfy.png", "ComfyUI", {"prompt": "beautiful scenery nature glass bottle landscape", "negative_prompt":
            "text, watermark", "seed": 156680208700286, "num_inference_steps": 20, "guidance_scale": 8.0,
            "scheduler": "euler", "noise_schedule": "normal", "width": 512, "height": 512}),
        ("swarm.png", "SwarmUI", {"prompt": "a photo of a cat", "negative_prompt": "dog", "seed": 1,
            "num_inference_steps": 20, "guidance_scale": 7.0, "width": 1024, "scheduler": "euler"}),
        ("novelai.png", "NovelAI", {"prompt": "cat", "negative_prompt": "lowres", "num_inference_steps": 28,
            "scheduler": "euler_a", "seed": 1, "guidance_scale": 11.0}),
        ("easydiffusion.png", "Easy Diffusion", {"prompt": "a cat", "negative_prompt": "dog", "seed": 42,
            "num_inference_steps": 25, "guidance_scale": 7.5, "width": 512, "scheduler": "euler_a"}),
        ("fooocus_a1111.jpg", "Fooocus", {"prompt": "1girl, red hair", "negative_prompt": "lowres",
            "scheduler": "euler_a", "guidance_scale": 6.5, "seed": 1234567}),
        ("a1111.gif", "AUTOMATIC1111", {"prompt": "1girl, red hair", "negative_prompt": "lowres", "seed": 1234567}),
    ],
)  # fmt: skip
def test_other_programs_forms_are_read(name: str, program: str, fits: dict[str, object]) -> None:
    found = taken(name)
    assert found.program == program
    assert found.settings.items() >= fits.items()
    if name not in ("novelai.png",):
        assert any(one.why.key in ("absent", "absent_hash") for one in found.left_out)


def test_a_checkpoint_is_found_by_its_hash_where_its_name_differs() -> None:
    found = taken("a1111_nomodel.png", [checkpoint("renamed", "6ce0161689" + "0" * 54)])
    assert found.settings["checkpoint"] == "renamed"
    assert Remark("checkpoint_renamed", {"name": "v1-5-pruned-emaonly", "here": "renamed"}) in found.remarks
    other = taken("a1111_nomodel.png", [checkpoint("v1-5-pruned-emaonly", "ff" * 32)])
    assert other.settings["checkpoint"] == "v1-5-pruned-emaonly"
    hashes = {"here": "v1-5-pruned-emaonly", "hash_here": "ffffffffff", "hash": "6ce0161689"}
    assert Remark("checkpoint_another", hashes) in other.remarks


def test_clip_skip_of_a_family_for_which_a1111_ignores_it_is_named() -> None:
    line = "Steps: 9, Sampler: DDIM, Seed: 1, Model: {}, Clip skip: 2"
    found = take_over(infotext(line.format("bigger")), INSTALLED)
    assert found is not None
    assert "clip_skip" not in found.settings
    assert [(one.key, one.why.key) for one in found.left_out] == [("Clip skip", "clip_skip_ignored")]
    sd1 = take_over(infotext(line.format("small-world-128")), INSTALLED)
    assert sd1 is not None
    assert (sd1.settings["clip_skip"], sd1.left_out, sd1.remarks) == (2, (), ())
    unknown = take_over(infotext(line.format("of-nobody-knows-which-family")), INSTALLED)
    assert unknown is not None
    assert (unknown.settings["clip_skip"], unknown.remarks) == (2, (Remark("clip_skip", {"value": "2"}),))


def with_layers(name: str, layers: int, family: str = "sd1") -> Model:
    model = checkpoint(name, family=family)
    return replace(model, facts=replace(model.facts, encoder_layers=layers))


@pytest.mark.parametrize(
    ("model", "skip", "most"),
    [
        ("twelve", 12, None),
        ("twelve", 13, ("twelve", "12")),
        ("three", 4, ("three", "3")),
        ("not-installed", 13, ("SD 1", "12")),
        ("not-installed", 12, None),
    ],
)
def test_a_layer_that_the_text_encoder_does_not_have_is_named_with_what_is_allowed(
    model: str, skip: int, most: tuple[str, str] | None
) -> None:
    installed = [with_layers("twelve", 12), with_layers("three", 3)]
    found = take_over(infotext(f"Steps: 9, Sampler: DDIM, Seed: 1, Model: {model}, Clip skip: {skip}"), installed)
    assert found is not None
    named = [(one.value, one.why) for one in found.left_out if one.key == "Clip skip"]
    if most is None:
        assert (found.settings["clip_skip"], named) == (skip, [])
    else:
        assert "clip_skip" not in found.settings
        assert named == [(str(skip), Remark("layers", {"name": most[0], "layers": most[1]}))]


@pytest.mark.parametrize("value", ["7,5", "7,50"])
def test_a_number_with_a_decimal_comma_is_named_and_not_cut(value: str) -> None:
    for line in (f"Steps: 9, Sampler: DDIM, CFG scale: {value}, Seed: 1", f"Steps: 9, Seed: 1, CFG scale: {value}"):
        found = take_over(infotext(line), INSTALLED)
        assert found is not None
        assert "guidance_scale" not in found.settings
        assert (found.settings["seed"], found.settings["num_inference_steps"]) == (1, 9)
        (left,) = [one for one in found.left_out if one.key == "CFG scale"]
        assert (left.value, left.why) == (repr(value), Remark("not_allowed", {"allowed": "numbers from 0 to 30"}))


def test_our_own_picture_is_taken_whole_and_a_newer_one_is_refused() -> None:
    run = resolve(TextToImage(prompt="a fox", seed=3, clip_skip=2, checkpoint="small-world-128"), Suits())
    info = picture_info(run, width=64, height=64)
    assert "Clip skip: 2" in parameters_text(info)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=png_info(info, parameters_text(info)))
    found = take_over(file.getvalue(), INSTALLED)
    assert found is not None
    assert found.left_out == ()
    assert (found.settings["clip_skip"], found.settings["guidance_scale"]) == (2, 5.0)
    newer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(newer, "PNG", pnginfo=png_info(info | {"schema": 99}, ""))
    refused = take_over(newer.getvalue(), INSTALLED)
    assert refused is not None
    assert (refused.settings, refused.left_out[0].key) == ({}, "schema")


@pytest.mark.parametrize(
    ("made_in", "here", "exact", "remark"),
    [
        ("bfloat16", "bfloat16", False, None),
        ("bfloat16", "float32", False, Remark("precision", {"made": "bfloat16", "here": "float32"})),
        (None, "bfloat16", False, Remark("precision_exact", {"made": "float32", "here": "bfloat16"})),
        ("float32", "bfloat16", True, None),
        ("bfloat16", "bfloat16", True, Remark("precision", {"made": "bfloat16", "here": "float32"})),
        ("bfloat16", "", False, Remark("precision_unknown", {"made": "bfloat16"})),
        ("float32", "", False, None),
        ("words", "float32", False, None),
    ],
)
def test_a_picture_of_another_precision_says_so(
    made_in: str | None, here: str, exact: bool, remark: Remark | None
) -> None:
    run = resolve(TextToImage(prompt="a fox", seed=3, exact=exact, checkpoint="small-world-128"), Suits())
    info = picture_info(run, width=64, height=64, **({"dtype": made_in} if made_in else {}))
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=png_info(info, ""))
    found = take_over(file.getvalue(), [replace(checkpoint("small-world-128"), dtype=here)])
    assert found is not None
    assert found.remarks == ((remark,) if remark is not None else ())


def test_a_setting_that_the_studio_has_not_is_named() -> None:
    found = take_over(infotext("Steps: 9, Sampler: DDIM, Seed: 1, ENSD: 31337, VAE: x.pt, Version: v1.10.1"), INSTALLED)
    assert found is not None
    assert {one.key: one.why.key for one in found.left_out} == {"ENSD": "not_of_scheduler", "VAE": "vae"}


@pytest.mark.parametrize(
    ("line", "taken_name", "left"),
    [
        ("Model: local, VAE: soft.safetensors", "soft", {}),
        ("Model: local, VAE: Automatic", None, {}),
        ("Model: local, VAE: for-xl.safetensors", None, {"VAE": "vae"}),
        ("Model: small-world-128, VAE: soft.safetensors", None, {"VAE": "vae"}),
    ],
)
def test_a_vae_is_taken_where_it_is_here_and_fits(line: str, taken_name: str | None, left: dict[str, str]) -> None:
    vaes = [
        replace(checkpoint(name), facts=ModelFacts(kind="vae"), lends_vae_to=families)
        for name, families in (("soft", ("sd1", "sd2")), ("for-xl", ("sdxl",)))
    ]
    models = [replace(checkpoint("small-world-128"), built_in=True), checkpoint("local"), *vaes]
    found = take_over(infotext(f"Steps: 9, Sampler: DDIM, Seed: 1, {line}"), models)
    assert found is not None
    assert found.settings.get("vae_name") == taken_name
    assert {one.key: one.why.key for one in found.left_out} == left


@pytest.mark.parametrize(
    ("line", "taken_name", "said"),
    [
        ("VAE hash: abcdef0123, VAE: other.safetensors", "soft", ["vae_renamed"]),
        ("VAE hash: ABCDEF0123, VAE: hard.safetensors", "soft", ["vae_renamed"]),
        ("VAE hash: abcdef0123, VAE: soft.safetensors", "soft", []),
        ("VAE hash: 1111111111, VAE: soft.safetensors", "soft", ["vae_another"]),
        ("VAE hash: , VAE: soft.safetensors", "soft", []),
    ],
)
def test_a_vae_is_found_by_its_hash_where_its_name_differs(line: str, taken_name: str, said: list[str]) -> None:
    vaes = [
        replace(checkpoint(name, sha256), facts=ModelFacts(kind="vae"), lends_vae_to=("sd1",))
        for name, sha256 in (("hard", "22" * 32), ("soft", "abcdef0123" + "0" * 54))
    ]
    found = take_over(infotext(f"Steps: 9, Sampler: DDIM, Model: local, {line}"), [checkpoint("local"), *vaes])
    assert found is not None
    assert found.settings["vae_name"] == taken_name
    assert [one.key for one in found.remarks if one.key.startswith("vae")] == said
    assert not [one for one in found.left_out if "VAE" in one.key]


def test_our_own_picture_names_its_vae_by_hash_too() -> None:
    vae = replace(checkpoint("renamed", "ab" * 32), facts=ModelFacts(kind="vae"), lends_vae_to=("sd1",))
    info = {"schema": 2, "kind": "text_to_image", "prompt": "x", "checkpoint": "local", "vae_name": "soft",
            "vae_hash": "ab" * 32}  # fmt: skip
    found = take_over_texts({"latent-studio": json.dumps(info)}, [checkpoint("local"), vae])
    assert found is not None
    assert found.settings["vae_name"] == "renamed"


def test_an_upscaler_is_taken_where_it_is_here() -> None:
    upscaler = replace(checkpoint("4x-UltraSharp"), facts=ModelFacts(kind="upscaler"))
    line = "Steps: 9, Sampler: DDIM, Hires upscale: 1.5, Denoising strength: 0.5, Hires upscaler: 4x-UltraSharp"
    for models, name in (([upscaler], "4x-UltraSharp"), ([], None)):
        found = take_over(infotext(line), models)
        assert found is not None
        assert (found.settings.get("upscaler_name"), found.settings["hires_upscaler"]) == (name, "lanczos")
        instead = Remark("hires_upscaler", {"upscaler": "4x-UltraSharp", "instead": "Lanczos"})
        assert (instead in found.remarks) == (name is None)


def test_the_studios_own_upscaler_name_is_named_where_it_is_not_here() -> None:
    info = {"schema": 2, "kind": "text_to_image", "prompt": "x", "hires_scale": 1.5, "upscaler_name": "folder/4x"}
    found = take_over_texts({"latent-studio": json.dumps(info)}, [])
    assert found is not None
    assert "upscaler_name" not in found.settings
    assert Remark("hires_upscaler", {"upscaler": "folder/4x", "instead": "Lanczos"}) in found.remarks


def test_a_refiner_is_named_and_the_rest_is_taken() -> None:
    line = "Steps: 30, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 1024x1024, Model: bigger"
    found = take_over(infotext(f"{line}, Refiner: sd_xl_refiner_1.0 [7440042bbd], Refiner switch at: 0.8"), INSTALLED)
    assert found is not None
    left = {one.key: (one.value, one.why.key) for one in found.left_out}
    assert left == {
        "Refiner": ("'sd_xl_refiner_1.0 [7440042bbd]'", "refiner"),
        "Refiner switch at": ("'0.8'", "refiner"),
    }
    assert (found.settings["checkpoint"], found.settings["num_inference_steps"]) == ("bigger", 30)


def test_a_picture_that_tells_nothing_is_none() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    assert take_over(file.getvalue(), INSTALLED) is None
    assert take_over(b"GIF89a broken", INSTALLED) is None


def test_what_chooses_here_stays_words_in_the_prompt_of_a_picture() -> None:
    """A1111 has no choices in braces: the picture was made of the braces themselves."""
    text = "a {red|blue} fox in __places__, {best}\nSteps: 9, Sampler: DDIM, Seed: 1, Version: v1.10.1"
    found = take_over_texts({"parameters": text}, INSTALLED)
    assert found is not None
    prompt = str(found.settings["prompt"])
    assert prompt == "a \\{red|blue} fox in \\__places__, {best}"
    assert not is_template(prompt)
    assert [remark.key for remark in found.remarks] == ["choices"]
    again = take_over_texts({"parameters": text.replace("a {red|blue} fox in __places__", "a fox")}, INSTALLED)
    assert again is not None
    assert again.remarks == ()


TINY = [
    replace(checkpoint("taesdxl_decoder"), facts=ModelFacts(kind="preview_decoder"), lends_vae_to=("sdxl",)),
    replace(checkpoint("taesd_decoder"), facts=ModelFacts(kind="preview_decoder"), lends_vae_to=("sd1", "sd2")),
]
BASE = "Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x64, Model: local"


@pytest.mark.parametrize(
    ("line", "taken_name", "left"),
    [
        ("VAE Decoder: TAESD", "taesd_decoder", {}),
        ("VAE: soft, VAE Encoder: TAESD, VAE Decoder: TAESD", "taesd_decoder", {}),
        ("VAE: soft, VAE Encoder: Full, VAE Decoder: Full", "soft", {}),
        ("VAE Encoder: TAESD", None, {"VAE Encoder": "one_vae"}),
        ("VAE Decoder: Approx", None, {"VAE Decoder": "no_setting"}),
    ],
)
def test_a_tiny_autoencoder_is_taken_where_it_has_decoded(line: str, taken_name: str, left: dict[str, str]) -> None:
    soft = replace(checkpoint("soft"), facts=ModelFacts(kind="vae"), lends_vae_to=("sd1",))
    found = take_over(infotext(f"{BASE}, {line}"), [checkpoint("local"), soft, *TINY])
    assert found is not None
    assert found.settings.get("vae_name") == taken_name
    assert {one.key: one.why.key for one in found.left_out} == left


def test_a_tiny_autoencoder_that_is_not_here_is_named() -> None:
    found = take_over(infotext(f"{BASE}, VAE Decoder: TAESD"), [checkpoint("local"), TINY[0]])
    assert found is not None
    assert [(one.key, one.why.key) for one in found.left_out] == [("VAE Decoder", "tiny_vae")]
    assert "vae_name" not in found.settings


@pytest.mark.parametrize(("kind", "encodes"), [(TextToImage, False), (ImageToImage, True)])
def test_a_tiny_autoencoder_is_written_in_a1111s_words_and_read_again(kind: Any, encodes: bool) -> None:
    start = {"image": b"png"} if encodes else {}
    request = kind(prompt="x", checkpoint="local", seed=5, width=64, height=64, vae_name="taesd_decoder", **start)
    facts = {"vae": "taesd_decoder", "vae_is_tiny": True}
    text = parameters_text(picture_info(resolve(request, Suits()), width=64, height=64, **facts))
    assert "VAE Decoder: TAESD" in text
    assert ("VAE Encoder: TAESD" in text) == encodes
    found = take_over_texts({"parameters": text}, [checkpoint("local"), *TINY])
    assert found is not None
    assert found.settings["vae_name"] == "taesd_decoder"
    plain = parameters_text(picture_info(resolve(request, Suits()), width=64, height=64, vae="soft"))
    assert "TAESD" not in plain


@pytest.mark.parametrize(
    ("made", "here", "exact", "remark"),
    [
        ("float32", "bfloat16", True, "precision_exact"),
        ("float32", "float32", None, None),
        ("bfloat16", "bfloat16", None, None),
        ("bfloat16", "float32", None, "precision"),
    ],
)
def test_a_picture_is_made_again_in_its_precision_or_the_page_says_so(
    made: str, here: str, exact: bool | None, remark: str | None
) -> None:
    info = picture_info(
        resolve(TextToImage(prompt="x", checkpoint="local", seed=5), Suits()), width=64, height=64, dtype=made
    )
    found = take_over_texts({OWN_CHUNK: json.dumps(info)}, [replace(checkpoint("local"), dtype=here)])
    assert found is not None
    assert (found.settings.get("exact") or None) == exact
    assert [one.key for one in found.remarks] == ([remark] if remark else [])
