"""What the noise viewer's Run takes: fields that begin at what suits the checkpoint, survive a reload, and obey the
owner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr
import pytest

from studio.picture.gallery import Gallery
from studio.ui.page import build
from studio.ui.viewer import noise_viewer, run_settings
from tests.ui.fake_engine import FakeEngine
from tests.ui.fake_models import CATALOG


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    engine = FakeEngine(Gallery(tmp_path_factory.mktemp("outputs")))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def fields(engine: FakeEngine) -> dict[str, Any]:
    demo, _ = build(engine, engine.gallery)
    named = {getattr(block, "elem_id", None): block for block in demo.blocks.values()}
    names = ("prompt", "checkpoint", "seed", *run_settings.THAT_SUIT)
    return {name: named[f"{noise_viewer.TAB}-{name}"] for name in names}


def test_they_begin_at_what_suits_the_first_checkpoint(fields: dict[str, Any]) -> None:
    first = CATALOG[0]
    assert fields["checkpoint"].value == first.name
    assert {name: fields[name].value for name in run_settings.THAT_SUIT} == {
        name: getattr(first.suits, name) for name in run_settings.THAT_SUIT
    }
    assert fields["seed"].value == ""


def test_an_empty_number_is_left_to_the_checkpoint_and_the_rest_goes_as_it_was_typed(fields: dict[str, Any]) -> None:
    values = {component: component.value for component in fields.values()}
    values |= {fields["width"]: 0, fields["num_inference_steps"]: 7, fields["seed"]: "12"}
    typed = run_settings.typed_values(fields, values)
    assert (typed["width"], typed["num_inference_steps"], typed["seed"]) == (None, 7, "12")


def test_stored_settings_come_back_and_bad_ones_do_not(engine: FakeEngine, fields: dict[str, Any]) -> None:
    stored = {
        "prompt": "a hat",
        "num_inference_steps": 9,
        "guidance_scale": 999,
        "scheduler": "heun",
        "checkpoint": "x",
    }
    updates = run_settings.back(engine, fields, stored)
    assert (updates[fields["prompt"]], updates[fields["num_inference_steps"]]) == ("a hat", 9)
    assert fields["guidance_scale"] not in updates
    assert "value" not in updates[fields["checkpoint"]]  # stays at the first
    offered = [short for _, short in updates[fields["noise_schedule"]]["choices"]]
    assert "karras" in offered
    assert "automatic" in offered


def test_a_visitor_with_other_models_gets_what_suits_theirs_and_what_the_owner_has_fixed(
    engine: FakeEngine, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(CATALOG[0], name="other", num_inference_steps=4, locked=(("guidance_scale", 1.5),))
    monkeypatch.setattr(engine, "catalog", lambda: (other,))
    updates = run_settings.back(engine, fields, {"guidance_scale": 9})
    assert updates[fields["checkpoint"]]["value"] == "other"
    assert updates[fields["num_inference_steps"]] == 4
    fixed = updates[fields["guidance_scale"]]
    assert (fixed["value"], fixed["interactive"]) == (1.5, False)


def test_build_needs_no_checkpoint() -> None:
    class Empty:
        @staticmethod
        def catalog() -> tuple[()]:
            return ()

    with gr.Blocks():
        fields = run_settings.build(Empty(), "none")  # type: ignore[arg-type]
    assert fields["checkpoint"].value is None
