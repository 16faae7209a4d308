"""Files in every program's folders, told by headers alone, read once; notes and corrections that last."""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from studio.answered.engine import Refused
from studio.answered.models import NoSuchModel
from studio.asked.problems import InvalidRequest
from studio.checkpoints import hashes, thumbnail
from studio.checkpoints.catalog import Catalog, Entry
from studio.checkpoints.hashes import Hasher
from studio.checkpoints.memo import FOLDER, Memo
from studio.checkpoints.palette import palette
from studio.engine.models import ModelService
from tests.checkpoints.test_catalog import folder
from tests.diffusion.published_upscalers import PublishedCompact
from tests.tiny import save_tiny_checkpoint, tiny_components
from tests.tiny_control import save_tiny_controlnet

UNKNOWN = {"mystery.weight": np.zeros((2, 2), np.float16)}
LORA = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": np.zeros((4, 768), "f2"),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": np.zeros((320, 4), "f2"),
}


def weights(path: Path, tensors: dict[str, Any] = UNKNOWN, metadata: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata)
    return path


def by_name(catalog: Catalog, **refresh: bool) -> dict[str, Entry]:
    return {entry.name: entry for entry in catalog.entries(**refresh)}


A1111 = (
    "models/Stable-diffusion/sub/deep", "models/VAE", "models/Lora", "embeddings", "models/VAE-approx",
    "models/ControlNet", "models/ESRGAN",
)  # fmt: skip
COMFY = (
    "models/checkpoints/sub/deep", "models/vae", "models/loras", "models/embeddings", "models/vae_approx",
    "models/controlnet", "models/upscale_models",
)  # fmt: skip
OURS = tuple(name.removeprefix("models/") for name in COMFY)
KINDS = ("checkpoint", "vae", "lora", "embedding", "preview_decoder", "controlnet", "upscaler")


@pytest.mark.parametrize("layout", [A1111, COMFY, OURS], ids=["a1111", "comfyui", "ours"])
def test_every_layout_is_understood(tmp_path: Path, layout: tuple[str, ...]) -> None:
    for place, kind in zip(layout, KINDS):
        weights(tmp_path / "ui" / place / f"{kind}.safetensors")
    weights(tmp_path / "ui" / "models" / "LDSR" / "not-listed.safetensors")
    (tmp_path / "ui" / "models" / "checkpoints" / "notes.txt").parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "ui" / "models" / "checkpoints" / "notes.txt").write_text("no model")
    found = by_name(Catalog([tmp_path / "ui"]))
    assert {name: entry.facts.kind for name, entry in found.items()} == {kind: kind for kind in KINDS}
    assert found["checkpoint"].file.where == f"ui/{layout[0]}"


@pytest.mark.parametrize("folder", ["upscalers", "upscale_models", "ESRGAN", "RealESRGAN", "models/RealESRGAN"])
def test_upscalers_lie_beside_anything(tmp_path: Path, folder: str) -> None:
    upscaler = {name: value.numpy() for name, value in PublishedCompact().state_dict().items()}
    weights(tmp_path / folder / "4x.safetensors", upscaler)
    weights(tmp_path / "mine" / "lines.safetensors", LORA)
    found = by_name(Catalog([tmp_path]))
    assert (found["4x"].facts.kind, found["4x"].facts.scale, found["4x"].usable) == ("upscaler", 4, False)
    assert found["lines"].facts.kind == "lora"


def test_an_upscalers_pickle_is_offered_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "ESRGAN").mkdir()
    (tmp_path / "ESRGAN" / "4x-UltraSharp.pth").write_bytes(b"PK\x03\x04" + b"\0" * 500)
    facts = by_name(Catalog([tmp_path]))["4x-UltraSharp"].facts
    assert (facts.kind, facts.state, facts.convertible) == ("upscaler", "refused", True)


def test_a_folder_of_ones_own_is_told_by_the_headers(tmp_path: Path) -> None:
    weights(tmp_path / "mine" / "anything" / "lines.safetensors", LORA)
    weights(tmp_path / "mine" / "mystery.safetensors")
    found = by_name(Catalog([tmp_path / "mine"]))
    assert (found["lines"].facts.kind, found["lines"].facts.family, found["lines"].facts.state) == (
        "lora",
        "sd1",
        "usable",
    )
    assert (found["mystery"].facts.kind, found["mystery"].facts.state) == (None, "unknown")
    assert found["mystery"].facts.reason


def test_what_cannot_be_used_is_listed_with_the_reason(tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    place.mkdir()
    (place / "old.ckpt").write_bytes(b"PK\x03\x04" + b"\0" * 500)
    (place / "liar.SafeTensors").write_bytes(b"PK\x03\x04" + b"\0" * 500)
    (place / "page.safetensors").write_bytes(b"<!DOCTYPE html><html>404</html>")
    (place / "empty.safetensors").write_bytes(b"")
    (place / "half.safetensors.part").write_bytes(b"x")
    found = by_name(Catalog([tmp_path]))
    assert set(found) == {"old", "liar", "page", "empty"}
    assert {entry.facts.state for entry in found.values()} == {"refused"}
    assert [found[name].facts.convertible for name in ("old", "liar", "page")] == [True, True, False]
    assert "is a web page" in found["page"].facts.reason


def test_links_are_followed_within_the_models_folders_and_nowhere_else(tmp_path: Path) -> None:
    models, other, secret = tmp_path / "models", tmp_path / "other", tmp_path / "secret"
    weights(models / "loras" / "own.safetensors", LORA)
    weights(other / "loras" / "theirs.safetensors", LORA)
    weights(secret / "hidden.safetensors", LORA)
    try:
        (models / "loras" / "loop").symlink_to(models / "loras")
        (models / "loras" / "self").symlink_to(models / "loras" / "self")
        (models / "loras" / "to-other").symlink_to(other / "loras")
        (models / "loras" / "to-secret").symlink_to(secret)
        (models / "loras" / "file.safetensors").symlink_to(secret / "hidden.safetensors")
        (models / "loras" / "broken.safetensors").symlink_to(tmp_path / "nothing")
    except OSError:
        pytest.skip("no links on this file system")
    found = by_name(Catalog([models, other]))
    assert {n for n, e in found.items() if e.facts.state == "usable"} == {"own", "theirs"}
    assert {n for n, e in found.items() if e.facts.state == "refused"} >= {"file", "to-secret"}
    assert "hidden" not in found
    assert all(e.file.size == 0 for n, e in found.items() if n in ("file", "to-secret"))


class Opens:
    """Counts every file that is opened, by whatever road."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []

        def counting(real: Callable[..., Any]) -> Callable[..., Any]:
            def opening(path: Any, *rest: Any, **more: Any) -> Any:
                if isinstance(path, (str, os.PathLike)):
                    self.paths.append(os.fspath(path))
                return real(path, *rest, **more)

            return opening

        monkeypatch.setattr(builtins, "open", counting(builtins.open))
        monkeypatch.setattr(io, "open", counting(io.open))
        monkeypatch.setattr(os, "open", counting(os.open))

    def models(self) -> list[str]:
        return [path for path in self.paths if FOLDER not in path]


def test_the_second_listing_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        weights(tmp_path / "loras" / f"sub{number % 3}" / f"{number}.safetensors", LORA)
    folder(tmp_path / "checkpoints" / "fox")
    catalog = Catalog([tmp_path])
    first = Opens(monkeypatch)
    assert len(catalog.entries()) == 31
    assert len(set(first.models())) >= 31
    second = Opens(monkeypatch)
    assert len(catalog.entries(refresh=True)) == 31
    assert second.paths == []
    third = Opens(monkeypatch)
    assert len(Catalog([tmp_path]).entries()) == 31
    assert third.models() == []  # another start of the studio: only what is remembered is read
    weights(tmp_path / "loras" / "new.safetensors", LORA)
    (tmp_path / "loras" / "sub0" / "0.safetensors").unlink()
    fourth = Opens(monkeypatch)
    names = {entry.name for entry in catalog.entries(refresh=True)}
    assert {Path(path).name for path in fourth.models()} == {"new.safetensors"}
    assert "new" in names
    assert "0" not in names


def test_between_walks_the_folders_are_left_alone(tmp_path: Path) -> None:
    now = [100.0]
    catalog = Catalog([tmp_path], clock=lambda: now[0])
    assert catalog.entries() == ()
    weights(tmp_path / "loras" / "new.safetensors", LORA)
    assert catalog.entries() == ()
    now[0] += 5.0
    assert len(catalog.entries()) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "values": {"x": 5}}'])
def test_a_damaged_memory_is_found_out_anew(tmp_path: Path, text: str) -> None:
    file = weights(tmp_path / "loras" / "one.safetensors", LORA)
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "listing.json").write_text(text.replace('"x"', json.dumps(file.as_posix())))
    assert [e.facts.state for e in Catalog([tmp_path]).entries()] == ["usable"]


def test_a_folder_that_nobody_may_write_to_is_listed_all_the_same(tmp_path: Path) -> None:
    weights(tmp_path / "loras" / "one.safetensors", LORA)
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    catalog = Catalog([tmp_path])
    [entry] = catalog.entries()
    catalog.remember(entry, note="kept until the end")
    assert catalog.note(entry) == "kept until the end"


def test_notes_and_corrections_last(tmp_path: Path) -> None:
    folder(tmp_path / "checkpoints" / "fox")
    catalog = Catalog([tmp_path])
    [entry] = catalog.entries()
    catalog.remember(entry, note="likes foxes", prediction_type="v_prediction")
    again = Catalog([tmp_path])
    [entry] = again.entries()
    assert (again.note(entry), again.correction(entry)) == ("likes foxes", "v_prediction")
    again.remember(entry, note="", prediction_type=None)
    assert (Catalog([tmp_path]).note(entry), Catalog([tmp_path]).correction(entry)) == ("", None)


# ---------------------------------------------------------------------------------------------------------- hashes


def wait_for(done: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(3000):
        if done():
            return
        tick.wait(0.02)
    raise AssertionError("it did not come to be")


def test_hashes_are_counted_once_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = weights(tmp_path / "loras" / "one.safetensors", LORA)
    [entry] = Catalog([tmp_path]).entries()
    memo = Memo(tmp_path / "hashes.json")
    hasher = Hasher(memo)
    assert hasher.get(entry) is None
    hasher.want([entry])
    wait_for(lambda: hasher.get(entry) is not None)
    assert hasher.get(entry) == hashlib.sha256(file.read_bytes()).hexdigest()
    hasher.close()
    opens = Opens(monkeypatch)
    again = Hasher(Memo(tmp_path / "hashes.json"))
    again.want([entry])
    assert again.get(entry) is not None
    assert again._thread is None
    assert not any(path.endswith(".safetensors") for path in opens.paths)
    weights(file, LORA, {"changed": "yes"})
    [changed] = Catalog([tmp_path]).entries()
    assert again.get(changed) is None


def test_hashing_waits_while_jobs_run_but_for_what_is_urgent(tmp_path: Path) -> None:
    for name in ("one", "two"):
        weights(tmp_path / "loras" / f"{name}.safetensors", LORA)
    one, two = Catalog([tmp_path]).entries()
    busy = threading.Event()
    busy.set()
    hasher = Hasher(Memo(None), busy=busy.is_set)
    hasher.want([one])
    hasher.want([two], urgent=True)
    wait_for(lambda: hasher.get(two) is not None)
    assert hasher.get(one) is None
    busy.clear()
    wait_for(lambda: hasher.get(one) is not None)
    hasher.close()


def test_hashing_a_large_file_beside_a_run_takes_a_tenth_of_a_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block takes 5 ms on an imagined clock. While a run is at work it rests for 45 ms after each; then not at
    all."""
    monkeypatch.setattr(hashes, "BLOCK", 100)
    file = weights(tmp_path / "loras" / "one.safetensors", LORA)
    blocks = -(-file.stat().st_size // 100)
    assert blocks > 6
    now, rests = [0.0], []

    def clock() -> float:
        now[0] += 0.005  # asked before and after each block
        return now[0]

    def wait(seconds: float) -> bool:
        rests.append(seconds)
        now[0] += seconds
        return False

    [entry] = Catalog([tmp_path]).entries()
    hasher = Hasher(Memo(None), busy=lambda: len(rests) < 5, clock=clock, wait=wait)
    hasher.want([entry], urgent=True)
    wait_for(lambda: hasher.get(entry) is not None)
    hasher.close()
    assert rests == pytest.approx([9 * 0.005] * 5)
    assert hasher.get(entry) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_who_waits_for_a_hash_has_it_at_once(tmp_path: Path) -> None:
    weights(tmp_path / "loras" / "one.safetensors", LORA)
    [entry] = Catalog([tmp_path]).entries()

    def wait(seconds: float) -> bool:
        raise AssertionError("it rests")

    assert Hasher(Memo(None), busy=lambda: True, wait=wait).now(entry) is not None


# --------------------------------------------------------------------------------------------------------- pictures


def data_uri() -> str:
    import base64

    out = io.BytesIO()
    Image.new("RGB", (1024, 512), "teal").save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def test_the_picture_in_a_header_and_the_one_beside_the_file(tmp_path: Path) -> None:
    weights(tmp_path / "loras" / "in.safetensors", LORA, {"modelspec.thumbnail": data_uri()})
    weights(tmp_path / "loras" / "by.safetensors", LORA)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "loras" / "by.preview.png")
    weights(tmp_path / "loras" / "none.safetensors", LORA)
    bad = weights(tmp_path / "loras" / "bad.safetensors", LORA, {"modelspec.thumbnail": "data:image/png;base64,AAAA"})
    assert bad.exists()
    found = by_name(Catalog([tmp_path]))
    sizes = {}
    for name, entry in found.items():
        jpeg = thumbnail.of(entry)
        sizes[name] = Image.open(io.BytesIO(jpeg)).size if jpeg else None
    assert sizes == {"in": (512, 256), "by": (64, 64), "none": None, "bad": None}


# ------------------------------------------------------------------------------------------------------------ models


def test_the_model_service_tells_what_is_there_and_takes_no_nonsense(tmp_path: Path) -> None:
    folder(tmp_path / "checkpoints" / "fox")
    weights(tmp_path / "loras" / "lines.safetensors", LORA)
    woken: list[bool] = []
    service = ModelService([tmp_path], wake=lambda: woken.append(True))
    fox, lines = service.listing()
    assert (fox.name, fox.kind, fox.state, fox.place, fox.where) == (
        "fox", "checkpoint", "usable", "disk", f"{tmp_path.name}/checkpoints",
    )  # fmt: skip
    with pytest.raises(Refused):
        service.load(lines.id)
    for call in (service.load, service.unload):
        with pytest.raises(NoSuchModel):
            call("nothing")
    with pytest.raises(InvalidRequest, match=r"^note: "):
        service.annotate(fox.id, "x\0y")
    with pytest.raises(InvalidRequest, match=r"^prediction_type: 'x'"):
        service.correct(fox.id, "x")  # type: ignore[arg-type]
    service.annotate(fox.id, "a note")
    service.correct(fox.id, "v_prediction")
    fox = service.listing()[0]
    assert (fox.note, fox.prediction_type, fox.prediction_corrected) == ("a note", "v_prediction", True)
    assert not service.has_orders
    service.load(fox.id)
    assert service.has_orders
    assert woken
    service.close()


def test_a_controlnet_in_the_built_in_folder_is_for_that_checkpoint_alone(tmp_path: Path) -> None:
    models = tmp_path / "models"
    unet = tiny_components().unet
    save_tiny_checkpoint(models / "small-world-128")
    whole = by_name(Catalog([models]))["small-world-128"].checkpoint.size_bytes
    own = save_tiny_controlnet(models / "small-world-128" / "control-segmentation", unet)
    told = {"nothing": "#000000", "anything": "#ffffff", "objects": {"fox": "#c000ff", "cat": "red"}}
    (own / "palette.json").write_text(json.dumps(told))
    save_tiny_checkpoint(models / "checkpoints" / "other")
    save_tiny_controlnet(models / "controlnet" / "lines", unet)
    found = by_name(Catalog([models]))
    built_in, other, segmentation, lines = (
        found[name] for name in ("small-world-128", "other", "control-segmentation", "lines")
    )
    assert built_in.checkpoint.size_bytes == whole, "it is no part of the checkpoint"
    assert segmentation.facts.palette == (("", "#000000"), ("*", "#ffffff"), ("fox", "#c000ff"))
    assert "small-world-128" in " ".join(segmentation.facts.notes)
    fits = {(net.name, one.name): net.controls(one) for net in (segmentation, lines) for one in (built_in, other)}
    assert [pair for pair, fit in fits.items() if fit] == [
        ("control-segmentation", "small-world-128"), ("lines", "other"),
    ]  # fmt: skip
    again = by_name(Catalog([models]))["control-segmentation"]  # as it was remembered
    assert again.facts == segmentation.facts


def test_a_lora_in_the_built_in_folder_is_a_usable_one_of_its_family(tmp_path: Path) -> None:
    """Its shapes are no family's; where it lies says whose it is. It is no part of the checkpoint."""
    models = tmp_path / "models"
    save_tiny_checkpoint(models / "small-world-128")
    whole = by_name(Catalog([models]))["small-world-128"]
    (models / "small-world-128" / "lora").mkdir()
    tensors = {
        "lora_unet_conv_out.lora_down.weight": np.zeros((2, 8, 3, 3), np.float16),
        "lora_unet_conv_out.lora_up.weight": np.zeros((4, 2, 1, 1), np.float16),
    }
    save_file(tensors, models / "small-world-128" / "lora" / "quick.safetensors")
    for _ in range(2):  # read, and remembered
        found = by_name(Catalog([models]))
        assert found["quick"].facts.kind == "lora"
        assert (found["quick"].facts.state, found["quick"].facts.family) == ("usable", whole.facts.family)
        assert found["small-world-128"].identity == whole.identity
        assert found["small-world-128"].checkpoint.size_bytes == whole.checkpoint.size_bytes


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"nothing": "#000000"},
        {"nothing": "#000000", "objects": []},
        {"nothing": "#000", "objects": {"fox": "#c000ff"}},
        {"nothing": "#000000", "objects": {"fox": "url(x)", "": "#ffffff", "x" * 61: "#ffffff"}},
    ],
)
def test_a_palette_of_another_form_is_none(told: dict[str, object]) -> None:
    assert palette(told) == ()
