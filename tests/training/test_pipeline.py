"""The stages together, on tiny models: runs => latents => U-Net => checkpoint folder, and on from a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

import training.encode_latents
from tests.training.test_resume import TINY_AUTOENCODER, TINY_UNET
from training.budget import Budget
from training.encode_latents import encode, load_vae
from training.export import export_runs
from training.tokenizer import ensure_tokenizer
from training.train_autoencoder import train as train_autoencoder
from training.train_unet import read_config
from training.train_unet import train as train_unet
from training.workers import Workers

BUDGET = Budget(learning_rate=1e-3, warmup=2, steps=2)
COUNT = 20


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder, its latents, a U-Net on them, and the checkpoint `small` that came of it."""
    folder: Path = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.encode_latents, "PART", COUNT)
        train_autoencoder(Workers(), TINY_AUTOENCODER, BUDGET, folder / "autoencoder")
        encode(folder / "autoencoder", folder / "latents.pt", COUNT, seed=2, workers=1)
    ensure_tokenizer(folder / "unet" / "tokenizer")
    train_unet(Workers(), TINY_UNET, BUDGET, folder / "unet", [folder / "latents.pt"])
    assert export_runs(folder / "autoencoder", folder / "latents.pt", folder / "unet", folder / "small", 8) == 2
    return folder


def test_a_runs_scaling_factor_is_measured_and_exported(runs: Path) -> None:
    state = torch.load(runs / "latents.pt", weights_only=True)
    assert state["latents"].float().std().item() == pytest.approx(1.0, abs=0.01)
    exported = AutoencoderKL.from_pretrained(runs / "small", subfolder="vae")
    assert exported.config.scaling_factor == pytest.approx(state["scaling_factor"])
    assert state["scaling_factor"] != load_vae(runs / "autoencoder").config.scaling_factor


def test_the_checkpoint_makes_pictures_in_diffusers(runs: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(runs / "small", dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    (picture,) = pipeline("a fox", num_inference_steps=1, guidance_scale=1, width=64, height=64).images
    assert picture.size == (64, 64)
    assert len(pipeline.tokenizer) == pipeline.text_encoder.config.vocab_size


def test_from_a_checkpoint_its_shape_and_its_factor_are_kept(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latents of the checkpoint keep its factor; the U-Net goes on from its weights, with another vocabulary."""
    monkeypatch.setattr(training.encode_latents, "PART", COUNT)
    factor = json.loads((runs / "small" / "vae" / "config.json").read_text())["scaling_factor"]
    monkeypatch.setattr("training.tokenizer.vocabulary_words", lambda: ["a", "fox", "in", "the", "snow", "zebras"])
    again = encode(runs / "small", runs / "again.pt", COUNT, seed=3, workers=1)
    assert again.scaling_factor == factor
    config = read_config(runs / "small" / "training_config.json")
    assert list(config.block_out_channels) == list(TINY_UNET.block_out_channels)
    ensure_tokenizer(runs / "on" / "tokenizer")
    nothing = Budget(learning_rate=1e-9, warmup=1, steps=1)
    train_unet(Workers(), config, nothing, runs / "on", [runs / "again.pt"], start=runs / "small")
    weights = torch.load(runs / "on" / "state.pt", weights_only=True)["weights"]
    before = torch.load(runs / "unet" / "state.pt", weights_only=True)["average"]["weights"]
    torch.testing.assert_close(weights["unet.conv_in.weight"], before["unet.conv_in.weight"], atol=1e-3, rtol=0)
    (name,) = (name for name in weights if name.endswith("token_embedding.weight"))
    assert weights[name].shape[0] < before[name].shape[0]


def test_latents_of_another_autoencoder_are_refused(runs: Path, tmp_path: Path) -> None:
    state = torch.load(runs / "latents.pt", weights_only=True)
    torch.save(state | {"latents": -state["latents"]}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="not of the encoder"):
        export_runs(runs / "autoencoder", tmp_path / "other.pt", runs / "unet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_parts_of_another_autoencoder_are_made_anew(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.encode_latents, "PART", COUNT)
    part = runs / "latents.parts" / "0000.pt"
    whole = torch.load(part, weights_only=True)
    torch.save(whole | {"latents": whole["latents"] * 2}, part)  # of this autoencoder, so it is taken as it is
    assert encode(runs / "autoencoder", runs / "latents.pt", COUNT, 2, 1).latents.float().std() == pytest.approx(
        1.0, abs=0.01
    )
    torch.testing.assert_close(torch.load(part, weights_only=True)["latents"], whole["latents"] * 2)
    torch.save(whole | {"latents": whole["latents"] * 2, "vae": whole["vae"] + 1}, part)
    encode(runs / "autoencoder", runs / "latents.pt", COUNT, 2, 1)
    torch.testing.assert_close(torch.load(part, weights_only=True)["latents"], whole["latents"])
