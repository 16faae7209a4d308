"""An enlarged picture that is saved says how its original was made, and what was done since."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.asked.fields import TextToImage
from studio.picture import enlarged
from studio.picture.file_formats import OWN_CHUNK
from studio.picture.gallery import Gallery
from studio.picture.infotext import parameters_text, read_parameters
from studio.picture.library.reading import facts_of
from studio.picture.metadata import read_png, texts_of
from studio.picture.saving import Saving, as_text
from studio.ui.library.settings import settings_of
from studio.ui.picture_settings import sheet_of
from studio.ui.render import picture_view
from tests.picture.test_metadata import info_of, png_of

ANN = "a" * 32
REQUEST = TextToImage(prompt="a fox", width=128, height=64, num_inference_steps=4, seed=7)
THEIRS = "a cat\nSteps: 4, Sampler: Euler, Seed: 11, Size: 128x64"


def enlarge(original: bytes, factor: float, upscaler: str = "small-world-4x") -> bytes:
    with Image.open(io.BytesIO(original)) as image:
        size = round(image.width * factor), round(image.height * factor)
        return enlarged.png(enlarged.to_size(image.convert("RGB"), size, size), original, factor, upscaler)


def foreign(text: str, record: str = "") -> bytes:
    info, data = PngInfo(), io.BytesIO()
    info.add_text("parameters", text)
    if record:
        info.add_text(OWN_CHUNK, record)
    Image.new("RGB", (40, 24)).save(data, "PNG", pnginfo=info)
    return data.getvalue()


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
def test_the_record_of_the_making_stays_and_says_each_enlargement(tmp_path: Path, file_format: str) -> None:
    gallery = Gallery(tmp_path)
    gallery.saving.path.write_text(as_text(Saving.parse({"format": file_format})))
    info = info_of(REQUEST)
    twice = enlarge(enlarge(png_of(info), 4), 1.5, "Lanczos")
    picture = enlarged.save(twice, gallery, ANN)
    assert (picture.width, picture.height, picture.seed) == (48, 48, 7)
    assert [one.id for one in gallery.earlier(ANN)] == [picture.id]
    file = (tmp_path / picture.file_name).read_bytes()
    written = json.loads(texts_of(file)[OWN_CHUNK])
    steps = [
        {"upscaler": "small-world-4x", "factor": 4, "size": [32, 32]},
        {"upscaler": "Lanczos", "factor": 1.5, "size": [48, 48]},
    ]
    assert written == json.loads(json.dumps(info)) | {"postprocess": steps}
    assert read_png(file) == read_png(png_of(info))  # the request that made the original
    text = texts_of(file)["parameters"]
    assert text.startswith(parameters_text(info))
    assert "Size: 128x64" in text
    assert text.endswith("Postprocess upscale by: 1.5, Postprocess upscaler: Lanczos")
    view = picture_view(picture)
    assert view["line"].endswith("48 × 48 · upscaled 4× by small-world-4x · upscaled 1.5× by Lanczos")
    assert view["settings"]["seed"] == "7"
    shown = settings_of(facts_of(tmp_path / picture.file_name))
    assert shown[-1] == ("After it was made", "upscaled 1.5× by Lanczos")
    assert not [name for name, _ in shown if name == "postprocess"]


def test_a_picture_of_another_program_keeps_its_own_text_and_lends_no_settings_of_ours(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    picture = enlarged.save(enlarge(enlarge(foreign(THEIRS), 2), 2), gallery, ANN)
    assert (picture.width, picture.seed, picture.info["prompt"]) == (160, 11, "a cat")
    assert [one["size"] for one in picture.info["postprocess"]] == [[80, 48], [160, 96]]  # type: ignore[attr-defined]
    view = picture_view(picture)
    assert (view["settings"], view["line"].count("upscaled 2×")) == (None, 2)
    assert "seed" not in view["line"]
    file = (tmp_path / picture.file_name).read_bytes()
    theirs = read_parameters(THEIRS)
    assert theirs is not None
    assert read_png(file) == replace(theirs, upscale="small-world-4x")  # which their text says now
    facts = facts_of(tmp_path / picture.file_name)
    assert (facts.prompt, facts.info) == ("a cat", None)
    assert sheet_of(texts_of(file), ())["settings"]["seed"] == "11"  # type: ignore[index]


@pytest.mark.parametrize("record", ['{"seed": "x"}', '{"seed": 1, "cfg": NaN}', '{"seed": -1}', "[]", '{"seed": true}'])
def test_a_record_that_no_studio_has_written_is_left_out(tmp_path: Path, record: str) -> None:
    picture = enlarged.save(enlarge(foreign("", record), 1), Gallery(tmp_path), ANN)
    assert (picture.seed, picture.info["made_elsewhere"]) == (0, True)
