"""What is said of a part's tensors by its config is what its module is made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import ControlNetModel

from studio.checkpoints.part_plans import weighted_parts
from studio.checkpoints.plans import _make
from studio.families.registry import FAMILIES
from studio.families.shapes import shapes_by_config
from tests.checkpoints.original import full_meta, part_configs, tiny_family
from tests.tiny import tiny_components


def shapes_of(module: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def config_of(module: Any) -> dict[str, Any]:
    return module.config.to_dict() if hasattr(module.config, "to_dict") else dict(module.config)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", ["full", "tiny", "inpainting", "guidance"])
def test_every_part_of_every_family(family: str, size: str) -> None:
    modules = full_meta(family) if size == "full" else None
    if modules is None:
        more: dict[str, Any] = {"in_channels": 9} if size == "inpainting" else {}
        more |= {"guidance_width": 16} if size == "guidance" else {}
        modules = tiny_family(family, **more)
    for part, kind in weighted_parts(FAMILIES[family]).items():
        assert shapes_by_config(kind.class_name, config_of(modules[part])) == shapes_of(modules[part]), part


def test_other_widths_and_depths() -> None:
    components = tiny_components(positions=40)
    for module, name in ((components.unet, "UNet2DConditionModel"), (components.vae, "AutoencoderKL"),
                         (components.part("text_encoder"), "CLIPTextModel")):  # fmt: skip
        assert shapes_by_config(name, config_of(module)) == shapes_of(module)
    published = part_configs("sd1")["vae"] | {"use_quant_conv": False, "use_post_quant_conv": False}
    with torch.device("meta"):
        assert shapes_by_config("AutoencoderKL", published) == shapes_of(_make("AutoencoderKL", published))


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_controlnet_is_a_copy_of_its_unet(family: str) -> None:
    unet = full_meta(family)["unet"]
    with torch.device("meta"):
        net = ControlNetModel.from_unet(unet)
    assert shapes_by_config("ControlNetModel", dict(net.config)) == shapes_of(net)


@pytest.mark.parametrize("change", [{"class_embed_type": "timestep"}, {"down_block_types": ["AttnDownBlock2D"] * 4},
                                    {"block_out_channels": "wide"}, {"only_cross_attention": True}])  # fmt: skip
def test_of_another_kind_nothing_is_said(change: dict[str, Any]) -> None:
    config = part_configs("sd1")["unet"]
    assert shapes_by_config("UNet2DConditionModel", config) is not None
    assert shapes_by_config("UNet2DConditionModel", config | change) is None
    assert shapes_by_config("Transformer2DModel", config) is None
