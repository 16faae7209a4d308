"""Where a run computes and who feeds it: arguments, precision, data drawn ahead, sheets by the clock."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.training.latents_files import save_some_latents
from tests.training.test_resume import TINY_AUTOENCODER, TINY_UNET
from training.budget import Budget
from training.feed import Feed
from training.hardware import CPU, FEEDERS, Hardware, choose_hardware
from training.options import RunOptions, add_run_arguments, read_run_options
from training.pictures import Settings
from training.samples import Timer, UnetSamples, sheet_path
from training.tokenizer import ensure_tokenizer
from training.train_autoencoder import make_autoencoder
from training.train_autoencoder import train as train_autoencoder
from training.train_unet import train as train_unet
from training.workers import Workers

HALF = Hardware(torch.device("cpu"), torch.bfloat16)
BUDGET = Budget(learning_rate=1e-3, warmup=2, steps=2)


def read(*words: str) -> RunOptions:
    parser = argparse.ArgumentParser()
    add_run_arguments(parser)
    return read_run_options(parser, parser.parse_args(words))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_without_a_gpu_two_processes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert read() == RunOptions(hardware=CPU, workers=2, feeders=0, sheet_minutes=10.0)
    assert choose_hardware("cpu") == choose_hardware("auto")
    with pytest.raises(ValueError, match="torch finds no GPU here; allowed are auto and cpu"):
        choose_hardware("cuda")
    with pytest.raises(SystemExit):
        read("--device", "cuda")


@pytest.mark.usefixtures("gpu")
def test_with_a_gpu_one_process_in_bfloat16_and_others_that_feed_it() -> None:
    told = read("--sheet-minutes", "0")
    assert (told.workers, told.feeders, told.sheet_minutes) == (1, FEEDERS, 0)
    assert told.hardware == Hardware(torch.device("cuda"), torch.bfloat16)
    assert read("--device", "cpu").hardware == CPU
    with pytest.raises(SystemExit):
        read("--workers", "2")


@pytest.mark.parametrize("words", [("--workers", "0"), ("--feeders", "-1"), ("--sheet-minutes", "-3")])
def test_nonsense_is_refused(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("--device", "cpu", *words)
    assert "allowed are at least 1, at least 0 and at least 0" in capsys.readouterr().err


def test_autocast_is_where_the_hardware_says() -> None:
    product = torch.ones(2, 2)
    with CPU.autocast():
        assert (product @ product).dtype == torch.float32
    with HALF.autocast():
        assert (product @ product).dtype == torch.bfloat16


def product(step: int, factor: int) -> int:
    return step * factor


def test_a_feed_gives_each_step_its_own() -> None:
    with Feed(product, lambda step: (step, 7)) as feed:
        assert [feed.get(step) for step in (5, 6, 7, 9, 10)] == [35, 42, 49, 63, 70]


def test_a_fed_run_learns_what_an_unfed_one_does(tmp_path: Path) -> None:
    for name, feeders in (("fed", 1), ("unfed", 0)):
        options = RunOptions(feeders=feeders, sheet_minutes=1e-6)
        train_autoencoder(Workers(), TINY_AUTOENCODER, BUDGET, tmp_path / name, options=options)
    fed, unfed = (torch.load(tmp_path / name / "state.pt", weights_only=True)["vae"] for name in ("fed", "unfed"))
    torch.testing.assert_close(fed, unfed, rtol=0, atol=0)
    with Image.open(sheet_path(tmp_path / "fed", 1)) as sheet:
        assert sheet.size == (8 * 132, 2 * 132)


def test_sheets_come_by_the_clock() -> None:
    now = [0.0]
    timer = Timer(2, clock=lambda: now[0])
    told = []
    for second in (0, 119, 120, 121, 239, 240, 600):
        now[0] = second
        told.append(timer.is_due())
    assert told == [False, False, True, False, False, True, True]
    assert not Timer(0, clock=lambda: 1e9).is_due()


def test_a_unet_run_in_half_precision_shows_its_averaged_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sheets by the studio's lanes; the modules in training are not touched by them."""
    monkeypatch.setattr("training.train_unet.Settings", partial(Settings, steps=1))
    monkeypatch.setattr("training.train_unet.UnetSamples", partial(UnetSamples, count=2))
    make_autoencoder(TINY_AUTOENCODER).save_pretrained(tmp_path / "small" / "vae")
    save_some_latents(tmp_path, 8)
    weights = {}
    for name, minutes in (("shown", 1e-6), ("quiet", 0.0)):
        ensure_tokenizer(tmp_path / name / "tokenizer")
        options = RunOptions(hardware=HALF, sheet_minutes=minutes)
        latents, small = tmp_path / "latents.pt", tmp_path / "small"
        train_unet(Workers(), TINY_UNET, BUDGET, tmp_path / name, [latents], options=options, vae_from=small)
        weights[name] = torch.load(tmp_path / name / "state.pt", weights_only=True)["weights"]
    torch.testing.assert_close(weights["shown"], weights["quiet"], rtol=0, atol=0)
    assert {value.dtype for value in weights["shown"].values() if value.is_floating_point()} == {torch.float32}
    assert not (tmp_path / "quiet" / "samples").exists()
    with Image.open(sheet_path(tmp_path / "shown", 2)) as sheet:
        assert sheet.width > 8 * 128
