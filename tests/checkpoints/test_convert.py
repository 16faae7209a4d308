"""Pickles are converted in a child that runs nothing of them; what could run code is refused and named."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.checkpoints.convert import UnsafePickle, convert
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint

WEIGHTS = {"first.weight": torch.arange(6.0).reshape(2, 3), "second": torch.tensor([1, 2], dtype=torch.int64)}


def slow(*cases: Any) -> list[Any]:
    """More of the same: every conversion starts a process that imports torch."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow) for case in cases]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "converted.safetensors"


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A class as old training programs left it in their files."""
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")

    class ModelCheckpoint:
        def __init__(self) -> None:
            self.best = 0.5

    ModelCheckpoint.__module__, ModelCheckpoint.__qualname__ = module.__name__, "ModelCheckpoint"
    module.ModelCheckpoint = ModelCheckpoint  # type: ignore[attr-defined]
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return ModelCheckpoint


def test_an_upscalers_average_is_taken_of_what_its_file_holds(tmp_path: Path, target: Path) -> None:
    other = {name: tensor + 1 for name, tensor in WEIGHTS.items()}
    torch.save({"params": other, "params_ema": WEIGHTS}, tmp_path / "RealESRGAN_x4plus.pth")
    convert(tmp_path / "RealESRGAN_x4plus.pth", target)
    found = load_file(target)
    assert set(found) == set(WEIGHTS)
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize("name", ["model.safetensors", *slow("model.ckpt", "model.SafeTensors", "model.bin")])
def test_a_training_checkpoint_becomes_its_weights(tmp_path: Path, target: Path, lightning: Any, name: str) -> None:
    source = tmp_path / name
    torch.save({"state_dict": WEIGHTS, "global_step": 7, "callbacks": {lightning: lightning()}}, source)
    assert identify(source).form == "pickle"
    convert(source, target)
    found = load_file(target)
    assert set(found) == set(WEIGHTS)
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)
    assert {p.name for p in tmp_path.iterdir()} == {name, target.name}


def test_an_old_checkpoint_without_zip(tmp_path: Path, target: Path, lightning: Any) -> None:
    content = {"state_dict": WEIGHTS, "callbacks": {lightning: lightning()}}
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    told: list[float | None] = []
    assert set(load_file(convert(tmp_path / "old.pt", target, progress=told.append))) == set(WEIGHTS)
    assert told[0] is None


def test_it_can_be_stopped_and_leaves_nothing(tmp_path: Path, target: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "model.ckpt")
    stop = threading.Event()
    stop.set()
    with pytest.raises(BadCheckpoint, match="it was stopped"):
        convert(tmp_path / "model.ckpt", target, stop=stop)
    with pytest.raises(BadCheckpoint, match="longer than 0 seconds"):
        convert(tmp_path / "model.ckpt", target, time_limit=0.0)
    assert {p.name for p in tmp_path.iterdir()} == {"model.ckpt"}


def test_an_embedding_of_a1111(tmp_path: Path, target: Path) -> None:
    vector = torch.rand(2, 768)
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": vector}, "name": "cat"}, tmp_path / "cat.pt")
    convert(tmp_path / "cat.pt", target)
    assert torch.equal(load_file(target)["emb_params"], vector)
    assert (identify(target).kind, identify(target).family) == ("embedding", "sd1")


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, call: Any, *arguments: object) -> None:
        self.call = call, arguments

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize(
    ("form", "call", "named"),
    [
        ("zip", os.system, "system"),
        ("old", eval, "eval"),
        ("raw", os.system, "system"),
        *slow(("zip", eval, "eval"), ("old", os.system, "system"), ("new raw", os.system, "system")),
    ],
)
def test_what_could_run_code_is_refused_and_named(
    tmp_path: Path, target: Path, form: str, call: Any, named: str
) -> None:
    canary, source = tmp_path / "canary", tmp_path / "evil.ckpt"
    payload = f"touch {canary}" if named == "system" else f"open({str(canary)!r}, 'w')"
    content = {"state_dict": WEIGHTS, "evil": Evil(call, payload)}
    if "raw" in form:
        source.write_bytes(pickle.dumps(content["evil"], protocol=2 if form == "raw" else 4))
    else:
        torch.save(content, source, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(BadCheckpoint) as refused:
        convert(source, target)
    assert not canary.exists()
    assert not target.exists()
    assert len(list(tmp_path.iterdir())) == 1, "nothing half-written is left"
    assert isinstance(refused.value, UnsafePickle)
    assert any(name.endswith(named) for name in refused.value.names)
    assert named in str(refused.value)
    assert "weights_only" not in str(refused.value)


def test_a_small_file_that_claims_gigabytes(tmp_path: Path, target: Path) -> None:
    torch.save({"w": torch.zeros(1).expand(2**33)}, tmp_path / "bomb.pt")
    assert (tmp_path / "bomb.pt").stat().st_size < 5000
    with pytest.raises(BadCheckpoint, match="claims more values than the file holds"):
        convert(tmp_path / "bomb.pt", target)


def test_compressed_records_are_refused_before_they_are_unpacked(tmp_path: Path, target: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
    with pytest.raises(BadCheckpoint, match="compressed records"):
        convert(tmp_path / "bomb.ckpt", target)


@pytest.mark.parametrize("cut", [100, 1000])
def test_a_truncated_pickle_is_told(tmp_path: Path, target: Path, cut: int) -> None:
    torch.save(WEIGHTS, tmp_path / "whole.ckpt")
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "whole.ckpt").read_bytes()[:-cut])
    with pytest.raises(BadCheckpoint, match="damaged"):
        convert(tmp_path / "cut.ckpt", target)


def test_nothing_is_overwritten(tmp_path: Path, target: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "model.ckpt")
    target.write_bytes(b"mine")
    with pytest.raises(BadCheckpoint, match="not overwritten"):
        convert(tmp_path / "model.ckpt", target)
    assert target.read_bytes() == b"mine"


def test_what_is_no_pickle_is_not_converted(tmp_path: Path, target: Path) -> None:
    (tmp_path / "page.ckpt").write_bytes(b"<html>")
    with pytest.raises(BadCheckpoint, match="no pickle"):
        convert(tmp_path / "page.ckpt", target)
