"""What lies beside a LoRA: trigger words of Civitai and AUTOMATIC1111, weights, and files that say nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.details import MAX_JSON_BYTES, frequent_tags
from studio.checkpoints.sidecars import MAX_CHARACTERS, Sidecar, Sidecars
from studio.engine.models import ModelService
from tests.checkpoints.test_listing import LORA, weights


def sidecar(tmp_path: Path, reader: Sidecars | None = None) -> Sidecar:
    [entry] = [one for one in Catalog([tmp_path]).entries() if one.facts.kind == "lora"]
    return (reader or Sidecars()).of(entry.file)


def test_words_and_weight_come_from_both_forms_the_first_one_first(tmp_path: Path) -> None:
    weights(tmp_path / "loras" / "ink.safetensors", LORA)
    reader = Sidecars()
    assert sidecar(tmp_path, reader) == Sidecar()
    activation = {"activation text": " ink\nlines, ", "preferred weight": 0.8, "notes": "mine"}
    (tmp_path / "loras" / "ink.json").write_text(json.dumps(activation))
    (tmp_path / "loras" / "ink.civitai.info").write_text(json.dumps({"trainedWords": ["sumi-e", "ink lines", 7]}))
    assert sidecar(tmp_path, reader) == Sidecar(("ink lines", "sumi-e"), 0.8)
    (tmp_path / "loras" / "ink.json").write_text("{}  ")
    assert sidecar(tmp_path, reader) == Sidecar(("sumi-e", "ink lines")), "read again once it has changed"


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[1]",
        '{"activation text": ["x"], "trainedWords": "x", "preferred weight": "x"}',
        '{"preferred weight": 1e999}',
        '{"preferred weight": true}',
        '{"activation text": "' + "x" * (MAX_CHARACTERS + 1) + '"}',
        '{"activation text": "x"' + " " * MAX_JSON_BYTES + "}",
        "[" * 100_000,
    ],
)
def test_what_is_no_sidecar_says_nothing(tmp_path: Path, text: str) -> None:
    weights(tmp_path / "loras" / "ink.safetensors", LORA)
    (tmp_path / "loras" / "ink.json").write_text(text)
    assert sidecar(tmp_path) == Sidecar()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text('{"activation text": "secret"}')
    models = tmp_path / "models"
    weights(models / "loras" / "ink.safetensors", LORA)
    link = models / "loras" / "ink.json"
    link.write_text('{"activation text": "own"}')
    catalog, reader = Catalog([models]), Sidecars()
    [entry] = [one for one in catalog.entries() if one.facts.kind == "lora"]
    assert reader.of(entry.file).words == ("own",)
    link.unlink()
    os.symlink(outside, link)  # after the folder was looked through
    assert reader.of(entry.file) == Sidecar()
    assert sidecar(models) == Sidecar()


def test_the_listing_says_the_words_of_the_header_and_of_the_files_beside_it(tmp_path: Path) -> None:
    tags = json.dumps({"10_ink": {"a  fox": 3, "snow": 9}, "other": {"snow": 1, "odd": "x"}, "bad": 4})
    header = {"modelspec.trigger_phrase": "ink lines", "ss_tag_frequency": tags}
    weights(tmp_path / "loras" / "ink.safetensors", LORA, header)
    (tmp_path / "loras" / "ink.civitai.info").write_text('{"trainedWords": ["sumi-e"]}')
    service = ModelService([tmp_path])
    [lora] = [one for one in service.now().models if one.kind == "lora"]
    assert lora.trigger_words == ("ink lines", "sumi-e")
    assert lora.facts.tags == ("snow", "a fox")
    assert frequent_tags("{") == frequent_tags("[]") == frequent_tags("[" * 100_000) == ()
