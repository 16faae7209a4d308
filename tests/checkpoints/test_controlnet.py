"""ControlNet files: told by their headers, loaded with every key accounted for, and refused by name where they do not
fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.controlnet_file import load_controlnet
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint
from studio.diffusion.components import Components
from studio.families.registry import FAMILIES as KNOWN
from tests.checkpoints.original import part_configs, tiny_family, unet_to_original
from tests.tiny import tiny_components
from tests.tiny_control import save_tiny_controlnet, tiny_controlnet

FAMILIES: tuple[str, ...] = ("sd1", "sdxl")
PLAIN = torch.device("cpu")


def components_of(family: str, unet: Any) -> Components:
    """What a ControlNet is read for: a U-Net, a family, a place."""
    nothing: Any = None
    return Components(
        name=f"tiny {family}", family=KNOWN[family], unet=unet, vae=nothing, text_encoders=(),
        scheduler_config={}, prediction_type="epsilon", device=PLAIN, dtype=torch.float32, native_width=64,
        native_height=64,
    )  # fmt: skip


def original(net: Any, prefix: str = "control_model.") -> dict[str, torch.Tensor]:
    """The same weights under the names of the original files, written down from the other side."""
    found: dict[str, torch.Tensor] = {}
    rest = {}
    hints = 2 * len(net.controlnet_cond_embedding.blocks) + 2
    for key, value in net.state_dict().items():
        if match := re.fullmatch(r"controlnet_down_blocks\.(\d+)\.(.+)", key):
            found[f"zero_convs.{match[1]}.0.{match[2]}"] = value
        elif key.startswith("controlnet_mid_block."):
            found[key.replace("controlnet_mid_block.", "middle_block_out.0.")] = value
        elif match := re.fullmatch(r"controlnet_cond_embedding\.(conv_in|conv_out|blocks\.(\d+))\.(.+)", key):
            layer = {"conv_in": 0, "conv_out": hints}.get(match[1], 2 + 2 * int(match[2] or 0))
            found[f"input_hint_block.{layer}.{match[3]}"] = value
        else:
            rest[key] = value

    class Encoder:
        config = type("config", (), {"layers_per_block": net.config.layers_per_block, "up_block_types": ()})

        @staticmethod
        def state_dict() -> dict[str, torch.Tensor]:
            return rest

    return {prefix + key: value for key, value in (found | unet_to_original(Encoder)).items()}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def unets() -> dict[str, Any]:
    return {family: tiny_family(family)["unet"] for family in FAMILIES}


def equal(loaded: Any, net: Any) -> bool:
    ours, theirs = loaded.state_dict(), net.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("layout", ["original", "original without prefix", "diffusers", "folder"])
def test_every_layout_is_told_and_loaded_to_the_same_weights(
    tmp_path: Path, unets: dict[str, Any], family: str, layout: str
) -> None:
    net = tiny_controlnet(unets[family])
    path = tmp_path / "lines.safetensors"
    if layout == "folder":
        path = save_tiny_controlnet(tmp_path / "lines", unets[family])
    elif layout == "diffusers":
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path)
    else:
        save_file(original(net, "control_model." if layout == "original" else ""), path)
    facts = identify(path)
    assert (facts.kind, facts.family, facts.reason, facts.precision) == ("controlnet", family, "", "fp32")
    loaded = load_controlnet(path, components_of(family, unets[family]))
    assert isinstance(loaded, ControlNetModel)
    assert equal(loaded, net)
    sample = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(3))
    cross = net.config.cross_attention_dim
    added = {"text_embeds": torch.zeros(1, 128), "time_ids": torch.zeros(1, 6)} if family == "sdxl" else None
    given = (sample, 500, torch.ones(1, 5, cross), torch.ones(1, 3, 64, 64))
    with torch.inference_mode():
        ours, theirs = (one(*given, added_cond_kwargs=added, return_dict=False) for one in (loaded, net))
    assert all(torch.equal(a, b) for a, b in zip([*ours[0], ours[1]], [*theirs[0], theirs[1]]))


def test_one_of_another_family_or_width_is_refused_by_name(tmp_path: Path, unets: dict[str, Any]) -> None:
    path = save_tiny_controlnet(tmp_path / "lines", unets["sdxl"])
    with pytest.raises(BadCheckpoint, match="lines is a ControlNet for SDXL; tiny sd1 is SD 1"):
        load_controlnet(path, components_of("sd1", unets["sd1"]))
    narrow = tiny_components()
    path = save_tiny_controlnet(tmp_path / "wide", unets["sd1"])
    with pytest.raises(BadCheckpoint, match=r"wide does not fit this model: its levels are \(32, 32, 64, 64\)"):
        load_controlnet(path, narrow)


def test_damaged_ones_are_refused_before_anything_is_read(tmp_path: Path, unets: dict[str, Any]) -> None:
    tensors = original(tiny_controlnet(unets["sd1"]))
    here = components_of("sd1", unets["sd1"])
    for name, change, message in (
        ("missing", {"control_model.zero_convs.3.0.bias": None}, "1 tensors are missing"),
        ("middle", {"control_model.middle_block.0.in_layers.0.bias": None}, "1 tensors are missing"),
        ("stranger", {"control_model.something.else": torch.zeros(3)}, "1 tensors do not belong there"),
        ("shape", {"control_model.middle_block_out.0.weight": torch.zeros(64, 64, 3, 3)}, "wrong shape"),
        ("hint", {"control_model.input_hint_block.0.weight": None}, "is no ControlNet that is whole"),
    ):
        changed = {k: v for k, v in (tensors | change).items() if v is not None}
        save_file(changed, tmp_path / f"{name}.safetensors")
        with pytest.raises(BadCheckpoint, match=message):
            load_controlnet(tmp_path / f"{name}.safetensors", here)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"controlnet_cond_embedding.conv_in.weight": (4, 3, 3, 3), "task_embedding": (6, 4)}, "several kinds at once"),
        ({"lora_controlnet": (0,), "input_hint_block.0.weight": (16, 3, 3, 3)}, "Control-LoRA"),
        ({"control_model.input_blocks.0.0.weight": (4, 4, 3, 3), "model.diffusion_model.x": (1,)}, "whole checkpoint"),
        ({"controlnet_cond_embedding.conv_in.weight": (4, 3, 3, 3)}, "another family"),
    ],
)
def test_what_is_like_one_and_is_none_says_what_it_is(
    tmp_path: Path, keys: dict[str, tuple[int, ...]], reason: str
) -> None:
    path = tmp_path / "odd.safetensors"
    save_file({key: torch.zeros(shape) for key, shape in keys.items()}, path)
    facts = identify(path)
    assert facts.kind == "controlnet"
    assert reason in facts.reason
    with pytest.raises(BadCheckpoint, match=r"odd\.safetensors: "):
        load_controlnet(path, tiny_components())


def test_they_are_listed_as_what_they_are(tmp_path: Path, unets: dict[str, Any]) -> None:
    save_file(original(tiny_controlnet(unets["sdxl"])), (tmp_path / "a.safetensors"))
    folder = tmp_path / "ui" / "models" / "ControlNet"
    folder.mkdir(parents=True)
    (tmp_path / "a.safetensors").rename(folder / "lines.safetensors")
    save_tiny_controlnet(folder / "maps", unets["sd1"])
    entries = {e.name: e for e in Catalog([tmp_path / "ui"]).entries()}
    assert {n: (e.facts.kind, e.facts.family, e.facts.state) for n, e in entries.items()} == {
        "lines": ("controlnet", "sdxl", "usable"),
        "maps": ("controlnet", "sd1", "usable"),
    }
    assert not any(entry.usable for entry in entries.values()), "none is a checkpoint"


def test_a_middle_and_levels_without_attention_are_read_from_the_shapes() -> None:
    """As SDXL's small ControlNets have them."""
    from studio.families.controlnet import controlnet_config

    unet = part_configs("sdxl")["unet"]
    small = ControlNetModel(
        block_out_channels=tuple(unet["block_out_channels"]),
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2D",
        transformer_layers_per_block=(1, 1, 1),
        cross_attention_dim=unet["cross_attention_dim"],
        attention_head_dim=(1, 1, 1),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=unet["projection_class_embeddings_input_dim"],
        conditioning_embedding_out_channels=(4, 8),
    )
    shapes = {name: tuple(value.shape) for name, value in small.state_dict().items()}
    found = controlnet_config(shapes, unet)
    assert found["mid_block_type"] == "UNetMidBlock2D"
    again = ControlNetModel.from_config(found)
    assert {name: tuple(value.shape) for name, value in again.state_dict().items()} == shapes
