"""Nothing that exists is lost: what 0.1.0 has written is read, and what a newer version has written is left alone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from studio.asked.compare import Comparison, comparison_from_dict, fields_of_link
from studio.asked.problems import InvalidRequest
from studio.asked.requests import REQUEST_KINDS, request_from_dict
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.hashes import Hasher
from studio.checkpoints.memo import Memo
from studio.picture import sheet
from studio.picture.gallery import Gallery
from studio.picture.infotext import read_parameters
from studio.picture.metadata import read_png, request_from_info
from studio.web.owner import COOKIE, Owner
from tests.tiny import save_tiny_checkpoint

SAMPLES = Path(__file__).parent / "samples_0_1"
OWNER = "0123456789abcdef0123456789abcdef"
REQUESTS: dict[str, dict[str, Any]] = json.loads((SAMPLES / "requests.json").read_text(encoding="utf-8"))
LINKS: dict[str, dict[str, str]] = json.loads((SAMPLES / "links.json").read_text(encoding="utf-8"))


def given_pictures(name: str) -> dict[str, Any]:
    """The pictures that a sample began with, which no file holds."""
    kind = REQUESTS[name]["kind"]
    given: dict[str, Any] = {} if kind == "text_to_image" else {"image": (SAMPLES / "start.png").read_bytes()}
    if name == "inpaint":
        given["mask"] = (SAMPLES / "mask.png").read_bytes()
    if name == "control":
        given["control_images"] = [(SAMPLES / "map.png").read_bytes()]
    return given


@pytest.mark.parametrize("name", REQUESTS)
def test_a_picture_asks_for_what_it_was_made_of(name: str) -> None:
    given = given_pictures(name)
    asked = request_from_dict(REQUESTS[name], **given)
    found = read_png(SAMPLES / f"{name}.png", **given)
    assert type(found) is type(asked) is REQUEST_KINDS[REQUESTS[name]["kind"]]
    resolved_there = {"width", "height", "noise_schedule", "exact"}
    for field in asked.rows():
        if field not in resolved_there:
            assert getattr(found, field) == getattr(asked, field), field
    assert found is not None
    assert found.clip_skip is None, "an open field that 0.1.0 did not know"


@pytest.mark.parametrize("name", [n for n, asked in REQUESTS.items() if asked["kind"] == "text_to_image"])
def test_its_text_alone_says_the_same(name: str) -> None:
    picture = next(p for p in earlier() if p.file_name == file_of(name))
    found = read_parameters(picture.parameters)
    assert found is not None
    for field in ("prompt", "negative_prompt", "seed", "num_inference_steps", "guidance_scale", "scheduler"):
        assert getattr(found, field) == REQUESTS[name][field], field


def file_of(name: str) -> str:
    files: dict[str, str] = json.loads((SAMPLES / "files.json").read_text(encoding="utf-8"))
    return next(file for file, sample in files.items() if sample == name)


def outputs(folder: Path) -> Path:
    """An outputs folder as 0.1.0 left it."""
    for name in REQUESTS:
        file = folder / file_of(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SAMPLES / f"{name}.png", file)
    shutil.copyfile(SAMPLES / "index.jsonl", folder / "index.jsonl")
    return folder


_earlier: list[Any] = []


def earlier() -> list[Any]:
    if not _earlier:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            _earlier.extend(Gallery(outputs(Path(folder).resolve())).earlier(OWNER))
    return _earlier


def test_a_visitor_finds_their_pictures_again(tmp_path: Path) -> None:
    gallery = Gallery(outputs(tmp_path))
    found = gallery.earlier(OWNER)
    assert [picture.file_name for picture in found] == [file_of(name) for name in reversed(REQUESTS)]
    for picture in found:
        assert gallery.path(picture.id, OWNER) == tmp_path / picture.file_name
        assert gallery.thumbnail(picture.id, OWNER)
        assert gallery.path(picture.id, "f" * 32) is None


def test_the_owners_cookie_is_known() -> None:
    seen: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(value for name, value in scope["headers"] if name == b"x-studio-owner")

    cookie = f"{COOKIE}={OWNER}".encode()
    assert cookie == b"studio_owner=0123456789abcdef0123456789abcdef"
    scope = {"type": "http", "headers": [(b"cookie", cookie)], "scheme": "http"}
    asyncio.run(Owner(app)(scope, None, None))  # type: ignore[arg-type]
    assert seen == [OWNER.encode()]


def test_a_sheet_is_opened_again() -> None:
    found = sheet.read((SAMPLES / "sheet.png").read_bytes())
    assert found is not None
    assert [(axis.field, axis.values) for axis in found.axes] == [
        ("num_inference_steps", (1, 2)), ("guidance_scale", (1.0, 3.0)),
    ]  # fmt: skip
    assert (found.base.prompt, found.base.seed, found.base.scheduler) == ("a fox", 5, "euler")
    assert comparison_from_dict(found.to_dict()) == found


@pytest.mark.parametrize("name", LINKS)
def test_a_link_says_what_it_said(name: str) -> None:
    """A link of 0.1.0 left out what was the default there: 25 steps, guidance 5, DPM++ 2M, Automatic."""
    given = fields_of_link(LINKS[name])
    assert given is not None
    comparison = Comparison.parse(given)
    axes = {axis.field for axis in comparison.axes}
    defaults = {
        "num_inference_steps": 25, "guidance_scale": 5.0, "scheduler": "dpmpp_2m", "noise_schedule": "automatic",
    }  # fmt: skip
    for field, value in defaults.items():
        if field not in LINKS[name] and field not in axes:
            assert getattr(comparison.base, field) == value, field
    for field, text in LINKS[name].items():
        row = comparison.base.rows().get(field)
        if row is not None and field not in axes:
            assert row.write(getattr(comparison.base, field)) == text, field
    again = fields_of_link(comparison.link())
    assert again is not None
    assert Comparison.parse(again) == comparison


def remembered(models: Path) -> Path:
    """A models folder with what 0.1.0 remembered of it."""
    save_tiny_checkpoint(models / "checkpoints" / "tiny")
    shutil.copytree(models / "checkpoints" / "tiny" / "vae", models / "vae" / "other")
    memory = models / ".latent-studio"
    memory.mkdir()
    for name in ("notes.json", "hashes.json"):
        text = (SAMPLES / "memory" / name).read_text(encoding="utf-8")
        (memory / name).write_text(text.replace("MODELS", str(models)), encoding="utf-8")
    return memory


def test_notes_the_chosen_vae_and_hashes_are_known(tmp_path: Path) -> None:
    memory = remembered(tmp_path)
    catalog = Catalog([tmp_path])
    entry = next(one for one in catalog.entries() if one.name == "tiny")
    assert entry.vae is not None
    assert entry.vae.name == "other"
    notes = Memo(memory / "notes.json").get(entry.file.key)
    assert notes == {
        "note": "A note of 0.1: good at foxes 🦊", "prediction_type": "v_prediction",
        "vae": str(tmp_path / "vae/other"),
    }  # fmt: skip
    hashes = json.loads((memory / "hashes.json").read_text(encoding="utf-8"))
    hashes["values"][entry.file.key][:2] = [entry.file.size, entry.file.mtime_ns]  # the copy is as old as this test
    (memory / "hashes.json").write_text(json.dumps(hashes), encoding="utf-8")
    digest = Hasher(Memo(memory / "hashes.json")).get(entry)
    assert digest == "9628bc764b489c347b2dedf2bac05832195c76cf12f5a5ab57bd65c96fbd2543"


# ------------------------------------------------------------------------------------- what a newer version has written


def test_a_newer_file_of_notes_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    newer = json.dumps({"version": 99, "values": {"a": {"note": "of the future"}}})
    file.write_text(newer)
    before = os.stat(file).st_mtime_ns
    memo = Memo(file)
    assert memo.get("a") is None
    memo.update({"b": {"note": "of today"}})
    assert memo.get("b") == {"note": "of today"}, "it is remembered until the end"
    assert file.read_text() == newer
    assert os.stat(file).st_mtime_ns == before
    assert list(tmp_path.iterdir()) == [file]


def test_an_older_version_of_a_list_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "listing.json"
    file.write_text(json.dumps({"version": 1, "values": {"a": 1}}))
    memo = Memo(file, version=2)
    memo.update({"b": 2})
    assert json.loads(file.read_text()) == {"version": 2, "values": {"b": 2}}


def test_a_newer_picture_or_sheet_is_refused_with_the_versions_that_are_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"schema: 3 is not allowed\. Allowed: versions 1 to 2"):
        request_from_info(REQUESTS["text_to_image"] | {"schema": 3})
    with pytest.raises(InvalidRequest, match=r"schema: 3 is not allowed\. Allowed: versions 1 to 2"):
        comparison_from_dict({"kind": "surface", "schema": 3, "base": {}})


def test_a_line_of_the_index_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "index.jsonl", tmp_path / "index.jsonl")
    lines = (tmp_path / "index.jsonl").read_bytes()
    old = json.loads(next(line for line in lines.splitlines() if line.strip()))
    assert "version" not in old, "0.1.0 wrote none"
    newer = old | {"version": 99, "id": "e" * 32}
    (tmp_path / "index.jsonl").write_bytes(lines + json.dumps(newer).encode() + b"\n")
    gallery = Gallery(tmp_path)
    with Image.new("RGB", (8, 8)) as image:
        gallery.save(image, info={"seed": 1}, parameters="x", owner=OWNER, part_of="a")
    index = (tmp_path / "index.jsonl").read_text()
    assert index.startswith(lines.decode())
    assert json.dumps(newer) in index
    assert json.loads(index.strip().splitlines()[-1])["version"] == 1
    (tmp_path / old["file"]).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(SAMPLES / "text_to_image.png", tmp_path / old["file"])
    assert gallery.path(old["id"], OWNER) is not None
    assert gallery.path(newer["id"], OWNER) is None
