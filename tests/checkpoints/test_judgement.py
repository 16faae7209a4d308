"""What is said of a file by its header is what becomes of it: what is called usable loads, the rest is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.asked.fields import ImageToImage, Inpaint, TextToImage
from studio.asked.problems import InvalidRequest
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint, read_whole_header
from studio.checkpoints.lookup import in_listing
from studio.diffusion import architecture, vae
from studio.families.base import Prediction
from studio.families.storage import dotted_name
from tests.checkpoints.headers import header_file
from tests.checkpoints.original import original_tensors, save_original, tiny_family, vae_to_original
from tests.checkpoints.test_identify import full_file
from tests.families.helpers import load
from tests.tiny import save_tiny_checkpoint

UNET = "model.diffusion_model."
REAL = Path("../shared/cases/real") if Path("../shared/cases/real").is_dir() else Path("/nonexistent")


def changed(path: Path, change: Any) -> Path:
    """The file with other tensors."""
    save_file({k: v.contiguous() for k, v in change(load_file(path)).items()}, path)
    return path


@pytest.fixture
def sd1(tmp_path: Path) -> Path:
    return save_original(tmp_path / "model.safetensors", "sd1", tiny_family("sd1"))


def unet_weights(tensors: dict[str, torch.Tensor]) -> list[str]:
    return [k for k, v in tensors.items() if k.startswith(UNET) and k.endswith(".weight") and v.ndim == 2]


@pytest.mark.parametrize("form", ["scale_weight", "weight_scale"])
def test_scaled_fp8_is_the_product(sd1: Path, form: str) -> None:
    plain = load_file(sd1)
    expected: dict[str, torch.Tensor] = {}

    def scaled(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for name in unet_weights(tensors):
            scale = tensors[name].abs().max() / 448
            stored = (tensors[name] / scale).to(torch.float8_e4m3fn)
            expected[name] = stored.float() * scale
            tensors[name] = stored
            start = name.removesuffix("weight")
            tensors[f"{start}{form}"] = scale
            if form == "weight_scale":
                settings = json.dumps({"format": "float8_e4m3fn"}).encode()
                tensors[f"{start}comfy_quant"] = torch.tensor(list(settings), dtype=torch.uint8)
            else:
                tensors[f"{start}scale_input"] = torch.ones(1)
        if form == "scale_weight":
            tensors["model.diffusion_model.scaled_fp8"] = torch.zeros(2).to(torch.float8_e4m3fn)
        return tensors

    changed(sd1, scaled)
    facts = identify(sd1)
    assert facts.usable, facts.reason
    components = load(sd1)
    assert components.notes == ()
    name = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
    loaded = components.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q.weight
    assert torch.equal(loaded, expected[name])
    assert float((loaded - plain[name]).abs().max()) < 0.07 * float(plain[name].abs().max())


@pytest.mark.parametrize(("scales", "said"), [(True, "int8 with scales"), (False, "int8 without scales")])
def test_int8_is_named_by_both(sd1: Path, scales: bool, said: str) -> None:
    def eight_bits(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for name in unet_weights(tensors):
            tensors[name] = (tensors[name] * 100).to(torch.int8)
            if scales:
                tensors[name.removesuffix("weight") + "weight_scale"] = torch.tensor(0.01)
        return tensors

    changed(sd1, eight_bits)
    facts = identify(sd1)
    assert (facts.kind, facts.usable) == ("checkpoint", False)
    assert said in facts.reason
    with pytest.raises(BadCheckpoint, match=said):
        load(sd1)


def test_a_file_with_the_average_alone_runs_from_it(sd1: Path) -> None:
    plain = load_file(sd1)
    flat = {k: "model_ema.diffusion_model" + k.removeprefix(UNET).replace(".", "") for k in plain if k.startswith(UNET)}
    changed(sd1, lambda tensors: {flat.get(k, k): v for k, v in tensors.items()})
    facts = identify(sd1)
    assert (facts.usable, facts.family) == (True, "sd1")
    ours = load(sd1).unet.state_dict()
    again = save_original(sd1.with_name("again.safetensors"), "sd1", tiny_family("sd1"))
    theirs = load(again).unet.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "sdxl_refiner"])
def test_every_name_finds_its_dots_again(family: str) -> None:
    for name in original_tensors(family, tiny_family(family)):
        if name.startswith(UNET):
            dotted = name.removeprefix(UNET)
            assert dotted_name(dotted.replace(".", "")) == dotted


def test_a_stray_of_a_lora_is_left_out_with_a_note(sd1: Path) -> None:
    stray = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn1.to_q.lora_down.weight"
    changed(sd1, lambda tensors: tensors | {stray: torch.zeros(4, 32)})
    facts = identify(sd1)
    assert (facts.kind, facts.usable) == ("checkpoint", True)
    assert "1 tensors of a LoRA" in " ".join(facts.notes)
    assert any("1 tensors" in note and stray[:60] in note for note in load(sd1).notes)


def test_a_stranger_is_refused_by_both(sd1: Path) -> None:
    changed(sd1, lambda tensors: tensors | {f"{UNET}input_blocks.1.7.gate.weight": torch.zeros(4)})
    facts = identify(sd1)
    assert not facts.usable
    assert "input_blocks.1.7.gate" in facts.reason
    with pytest.raises(BadCheckpoint, match=r"input_blocks\.1\.7\.gate"):
        load(sd1)


def test_sft_is_safetensors(tmp_path: Path, sd1: Path) -> None:
    (tmp_path / "models" / "checkpoints").mkdir(parents=True)
    shutil.copy(sd1, tmp_path / "models" / "checkpoints" / "old.sft")
    [entry] = Catalog([tmp_path / "models"]).entries()
    assert (entry.name, entry.usable) == ("old", True)
    assert load(entry.path).family.name == "sd1"


@pytest.mark.parametrize("layers", [23, 24])
def test_only_a_text_encoder_of_24_layers_loses_its_last(layers: int, tmp_path: Path) -> None:
    modules = tiny_family("sd2")
    path = save_original(tmp_path / "wd14.safetensors", "sd2", modules, metadata={"modelspec.prediction_type": "v"})
    last = "cond_stage_model.model.transformer.resblocks.23."
    if layers == 23:
        changed(path, lambda tensors: {k: v for k, v in tensors.items() if not k.startswith(last)})
        save_file(load_file(path), path, metadata={"modelspec.prediction_type": "v"})
    loaded = load(path).part("text_encoder").state_dict()
    own = modules["text_encoder"].state_dict()
    assert loaded.keys() == own.keys()
    assert len(modules["text_encoder"].encoder.layers if hasattr(modules["text_encoder"], "encoder") else own) >= 23
    assert all(torch.equal(loaded[name], own[name]) for name in own)


@pytest.mark.parametrize(
    ("family", "key"),
    [
        ("sd1", "cond_stage_model.transformer.text_projection.weight"),
        ("sd1", "cond_stage_model.transformer.text_model.text_projection.weight"),
        ("sdxl", "conditioner.embedders.0.transformer.text_projection.weight"),
    ],
)
def test_a_projection_that_no_family_takes_is_no_stranger(family: str, key: str, tmp_path: Path) -> None:
    said = {"modelspec.prediction_type": "epsilon"}
    extra = {key: torch.ones(64, 64)}
    path = save_original(tmp_path / "m.safetensors", family, tiny_family(family), extra=extra, metadata=said)
    assert identify(path).usable
    assert load(path).notes == ()


def test_an_untransposed_projection_is_the_same(tmp_path: Path) -> None:
    path = save_original(tmp_path / "m.safetensors", "sdxl", tiny_family("sdxl"))
    own = load(path).part("text_encoder_2").text_projection.weight.clone()
    start = "conditioner.embedders.1.model.text_projection"

    def untransposed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        projection = tensors.pop(start)
        return tensors | {f"{start}.weight": projection.T.contiguous()}

    changed(path, untransposed)
    assert torch.equal(load(path).part("text_encoder_2").text_projection.weight, own)


NAMES: list[tuple[str, Prediction | None, str | None]] = [
    ("noobaiXLNAIXL_vPred10Version", "v_prediction", None),
    ("animagine_vpred65s", "v_prediction", None),
    ("model-v-prediction", "v_prediction", None),
    ("someAIvPred", "v_prediction", None),
    ("noob_VPRED10", "v_prediction", None),
    ("someXLvpred", "v_prediction", None),
    ("some-vpredxl", "v_prediction", None),
    ("some_V-PREDICTION", "v_prediction", None),
    ("vpredator_xl", "epsilon", None),
    ("VPREDATOR", "epsilon", None),
    ("the_vPREDATOR", "epsilon", None),
    ("VPredator", "epsilon", None),
    ("epsPredator", "epsilon", None),
    ("noobaiXLNAIXL_epsilonPred11Version", "epsilon", None),
    ("realisticDMD_v5", "epsilon", "dmd2"),
    ("dreamshaper_lightning4step", "epsilon", "lightning"),
    ("juggernaut-hyper8steps", "epsilon", "hyper"),
    ("hyperrealism_v2", "epsilon", None),
]


@pytest.mark.parametrize(("name", "prediction", "distillation"), NAMES)
def test_names_say_what_they_say(tmp_path: Path, name: str, prediction: str | None, distillation: str | None) -> None:
    facts = identify(full_file(tmp_path / f"{name}.safetensors", "sdxl"))
    assert (facts.prediction_type, facts.distillation) == (prediction, distillation)


W = (8, 8)
OTHERS = [
    (
        {"joint_blocks.0.x_block.attn2.qkv.weight": W, "first_stage_model.decoder.conv_in.weight": (512, 16, 3, 3)},
        "3.5",
    ),
    ({"double_blocks.0.img_attn.qkv.weight": W}, "a Flux model"),
    ({"double_blocks.0.img_attn.qkv.weight": W, "single_stream_modulation.lin.weight": W}, "a Flux.2 model"),
    ({"early_stream_modulations.image.lin.weight": W}, "a Flux.3 model"),
    ({"double_blocks.0.img_attn.qkv.weight": W, "distilled_guidance_layer.in_proj.bias": (8,)}, "a Chroma model"),
    ({"model.diffusion_model.layers.0.adaLN_modulation.0.weight": W, "cap_embedder.0.weight": W}, "a Z-Image model"),
    ({"cap_embedder.0.weight": W}, "a Lumina 2 model"),
    ({"txtfusion.projector.weight": W}, "a Krea 2 model"),
    ({"txt_in.text_norm.weight": (8,)}, "a Qwen-Image 2.1 model"),
    ({"transformer_blocks.0.img_mod.1.weight": W, "txt_norm.weight": (8,)}, "a Qwen-Image model"),
    ({"net.blocks.0.self_attn.q_proj.weight": W, "net.llm_adapter.blocks.0.x.weight": W}, "an Anima model"),
    ({"blocks.0.self_attn.norm_q.weight": (8,), "head.modulation": W}, "a Wan video model"),
    ({"image_proj.proj.weight": W, "ip_adapter.1.to_k_ip.weight": W}, "an IP-Adapter"),
    ({"adapter.body.0.resnets.0.block1.weight": (8, 8, 3, 3)}, "a T2I-Adapter"),
    ({"conv_first.weight": (64, 3, 3, 3)}, "a picture upscaler"),
    (
        {f"{UNET}input_blocks.0.0.weight": (320, 8, 3, 3), f"{UNET}input_blocks.1.1.time_stack.0.ff.weight": W},
        "a Stable Video Diffusion model",
    ),
]


@pytest.mark.parametrize(("shapes", "said"), OTHERS, ids=[said for _, said in OTHERS])
def test_models_of_others_are_called_by_their_name(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], said: str
) -> None:
    vae = {"vae.decoder.conv_in.weight": (512, 16, 3, 3), "vae.encoder.conv_in.weight": (128, 3, 3, 3),
           "vae.decoder.mid.block_1.norm1.weight": (512,)}  # fmt: skip
    for more in ({}, vae):
        facts = identify(header_file(tmp_path / "x.safetensors", shapes | more))
        assert facts.kind is None
        assert said in facts.reason


@pytest.mark.parametrize("dtype", ["F4", "F8_E8M0", "C64", "F6_E2M3"])
def test_the_types_of_today_are_no_damage(dtype: str, tmp_path: Path) -> None:
    bits = {"F4": 4, "F8_E8M0": 8, "C64": 64, "F6_E2M3": 6}[dtype]
    entry = {"dtype": dtype, "shape": [16, 4], "data_offsets": [0, 8 * bits]}
    text = json.dumps({"double_blocks.0.x.weight": entry}).encode()
    path = tmp_path / "new.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8 * bits))
    assert "Flux" in identify(path).reason
    odd = json.dumps({"x": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}}).encode()
    path.write_bytes(len(odd).to_bytes(8, "little") + odd + bytes(1))
    assert "makes no sense" in identify(path).reason


def test_metadata_may_be_long_and_structure_may_not(tmp_path: Path) -> None:
    shapes = {"emb_params": (4, 768)}
    path = header_file(tmp_path / "chatty.safetensors", shapes, {"ss_tag_frequency": 'tag "quoted", ' * 900_000})
    assert path.stat().st_size > 12 * 2**20
    assert identify(path).kind == "embedding"
    assert read_whole_header(path).metadata["ss_tag_frequency"].startswith("tag")
    nested = b'{"a":[' + b"1," * 5_000_000 + b"1]}"
    path.write_bytes(len(nested).to_bytes(8, "little") + nested)
    assert "no table of tensors" in identify(path).reason


def test_the_hubs_own_cache_shows_names_and_no_hashes(tmp_path: Path) -> None:
    snapshot = (
        tmp_path / "hub" / "models--some-owner--small-model" / "snapshots" / ("0123456789abcdef" * 2 + "01234567")
    )
    save_tiny_checkpoint(snapshot)
    [entry] = Catalog([tmp_path / "hub"]).entries()
    assert entry.name == "small-model"


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real tiny autoencoders is not here")
def test_real_tiny_autoencoders() -> None:
    verdicts = {path.stem: identify(path) for path in REAL.glob("*.safetensors")}
    assert not verdicts["taesd_encoder"].usable
    assert "encoder" in verdicts["taesd_encoder"].reason
    assert not verdicts["taesd3_encoder"].usable
    assert verdicts["taesd_decoder"].usable
    assert (verdicts["taesdxl_decoder"].usable, verdicts["taesdxl_decoder"].family) == (True, "sdxl")
    assert "another kind" in verdicts["taesd3_decoder"].reason


def without_encoder(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    starts = ("encoder.", "quant_conv.")
    return {k: v for k, v in tensors.items() if not k.removeprefix("first_stage_model.").startswith(starts)}


def test_a_checkpoint_with_a_decoder_alone_makes_the_same_pictures(sd1: Path) -> None:
    whole = load(sd1)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = vae.decode(whole, latents)
    changed(sd1, without_encoder)
    facts = identify(sd1)
    assert (facts.usable, facts.vae_has_encoder, "vae" in facts.parts) == (True, False, True)
    assert "no encoder" in " ".join(facts.notes)
    components = load(sd1)
    assert not components.encodes_pictures
    assert torch.equal(vae.decode(components, latents), expected)
    assert "encoder.conv_in" not in architecture.blocks_of(components)
    with pytest.raises(InvalidRequest, match="whose VAE has no encoder"):
        vae.encode(components, torch.zeros(1, 3, 64, 64))
    with pytest.raises(InvalidRequest, match="whose VAE has no encoder"):
        vae.posterior(components, torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_a_lone_decoder_is_a_vae(sd1: Path, tmp_path: Path, layout: str) -> None:
    modules = tiny_family("sd1")
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = vae.decode(load(sd1), latents)
    own = vae_to_original(modules["vae"]) if layout == "original" else modules["vae"].state_dict()
    lone = tmp_path / "decoder.safetensors"
    save_file({k: v.contiguous().clone() for k, v in without_encoder(own).items()}, lone)
    facts = identify(lone)
    assert (facts.kind, facts.usable, facts.vae_has_encoder) == ("vae", True, False)
    components = load(sd1, vae=lone)
    assert torch.equal(vae.decode(components, latents), expected)


def test_a_run_from_a_picture_is_refused_before_it_starts(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "checkpoints"
    folder.mkdir(parents=True)
    changed(save_original(folder / "plain.safetensors", "sd1", tiny_family("sd1")), without_encoder)
    nine = save_original(folder / "nine.safetensors", "sd1", tiny_family("sd1", in_channels=9))
    changed(nine, without_encoder)
    entries = Catalog([tmp_path / "models"]).entries()
    assert in_listing(TextToImage(prompt="", checkpoint="plain"), entries).checkpoint == "plain"
    twice = TextToImage(prompt="", checkpoint="plain", hires_scale=2.0, hires_upscaler="latent")
    assert in_listing(twice, entries) == twice
    refusals = [
        (ImageToImage(prompt="", image=b"x", checkpoint="plain"), "checkpoint", "text to image"),
        (Inpaint(prompt="", image=b"x", mask=b"x", checkpoint="plain"), "checkpoint", "Models tab"),
        (TextToImage(prompt="", checkpoint="plain", hires_scale=2.0), "hires_upscaler", "Latent"),
        (TextToImage(prompt="", checkpoint="nine"), "checkpoint", "a VAE with an encoder"),
    ]
    for request, field, advice in refusals:
        with pytest.raises(InvalidRequest, match=advice) as refusal:
            in_listing(request, entries)
        assert [problem.field for problem in refusal.value.problems] == [field]
    with pytest.raises(BadCheckpoint, match="has no encoder"):
        load(nine)


WRONG = {
    "a tensor is missing": lambda shape: None,
    "a tensor has another shape": lambda shape: (*shape[:-1], shape[-1] + 1),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    ("family", "key"),
    [
        ("sd1", f"{UNET}output_blocks.4.0.in_layers.2.weight"),
        ("sd1", "cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc2.weight"),
        ("sd1", "first_stage_model.decoder.up.2.block.0.conv1.weight"),
        ("sdxl", f"{UNET}label_emb.0.2.weight"),
        ("sdxl", "conditioner.embedders.1.model.ln_final.weight"),
        ("ssd_1b", f"{UNET}output_blocks.1.1.transformer_blocks.1.attn2.to_out.0.weight"),
    ],
)
def test_a_missing_or_wrong_tensor_is_named_by_both_alike(family: str, key: str, wrong: str, tmp_path: Path) -> None:
    said = {"modelspec.prediction_type": "epsilon"}
    path = save_original(tmp_path / "m.safetensors", family, tiny_family(family), metadata=said)
    assert identify(path).usable
    tensors = load_file(path)
    shape = WRONG[wrong](tuple(tensors[key].shape))
    tensors = {k: v for k, v in tensors.items() if k != key} | ({key: torch.zeros(shape)} if shape else {})
    save_file(tensors, path, metadata=said)
    facts = identify(path)
    of_vae = key.startswith("first_stage_model.")  # which another one can stand for
    assert (facts.kind, facts.usable, "vae" in facts.parts) == ("checkpoint", of_vae, not of_vae)
    reason = " ".join(facts.notes).removeprefix("Its own VAE cannot be used. ") if of_vae else facts.reason
    assert ("missing" if shape is None else "wrong shape") in reason
    with pytest.raises(BadCheckpoint) as refusal:
        load(path)
    assert reason in str(refusal.value)
    if of_vae:
        whole = save_original(tmp_path / "whole.safetensors", family, tiny_family(family), metadata=said)
        assert load(path, vae=whole).family.name == family


def test_a_folder_is_judged_by_its_headers_too(tmp_path: Path) -> None:
    folder = save_tiny_checkpoint(tmp_path / "tiny")
    assert identify(folder).usable
    for part, file in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        whole = load_file(folder / part / f"{file}.safetensors")
        name = sorted(whole)[-1]
        save_file({k: v for k, v in whole.items() if k != name}, folder / part / f"{file}.safetensors")
        facts = identify(folder)
        assert facts.usable == ("vae" not in facts.parts) == (part == "vae")
        reason = " ".join(facts.notes).removeprefix("Its own VAE cannot be used. ") if part == "vae" else facts.reason
        assert "1 tensors are missing" in reason
        with pytest.raises(BadCheckpoint) as refusal:
            load(folder)
        assert reason == str(refusal.value)
        save_file(whole, folder / part / f"{file}.safetensors")
    shutil.rmtree(folder / "tokenizer")
    assert identify(folder).reason == "There is no tokenizer in this folder."


def test_parts_of_different_models_are_named_by_both_alike(tmp_path: Path) -> None:
    folder = save_tiny_checkpoint(tmp_path / "tiny")
    wide = tiny_family("sd1")["text_encoder"]
    wide.save_pretrained(folder / "text_encoder")
    facts = identify(folder)
    assert "The U-Net does not fit the text encoder" in facts.reason
    with pytest.raises(BadCheckpoint) as refusal:
        load(folder)
    assert facts.reason == str(refusal.value)


def test_a_folder_whose_vae_is_a_decoder_alone_makes_the_same_pictures(tmp_path: Path) -> None:
    folder = save_tiny_checkpoint(tmp_path / "models" / "checkpoints" / "tiny")
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    own = vae.decode(load(folder), latents)
    changed(folder / "vae" / "diffusion_pytorch_model.safetensors", without_encoder)
    facts = identify(folder)
    assert (facts.usable, facts.vae_has_encoder) == (True, False)
    assert "no encoder" in " ".join(facts.notes)
    components = load(folder)
    assert not components.encodes_pictures
    assert torch.equal(vae.decode(components, latents), own)
    entries = Catalog([tmp_path / "models"]).entries()
    assert in_listing(TextToImage(prompt="", checkpoint="tiny"), entries).checkpoint == "tiny"
    with pytest.raises(InvalidRequest, match="text to image"):
        in_listing(ImageToImage(prompt="", image=b"x", checkpoint="tiny"), entries)
    lone = folder.parent.parent / "vae" / "decoder"
    shutil.copytree(folder / "vae", lone)
    assert (identify(lone).usable, identify(lone).vae_has_encoder) == (True, False)


def test_a_lone_vae_that_lacks_a_tensor_is_refused_by_both(tmp_path: Path, sd1: Path) -> None:
    lone = tmp_path / "vae.safetensors"
    tensors = {k: v.contiguous().clone() for k, v in vae_to_original(tiny_family("sd1")["vae"]).items()}
    del tensors["decoder.up.1.block.0.conv2.weight"]
    save_file(tensors, lone)
    facts = identify(lone)
    assert (facts.kind, facts.usable) == ("vae", False)
    assert "decoder.up_blocks.2.resnets.0.conv2.weight" in facts.reason
    with pytest.raises(BadCheckpoint, match=r"decoder\.up_blocks\.2\.resnets\.0\.conv2\.weight"):
        load(sd1, vae=lone)
