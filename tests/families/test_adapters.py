"""What was made for SDXL runs with the families that were distilled from it, where its shapes fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from studio.asked.control import Control
from studio.asked.fields import TextToImage
from studio.asked.problems import InvalidRequest
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.controlnet_file import load_controlnet
from studio.checkpoints.embedding_file import load_embedding
from studio.checkpoints.extras import Extras
from studio.checkpoints.lookup import in_listing, matching
from studio.families.registry import adapters_for
from tests.checkpoints.original import save_original, tiny_family
from tests.checkpoints.test_lookup import save_lora
from tests.families.helpers import load
from tests.tiny_control import save_tiny_controlnet

MAP = b"stands for a map"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for kind in ("checkpoints", "controlnet", "embeddings"):
        (folder / kind).mkdir()
    for family in ("ssd_1b", "vega", "sd1"):
        save_original(folder / "checkpoints" / f"{family}.safetensors", family, tiny_family(family))
    save_tiny_controlnet(folder / "controlnet" / "lines", tiny_family("sdxl")["unet"])
    sets = {"clip_l": torch.ones(2, 64), "clip_g": torch.ones(2, 128)}
    save_file(sets, folder / "embeddings" / "toy.safetensors")
    return folder


def test_the_families_whose_files_may_fit() -> None:
    assert adapters_for("ssd_1b") == ("ssd_1b", "sdxl")
    assert adapters_for("sdxl") == ("sdxl",)
    assert adapters_for("sd1") == ("sd1",)


@pytest.mark.parametrize("family", ["ssd_1b", "vega"])
def test_a_controlnet_of_sdxl_steers(models: Path, family: str) -> None:
    entries = Catalog([models]).entries()
    request = TextToImage(prompt="", checkpoint=family, controls=(Control(model="lines", image=MAP),))
    assert in_listing(request, entries).controls[0].model == "lines"
    components = load(models / "checkpoints" / f"{family}.safetensors")
    net = load_controlnet(models / "controlnet" / "lines", components)
    sample, cross = torch.randn(1, 4, 8, 8), components.unet.config.cross_attention_dim
    added = {"text_embeds": torch.zeros(1, 128), "time_ids": torch.zeros(1, 6)}
    shared: dict[str, Any] = {"added_cond_kwargs": added, "return_dict": False}
    with torch.inference_mode():
        down, middle = net(sample, 500, torch.ones(1, 5, cross), torch.ones(1, 3, 64, 64), **shared)
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle + 1}
        steered = components.unet(sample, 500, torch.ones(1, 5, cross), **residuals, **shared)[0]
        plain = components.unet(sample, 500, torch.ones(1, 5, cross), **shared)[0]
    assert torch.isfinite(steered).all()
    assert not torch.equal(steered, plain)


def test_a_controlnet_of_sdxl_is_refused_by_name_for_sd1(models: Path) -> None:
    request = TextToImage(prompt="", checkpoint="sd1", controls=(Control(model="lines", image=MAP),))
    with pytest.raises(InvalidRequest, match="which is for SDXL, while sd1 is SD 1"):
        in_listing(request, Catalog([models]).entries())


def test_an_embedding_of_sdxl_is_a_word(models: Path) -> None:
    catalog = Catalog([models])
    components = load(models / "checkpoints" / "ssd_1b.safetensors")
    words = Extras(catalog).words(components, ["a toy"])
    assert "toy" in words.names
    assert words.of_others("a toy") == []
    assert [len(vectors) for vectors in words.embedding("toy").vectors] == [2, 2]
    assert load_embedding(models / "embeddings" / "toy.safetensors", components).count == 2
    sd1 = load(models / "checkpoints" / "sd1.safetensors")
    assert Extras(catalog).words(sd1, ["a toy"]).of_others("a toy") == [("toy", "SDXL")]


def test_among_loras_of_one_name_the_one_of_sdxl_is_chosen(tmp_path: Path) -> None:
    save_lora(tmp_path / "loras" / "a" / "same.safetensors", family="sd_v1")
    save_lora(tmp_path / "loras" / "b" / "same.safetensors", family="sdxl_base_v1-0")
    entries = Catalog([tmp_path]).entries()
    assert [e.name for e in matching(entries, "lora", "same", "ssd_1b")] == ["b/same"]
