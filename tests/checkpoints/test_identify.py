"""Files and folders are told by structure, from headers and small JSON files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.answered.model_facts import ModelFacts
from studio.checkpoints.blueprints import blueprint_of
from studio.checkpoints.checkpoint_header import _by_structure
from studio.checkpoints.identify import identify
from studio.checkpoints.plans import empty_module
from studio.families import configs
from studio.families.registry import FAMILIES
from tests.checkpoints.headers import header_file
from tests.checkpoints.original import full_meta, original_tensors, vae_to_original
from tests.tiny import save_tiny_checkpoint

LORA = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 768),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": (320, 4),
    "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (4, 768),
}


@pytest.mark.parametrize(
    ("shapes", "metadata", "kind", "family", "usable"),
    [
        (LORA, {}, "lora", "sd1", True),
        (
            {"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": (4, 2048)},
            {},
            "lora",
            "sdxl",
            True,
        ),
        (
            {"lora_unet_x_attn1_to_k.lora_down.weight": (4, 640)},
            {"ss_base_model_version": "sdxl_base_v1-0"},
            "lora",
            "sdxl",
            True,
        ),
        ({"lora_unet_x_attn1_to_k.lora_down.weight": (4, 640)}, {}, "lora", None, False),
        ({"lora_unet_double_attn2_to_k.lora_down.weight": (4, 4096)}, {}, "lora", None, False),
        ({"lora_unet_x_attn2_to_k.hada_w1_b": (4, 768)}, {}, "lora", "sd1", True),
        ({"lora_attn2_to_k.lokr_w1": (8, 8), "lora_attn2_to_k.lokr_w2_b": (4, 256)}, {}, "lora", "sdxl", True),
        ({"lora_unet_x_attn2_to_k.oft_blocks": (4, 4, 4)}, {}, "lora", None, False),
        ({"emb_params": (4, 768)}, {}, "embedding", "sd1", True),
        ({"emb_params": (2, 1024)}, {}, "embedding", "sd2", True),
        ({"<cat-toy>": (768,)}, {}, "embedding", "sd1", True),
        ({"clip_l": (4, 768), "clip_g": (4, 1280)}, {}, "embedding", "sdxl", True),
        ({"clip_g": (4, 1280)}, {}, "embedding", "sdxl", False),
        (
            {
                "decoder.conv_in.weight": (512, 4, 3, 3),
                "encoder.conv_in.weight": (128, 3, 3, 3),
                "decoder.mid.block_1.norm1.weight": (512,),
            },
            {},
            "vae",
            None,
            False,  # a few of a VAE's tensors
        ),
        (
            {
                "decoder.conv_in.weight": (512, 16, 3, 3),
                "encoder.conv_in.weight": (128, 3, 3, 3),
                "decoder.mid.block_1.norm1.weight": (512,),
            },
            {},
            "vae",
            None,
            False,
        ),
        (
            {"1.weight": (64, 4, 3, 3), "1.bias": (64,), "3.conv.0.weight": (64, 64, 3, 3)},
            {},
            "preview_decoder",
            "sd1",
            True,
        ),
        ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, {}, "controlnet", None, False),
        ({"double_blocks.0.img_attn.qkv.weight": (8, 8)}, {}, None, None, False),
        ({"something.else": (8, 8, 8)}, {}, None, None, False),
    ],
)  # fmt: skip
def test_kinds(
    tmp_path: Path,
    shapes: dict[str, tuple[int, ...]],
    metadata: dict[str, str],
    kind: str,
    family: str | None,
    usable: bool,
) -> None:
    facts = identify(header_file(tmp_path / "thing.safetensors", shapes, metadata))
    assert (facts.kind, facts.family, facts.usable) == (kind, family, usable)
    assert bool(facts.reason) != usable
    assert ModelFacts.from_json(json.loads(json.dumps(facts.as_json()))) == facts


def test_other_models_are_called_by_their_name(tmp_path: Path) -> None:
    facts = identify(header_file(tmp_path / "flux.safetensors", {"double_blocks.0.x.weight": (8, 8)}))
    assert facts.reason.startswith("This is a Flux model")


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04" + bytes(60), b"<html></html>", b"\x80\x02\x8a\nl\xfc"])
def test_what_cannot_be_read_is_unknown_with_the_reason(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    facts = identify(path)
    pickled = content.startswith((b"PK", b"\x80"))
    assert (facts.kind, facts.form) == (None, "pickle" if pickled else "single_file")
    assert "model.safetensors" in facts.reason


def test_a_folder_is_told_by_its_configs(tmp_path: Path) -> None:
    folder = save_tiny_checkpoint(tmp_path / "tiny", prediction_type="v_prediction")
    facts = identify(folder)
    assert (facts.kind, facts.form, facts.family, facts.usable) == ("checkpoint", "folder", "sd1", True)
    assert (facts.prediction_type, facts.prediction_source) == ("v_prediction", "config")
    assert (facts.parts, facts.precision, facts.native_width) == (("unet", "vae", "text_encoder"), "fp32", 64)
    assert facts.encoder_layers == 1


def test_a_whole_vae_in_the_original_layout(tmp_path: Path) -> None:
    tensors = vae_to_original(full_meta("sd1")["vae"])
    path = header_file(tmp_path / "vae.safetensors", {name: tuple(value.shape) for name, value in tensors.items()})
    facts = identify(path)
    assert (facts.kind, facts.family, facts.usable, facts.vae_has_encoder) == ("vae", None, True, True)


def test_a_vae_folder(tmp_path: Path) -> None:
    folder = save_tiny_checkpoint(tmp_path / "tiny")
    assert identify(folder / "vae").kind == "vae"
    assert identify(folder / "unet").kind is None
    assert isinstance(identify(tmp_path), ModelFacts)


def full_file(
    path: Path, family: str, channels: int = 4, metadata: dict[str, str] | None = None, vae: bool = True
) -> Path:
    """A file of a family's real names and shapes, whose data is a hole."""
    tensors = original_tensors(family, full_meta(family, in_channels=channels), vae=vae)
    return header_file(path, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, metadata)


V, SMALL = "v_prediction", {"modelspec.resolution": "512x512"}


@pytest.mark.parametrize(
    ("name", "family", "channels", "metadata", "expected"),
    [
        ("v1-5", "sd1", 4, {}, ("sd1", "epsilon", "family", 512, None)),
        ("sd-v1-5-inpainting", "sd1", 9, {}, ("sd1", "epsilon", "family", 512, None)),
        ("v2-1_768-ema-pruned", "sd2", 4, {}, ("sd2", None, None, None, None)),
        ("a", "sd2", 4, {"modelspec.architecture": "stable-diffusion-v2-768-v"}, ("sd2", V, "metadata", 768, None)),
        ("a", "sd2", 4, {"modelspec.prediction_type": "epsilon"}, ("sd2", "epsilon", "metadata", 512, None)),
        ("sd_xl_base_1.0", "sdxl", 4, {}, ("sdxl", "epsilon", "family", 1024, None)),
        ("noob-vpred", "sdxl", 4, {}, ("sdxl", V, "name", 1024, None)),
        (
            "sd_xl_turbo_1.0",
            "sdxl",
            4,
            {"modelspec.resolution": "512x512"},
            ("sdxl", "epsilon", "family", 512, "turbo"),
        ),
        ("dreamshaperXL_lightningDPMSDE", "sdxl", 4, {}, ("sdxl", "epsilon", "family", 1024, "lightning")),
        ("a", "sdxl", 4, {"modelspec.title": "My LCM model"}, ("sdxl", "epsilon", "family", 1024, "lcm")),
        ("sd_xl_refiner_1.0", "sdxl_refiner", 4, {}, ("sdxl_refiner", "epsilon", "family", 1024, None)),
    ],
)
def test_files_of_real_size_are_told_and_every_key_has_its_place(
    tmp_path: Path, name: str, family: str, channels: int, metadata: dict[str, str], expected: tuple[object, ...]
) -> None:
    path = full_file(tmp_path / f"{name}.safetensors", family, channels, metadata)
    facts = identify(path)
    assert facts.usable
    told = (facts.family, facts.prediction_type, facts.prediction_source, facts.native_width, facts.distillation)
    assert told == expected
    assert facts.distillation_source == (expected[4] and ("metadata" if "modelspec.title" in metadata else "name"))
    assert (facts.inpainting, facts.precision) == (channels == 9, "fp16")
    blueprint = blueprint_of(path, facts)
    for plan in blueprint.plans.values():
        empty_module(plan)  # raises for a name or shape that does not fit
    assert blueprint.notes == ()
    published = configs.family_config(FAMILIES[family], "unet") | {"in_channels": channels}
    given = dict(blueprint.plans["unet"].config)
    for key in (
        "block_out_channels",
        "cross_attention_dim",
        "attention_head_dim",
        "in_channels",
        "addition_time_embed_dim",
    ):
        assert given.get(key) == published.get(key), key
    layers = [
        plan.config["num_hidden_layers"] for part, plan in blueprint.plans.items() if part.startswith("text_encoder")
    ]
    assert facts.encoder_layers == min(layers)
    for part in ("text_encoder", "text_encoder_2"):
        if part in blueprint.plans and family != "sd2":
            assert dict(blueprint.plans[part].config) == configs.family_config(FAMILIES[family], part)


def test_a_header_of_real_size_is_told_without_reading_a_tensor(tmp_path: Path) -> None:
    path = full_file(tmp_path / "base.safetensors", "sdxl", vae=False)
    assert path.stat().st_size > 6 * 2**30
    assert path.stat().st_blocks * 512 < 2**20, "the data is a hole, so nobody can have read it"
    facts = identify(path)
    assert facts.parts == ("unet", "text_encoder", "text_encoder_2")
    assert facts.usable


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 8, 3, 3)}, "InstructPix2Pix"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 5, 3, 3)}, "depth"),
        ({"model.diffusion_model.label_emb.0.0.weight": (1280, 1536)}, "unCLIP"),
    ],
)
def test_relatives_that_are_not_run_are_called_by_their_name(
    tmp_path: Path, change: dict[str, tuple[int, ...]], said: str
) -> None:
    tensors = {n: tuple(t.shape) for n, t in original_tensors("sd2", full_meta("sd2")).items()}
    facts = identify(header_file(tmp_path / "x.safetensors", tensors | change))
    assert (facts.kind, facts.usable) == (None, False)
    assert said in facts.reason


def test_files_of_one_structure_are_judged_once_and_each_by_its_own_name_and_metadata(tmp_path: Path) -> None:
    plain = identify(full_file(tmp_path / "plain.safetensors", "sd1"))
    judgements = _by_structure.cache_info().misses
    v_model = identify(full_file(tmp_path / "some-vpred.safetensors", "sd1", metadata={"modelspec.title": "V"}))
    assert _by_structure.cache_info().misses == judgements
    assert (plain.prediction_type, v_model.prediction_type, v_model.title) == ("epsilon", "v_prediction", "V")
    shapes = {
        name: tuple(tensor.shape) for name, tensor in original_tensors("sd1", full_meta("sd1", in_channels=4)).items()
    }
    shapes["model.diffusion_model.middle_block.0.in_layers.2.weight"] = (1280, 1280, 1, 1)
    other = identify(header_file(tmp_path / "other.safetensors", shapes))
    assert plain.usable
    assert "wrong shape" in other.reason
