"""A family's file says what trainers call its text encoders; the general namings put those names in their place."""

from __future__ import annotations

import pytest

from studio.checkpoints.adapter_header import part_of
from studio.checkpoints.lora_names import BEGINNINGS, parse_key
from studio.families.registry import ADAPTER_NAMES, FAMILIES

BEFORE = {  # what every beginning of the one table meant before families said their names
    "lora_unet_": "unet", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2", "lora_te_": "text_encoder",
    "oft_unet_": "unet", "lora_unet.": "unet", "lora_te1.": "text_encoder", "lora_te2.": "text_encoder_2",
    "lora_te.": "text_encoder", "unet.": "unet", "text_encoder_2.": "text_encoder_2", "text_encoder.": "text_encoder",
    "model.diffusion_model.": "unet", "diffusion_model.": "unet", "text_encoders.clip_l.": "text_encoder",
    "text_encoders.clip_h.": "text_encoder", "text_encoders.clip_g.": "text_encoder_2", "clip_l.": "text_encoder",
    "clip_h.": "text_encoder", "clip_g.": "text_encoder_2", "lycoris_unet_": "unet", "lycoris_te1_": "text_encoder",
    "lycoris_te2_": "text_encoder_2", "lycoris_te_": "text_encoder", "base_model.model.unet.": "unet",
}  # fmt: skip


@pytest.mark.parametrize(("beginning", "part"), BEFORE.items())
def test_every_beginning_means_what_it_meant(beginning: str, part: str) -> None:
    key = f"{beginning}some_block.lora_down.weight"
    assert part_of(key) == part
    parsed = parse_key(key)
    assert parsed is not None
    assert (parsed.module, parsed.factor) == ("some_block", "down")


def test_longer_beginnings_stand_first() -> None:
    beginnings = [beginning for beginning, _ in BEGINNINGS]
    assert len(set(beginnings)) == len(beginnings)
    for place, beginning in enumerate(beginnings):
        assert not any(beginning.startswith(before) for before in beginnings[:place]), beginning


@pytest.mark.parametrize("family", FAMILIES)
def test_no_name_means_two_text_encoders_of_a_family(family: str) -> None:
    names = [name for one in FAMILIES[family].text_encoders for name in one.adapter_names]
    assert len(set(names)) == len(names)
    assert {"te1", "text_encoder"} <= set(names), "every family can be named by the usual ones"
    assert set(names) <= ADAPTER_NAMES.keys()
