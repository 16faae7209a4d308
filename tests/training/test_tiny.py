"""The tiny decoder's distillation: its loss by hand, what it learns from, a killed run, and what is exported."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from studio.checkpoints.loader import TINY_VAE
from studio.checkpoints.other_headers import LATENTS_OF
from tests.tiny import tiny_components
from tests.training.test_resume import TINY_AUTOENCODER, DyingWorkers, Killed
from training import export
from training.budget import Budget
from training.encode_latents import CachedLatents
from training.export import drop_strange_tiny, export_tiny
from training.hardware import Hardware
from training.options import RunOptions
from training.previews import measure, pictures_psnr
from training.state import save_state
from training.train_autoencoder import make_autoencoder
from training.train_tiny import HeldOut, Teacher, TinyConfig, load_tiny, soften, tiny_loss, train
from training.workers import Workers
from training.world_pictures import HELD_OUT_SEED, draw_pictures

CONFIG = TinyConfig(width=8, blocks=(1, 0, 0, 0), pictures=6, batch=4, warmup=2)
BUDGET = Budget(learning_rate=1e-3, warmup=2, steps=5)
FACTOR = 0.5


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    return make_autoencoder(TINY_AUTOENCODER).eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("training.train_tiny", "training.export"):
        monkeypatch.setattr(f"{module}.HeldOut", lambda vae, scaling_factor, count=2: HeldOut(vae, scaling_factor, 2))


@pytest.fixture
def folder(tmp_path: Path, vae: AutoencoderKL) -> Path:
    """A checkpoint folder that has an autoencoder alone, and latents that might be its."""
    vae.register_to_config(scaling_factor=FACTOR)
    vae.save_pretrained(tmp_path / "small" / "vae")
    save_state(tmp_path / "latents.pt", {"latents": some_latents(), "seed": 2, "scaling_factor": FACTOR})
    return tmp_path


def some_latents() -> torch.Tensor:
    return torch.randn((8, 4, 16, 16), generator=torch.Generator().manual_seed(0)).half()


def run(folder: Path, name: str, workers: Workers, options: RunOptions | None = None) -> Path:
    given = {} if options is None else {"options": options}
    train(workers, CONFIG, BUDGET, folder / name, folder / "small", folder / "latents.pt", save_every=2, **given)
    return folder / name


def test_the_loss_by_hand() -> None:
    """One value apart everywhere: no gradients, L1 + L2 of each kind; the truth counts for the rows that have one."""
    pixels, decoded = torch.full((2, 3, 8, 8), 0.5), torch.zeros(2, 3, 8, 8)
    truth = torch.stack([torch.full((3, 8, 8), -0.5), torch.full((3, 8, 8), 9.0)])
    total, terms = tiny_loss(pixels, decoded, truth, torch.tensor([True, False]), CONFIG)
    assert terms["distillation"] == pytest.approx(0.5 + 0.25)
    assert terms["truth"] == pytest.approx(CONFIG.truth_weight * 0.5 * (1.0 + 1.0))
    assert float(total) == pytest.approx(sum(terms.values()))
    _, without = tiny_loss(pixels, decoded, truth, torch.tensor([False, False]), CONFIG)
    assert set(without) == {"distillation"}


def test_a_soft_one_is_a_mixture_and_the_same_each_time() -> None:
    latents = some_latents().float()
    mixed = [soften(latents, index, seed=1) for index in range(60)]
    torch.testing.assert_close(mixed[7], soften(latents, 7, seed=1))
    assert torch.stack(mixed).std() < 0.9 * latents.std(), "means of several are smoother than each"
    assert not any(torch.equal(one, other) for one in mixed for other in latents)


def test_what_it_is_taught(vae: AutoencoderKL) -> None:
    """Even pictures: their latents, the autoencoder's decoding and the truth. Odd ones: soft, without a truth."""
    cached = CachedLatents(some_latents(), 2, FACTOR)
    teacher = Teacher(vae, cached, CONFIG, torch.device("cpu"))
    indices = CachedLatents(cached.latents[:6], 2, FACTOR).draw(CONFIG.batch, 0, CONFIG.seed)
    latents, decoded, truth, has_truth = teacher.batch(CONFIG, 0, range(CONFIG.batch))
    assert has_truth.tolist() == [index % 2 == 0 for index in indices]
    assert set(has_truth.tolist()) == {True, False}
    with torch.no_grad():
        wanted = vae.decode(latents / FACTOR).sample.clamp(-1, 1)
    torch.testing.assert_close(decoded, wanted, atol=2 / 255, rtol=0)
    for row, index in enumerate(indices):
        same = torch.equal(latents[row], cached.latents[index].float())
        assert same == bool(has_truth[row])
        assert torch.equal(truth[row], decoded[row]) != bool(has_truth[row])


def test_a_run_killed_in_the_middle_gives_the_same_weights(folder: Path) -> None:
    whole = run(folder, "whole", Workers())
    with pytest.raises(Killed):
        run(folder, "broken", DyingWorkers(3))
    broken = run(folder, "broken", Workers())
    states = [torch.load(one / "state.pt", weights_only=True) for one in (whole, broken)]
    torch.testing.assert_close(states[0]["tiny"], states[1]["tiny"], rtol=0, atol=0)
    assert json.loads((whole / "config.json").read_text())["width"] == 8


def test_in_half_precision_with_a_sheet_at_every_step(folder: Path) -> None:
    """A GPU's path, but for the GPU: bfloat16 autocast around the loss, weights and optimiser in float32."""
    half = RunOptions(hardware=Hardware(torch.device("cpu"), torch.bfloat16), sheet_minutes=1e-6)
    done = run(folder, "half", Workers(), half)
    weights = torch.load(done / "state.pt", weights_only=True)["tiny"]
    assert {value.dtype for value in weights.values()} == {torch.float32}
    with Image.open(done / "samples" / "step-000005.png") as sheet:
        assert sheet.size == (2 * 132, 3 * 132)


def test_it_is_exported_for_its_own_latents_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, small = run(folder, "whole", Workers()), folder / "small"
    with pytest.raises(ValueError, match="knows other latents"):
        export_tiny(done, small)  # five steps have taught it nothing
    assert not (small / TINY_VAE).exists()
    monkeypatch.setattr(export, "STRANGE", -99.0)
    export_tiny(done, small)
    config = json.loads((small / TINY_VAE / "config.json").read_text())
    assert (config["decoder_block_out_channels"], config[LATENTS_OF]) == ([8] * 4, "small")
    trained = torch.load(done / "state.pt", weights_only=True)["tiny"]
    read = load_tiny(small).state_dict()
    assert read.keys() == trained.keys()
    assert all(torch.equal(read[name], trained[name].half().float()) for name in trained)
    vae = AutoencoderKL.from_pretrained(small, subfolder="vae")
    assert not drop_strange_tiny(small, vae)
    monkeypatch.setattr(export, "STRANGE", 99.0)
    assert drop_strange_tiny(small, vae)
    assert not (small / TINY_VAE).exists()
    assert not drop_strange_tiny(small, vae)


def test_every_rung_is_measured_against_the_whole_vae() -> None:
    components = tiny_components()
    components.fast_preview = (torch.zeros(192, 4, 3, 3), torch.zeros(192))
    found = measure(components, pictures=2, runs=1, frames=1, busy=True)
    decoders = found["decoders"]
    assert isinstance(decoders, dict)
    assert list(decoders) == ["full", "fast"]
    fast = decoders["fast"]
    gray = pictures_psnr(np.full((2, 128, 128, 3), 128, np.uint8), draw_pictures(HELD_OUT_SEED, range(2)))
    assert fast["PSNR to the picture"] == pytest.approx(gray, abs=0.01)
    assert fast["PSNR to full, of encodings"] > 0
    assert "PSNR to full, of encodings" not in decoders["full"]
    assert {"milliseconds", "of a step", "automatic may take it"} <= decoders["full"].keys()
    json.dumps(found)


def test_psnr_by_hand() -> None:
    shown, wanted = np.full((1, 4, 4, 3), 10, np.uint8), np.full((1, 4, 4, 3), 35, np.uint8)
    assert pictures_psnr(shown, wanted) == pytest.approx(20 * math.log10(255 / 25))
