"""A folder becomes components, or an error names the part and what is wrong with it. No code of the folder runs."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.checkpoints import loader
from studio.checkpoints.inspect import BadCheckpoint
from studio.diffusion.components import Components
from tests.tiny import save_tiny_checkpoint, tiny_components

WEIGHTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_checkpoint(tmp_path_factory.mktemp("pristine") / "tiny")


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(pristine, tmp_path / "tiny"))


def loaded(folder: Path, dtype: torch.dtype = torch.float32) -> Components:
    return loader.load(
        folder, name="tiny", device=torch.device("cpu"), dtype=dtype, progress=lambda message, fraction: None
    )


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder: Path, part: str, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    file = folder / part / WEIGHTS[part]
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_weight_arrives_in_the_target_precision(pristine: Path, dtype: torch.dtype) -> None:
    components, reference = loaded(pristine, dtype), tiny_components()
    for part in ("unet", "vae", "text_encoder"):
        here, there = components.part(part), reference.part(part)
        assert not here.training
        expected = dict(there.named_parameters())
        assert {name for name, _ in here.named_parameters()} == set(expected)
        for name, weight in here.named_parameters():
            assert weight.dtype == dtype
            assert not weight.requires_grad
            assert torch.equal(weight, expected[name].to(dtype)), name
    assert components.scheduler_config["beta_schedule"] == "scaled_linear"
    assert (components.native_width, components.native_height, components.prediction_type) == (64, 64, "epsilon")


def test_the_fast_preview_beside_the_vae_is_read(folder: Path) -> None:
    file = folder / "vae" / "fast_preview.safetensors"
    save_file({"weight": torch.ones(192, 4, 3, 3).half(), "bias": torch.zeros(192).half()}, file)
    preview = loaded(folder).fast_preview
    assert preview is not None
    assert (preview[0].dtype, preview[0].shape) == (torch.float32, (192, 4, 3, 3))


@pytest.mark.parametrize("content", [b"", b"junk", pickle.dumps(1)])
def test_where_the_fast_preview_is_missing_or_damaged_there_is_none_yet(folder: Path, content: bytes) -> None:
    if content:
        (folder / "vae" / "fast_preview.safetensors").write_bytes(content)
    assert loaded(folder).fast_preview is None


def test_progress_rises_from_nothing_to_all(pristine: Path) -> None:
    told: list[tuple[str, float]] = []
    loader.load(
        pristine,
        name="tiny",
        device=torch.device("cpu"),
        dtype=torch.float32,
        progress=lambda message, fraction: told.append((message, fraction)),
    )
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert [message.removeprefix("Loading tiny: ") for message, _ in told] == [
        "text encoder",
        "VAE",
        "U-Net",
        "done",
    ]


@pytest.mark.parametrize(
    ("part", "label"),
    [("vae", "VAE"), ("unet", "U-Net"), ("text_encoder", "text encoder"), ("tokenizer", "tokenizer")],
)
def test_a_missing_part_is_called_by_its_name(folder: Path, part: str, label: str) -> None:
    shutil.rmtree(folder / part)
    with pytest.raises(BadCheckpoint, match=rf"^There is no {label} in this folder\.$"):
        loaded(folder)


def test_a_missing_scheduler_is_told(folder: Path) -> None:
    shutil.rmtree(folder / "scheduler")
    with pytest.raises(BadCheckpoint, match="no scheduler in this folder"):
        loaded(folder)


@pytest.mark.parametrize("part", WEIGHTS)
def test_one_tensor_less_is_fatal_and_named(folder: Path, part: str) -> None:
    names: list[str] = []

    def drop(tensors: dict[str, torch.Tensor]) -> None:
        names.append(sorted(tensors)[0])
        del tensors[names[0]]

    edit_weights(folder, part, drop)
    with pytest.raises(BadCheckpoint, match="1 tensors are missing") as refused:
        loaded(folder)
    assert names[0].split(".")[-2] in str(refused.value)


@pytest.mark.parametrize("part", WEIGHTS)
def test_one_tensor_more_is_fatal_and_named(folder: Path, part: str) -> None:
    edit_weights(folder, part, lambda tensors: tensors.update({"stranger.weight": torch.zeros(3)}))
    with pytest.raises(BadCheckpoint, match=r"1 tensors do not belong there \(.*stranger\.weight"):
        loaded(folder)


@pytest.mark.parametrize("part", WEIGHTS)
def test_a_wrong_shape_is_fatal(folder: Path, part: str) -> None:
    def widen(tensors: dict[str, torch.Tensor]) -> None:
        name = sorted(n for n in tensors if n.endswith("weight"))[0]
        tensors[name] = torch.zeros(*tensors[name].shape, 2)

    edit_weights(folder, part, widen)
    with pytest.raises(BadCheckpoint, match=r"wrong shape|do not fit its config"):
        loaded(folder)


def test_vae_weights_as_a_unet_are_refused(folder: Path) -> None:
    shutil.copy(folder / "vae" / WEIGHTS["vae"], folder / "unet" / WEIGHTS["unet"])
    with pytest.raises(BadCheckpoint, match="U-Net"):
        loaded(folder)


@pytest.mark.parametrize("part", WEIGHTS)
def test_a_truncated_file_says_how_much_is_there(folder: Path, part: str) -> None:
    file = folder / part / WEIGHTS[part]
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(BadCheckpoint, match=r"is truncated: [\d,]+ of [\d,]+ bytes"):
        loaded(folder)


def test_pickles_are_not_opened(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return canary.touch, ()

    (folder / "unet" / WEIGHTS["unet"]).unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BadCheckpoint, match="only a pickle, which could run code"):
        loaded(folder)
    shutil.copy(folder / "unet" / "diffusion_pytorch_model.bin", folder / "unet" / WEIGHTS["unet"])
    with pytest.raises(BadCheckpoint, match="is a pickle"):
        loaded(folder)
    assert not canary.exists()


@pytest.mark.parametrize(
    "entry",
    [["my_unet", "MyUnet"], ["os", "system"], ["subprocess", "Popen"], ["transformers", "AutoModel"], "x", [None], []],
)
def test_classes_that_are_not_on_the_list_are_refused(folder: Path, entry: object) -> None:
    (folder / "unet" / "my_unet.py").write_text("raise SystemExit('this must not run')")
    edit_json(folder / "model_index.json", unet=entry)
    with pytest.raises(BadCheckpoint, match="U-Net"):
        loaded(folder)


@pytest.mark.parametrize("part", WEIGHTS)
def test_a_config_that_names_code_is_refused(folder: Path, part: str) -> None:
    edit_json(folder / part / "config.json", auto_map={"AutoModel": "my_unet.MyUnet"})
    with pytest.raises(BadCheckpoint, match="run code of its own"):
        loaded(folder)


@pytest.mark.parametrize("changes", [{"block_out_channels": [10**6, 10**6]}, {"block_out_channels": "x"}, {}])
def test_a_config_that_does_not_fit_the_weights_is_told(folder: Path, changes: dict[str, Any]) -> None:
    path = folder / "unet" / "config.json"
    if changes:
        edit_json(path, **changes)
    else:
        path.write_text("{")
    with pytest.raises(
        BadCheckpoint, match=r"no weights of this U-Net|U-Net (cannot be loaded|has no readable config|has tensors)"
    ):
        loaded(folder)


def test_parts_of_different_models_are_told_apart(folder: Path) -> None:
    edit_json(folder / "scheduler" / "scheduler_config.json", prediction_type="velocity")
    with pytest.raises(BadCheckpoint, match="prediction_type is 'velocity'"):
        loaded(folder)


def test_a_damaged_tokenizer_is_told(folder: Path) -> None:
    for file in (folder / "tokenizer").iterdir():
        file.write_text("{")
    with pytest.raises(BadCheckpoint, match="tokenizer"):
        loaded(folder)
