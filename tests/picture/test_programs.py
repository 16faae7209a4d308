"""Other programs' forms, key by key: what fits is taken, all else is named with its value and the reason."""

from __future__ import annotations

import gzip
import html
import io
import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.picture.file_settings import Remark
from studio.picture.taken_over import TakenOver, take_over
from tests.picture.test_taken_over import checkpoint


def png(**texts: object) -> bytes:
    """A picture whose file holds these texts; objects become JSON. `_` stands for "-"."""
    file, info = io.BytesIO(), PngInfo()
    for key, value in texts.items():
        info.add_text(key.replace("_", "-") if key == "sd_metadata" else key, _text(value))
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def taken(**texts: object) -> TakenOver:
    found = take_over(png(**texts), [checkpoint("small-world-128"), checkpoint("dream", "cd" * 32, "sdxl")])
    assert found is not None
    return found


def left(found: TakenOver) -> dict[str, str]:
    return {one.key: one.why.key for one in found.left_out}


INVOKE_3 = {
    "app_version": "5.4.2", "generation_mode": "sdxl_txt2img", "positive_prompt": "a cabin", "negative_prompt": "blur",
    "width": 1024, "height": 768, "seed": 2718281828, "rand_device": "cpu", "cfg_scale": 7.5, "steps": 30,
    "cfg_rescale_multiplier": 0, "scheduler": "dpmpp_2m_sde_k", "seamless_x": False, "seamless_y": False,
    "clip_skip": 0, "positive_style_prompt": "a cabin", "negative_style_prompt": "oil", "hrf_enabled": None,
    "model": {"key": "6a", "hash": "blake3:ab12", "name": "dream", "base": "sdxl", "type": "main"},
    "loras": [{"model": {"key": "9f", "name": "add-detail-xl", "base": "sdxl", "type": "lora"}, "weight": 0.6}],
    "vae": {"key": "v", "name": "sdxl-vae-fp16-fix", "base": "sdxl", "type": "vae"},
    "controlnets": [{"control_model": {"name": "canny-xl"}, "control_weight": 0.75, "image": {"image_name": "a.png"}}],
    "ref_images": [],
}  # fmt: skip


def test_invokeai_3_and_later() -> None:
    found = taken(invokeai_metadata=INVOKE_3, invokeai_graph={"nodes": {}})
    assert found.program == "InvokeAI"
    assert found.settings == {
        "prompt": "a cabin <lora:add-detail-xl:0.6>", "negative_prompt": "blur", "width": 1024, "height": 768,
        "seed": 2718281828, "guidance_scale": 7.5, "num_inference_steps": 30, "scheduler": "dpmpp_2m_sde",
        "noise_schedule": "karras", "checkpoint": "dream",
    }  # fmt: skip
    assert left(found) == {"vae": "vae", "controlnets": "pictures", "negative_style_prompt": "no_setting"}
    assert {one.key: one.value for one in found.left_out}["controlnets"] == "'canny-xl'"
    assert found.remarks == (Remark("loras"),)


def test_invokeai_counts_the_layers_that_it_skips_and_says_where_its_noise_is_drawn() -> None:
    given = INVOKE_3 | {"clip_skip": 2, "rand_device": "cuda", "scheduler": "euler", "model": {"model_name": "dream"}}
    found = taken(invokeai_metadata=given)
    assert (found.settings["clip_skip"], found.settings["checkpoint"]) == (3, "dream")
    assert (found.settings["scheduler"], found.settings["noise_schedule"]) == ("euler", "as_configured")
    assert left(found)["rand_device"] == "other_noise"
    unknown = taken(invokeai_metadata=INVOKE_3 | {"scheduler": "dpmpp_2s_k", "strength": 0.7})
    assert left(unknown)["scheduler"] == "not_allowed"
    assert unknown.settings["strength"] == 0.7


def test_invokeai_2() -> None:
    image = {
        "prompt": [{"prompt": "a lonely robot [blurry, text]", "weight": 1.0}], "steps": 50, "cfg_scale": 7.5,
        "threshold": 0, "perlin": 0, "height": 512, "width": 640, "seed": 3, "seamless": False, "hires_fix": True,
        "type": "txt2img", "postprocessing": None, "sampler": "k_dpm_2_a", "variations": [],
    }  # fmt: skip
    facts = {"model": "stable diffusion", "model_weights": "other-name", "model_hash": "cd" * 32, "app_id": "invoke"}
    found = taken(sd_metadata=facts | {"image": image}, Dream='"a lonely robot" -s 1')
    assert found.settings == {
        "prompt": "a lonely robot", "negative_prompt": "blurry, text", "num_inference_steps": 50, "seed": 3,
        "guidance_scale": 7.5, "width": 640, "height": 512, "scheduler": "dpm2_a", "checkpoint": "dream",
    }  # fmt: skip
    assert left(found) == {"hires_fix": "no_setting"}
    assert found.remarks == (Remark("checkpoint_renamed", {"name": "other-name", "here": "dream"}),)
    weighed = taken(sd_metadata={"image": image | {"prompt": [{"prompt": "a", "weight": 1}, {"prompt": "b"}]}})
    assert (weighed.settings["prompt"], left(weighed)["prompt weights"]) == ("a, b", "no_setting")


def test_invokeai_1() -> None:
    found = taken(
        Dream='"a "red" fox [blur]" -s 30 -S 42 -W 512 -H 384 -C 7.5 -A k_lms -f 0.6 -I start.png -G 0.8 -U 2 0.5'
    )
    assert found.settings == {
        "prompt": 'a "red" fox', "negative_prompt": "blur", "num_inference_steps": 30, "seed": 42, "width": 512,
        "height": 384, "guidance_scale": 7.5, "scheduler": "lms", "strength": 0.6,
    }  # fmt: skip
    assert {one.key: (one.value, one.why.key) for one in found.left_out} == {
        "-I": ("'start.png'", "pictures"), "-G": ("'0.8'", "no_setting"), "-U": ("'2 0.5'", "no_setting"),
    }  # fmt: skip
    glued = taken(Dream='"a fox" -s30 -S7 -Addim -C-1')
    assert (glued.settings["num_inference_steps"], glued.settings["seed"]) == (30, 7)


FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "other-name", "base_model_hash": "cdcdcdcdcd", "clip_skip": 2,
    "full_negative_prompt": ["low"], "full_prompt": ["an astronaut, cinematic"], "guidance_scale": 4.0,
    "loras": [["sd_xl_offset", 0.1, "4852686128"]], "metadata_scheme": "fooocus", "negative_prompt": "low",
    "performance": "Speed", "prompt": "an astronaut", "prompt_expansion": "", "refiner_model": "None",
    "refiner_switch": 0.5, "resolution": "(1152, 896)", "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras",
    "seed": "8123949213", "sharpness": 2.0, "steps": 30, "styles": "['Fooocus V2']", "vae": "Default (model)",
    "version": "Fooocus v2.5.5",
}  # fmt: skip
FOOOCUS_TAKEN = {
    "prompt": "an astronaut <lora:sd_xl_offset:0.1>", "negative_prompt": "low", "num_inference_steps": 30,
    "guidance_scale": 4.0, "scheduler": "dpmpp_2m_sde", "noise_schedule": "karras", "seed": 8123949213, "clip_skip": 2,
    "checkpoint": "dream", "width": 1152, "height": 896,
}  # fmt: skip


def test_fooocus() -> None:
    found = taken(parameters=FOOOCUS, fooocus_scheme="fooocus")
    assert (found.program, found.settings) == ("Fooocus", FOOOCUS_TAKEN)
    assert left(found) == dict.fromkeys(
        ("adm_guidance", "performance", "refiner_switch", "sharpness", "styles"), "no_setting"
    )
    older = {k: v for k, v in FOOOCUS.items() if k != "loras"} | {
        "lora_combined_1": "sd_xl_offset.safetensors : 0.1", "scheduler": "align_your_steps", "vae": "x.safetensors",
    }  # fmt: skip
    again = taken(parameters=older)
    assert again.settings["prompt"] == FOOOCUS_TAKEN["prompt"]
    assert again.settings["noise_schedule"] == "ays"
    assert left(again)["vae"] == "vae"


def test_fooocus_in_a_jpeg_and_in_the_form_of_a1111() -> None:
    exif = Image.Exif()
    exif[0x927C] = "fooocus"
    exif.get_ifd(0x8769)[0x9286] = json.dumps(FOOOCUS)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    found = take_over(file.getvalue(), [checkpoint("dream", "cd" * 32, "sdxl")])
    assert found is not None
    assert (found.program, found.settings) == ("Fooocus", FOOOCUS_TAKEN)
    line = (
        'Steps: 30, Sampler: DPM++ 2M SDE, Seed: 5, Size: 64x64, Lora weights: "offset: 0.1, b: 1", Styles: "[\'x\']"'
    )
    plain = taken(parameters=f"a fox\n{line}", fooocus_scheme="a1111")
    assert plain.settings["prompt"] == "a fox <lora:offset:0.1> <lora:b:1>"
    assert left(plain) == {"Styles": "no_setting"}


def test_swarm_names_its_loras_its_layer_and_its_start() -> None:
    params = {
        "prompt": "a cat [red]", "model": "OfficialStableDiffusion/dream", "seed": 1, "steps": 20, "cfgscale": 7.0,
        "aspectratio": "1:1", "width": 1024, "height": 1024, "comfyuisampler": "dpmpp_2m", "comfyuischeduler": "karras",
        "loras": ["styles/ink.safetensors", "bad<name"], "loraweights": ["0.5", "1"], "clipstopatlayer": -2,
        "variationseed": 9, "variationseedstrength": 0.25, "initimagecreativity": 0.6, "sigmashift": 3,
        "refinerupscale": 1.5, "vae": "x", "automaticvae": True, "swarm_version": "0.9.6", "images": 1,
    }  # fmt: skip
    found = taken(parameters={"sui_image_params": params, "sui_extra_data": {"date": "2026"}, "sui_models": []})
    assert found.program == "SwarmUI"
    assert found.settings == {
        "prompt": "a cat [red] <lora:styles/ink:0.5>", "seed": 1, "num_inference_steps": 20, "guidance_scale": 7.0,
        "width": 1024, "height": 1024, "scheduler": "dpmpp_2m", "noise_schedule": "karras", "clip_skip": 2,
        "variation_seed": 9, "variation_strength": 0.25, "strength": 0.6, "checkpoint": "dream",
    }  # fmt: skip
    assert left(found) == {
        "sigmashift": "no_setting", "refinerupscale": "no_setting", "vae": "vae", "loras bad<name": "no_setting",
    }  # fmt: skip
    assert found.remarks == (
        Remark("loras"),
        Remark("brackets", {"program": "SwarmUI"}),
        Remark("checkpoint_elsewhere", {"name": "OfficialStableDiffusion/dream", "here": "dream"}),
    )


GRAPH = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "dream.safetensors"}},
    "2": {"class_type": "LoraLoader", "inputs": {"model": ["1", 0], "clip": ["1", 1], "lora_name": "ink.safetensors",
          "strength_model": 0.8, "strength_clip": 0.5}},
    "3": {"class_type": "CLIPSetLastLayer", "inputs": {"clip": ["2", 1], "stop_at_clip_layer": -2}},
    "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["3", 0], "text": ["9", 0]}},
    "5": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["3", 0], "text": ["10", 0]}},
    "6": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
    "7": {"class_type": "KSamplerAdvanced", "inputs": {"model": ["2", 0], "positive": ["4", 0], "negative": ["5", 0],
          "latent_image": ["6", 0], "noise_seed": ["11", 0], "steps": 20, "cfg": 7.0, "sampler_name": "euler",
          "scheduler": "normal", "add_noise": "enable", "start_at_step": 4, "end_at_step": 10000,
          "return_with_leftover_noise": "disable"}},
    "8": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "heun"}},
    "9": {"class_type": "PrimitiveString", "inputs": {"value": "a glass bottle"}},
    "10": {"class_type": "Mixer", "inputs": {"text": "a", "prompt": "b"}},
    "11": {"class_type": "RandomSeed", "inputs": {"seed": 5}},
    "12": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "4x.pth"}},
    "13": {"class_type": "VAEDecode", "inputs": {"samples": ["7", 0]}},
}  # fmt: skip


def test_a_graph_says_what_it_cannot_say() -> None:
    found = taken(prompt=GRAPH, workflow={"nodes": []})
    assert found.program == "ComfyUI"
    assert found.settings == {
        "prompt": "a glass bottle <lora:ink:0.5:0.8>", "num_inference_steps": 20, "guidance_scale": 7.0,
        "scheduler": "euler", "noise_schedule": "normal", "width": 512, "height": 768, "clip_skip": 2,
        "checkpoint": "dream",
    }  # fmt: skip
    named = {one.key: (one.value, one.why.key) for one in found.left_out}
    assert named["noise_seed"] == named["negative"] == ("'from another node'", "elsewhere")
    assert named["start_at_step"] == ("'4'", "no_setting")
    assert named["UpscaleModelLoader"] == ("'model_name=4x.pth'", "node")
    assert "KSamplerSelect" in named


@pytest.mark.parametrize(
    "broken", ['{"7": {"class_type": "KSampler"}}', '{"7": {"class_type": 5, "inputs": []}, "8": 3}']
)
def test_a_strange_graph_is_no_error(broken: str) -> None:
    assert taken(prompt=broken).program == "ComfyUI"


def test_a_graph_in_a_webp_file() -> None:
    exif = Image.Exif()
    exif[0x0110] = "prompt:" + json.dumps(GRAPH)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "WEBP", exif=exif)
    found = take_over(file.getvalue(), [])
    assert found is not None
    assert (found.program, found.settings["num_inference_steps"]) == ("ComfyUI", 20)


@pytest.mark.parametrize(
    ("texts", "key", "reason"),
    [
        ({"workflow": {"nodes": []}}, "workflow", "workflow"),
        ({"parameters": "a fox and nothing else"}, "parameters", "unread"),
        ({"parameters": '{"sui_image_params": {"prompt": '}, "parameters", "unread"),
        ({"invokeai_metadata": "[1, 2]"}, "invokeai_metadata", "unread"),
        ({"prompt": "just words"}, "prompt", "unread"),
        ({"Dream": "just words"}, "Dream", "unread"),
        ({"latent-studio": '{"kind": "surface", "base": {}}'}, "kind", "comparison"),
    ],
)
def test_a_text_that_cannot_be_read_is_named(texts: dict[str, object], key: str, reason: str) -> None:
    found = taken(**texts)
    assert (found.settings, left(found)) == ({}, {key: reason})


@pytest.mark.parametrize(
    ("line", "key", "reason"),
    [
        ("RNG: NV", "RNG", "other_noise"),
        ("Mask mode: Inpaint not masked", "Mask mode", "no_setting"),
        ("Pad conds: True", "Pad conds", "no_setting"),
        ('ControlNet 0: "Module: canny, Model: x"', "ControlNet 0", "pictures"),
        ("Script: X/Y/Z plot", "Script", "no_setting"),
        ("Emphasis: Ignore", "Emphasis", "no_setting"),
        ("Emphasis: None", "Emphasis", "no_setting"),
        ("Size: 512x512, Hires resize: 256x256", "Hires resize", "no_setting"),
        ("Model hash: 1234567890", "Model hash", "absent"),
    ],
)
def test_a_key_of_a1111_that_changes_the_picture_is_named(line: str, key: str, reason: str) -> None:
    found = taken(parameters=f"a fox\nSteps: 9, Sampler: DDIM, Seed: 1, {line}")
    assert left(found) == {key: reason}
    harmless = "Steps: 9, Sampler: DDIM, Seed: 1, RNG: CPU, Mask mode: Inpaint masked, Pad conds: False, User: ann"
    assert left(taken(parameters=f"a fox\n{harmless}")) == {}


def test_a_second_pass_of_another_shape_is_said() -> None:
    line = "Steps: 9, Sampler: DDIM, Seed: 1, Size: 512x512, Hires resize: 1024x{}"
    found = taken(parameters=f"a fox\n{line.format(512)}")
    assert found.settings["hires_scale"] == 2.0
    assert found.remarks == (Remark("second_shape", {"size": "1024x512"}),)
    assert taken(parameters=f"a fox\n{line.format(1024)}").remarks == ()


def test_of_several_nodes_or_loras_that_are_left_out_none_is_lost() -> None:
    two = {key: {"class_type": "ControlNetApply", "inputs": {"strength": n}} for n, key in enumerate("ab", start=1)}
    named = {one.key: one.value for one in taken(prompt=two).left_out}
    assert named["ControlNetApply"] == "'strength=1; strength=2'"
    odd = taken(parameters=FOOOCUS | {"loras": [[1], "x", ["ok", 0.5, "h"]], "prompt": {"not": "words"}})
    assert {one.key for one in odd.left_out} >= {"loras", "loras ok", "prompt"}


def test_easy_diffusion_says_whether_it_skips() -> None:
    texts = {"prompt": "a fox", "num_inference_steps": "25", "use_stable_diffusion_model": "small-world-128"}
    skips = taken(**texts, clip_skip="True", use_vae_model="x", use_lora_model="None")
    assert (skips.settings["clip_skip"], left(skips)) == (2, {"use_vae_model": "vae"})
    assert "clip_skip" not in taken(**texts, clip_skip="False").settings


def test_a_graph_of_custom_samplers_is_followed_from_its_picture() -> None:
    """The sampler that begins with noise counts, whatever its place in the file; a LoRA beside its way is named."""
    text = {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a cabin"}}
    graph = {
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["7", 0]}},
        "7": {"class_type": "KSampler", "inputs": {"latent_image": ["6", 0], "steps": 9, "seed": 1, "denoise": 0.5}},
        "6": {"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["n", 0], "guider": ["g", 0],
              "sampler": ["s", 0], "sigmas": ["z", 0], "latent_image": ["e", 0]}},
        "n": {"class_type": "RandomNoise", "inputs": {"noise_seed": 77}},
        "g": {"class_type": "CFGGuider", "inputs": {"model": ["l", 0], "positive": ["t", 0], "cfg": 6.5}},
        "s": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler_ancestral"}},
        "z": {"class_type": "BasicScheduler", "inputs": {"scheduler": "karras", "steps": 30, "denoise": 1.0}},
        "e": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 640}},
        "l": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["1", 0], "lora_name": "ink.safetensors",
              "strength_model": 0.8}},
        "x": {"class_type": "LoraLoader", "inputs": {"model": ["1", 0], "lora_name": "other.safetensors"}},
        "t": text,
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "dream.safetensors"}},
    }  # fmt: skip
    found = taken(prompt=graph)
    assert found.settings == {
        "prompt": "a cabin <lora:ink:0:0.8>", "seed": 77, "num_inference_steps": 30, "guidance_scale": 6.5,
        "scheduler": "euler_a", "noise_schedule": "karras", "width": 512, "height": 640, "checkpoint": "dream",
    }  # fmt: skip
    assert left(found) == {"LoraLoader": "unused"}
    assert Remark("samplers", {"count": "2"}) in found.remarks


def test_a_graph_in_a_circle_ends_and_one_that_is_too_large_is_named() -> None:
    circle = {key: {"class_type": "KSampler", "inputs": {"model": [other, 0], "latent_image": [other, 0], "steps": 5}}
              for key, other in (("1", "2"), ("2", "1"))}  # fmt: skip
    assert taken(prompt=circle).settings == {"num_inference_steps": 5}
    large = {str(k): {"class_type": "KSampler", "inputs": {"steps": 5}} for k in range(2001)}
    found = taken(prompt=large)
    assert (found.settings, left(found)) == ({}, {"prompt": "nodes"})


def test_sd_next() -> None:
    line = (
        "a cabin\nSteps: 20, Size: 512x640, Sampler: Euler a, Seed: 7, CFG scale: 6, CLiP-skip: 2, "
        "Model: small-world-128, App: SD.Next, Version: 0eb4a98, Operations: txt2img, Pipeline: StableDiffusionPipeline"
    )
    found = taken(parameters=line)
    assert found.program == "SD.Next"
    assert (found.settings["scheduler"], found.settings["clip_skip"], found.settings["height"]) == ("euler_a", 2, 640)
    assert "Operations" not in left(found)
    assert "App" not in left(found)


def test_sd_next_with_a_second_pass_says_the_class_of_its_scheduler_and_that_is_no_schedule() -> None:
    line = (
        "a cabin\nSteps: 20, Size: 512x640, Sampler: DPM++ 2M, Scheduler: DPMSolverMultistepScheduler, Seed: 7, "
        "CFG scale: 6, CLiP-skip: 2, Hires scale: 1.5, Hires strength: 0.4, Hires steps: 10, Parser: Full parser, "
        "Model: small-world-128, App: SD.Next, Version: 0eb4a98"
    )
    found = taken(parameters=line)
    assert (found.settings["hires_scale"], found.settings["hires_strength"]) == (1.5, 0.4)
    assert found.settings["scheduler"] == "dpmpp_2m"
    assert found.settings["noise_schedule"] == "automatic"
    assert not {"Scheduler", "Parser", "Hires scale", "CLiP-skip"} & set(left(found))


DRAW_THINGS = {
    "c": "a cabin & a fox", "uc": "blur", "model": "dream.ckpt", "sampler": "DPM++ 2M Karras", "scale": 7.5,
    "seed": 31, "steps": 24, "size": "512x640", "strength": 1, "seed_mode": "Scale Alike", "lora": [
        {"model": "ink_lora.ckpt", "weight": 0.6}],
}  # fmt: skip


def test_draw_things() -> None:
    comment = html.escape(json.dumps(DRAW_THINGS))
    xmp = f"<x><exif:UserComment><rdf:Alt><rdf:li xml:lang='x-default'>{comment}</rdf:li></rdf:Alt></exif:UserComment>"
    found = taken(**{"XML:com.adobe.xmp": xmp})
    assert found.program == "Draw Things"
    assert found.settings == {
        "prompt": "a cabin & a fox <lora:ink_lora:0.6>", "negative_prompt": "blur", "checkpoint": "dream", "seed": 31,
        "num_inference_steps": 24, "guidance_scale": 7.5, "scheduler": "dpmpp_2m", "noise_schedule": "karras",
        "width": 512, "height": 640,
    }  # fmt: skip
    assert left(found) == {"seed_mode": "no_setting"}
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", xmp=xmp.encode())
    in_jpeg = take_over(file.getvalue(), [])
    assert in_jpeg is not None
    assert in_jpeg.program == "Draw Things"


def test_novelai_in_the_transparency() -> None:
    comment = {"prompt": "a cabin", "uc": "blur", "seed": 5, "steps": 28, "scale": 5, "sampler": "k_euler"}
    written = {"Software": "NovelAI", "Description": "a cabin", "Comment": json.dumps(comment)}
    text = gzip.compress(json.dumps(written).encode())
    data = b"stealth_pngcomp" + (8 * len(text)).to_bytes(4, "big") + text
    bits = [byte >> k & 1 for byte in data for k in range(7, -1, -1)]
    alpha = Image.frombytes("L", (64, 64), bytes(254 + bit for bit in bits + [1] * (64 * 64 - len(bits))))
    picture = Image.new("RGB", (64, 64))
    picture.putalpha(alpha.transpose(Image.Transpose.TRANSPOSE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    found = take_over(file.getvalue(), [])
    assert found is not None
    assert (found.program, found.settings["num_inference_steps"], found.settings["seed"]) == ("NovelAI", 28, 5)
    plain = io.BytesIO()
    Image.new("RGBA", (64, 64)).save(plain, "PNG")
    assert take_over(plain.getvalue(), []) is None


def test_an_infotext_in_an_avif_file() -> None:
    text = "a fox\nSteps: 9, Sampler: Euler, CFG scale: 5, Seed: 3, Size: 64x64"
    exif = Image.Exif()
    exif[0x8769] = {0x9286: b"UNICODE\0" + text.encode("utf-16-be")}
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "AVIF", exif=exif)
    found = take_over(file.getvalue(), [])
    assert found is not None
    assert found.settings["num_inference_steps"] == 9
