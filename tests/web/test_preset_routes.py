"""Presets on the page: the visitor's own, saved, renamed, deleted, brought and taken away as a file."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest

from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.presets import fields_of_link
from studio.picture.preset_files import PresetFiles
from studio.web.owner import COOKIE, Owner
from studio.web.preset_routes import PresetRoutes
from tests.web.asgi import Visitor
from tests.web.test_share_pictures import Folder

TAB = "text_to_image"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def post(visitor: Visitor, address: str = "/presets", **order: object) -> Any:
    return visitor(address, method="POST", body=json.dumps({"tab": TAB, **order}).encode())


def names(visitor: Visitor) -> list[str]:
    return [one["name"] for one in visitor("/presets").json()["presets"]]


def test_guests_presets_are_their_own(folder: Folder, tmp_path: Path) -> None:
    (ann, _), (bob, _) = folder.guest(), folder.guest()
    assert post(folder.here, save="Oil", fields={"prompt": "oil"}).status == 200
    assert post(ann, save="Ink", fields={"prompt": "ink", "clip_skip": 0}).json() == {
        "presets": [{"name": "Ink", "tab": TAB, "fields": {"prompt": "ink", "clip_skip": None}}],
        "models": [],
        "says": "",
    }
    assert (names(folder.here), names(ann), names(bob)) == (["Oil"], ["Ink"], [])
    assert json.loads((tmp_path / "presets.json").read_text())["presets"][0]["name"] == "Oil"
    assert ann("/presets.json").json()["presets"][0]["name"] == "Ink"
    assert post(bob, delete="Ink").json()["presets"] == []
    assert names(ann) == ["Ink"]
    assert post(ann, rename="Ink", to="Pen").status == 200
    assert names(ann) == ["Pen"]
    assert post(ann, delete="Pen").json()["presets"] == []


def test_a_model_s_fields_are_remembered_and_forgotten(folder: Folder) -> None:
    answer = post(folder.here, remember="sdxl", fields={"prompt": "x", "num_inference_steps": 8, "seed": "3"})
    assert answer.json()["models"] == [{"checkpoint": "sdxl", "tab": TAB, "fields": {"num_inference_steps": 8}}]
    assert post(folder.here, forget="sdxl").json()["models"] == []


def test_what_was_stored_comes_back_as_it_was(folder: Folder) -> None:
    fields = {"guidance_scale": 0.0}  # which a page's empty field has too
    assert post(folder.here, save="a", fields=fields).json()["presets"][0]["fields"] == {"guidance_scale": None}
    answer = post(folder.here, save="a", fields=fields, as_stored=True)
    assert answer.json()["presets"][0]["fields"] == fields


def test_a_bad_order_is_refused_in_a_sentence_and_changes_nothing(folder: Folder) -> None:
    post(folder.here, save="a", fields={})
    for order, sentence in (
        ({"save": "", "fields": {}}, "name: nothing is not allowed. Allowed: a name."),
        ({"save": "b", "fields": {"width": 7}}, "width: 7 is not allowed. Allowed: whole numbers from 64 to 2048"),
        ({"save": "b", "tab": "x", "fields": {}}, "tab: 'x' is not allowed"),
        ({"remember": None, "fields": {}}, "checkpoint: None is not allowed"),
        ({}, "order: "),
    ):
        answer = post(folder.here, **order)
        assert answer.status == 400
        assert sentence in answer.body.decode()
    assert post(folder.here, save="b", fields={"prompt": "y" * 1_100_000}).status == 413
    assert names(folder.here) == ["a"]


def test_a_file_is_taken_whole_or_not_at_all(folder: Folder) -> None:
    (ann, _), (bob, _) = folder.guest(), folder.guest()
    post(ann, save="Ink", fields={"prompt": "ink"})
    post(ann, remember="sdxl", fields={"num_inference_steps": 8})
    file = ann("/presets.json").body
    bad = file.replace(b'"num_inference_steps": 8', b'"num_inference_steps": 800')
    answer = bob("/presets/import", method="POST", body=bad)
    assert answer.status == 400
    assert answer.body.decode().startswith(
        "num_inference_steps in models[0] 'sdxl': 800 is not allowed. Allowed: whole"
    )
    assert names(bob) == []
    answer = bob("/presets/import", method="POST", body=file)
    assert answer.json()["says"] == "2 came from the file."
    assert bob("/presets.json").body == file
    assert bob("/presets/import", method="POST", body=b" " * (2**20 + 1)).status == 413


def test_a_file_that_somebody_has_damaged_is_not_written_over(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "presets.json").write_text('{"format": "latent-studio-presets", "version": 1, "presets": [')
    for answer in (folder.here("/presets"), post(folder.here, save="a", fields={})):
        assert answer.status == 400
        assert "The file presets.json in the outputs folder cannot be read: file: " in answer.body.decode()
    assert folder.here("/presets.json").status == 409
    assert (tmp_path / "presets.json").read_text().endswith('"presets": [')


def test_a_link_is_made_of_what_differs(folder: Folder) -> None:
    fields = {"checkpoint": "none-here", "prompt": "a fox", "num_inference_steps": 25, "guidance_scale": 3}
    answer = post(folder.here, "/presets/link", fields=fields)
    assert answer.json()["query"] == ("settings=text_to_image&v=1&prompt=a+fox&checkpoint=none-here&guidance_scale=3")
    assert post(folder.here, "/presets/link", fields={"prompt": "y" * 7000}).status == 400
    assert post(folder.here, "/presets/link", fields={"width": 1}).status == 400


def test_a_link_makes_a_run_of_ones_own_again(tmp_path: Path) -> None:
    text = TextToImage(prompt="a fox", checkpoint="none-here", seed=5, num_images_per_prompt=4, num_inference_steps=8)
    image = ImageToImage(prompt="a fox", checkpoint="none-here", image=b"PNG", strength=0.5)

    class Runs:
        owner = ""

        async def jobs(self, *, owner: str) -> list[Any]:
            runs = {"text": text, "image": image}
            return [SimpleNamespace(job_id=name, request=one) for name, one in runs.items() if owner == self.owner]

        def catalog(self) -> list[Any]:
            return []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    runs = Runs()
    ann = Visitor(Owner(PresetRoutes(page, files=PresetFiles(tmp_path), engine=runs)))  # type: ignore[arg-type]
    ann("/")
    assert ann("/presets/link/text").status == 404, "somebody else's"
    runs.owner = ann.cookies[COOKIE]
    query = ann("/presets/link/text", query="seed=7").json()["query"]
    assert query.startswith("settings=text_to_image&v=1&prompt=a+fox&checkpoint=none-here")
    link = fields_of_link(dict(parse_qsl(query)))
    assert link is not None
    wanted = {"prompt": "a fox", "checkpoint": "none-here", "seed": "7", "num_inference_steps": 8}
    assert link[1].items() >= wanted.items()
    assert "num_images_per_prompt" not in link[1], "one picture, as the recording is of one"
    assert ann("/presets/link/image").json()["query"].startswith("settings=image_to_image&v=1")
    assert ann("/presets/link/other").status == 404
    assert ann("/presets/link/text", query="seed=x").status == 400
