"""Upscalers read from files give what the published networks give on the same random weights, and tiles what the whole
picture gives."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from studio.checkpoints import upscaler_header
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.upscaler_file import load_upscaler
from studio.diffusion.upscaler_networks import Compact, Rrdb, Span
from studio.diffusion.upscaling import enlarged, spans
from tests.diffusion.published_upscalers import (
    NewEsrgan,
    OldEsrgan,
    PublishedCompact,
    PublishedSpan,
    middle_names,
)

CPU = torch.device("cpu")


def put(path: Path, tensors: dict[str, Any], prefix: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({prefix + name: value.contiguous() for name, value in tensors.items()}, path)
    return path


def random_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def run(network: Any, picture: Image.Image, **sizes: int) -> Image.Image:
    tiles = enlarged(network, picture, CPU, **sizes)
    while True:
        try:
            next(tiles)
        except StopIteration as end:
            return end.value


def same(names: dict[str, Any]) -> dict[str, Any]:
    return names


@pytest.mark.parametrize(
    ("make", "names", "architecture", "scale"),
    [
        (lambda: OldEsrgan(ups=2), same, "ESRGAN", 4),
        (lambda: OldEsrgan(ups=1, nb=3), same, "ESRGAN", 2),
        (lambda: OldEsrgan(ups=0), same, "ESRGAN", 1),
        (lambda: OldEsrgan(ups=3, nb=1), same, "ESRGAN", 8),
        (lambda: OldEsrgan(plus=True), same, "ESRGAN", 4),
        (lambda: NewEsrgan(4, nb=3), same, "ESRGAN", 4),
        (lambda: NewEsrgan(2), same, "ESRGAN", 2),
        (lambda: NewEsrgan(1), same, "ESRGAN", 1),
        (lambda: NewEsrgan(4), middle_names, "ESRGAN", 4),
        (lambda: PublishedCompact(4, nc=5), same, "Real-ESRGAN Compact", 4),
        (lambda: PublishedCompact(2, nf=12), same, "Real-ESRGAN Compact", 2),
        (lambda: PublishedCompact(1), same, "Real-ESRGAN Compact", 1),
        (lambda: PublishedSpan(4), same, "SPAN", 4),
        (lambda: PublishedSpan(2, nf=12), same, "SPAN", 2),
        (lambda: PublishedSpan(4, norm=False), same, "SPAN", 4),
    ],
)
@pytest.mark.parametrize("prefix", ["", "params_ema."])
def test_what_is_read_equals_what_was_published(
    tmp_path: Path, make: Callable[[], Any], names: Any, architecture: str, scale: int, prefix: str
) -> None:
    torch.manual_seed(scale)
    theirs = make().eval()
    file = put(tmp_path / "a.safetensors", names(theirs.state_dict()), prefix)
    facts = identify(file)
    assert (facts.kind, facts.state, facts.architecture, facts.scale) == ("upscaler", "usable", architecture, scale)
    ours: Any = load_upscaler(file, CPU)
    pictures = torch.rand(2, 3, 12, 20)
    with torch.inference_mode():
        expected, result = theirs(pictures), ours(pictures)
    assert ours.scale == scale
    assert result.shape == (2, 3, 12 * scale, 20 * scale)
    assert torch.allclose(result, expected, atol=1e-5, rtol=1e-4), float((result - expected).abs().max())


def test_a_file_of_span_that_has_only_the_sums(tmp_path: Path) -> None:
    torch.manual_seed(3)
    whole = load_upscaler(put(tmp_path / "whole.safetensors", PublishedSpan().state_dict()), CPU)
    sums = {}
    for name, value in whole.state_dict().items():
        part, _, leaf = name.rpartition(".")
        plain = part in ("conv_cat", "upsampler.0")
        sums[name if plain else f"{part}.eval_conv.{leaf}"] = value
    ours = load_upscaler(put(tmp_path / "sums.safetensors", sums), CPU)
    pictures = torch.rand(1, 3, 8, 8)
    assert torch.equal(ours(pictures), whole(pictures))


def test_half_precision_is_read_and_a_size_that_unshuffling_does_not_divide_is_kept(tmp_path: Path) -> None:
    halves = {name: value.half() for name, value in NewEsrgan(2).state_dict().items()}
    ours: Any = load_upscaler(put(tmp_path / "a.safetensors", halves), CPU)
    assert ours(torch.rand(1, 3, 7, 9)).shape == (1, 3, 14, 18)
    assert next(ours.parameters()).dtype == torch.float32


def test_the_own_trainers_file_is_one_of_these(tmp_path: Path) -> None:
    """It writes SRVGGNetCompact's names in half precision, 64 channels wide with 16 blocks."""
    torch.manual_seed(0)
    theirs = PublishedCompact(4, nf=64, nc=16)
    file = put(tmp_path / "a.safetensors", {name: value.half() for name, value in theirs.state_dict().items()})
    assert file.stat().st_size < 2 * 2**20
    ours: Any = load_upscaler(file, CPU)
    assert isinstance(ours, Compact)
    assert len([layer for layer in ours.body if isinstance(layer, torch.nn.Conv2d)]) == 18


# ------------------------------------------------------------------------------------------------- what is refused


def refusal(tmp_path: Path, tensors: dict[str, Any]) -> str:
    """What the listing says of a file, which the loader says too."""
    file = put(tmp_path / "a.safetensors", tensors)
    facts = identify(file)
    assert (facts.kind, facts.state) == ("upscaler", "unknown")
    with pytest.raises(BadCheckpoint) as error:
        load_upscaler(file, CPU)
    assert facts.reason in str(error.value)
    return facts.reason


def test_other_channel_counts_are_one_sentence(tmp_path: Path) -> None:
    for theirs in (OldEsrgan(colours=1), PublishedCompact(colours=1), PublishedCompact(colours=4)):
        reason = refusal(tmp_path, theirs.state_dict())
        assert "the studio's pictures have 3" in reason


def test_an_activation_that_no_key_shows_is_refused(tmp_path: Path) -> None:
    tensors = PublishedCompact().state_dict()
    relu = {name: value for name, value in tensors.items() if int(name.split(".")[1]) % 2 == 0}
    assert "which activation" in refusal(tmp_path, relu)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("layers.0.residual_group.overlap_attn.qkv.weight", "HAT"),
        ("layers.0.residual_group.blocks.0.norm1.weight", "SwinIR"),
        ("residual_layer.0.residual_layer.0.layer.0.fn.0.weight", "OmniSR"),
    ],
)
def test_other_architectures_are_called_by_name(tmp_path: Path, key: str, name: str) -> None:
    reason = refusal(tmp_path, {key: torch.zeros(4, 4)})
    assert reason.startswith(f"This is an upscaler of the architecture {name}.")
    assert "spandrel" in reason


def test_a_damaged_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    tensors = NewEsrgan().state_dict()
    del tensors["body.1.rdb2.conv3.bias"]
    with pytest.raises(BadCheckpoint, match="other names or shapes"):
        load_upscaler(put(tmp_path / "a.safetensors", tensors), CPU)
    tensors = PublishedCompact().state_dict()
    tensors["body.2.weight"] = tensors["body.2.weight"] * float("nan")
    with pytest.raises(BadCheckpoint, match="not numbers"):
        load_upscaler(put(tmp_path / "b.safetensors", tensors), CPU)
    tensors = PublishedSpan().state_dict()
    tensors["block_2.c1_r.conv.1.weight"] = torch.zeros(3, 3, 3, 3)
    with pytest.raises(BadCheckpoint, match="other names or shapes"):
        load_upscaler(put(tmp_path / "c.safetensors", tensors), CPU)


def test_spandrel_reads_the_others_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Loader:
        def load_from_state_dict(self, tensors: dict[str, torch.Tensor]) -> Any:
            class Descriptor(SimpleNamespace):
                def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
                    return self.model(pictures)

                def to(self, device: torch.device) -> Any:
                    return self

                def eval(self) -> Any:
                    return self

            assert list(tensors) == ["layers.0.residual_group.blocks.0.norm1.weight"]
            doubling = torch.nn.Upsample(scale_factor=2)
            return Descriptor(scale=2, input_channels=3, output_channels=3, model=doubling)

    package = ModuleType("spandrel")
    package.ModelLoader = Loader  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spandrel", package)
    monkeypatch.setattr(upscaler_header, "find_spec", lambda name: object())
    file = put(tmp_path / "a.safetensors", {"layers.0.residual_group.blocks.0.norm1.weight": torch.zeros(4)})
    assert identify(file).usable
    network: Any = load_upscaler(file, CPU)
    assert network.scale == 2
    assert run(network, random_picture(40, 24)).size == (80, 48)


# ------------------------------------------------------------------------------------------------------------ tiles


def loud(network: Any, seed: int = 0) -> Any:
    """A network of random weights whose answer is not flat, and stays within the colours."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter, a=0.2)
    result = network(torch.rand(1, 3, 24, 24))
    last = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    last.weight.data *= 0.1 / result.std()
    last.bias.data[:] = 0.5
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Compact(scale=4, width=8, blocks=14),
        lambda: Rrdb(width=8, blocks=4, growth=4, doublings=2),
        lambda: Rrdb(width=8, blocks=2, growth=4, doublings=2, unshuffle=2),
        lambda: Span(scale=2, width=8, normalized=False),
    ],
    ids=["compact", "rrdb", "unshuffled", "span"],
)
def test_tiles_are_the_whole_picture(make: Callable[[], Any]) -> None:
    network = loud(make())
    picture = random_picture(173, 150)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
    whole = network(pixels)[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255
    tiled = np.asarray(run(network, picture, side=96))
    assert tiled.shape == whole.shape
    assert np.abs(tiled - whole).max() <= 0.5 + 255e-4, "to the nearest of 256 steps, within 1e-4"
    assert whole.std() > 10


@pytest.mark.parametrize(
    ("length", "side", "margin"), [(500, 96, 16), (97, 96, 16), (96, 96, 16), (1000, 112, 7), (150, 96, 21)]
)
def test_the_tiles_parts_add_up_to_one(length: int, side: int, margin: int) -> None:
    total = torch.zeros(2 * length)
    tiles = spans(length, side, margin, scale=2)
    for tile in tiles:
        total[2 * tile.start : 2 * tile.stop] += tile.parts
        assert tile.start % 4 == 0
        assert tile.stop - tile.start <= side + 4
    assert torch.allclose(total, torch.ones(2 * length), atol=1e-5)
    assert (tiles[0].start, tiles[-1].stop) == (0, length)


def test_each_tile_is_a_slice_of_work(tmp_path: Path) -> None:
    tiles = enlarged(Compact(scale=2, width=4, blocks=1), random_picture(200, 100), CPU, side=96)
    fractions = list(tiles)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) > 4
