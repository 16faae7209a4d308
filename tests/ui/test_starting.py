"""What comes from the page beside an upload: masks in base64, files that have been swept, fields never filled in."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.answered.model_facts import ModelFacts
from studio.answered.models import Model
from studio.asked.fields import TextToImage
from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest
from studio.asked.resolved import Suits, resolve
from studio.picture.file_formats import png_info
from studio.picture.infotext import parameters_text
from studio.picture.metadata import picture_info
from studio.picture.named_files import FileRemark, Finding, NamedKind
from studio.ui import picture_settings
from studio.ui.generate import starting
from studio.ui.generate.controls import Controls


def test_a_drawn_mask_is_base64_or_nothing() -> None:
    assert starting.mask_of({"png": base64.b64encode(b"a file").decode()}) == b"a file"
    for nothing in (None, {}, {"png": ""}, "", [], 7):
        assert starting.mask_of(nothing) == b""


@pytest.mark.parametrize("bad", ["not base64!", "data:image/png;base64,AAAA", 7, ["AAAA"], "A" * (MAX_IMAGE_BYTES + 4)])
def test_what_is_no_drawn_mask_is_refused_by_name(bad: object) -> None:
    with pytest.raises(InvalidRequest, match="mask: ") as caught:
        starting.mask_of({"png": bad})
    assert len(str(caught.value)) < 300


def test_a_file_is_read_to_just_beyond_the_limit_and_one_that_is_gone_is_named(tmp_path: Path) -> None:
    file = tmp_path / "upload.png"
    file.write_bytes(bytes(MAX_IMAGE_BYTES + 10))
    assert len(starting.file_of(str(file))) == MAX_IMAGE_BYTES + 1
    assert starting.file_of(None) == b""
    with pytest.raises(InvalidRequest, match="image: a file that is gone"):
        starting.file_of(str(tmp_path / "swept.png"))


def test_a_number_that_was_never_typed_is_open() -> None:
    """Gradio sends it as 0; where the checkpoint decides, that is no value."""
    fields = {"width": "w", "height": "h", "extend_left": "e"}
    controls = Controls("inpaint", fields, *[None] * 8)  # type: ignore[arg-type]
    assert controls.typed_values({"w": 0, "h": 64, "e": 0}) == {"width": None, "height": 64, "extend_left": 0}


def a_picture(prompt: str, **facts: object) -> bytes:
    info = picture_info(resolve(TextToImage(prompt=prompt), Suits()), width=64, height=64, **facts)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=png_info(info, parameters_text(info)))
    return file.getvalue()


def a_lora(name: str, sha256: str) -> Model:
    facts = ModelFacts(kind="lora")
    return Model(id=name, name=name, label=name, where="models/loras", state="usable", facts=facts, sha256=sha256)


BUILT_IN_CHECKPOINT = Model(
    id="c",
    name="small-world-128",
    label="",
    where="models",
    state="usable",
    facts=ModelFacts(kind="checkpoint", family="sd1"),
)


def test_the_files_that_a_prompt_names_are_compared_when_its_settings_are_offered() -> None:
    picture = a_picture("a fox <lora:style:0.5>", lora_hashes={"style": "a1" * 32})
    assert starting.offer_of_file(picture, [BUILT_IN_CHECKPOINT, a_lora("style", "a1" * 32)])["notes"]["en"] == []
    other = starting.offer_of_file(picture, [BUILT_IN_CHECKPOINT, a_lora("style", "b2" * 32)])
    assert other["notes"]["en"] == [
        "The LoRA style here is another file than the picture's:"
        " its hash is b2b2b2b2b2b2, the picture's was a1a1a1a1a1a1."
    ]
    moved = starting.offer_of_file(picture, [BUILT_IN_CHECKPOINT, a_lora("my style", "a1" * 32)])
    assert moved["notes"]["en"] == ["The LoRA style is called my style here, and the prompt calls it so."]
    assert moved["settings"]["prompt"] == "a fox <lora:my style:0.5>"
    assert starting.offer_of_file(picture, [BUILT_IN_CHECKPOINT])["notes"]["en"] == [
        "The LoRA style is not installed; its hash is a1a1a1a1a1a1."
    ]
    assert starting.offer_of_file(b"", []) == {}


@pytest.mark.parametrize("finding", get_args(Finding))
@pytest.mark.parametrize("kind", get_args(NamedKind))
def test_every_finding_has_a_sentence(kind: NamedKind, finding: Finding) -> None:
    assert "toy" in picture_settings.note_of_file(FileRemark(kind, finding, "toy", "here", "a1", "b2"))


SETTINGS_OF_A1111 = "a fox\nSteps: 9, Sampler: DPM fast, Seed: 1, Clip skip: 2, Model: not-here, CFG scale: 4"


def test_every_reason_is_a_sentence_in_both_languages() -> None:
    texts = PngInfo()
    texts.add_text("parameters", SETTINGS_OF_A1111)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=texts)
    offered = starting.offer_of_file(file.getvalue(), [BUILT_IN_CHECKPOINT])
    assert offered["settings"].items() >= {"prompt": "a fox", "guidance_scale": 4.0, "clip_skip": 2}.items()
    english, chinese = offered["notes"]["en"], offered["notes"]["zh"]
    assert [note.split(":")[0] for note in english[:2]] == [
        "Sampler 'DPM fast' is left out", "Model 'not-here' is left out",
    ]  # fmt: skip
    assert "is taken as for an SD 1 checkpoint" in english[2]
    assert len(english) == len(chinese) == 3
    assert all(any("\u4e00" <= c <= "\u9fff" for c in note) for note in chinese)
    texts = PngInfo()
    texts.add_text("workflow", "{}")
    Image.new("RGB", (8, 8)).save(file := io.BytesIO(), "PNG", pnginfo=texts)
    nothing = starting.offer_of_file(file.getvalue(), [])
    assert nothing["settings"] == {}
    assert len(nothing["notes"]["en"]) == 1
