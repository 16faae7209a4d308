"""What a family's U-Net is given beside the prompt's embeddings, and how the rows of several lanes become one call."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from studio.diffusion.components import Components
from studio.diffusion.conditions import no_words, of_lanes, size_conditions, text_conditions
from studio.families.registry import FAMILIES
from tests.checkpoints.original import text_encoders, tiny_family
from tests.tiny import SCHEDULER_CONFIG

TAKEN = {
    "sd1": {},
    "sd2": {},
    "sdxl": {"text_embeds": (2, 128), "time_ids": (2, 6)},
    "sdxl_refiner": {"text_embeds": (2, 128), "time_ids": (2, 5)},
    "ssd_1b": {"text_embeds": (2, 128), "time_ids": (2, 6)},
    "vega": {"text_embeds": (2, 128), "time_ids": (2, 6)},
}


def components(family: str) -> Components:
    modules = tiny_family(family)
    return Components(
        name=family, family=FAMILIES[family], unet=modules["unet"], vae=modules["vae"],
        text_encoders=text_encoders(FAMILIES[family], modules), scheduler_config=SCHEDULER_CONFIG,
        prediction_type="epsilon", device=torch.device("cpu"), dtype=torch.float32, native_width=64, native_height=64,
    )  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_a_family_says_what_its_unet_takes(family: str) -> None:
    ours = components(family)
    pooled = [torch.full((1, 128), 1.0), torch.full((1, 128), 2.0)]
    given: dict[str, Any] = text_conditions(ours, pooled) | size_conditions(ours, 96, 64, 2)
    assert {name: tuple(value.shape) for name, value in given.items()} == TAKEN[family]
    assert no_words(ours, 96, 64).keys() == TAKEN[family].keys()
    if "time_ids" in given:
        last = {"sdxl_refiner": ([2.5], [6.0])}.get(family, ([64.0, 96.0], [64.0, 96.0]))
        assert given["time_ids"].tolist() == [[64.0, 96.0, 0.0, 0.0, *numbers] for numbers in last]
        assert given["text_embeds"][:, 0].tolist() == [1.0, 2.0]
    width = ours.unet.config.cross_attention_dim
    answer = ours.unet(
        torch.zeros(2, 4, 8, 8), torch.tensor([5.0, 5.0]), torch.zeros(2, 77, width),
        added_cond_kwargs=given or None, return_dict=False,
    )  # fmt: skip
    assert answer[0].shape == (2, 4, 8, 8)


def test_rows_of_several_lanes_stand_one_behind_the_other() -> None:
    ours = components("sdxl")
    lanes = [size_conditions(ours, 64 * k, 64, rows) for k, rows in ((1, 2), (2, 1), (3, 2))]
    assert of_lanes(lanes)["time_ids"][:, 1].tolist() == [64.0, 64.0, 128.0, 192.0, 192.0]
    assert torch.equal(of_lanes(lanes[:1])["time_ids"], lanes[0]["time_ids"])
    assert of_lanes([{}, {}]) == {}
