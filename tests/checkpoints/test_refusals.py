"""What cannot be loaded is refused with the file's name and the cause, before anything is put on the device."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from studio.checkpoints import loader, reader
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint, read_header
from studio.checkpoints.part_plans import MissingVae
from studio.checkpoints.reader import WeightsFile
from tests.checkpoints.original import save_folder, save_original, tiny_family

CPU = torch.device("cpu")
UNET_KEY = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight"


@pytest.fixture(scope="module")
def modules() -> dict[str, Any]:
    return tiny_family("sd1")


@pytest.fixture(scope="module")
def pristine(modules: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_original(tmp_path_factory.mktemp("pristine") / "model.safetensors", "sd1", modules)


def load(path: Path, dtype: torch.dtype = torch.float32, **given: Any) -> Any:
    return loader.load(
        path, name="tiny", device=CPU, dtype=dtype, progress=lambda message, fraction: None,
        fast_preview=(torch.zeros(192, 4, 3, 3), torch.zeros(192)), **given,
    )  # fmt: skip


def changed(pristine: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    tensors = load_file(pristine)
    change(tensors)
    save_file(tensors, tmp_path / "changed.safetensors")
    return tmp_path / "changed.safetensors"


@pytest.mark.parametrize(
    ("key", "label"),
    [
        (UNET_KEY, "U-Net"),
        ("first_stage_model.decoder.mid.attn_1.q.weight", "VAE"),
        ("cond_stage_model.transformer.text_model.final_layer_norm.bias", "text encoder"),
    ],
)
def test_every_key_is_accounted_for(pristine: Path, tmp_path: Path, key: str, label: str) -> None:
    with pytest.raises(BadCheckpoint, match=f"no weights of this {label}: 1 tensors are missing"):
        load(changed(pristine, tmp_path, lambda t: t.pop(key)))
    with pytest.raises(BadCheckpoint, match=f"The {label} has tensors of the wrong shape: .* should be|no weights of"):
        load(changed(pristine, tmp_path, lambda t: t.update({key: torch.zeros(3, 5)})))
    stranger = key.rsplit(".", 2)[0] + ".stranger.weight"
    with pytest.raises(BadCheckpoint, match=rf"{label}: 1 tensors do not belong there \(.*stranger"):
        load(changed(pristine, tmp_path, lambda t: t.update({stranger: torch.zeros(3)})))


def test_what_belongs_to_no_part_is_said(pristine: Path, tmp_path: Path) -> None:
    components = load(changed(pristine, tmp_path, lambda t: t.update({"surprise.weight": torch.zeros(3)})))
    assert components.notes == ("1 tensors of changed.safetensors were not used (surprise.weight).",)


def test_a_missing_vae_is_told_and_another_one_can_be_taken(
    modules: dict[str, Any], pristine: Path, tmp_path: Path
) -> None:
    path = save_original(tmp_path / "no_vae.safetensors", "sd1", modules, vae=False)
    assert identify(path).parts == ("unet", "text_encoder")
    with pytest.raises(MissingVae, match=r"There is no VAE in no_vae\.safetensors\. Choose one.*SD 1"):
        load(path)
    modules["vae"].save_pretrained(tmp_path / "a vae")
    alone = {k.removeprefix("first_stage_model."): v for k, v in load_file(pristine).items() if "first_stage" in k}
    save_file(alone, tmp_path / "original.safetensors")
    for vae in (tmp_path / "a vae", tmp_path / "a vae" / "diffusion_pytorch_model.safetensors",
                tmp_path / "original.safetensors", pristine):  # fmt: skip
        components = load(path, vae=vae)
        weights = dict(components.vae.named_parameters())
        assert all(torch.equal(weights[name], value) for name, value in modules["vae"].named_parameters())
        assert f"The VAE is {vae.name}." in components.notes
    save_file({"something": torch.zeros(3, 3, 3)}, tmp_path / "none.safetensors")
    with pytest.raises(BadCheckpoint, match=r"none\.safetensors"):
        load(path, vae=tmp_path / "none.safetensors")


def test_other_kinds_are_called_by_their_name(tmp_path: Path) -> None:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    save_file({f"{name}.lora_down.weight": torch.zeros(4, 768)}, tmp_path / "a lora.safetensors")
    with pytest.raises(BadCheckpoint, match=r"a lora\.safetensors is a LoRA, not a checkpoint"):
        load(tmp_path / "a lora.safetensors")
    save_file({"double_blocks.0.x.weight": torch.zeros(4, 4)}, tmp_path / "flux.safetensors")
    with pytest.raises(BadCheckpoint, match=r"flux\.safetensors: This is a Flux model"):
        load(tmp_path / "flux.safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_every_storage_is_read_to_the_target_precision(
    modules: dict[str, Any], tmp_path: Path, dtype: torch.dtype
) -> None:
    path = save_original(tmp_path / "model.safetensors", "sd1", modules, dtype=dtype)
    assert identify(path).precision == {
        torch.float16: "fp16", torch.bfloat16: "bf16", torch.float8_e4m3fn: "fp8 (e4m3)",
    }[dtype]  # fmt: skip
    for target in (torch.float32, torch.float16):
        loaded = load(path, target).unet.conv_in.weight
        assert loaded.dtype == target
        assert torch.equal(loaded, modules["unet"].conv_in.weight.to(dtype).to(target))


def test_large_tensors_pass_through_the_buffer_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BUFFER_BYTES", 64)
    whole = torch.randn(3, 7, 5)
    save_file({"a": whole, "b": torch.tensor(2.0), "c": torch.zeros(0, 3)}, tmp_path / "x.safetensors")
    header = read_header(tmp_path / "x.safetensors")
    with WeightsFile(tmp_path / "x.safetensors") as file:
        assert torch.equal(file.read(header["a"], device=CPU, dtype=torch.float16), whole.half())
        assert torch.equal(file.read(header["a"], device=CPU), whole)
        assert torch.equal(file.read(header["a"], device=CPU, third=1), whole[1:2])
        assert file.read(header["b"], device=CPU, dtype=torch.bfloat16) == 2.0
        assert file.read(header["c"], device=CPU, dtype=torch.float16).shape == (0, 3)


def test_a_file_that_shrinks_while_it_is_read_is_an_error_and_no_crash(pristine: Path, tmp_path: Path) -> None:
    """A mapped file would end the process here."""
    path = changed(pristine, tmp_path, lambda t: None)

    def shrink(message: str, fraction: float) -> None:
        os.truncate(path, 100_000)

    with pytest.raises(BadCheckpoint, match=r"changed\.safetensors became shorter while it was read"):
        loader.load(path, name="tiny", device=CPU, dtype=torch.float32, progress=shrink)


def test_a_file_that_is_replaced_while_it_is_used_changes_nothing(pristine: Path, tmp_path: Path) -> None:
    path = changed(pristine, tmp_path, lambda t: None)
    components = load(path)
    before = components.unet.conv_in.weight.clone()
    os.truncate(path, 10)
    assert torch.equal(components.unet.conv_in.weight, before)


def test_what_sd2_predicts_is_measured_where_the_file_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_original(tmp_path / "silent.safetensors", "sd2", tiny_family("sd2"))
    facts = identify(path)
    assert (facts.family, facts.prediction_type, facts.native_width) == ("sd2", None, None)
    assert any("measured" in note for note in facts.notes)
    answers = {
        "epsilon": (lambda x: x, 512),
        "v_prediction": (lambda x: torch.roll(x, 7, -1), 768),
    }
    for expected, (answer, side) in answers.items():
        monkeypatch.setattr(
            UNet2DConditionModel, "forward", lambda self, x, t, e, return_dict, answer=answer: (answer(x),)
        )
        components = load(path)
        assert components.prediction_type == components.scheduler_config["prediction_type"] == expected
        assert components.native_width == side
        assert "measured" in components.notes[-1]
    monkeypatch.setattr(
        UNet2DConditionModel, "forward", lambda self, x, t, e, return_dict: (x + 1.6 * torch.roll(x, 7, -1),)
    )
    unclear = load(path)
    assert (unclear.prediction_type, unclear.measurement) == ("epsilon", "unclear")
    assert "taken to predict noise" in unclear.notes[-1]
    assert load(path, prediction_type="epsilon").prediction_type == "epsilon"


def test_a_correction_by_the_user_wins_over_a_folder_too(modules: dict[str, Any], tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "folder", "sd1", modules)
    components = load(folder, prediction_type="v_prediction")
    assert components.prediction_type == components.scheduler_config["prediction_type"] == "v_prediction"
