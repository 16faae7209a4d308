"""Presets as values: what they hold, their file, and the link that reopens settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from studio.asked import presets as module
from studio.asked.presets import (
    ModelPreset,
    Preset,
    Presets,
    fields_of,
    fields_of_link,
    fields_of_model,
    fields_of_page,
    from_json,
    link_of,
    to_json,
)
from studio.asked.problems import InvalidRequest
from studio.asked.resolved import Suits

FOX = Preset(name="Fox", tab="text_to_image", fields={"prompt": "a fox", "num_inference_steps": 30, "seed": "7"})
ALL = Presets(
    named=(FOX, Preset(name="Fox", tab="inpaint", fields={"mask_blur": 9})),
    of_models=(ModelPreset(checkpoint="sdxl", tab="text_to_image", fields={"guidance_scale": 4.5}),),
)


def test_a_page_s_fields_become_a_preset() -> None:
    typed = {
        "prompt": "a fox", "width": 512.0, "clip_skip": 0, "seed": f" {2**62} ", "scheduler": "DDIM", "exact": False,
        "guidance_scale": 5, "checkpoint": None,
    }  # fmt: skip
    assert fields_of_page("text_to_image", typed) == {
        "prompt": "a fox", "width": 512, "clip_skip": None, "seed": str(2**62), "scheduler": "ddim", "exact": False,
        "guidance_scale": 5.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"num_inference_steps": 900},
            "num_inference_steps in x: 900 is not allowed. Allowed: whole numbers from 1 to",
        ),
        ({"scheduler": "ddim", "noise_schedule": "karras"}, "noise_schedule in x: Karras is not allowed."),
        ({"steps": 3}, "steps in x: 3 is not allowed. Allowed: the fields prompt"),
        ({"image": "data:"}, "image in x"),
        ({"controls": []}, "controls in x"),
        ({"prompt": 7}, "prompt in x: 7 is not allowed. Allowed: text of at most"),
        ([], "x: [] is not allowed. Allowed: an object with fields."),
    ],
)
def test_a_bad_field_is_named_with_its_value_and_what_is_allowed(fields: Any, problem: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        fields_of("text_to_image", fields, place="x")
    assert problem in str(error.value)


def test_tabs_that_start_from_a_picture_have_presets_without_it() -> None:
    assert fields_of("inpaint", {"strength": 1, "mask_blur": 3}) == {"strength": 1.0, "mask_blur": 3}


def test_a_model_s_fields_are_how_it_is_sampled() -> None:
    whole = {
        "prompt": "a", "negative_prompt": "b", "checkpoint": "sdxl", "seed": "1", "variation_strength": 0.5,
        "num_images_per_prompt": 4, "width": 1024, "num_inference_steps": 8, "scheduler": "lcm", "vae_name": "",
    }  # fmt: skip
    kept = fields_of_model("text_to_image", whole)
    assert kept == {"width": 1024, "num_inference_steps": 8, "scheduler": "lcm", "vae_name": ""}


def test_a_file_comes_back_equal_and_a_name_may_be_on_every_tab() -> None:
    assert from_json(to_json(ALL)) == ALL
    assert from_json(to_json(Presets())) == Presets()


def changed(**changes: object) -> str:
    whole = json.loads(to_json(ALL))
    whole["presets"][0] |= changes.pop("preset", {})  # type: ignore[operator]
    return json.dumps(whole | changes)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no", "file: 'no' is not allowed. Allowed: JSON with presets."),
        ("[" * 100_000, "file: "),
        ("[]", "format: [] is not allowed. Allowed: 'latent-studio-presets'."),
        (changed(format="a"), "format: 'a'"),
        (changed(version=2), "version: 2 is not allowed. Allowed: files of the versions 1 to 1."),
        (changed(version=True), "version: True"),
        (changed(presets={}), "presets: {} is not allowed. Allowed: a list of at most 500 entries."),
        (changed(presets=[7]), "presets[0]: 7 is not allowed"),
        (changed(preset={"tab": "compare"}), "presets[0].tab: 'compare' is not allowed. Allowed: one of text_to_image"),
        (changed(preset={"name": ""}), "presets[0].name: '' is not allowed"),
        (
            changed(presets=[vars(FOX), vars(FOX)]),
            "presets[1].name: 'Fox' is not allowed. Allowed: a name that no other",
        ),
        (changed(preset={"fields": {"width": 513}}), "width in presets[0] 'Fox': 513 is not allowed. Allowed: whole"),
        (changed(models=[{"tab": "inpaint", "fields": {}}]), "models[0].checkpoint: None"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(text: str, problem: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        from_json(text)
    assert problem in str(error.value)


def test_a_file_adds_and_replaces_nothing() -> None:
    mine = Presets(
        named=(Preset(name="Fox", tab="text_to_image", fields={"prompt": "mine"}),),
        of_models=(ModelPreset(checkpoint="sdxl", tab="text_to_image", fields={"guidance_scale": 9.0}),),
    )
    both, says = mine.with_file(ALL)
    assert [(one.name, one.tab) for one in both.named] == [
        ("Fox", "text_to_image"), ("Fox (2)", "text_to_image"), ("Fox", "inpaint"),
    ]  # fmt: skip
    assert both.of_models == mine.of_models
    assert " ".join(says) == (
        "2 came from the file. Other presets have their names, so these are called Fox (2). "
        "What you have remembered of sdxl stays."
    )
    assert ALL.with_file(ALL) == (ALL, ["The file has nothing new."])


def test_presets_are_renamed_within_their_tab() -> None:
    named = ALL.renamed("text_to_image", "Fox", " Red  fox ").named
    assert [one.name for one in named] == ["Red fox", "Fox"]
    with pytest.raises(InvalidRequest, match="a name that no other preset has"):
        ALL.with_preset(Preset(name="B", tab="inpaint", fields={})).renamed("inpaint", "B", "Fox")
    with pytest.raises(InvalidRequest, match=r"'Gone' is not allowed. Allowed: one of Fox"):
        ALL.renamed("inpaint", "Gone", "B")
    with pytest.raises(InvalidRequest, match="name: nothing is not allowed"):
        ALL.renamed("inpaint", "Fox", " ")


def test_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PRESETS", 2)
    assert ALL.with_preset(FOX) == ALL
    with pytest.raises(InvalidRequest, match="at most 2 presets: delete one first"):
        ALL.with_preset(Preset(name="B", tab="inpaint", fields={}))


# ------------------------------------------------------------------------------------------------------------ links

SUITS = Suits(num_inference_steps=30, guidance_scale=7.0, scheduler="ddim", width=512, height=512)


def test_a_link_holds_the_checkpoint_and_what_differs_from_the_defaults() -> None:
    fields = {
        "checkpoint": "sdxl", "prompt": "a fox & more", "negative_prompt": "", "num_inference_steps": 30, "width": 768,
        "height": 512, "guidance_scale": 6.5, "scheduler": "ddim", "seed": "", "clip_skip": None, "exact": True,
        "hires_scale": 1.0, "eta": None,
    }  # fmt: skip
    link = link_of("text_to_image", fields, SUITS)
    assert link == {
        "settings": "text_to_image", "v": "1", "checkpoint": "sdxl", "prompt": "a fox & more", "width": "768",
        "guidance_scale": "6.5", "exact": "true",
    }  # fmt: skip
    assert fields_of_link(link | {"__theme": "dark"}) == (
        "text_to_image",
        {
            "checkpoint": "sdxl", "prompt": "a fox & more", "width": 768, "guidance_scale": 6.5, "exact": True,
        },
    )  # fmt: skip


def test_other_addresses_are_no_links_to_settings() -> None:
    assert fields_of_link({"x": "seed", "x_values": "1, 2", "v": "2"}) is None
    assert fields_of_link({}) is None


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"settings": "models", "v": "1"}, "settings: 'models' is not allowed. Allowed: one of text_to_image"),
        ({"settings": "inpaint"}, "v: None is not allowed. Allowed: links of the versions 1 to 1."),
        ({"settings": "inpaint", "v": "2"}, "v: '2'"),
        ({"settings": "inpaint", "v": "1", "mask_blur": "many"}, "mask_blur: 'many' is not allowed. Allowed: whole"),
        ({"settings": "inpaint", "v": "1", "mask_blur": "900"}, "mask_blur: 900 is not allowed"),
    ],
)
def test_a_bad_link_is_refused_in_a_sentence(query: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        fields_of_link(query)
    assert problem in str(error.value)


def test_the_file_and_the_link_of_the_documentation_are_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "presets.md").read_text(encoding="utf-8")
    file = from_json(text.partition("```json\n")[2].partition("```")[0])
    assert [one.name for one in file.named] == ["Quick fox"]
    assert [one.checkpoint for one in file.of_models] == ["small-world-128"]
    query = dict(parse_qsl(text.partition("`?")[2].partition("`")[0]))
    assert fields_of_link(query) == (
        "text_to_image", {"prompt": "a fox", "checkpoint": "small-world-128", "num_inference_steps": 8},
    )  # fmt: skip
