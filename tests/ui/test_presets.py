"""Presets on the page: what comes of one, what stays, and what is said of that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from studio.asked.presets import ModelPreset, Presets
from studio.picture.gallery import Gallery
from studio.picture.preset_files import PresetFiles
from studio.ui.generate import controls, presets
from studio.ui.generate.controls import Controls
from studio.ui.generate.widgets import begins_at
from tests.ui.fake_engine import FakeEngine
from tests.ui.fake_models import CATALOG

TAB = "text_to_image"


class Page:
    """A tab on a fake engine, whose catalogue a test may change."""

    def __init__(self, folder: Path) -> None:
        self.gallery = Gallery(folder)
        self.engine = FakeEngine(self.gallery)
        with gr.Blocks():
            self.controls: Controls = controls.build(self.engine, TAB)
            self.remembered = presets.connect(self.engine, self.gallery, self.controls)

    def of_link(self, **query: str) -> Any:
        return presets.of_link(self.engine, self.controls, query)  # type: ignore[arg-type]

    def lock(self, **fields: str | int | float) -> None:
        catalog = tuple(replace(one, locked=tuple(fields.items())) for one in CATALOG)
        self.engine.catalog = lambda: catalog  # type: ignore[method-assign]

    def by_name(self, updates: dict[Any, Any]) -> dict[str, Any]:
        return {name: updates[block] for name, block in self.controls.fields.items() if block in updates}


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    page = Page(tmp_path)
    yield page
    page.engine.close()


def request(**headers: str) -> Any:
    return SimpleNamespace(
        headers={"x-studio-owner": "ann", **{name.replace("_", "-"): v for name, v in headers.items()}}
    )


def test_what_is_remembered_of_a_checkpoint_comes_when_it_is_chosen(page: Page, tmp_path: Path) -> None:
    fields = {"num_inference_steps": 7, "scheduler": "ddim", "noise_schedule": "simple", "vae_name": "soft-vae"}
    of_model = ModelPreset(checkpoint="tiny-test", tab=TAB, fields=fields)
    PresetFiles(tmp_path).change(None, lambda _: Presets(of_models=(of_model,)))
    updates = page.remembered("tiny-test", request())
    by_name = page.by_name(updates)
    assert by_name["num_inference_steps"] == 7
    assert by_name["vae_name"]["value"] == "soft-vae"
    assert "checkpoint" not in by_name
    assert updates[page.controls.presets] == {"checkpoint": "tiny-test", "came": True, "says": []}
    assert page.remembered("quick", request()) == {page.controls.presets: {"checkpoint": "quick", "says": []}}
    for guest in (request(x_studio_guest="1"), request(x_studio_program="1")):  # their own, and they have none
        assert page.by_name(page.remembered("tiny-test", guest)) == {}


def test_what_the_owner_has_fixed_stays_and_is_said(page: Page, tmp_path: Path) -> None:
    of_model = ModelPreset(checkpoint="tiny-test", tab=TAB, fields={"num_inference_steps": 7, "guidance_scale": 3.0})
    PresetFiles(tmp_path).change("ann", lambda _: Presets(of_models=(of_model,)))
    page.lock(num_inference_steps=12)
    updates = page.remembered("tiny-test", request(x_studio_guest="1"))
    assert page.by_name(updates) == {"guidance_scale": 3.0}
    assert updates[page.controls.presets]["says"] == ["Steps stays at 12, which the owner of this studio has fixed."]


def test_what_cannot_come_is_named(page: Page) -> None:
    fields = {"checkpoint": "gone", "prompt": "a", "num_inference_steps": 900, "scheduler": "old"}
    says = presets.left_out(page.engine, TAB, fields, "quick")
    assert says[0] == "Model stays: gone is not here."
    assert says[1].startswith("num_inference_steps: 900 is not allowed. Allowed: whole numbers from 1 to 150.")
    assert says[2].startswith("scheduler: 'old' is not allowed.")
    assert len(says) == 3


def test_a_preset_of_some_fields_leaves_the_others_and_the_model(page: Page) -> None:
    updates, says = presets.restored(page.engine, page.controls, {"vae_name": "soft-vae"}, "tiny-test")
    assert page.by_name(updates).keys() == {"vae_name"}
    assert page.by_name(updates)["vae_name"]["value"] == "soft-vae"
    assert says == []
    updates, says = presets.restored(
        page.engine, page.controls, {"vae_name": "soft-vae", "checkpoint": "quick"}, "tiny-test"
    )
    assert page.by_name(updates)["vae_name"]["value"] == ""
    assert says == ["soft-vae is no VAE for this model, whose own one is taken."]


def test_a_file_that_cannot_be_read_is_said_when_a_checkpoint_is_chosen(page: Page, tmp_path: Path) -> None:
    (tmp_path / "presets.json").write_text("x")
    (says,) = page.remembered("quick", request())[page.controls.presets]["says"]
    assert says.startswith("The file presets.json in the outputs folder cannot be read: file: 'x' is not allowed.")
    (tmp_path / "presets.json").unlink()
    (tmp_path / "presets.json").mkdir()
    (says,) = page.remembered("quick", request())[page.controls.presets]["says"]
    assert says == "The presets cannot be read or written down: Is a directory."


def test_a_link_brings_its_fields_and_the_defaults_of_its_checkpoint(page: Page) -> None:
    fields, value = page.of_link(settings=TAB, v="1", checkpoint="tiny-test", prompt="a fox", seed="7", other="x")
    entry = next(one for one in CATALOG if one.name == "tiny-test")
    assert (fields["prompt"], fields["seed"], fields["checkpoint"]) == ("a fox", "7", "tiny-test")
    assert fields["num_inference_steps"] == begins_at(TAB, "num_inference_steps", entry)
    assert fields["hires_scale"] == 1.0
    assert value == {
        "says": ["The settings of the link are in the fields."],
        "opened": ["settings", "v", "checkpoint", "prompt", "seed"],
    }
    assert page.of_link(settings="inpaint", v="1") is None
    assert page.of_link(x="seed", x_values="1") is None


def test_of_a_bad_link_nothing_is_taken_and_the_field_is_named(page: Page) -> None:
    fields, value = page.of_link(settings=TAB, v="1", prompt="a fox", width="5")
    assert fields == {}
    assert value["says"][0] == "Nothing of this link was taken."
    assert value["says"][1].startswith("width: 5 is not allowed. Allowed: whole numbers from 64 to 2048")
    assert page.of_link(settings="nowhere")[1]["says"][1].startswith("settings: 'nowhere' is not allowed.")
    assert presets.names_tab({"settings": "nowhere"}, TAB)
    assert not presets.names_tab({"settings": "nowhere"}, "inpaint")
    assert not presets.names_tab({}, TAB)
