"""One record of a model file from its header to the page, and the labels that the page makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from studio.answered.codec import decode, encode
from studio.answered.model_facts import CHECKPOINT_PARTS, CONTROLNET, ModelFacts, ModelForm
from studio.answered.models import Model
from studio.checkpoints.catalog import Catalog
from studio.families.registry import FAMILIES
from studio.ui.models import labels, model_list
from tests.checkpoints.test_identify import full_file


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_name_that_its_own_file_says(family: str) -> None:
    assert labels.family(family) == FAMILIES[family].label
    assert labels.family(None) == ""


def test_every_part_and_form_has_a_label() -> None:
    assert labels.parts(ModelFacts(parts=(*CHECKPOINT_PARTS, CONTROLNET))) == [
        "U-Net", "VAE", "text encoder", "second text encoder", "ControlNet",
    ]  # fmt: skip
    assert [labels.form(ModelFacts(form=form)) for form in get_args(ModelForm)] == [
        "safetensors", "diffusers folder", "pickle",
    ]  # fmt: skip
    facts = ModelFacts(distillation="lcm", trigger="toy", in_channels=9, metadata=(("modelspec.author", "Ann"),))
    assert labels.metadata(facts) == [
        ("distilled", "lcm"), ("trigger words", "toy"), ("made for", "inpainting"), ("modelspec.author", "Ann"),
    ]  # fmt: skip


def test_the_record_of_a_header_is_the_one_that_the_page_gets(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    full_file(tmp_path / "checkpoints" / "model_lightning.safetensors", "sdxl", metadata={"modelspec.author": "Ann"})
    [entry] = Catalog([tmp_path]).entries()
    assert entry.facts.family == "sdxl"
    assert "SDXL" not in json.dumps(entry.facts.as_json()), "no label lies in the listing's memory"
    again = Catalog([tmp_path], read=lambda file: pytest.fail("read anew")).entries()
    assert again[0].facts == entry.facts
    model = Model(id="1", name=entry.name, label=entry.name, where="", state=entry.facts.state, facts=entry.facts)
    assert decode(encode(model)) == model
    line = model_list._line(model_list._row(model))
    assert (line["family"], line["kind"], line["own_vae"], line["form"]) == ("SDXL", "checkpoint", True, "safetensors")
    assert line["parts"] == ["U-Net", "VAE", "text encoder", "second text encoder"]
    assert line["metadata"] == [["distilled", "lightning"], ["modelspec.author", "Ann"]]
