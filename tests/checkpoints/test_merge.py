"""Checkpoints of two or three: the arithmetic, what goes together, what the new file says of itself, and its queue."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.answered.engine import Refused
from studio.answered.models import Merge, NoSuchModel
from studio.asked.orders import MergeModels, StopMerge
from studio.asked.problems import InvalidRequest
from studio.checkpoints import merges
from studio.checkpoints.inspect import BadCheckpoint, read_whole_header
from studio.checkpoints.merge import Source, plan, write
from studio.engine.models import ModelService
from studio.families.registry import FAMILIES
from tests.checkpoints.original import original_tensors, tiny_family

UNET = "model.diffusion_model."
FIRST = f"{UNET}input_blocks.0.0.weight"


@pytest.fixture(scope="module")
def weights() -> list[dict[str, torch.Tensor]]:
    """Three checkpoints of one family, their tensors."""
    modules = [tiny_family("sd1", seed=seed) for seed in (0, 1, 2)]
    return [{k: v.contiguous().clone() for k, v in original_tensors("sd1", one).items()} for one in modules]


@pytest.fixture
def models(tmp_path: Path, weights: list[dict[str, torch.Tensor]]) -> Path:
    (tmp_path / "checkpoints").mkdir()
    for name, tensors in zip("abc", weights):
        save_file(tensors, tmp_path / "checkpoints" / f"{name}.safetensors", {"modelspec.architecture": f"of {name}"})
    return tmp_path


@pytest.fixture
def service(models: Path) -> Iterator[ModelService]:
    made = ModelService([models])
    yield made
    made.close()


def order(service: ModelService, names: str = "ab", **values: Any) -> MergeModels:
    ids = {model.name: model.id for model in service.listing()}
    return MergeModels(model_ids=tuple(ids[name] for name in names), **values)


def ended(service: ModelService) -> Merge:
    """The newest merge when it has ended."""
    tick = threading.Event()
    for _ in range(3000):
        newest = service.merges()[0]
        if newest.state not in ("waiting", "running"):
            return newest
        tick.wait(0.01)
    raise AssertionError("it did not end")


def test_a_weighted_sum_becomes_a_checkpoint_of_the_list(
    service: ModelService, models: Path, weights: list[dict[str, torch.Tensor]]
) -> None:
    service.order(order(service, weight=0.25, name="a little b"))
    merge = ended(service)
    assert (merge.state, merge.fraction, merge.message) == ("done", 1.0, "")
    assert merge.recipe == "0.75(a) + 0.25(b)"
    file = models / "checkpoints" / "a little b.safetensors"
    made, (a, b, _) = load_file(file), weights
    assert made.keys() == {name for name in a if not name.startswith("model_ema.")}
    for name, value in made.items():
        expected = a[name] * (1 - 0.25) + b[name] * 0.25
        assert torch.equal(value, expected), name
    listed = {model.name: model for model in service.listing(refresh=True)}
    assert listed["a little b"].state == "usable"
    assert listed["a little b"].facts.family == "sd1"
    assert dict(listed["a little b"].facts.metadata)["modelspec.merged_from"] == "a, b"
    assert [path.name for path in (models / "checkpoints").iterdir() if path.name.startswith(".")] == []


def test_the_recipe_is_written_as_a1111_writes_it(service: ModelService, models: Path) -> None:
    service.order(order(service, name="first", precision="fp16"))
    assert ended(service).state == "done"
    service.listing(refresh=True)
    ids = {model.name: model for model in service.listing()}
    service.order(MergeModels(model_ids=(ids["first"].id, ids["c"].id), name="second"))
    assert ended(service).state == "done"
    metadata = read_whole_header(models / "checkpoints" / "second.safetensors").metadata
    recipe, of_models = json.loads(metadata["sd_merge_recipe"]), json.loads(metadata["sd_merge_models"])
    hashes = {model.name: model.sha256 for model in service.listing()}
    assert (recipe["type"], recipe["interp_method"], recipe["multiplier"]) == ("webui", "Weighted sum", 0.5)
    assert (recipe["primary_model_hash"], recipe["secondary_model_hash"]) == (hashes["first"], hashes["c"])
    assert set(of_models) == {hashes[name] for name in ("a", "b", "first", "c")}
    assert of_models[hashes["first"]]["sd_merge_recipe"]["save_as_half"] is True
    assert metadata["modelspec.architecture"] == "of a"
    entry = read_whole_header(models / "checkpoints" / "first.safetensors").tensors[FIRST]
    assert entry.dtype == "F16"


def test_a_difference_is_added(service: ModelService, models: Path, weights: list[dict[str, torch.Tensor]]) -> None:
    service.order(order(service, "abc", method="add_difference", weight=1, name="../d\x07ifference."))
    assert ended(service).name == "_difference"
    made, (a, b, c) = load_file(models / "checkpoints" / "_difference.safetensors"), weights
    assert all(torch.equal(made[name], a[name] + (b[name] - c[name]) * 1) for name in made)


def test_names_differ_where_the_places_are_the_same(tmp_path: Path, weights: list[dict[str, torch.Tensor]]) -> None:
    older = {name.replace("transformer.text_model.", "transformer."): value for name, value in weights[1].items()}
    save_file(weights[0], tmp_path / "a.safetensors")
    save_file(older, tmp_path / "b.safetensors")
    sources = [Source(tmp_path / f"{name}.safetensors", name) for name in "ab"]
    work = plan(sources, FAMILIES["sd1"], "first")
    write(work, tmp_path / "new.safetensors", method="weighted_sum", weight=0.5, metadata={})
    made = load_file(tmp_path / "new.safetensors")
    name = next(name for name in made if name.endswith("layers.0.mlp.fc1.weight"))
    assert torch.equal(made[name], weights[0][name] * 0.5 + weights[1][name] * 0.5)


def test_an_inpainting_model_takes_up_others_in_the_channels_that_they_have(
    tmp_path: Path, weights: list[dict[str, torch.Tensor]]
) -> None:
    wide = torch.cat([weights[0][FIRST], torch.ones(32, 5, 3, 3)], dim=1)
    save_file(weights[0] | {FIRST: wide}, tmp_path / "a.safetensors")
    for name, tensors in zip("bc", weights[1:]):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    sources = [Source(tmp_path / f"{name}.safetensors", name) for name in "abc"]
    work = plan(sources, FAMILIES["sd1"], "first")
    write(work, tmp_path / "new.safetensors", method="add_difference", weight=1, metadata={})
    made = load_file(tmp_path / "new.safetensors")[FIRST]
    assert torch.equal(made[:, 4:], wide[:, 4:])
    assert torch.equal(made[:, :4], wide[:, :4] + (weights[1][FIRST] - weights[2][FIRST]))
    with pytest.raises(BadCheckpoint, match="An inpainting model can be merged only as the first"):
        plan([sources[1], sources[0]], FAMILIES["sd1"], "first")


def test_what_does_not_go_together_is_named_in_one_sentence(
    tmp_path: Path, weights: list[dict[str, torch.Tensor]]
) -> None:
    last = f"{UNET}out.2.weight"
    without_vae = {name: value for name, value in weights[1].items() if not name.startswith("first_stage_model.")}
    files = {
        "a": weights[0],
        "less": {name: value for name, value in weights[1].items() if name != last},
        "wide": weights[1] | {last: torch.ones(8, 32, 3, 3)},
        "scaled": weights[1] | {f"{UNET}out.2.scale_weight": torch.ones(())},
        "bare": without_vae,
        "large": weights[1] | {last: torch.full((4, 32, 3, 3), 1e30)},
    }
    for name, tensors in files.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")

    def judged(*names: str, precision: Any = "first") -> Any:
        sources = [Source(tmp_path / f"{name}.safetensors", name) for name in names]
        return plan(sources, FAMILIES["sd1"], precision)

    for name, words in {
        "less": r"^a and less cannot be merged: 1 weights are in one of them only, such as conv_out\.weight\.$",
        "wide": rf"^a and wide cannot be merged: {last} has 4 x 32 x 3 x 3 in the one and 8 x 32 x 3 x 3 in the other",
        "scaled": "^scaled stores its weights with scales",
    }.items():
        with pytest.raises(BadCheckpoint, match=words):
            judged("a", name)
    assert judged("a", "bare").notes == ("bare has no VAE: that of a stays as it is.",)
    assert judged("bare", "a").notes == ("bare has no VAE, so the new checkpoint has none.",)
    with pytest.raises(BadCheckpoint, match=f"{last} would hold values that are not numbers, or too large for float16"):
        write(judged("a", "large", precision="fp16"), tmp_path / "x.safetensors",
              method="weighted_sum", weight=0.5, metadata={})  # fmt: skip
    assert not list(tmp_path.glob("*x.safetensors*"))


@pytest.mark.parametrize(
    ("names", "values", "words"),
    [
        ("a", {}, "models: 1 is not allowed. Allowed: 2 checkpoints for this method"),
        ("ab", {"method": "add_difference", "weight": 1}, "Allowed: 3 checkpoints for this method"),
        ("aa", {}, "2 different checkpoints"),
        ("ab", {"weight": 1.5}, "weight: 1.5 is not allowed. Allowed: numbers from 0 to 1"),
        ("ab", {"weight": float("nan")}, "weight: nan"),
        ("ab", {"weight": None}, "weight: None"),
        ("ab", {"method": "sigmoid"}, "method: 'sigmoid' is not allowed. Allowed: one of weighted_sum, add_difference"),
        ("ab", {"precision": "int8"}, "precision: 'int8'"),
        ("ab", {"name": "/ . "}, "name: '/ . '"),
        ("ab", {"name": "x" * 101}, "a name of 1 to 100 characters"),
    ],
)
def test_a_bad_order_is_refused_by_its_field(
    service: ModelService, names: str, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        service.order(order(service, names, **values))
    assert words in str(error.value)
    assert service.merges() == ()


def test_what_is_no_single_checkpoint_of_the_family_is_refused(service: ModelService, models: Path) -> None:
    from tests.checkpoints.test_catalog import folder

    folder(models / "checkpoints" / "d")
    (models / "checkpoints" / "e.ckpt").write_bytes(b"\x80\x02" + bytes(500))
    xl = {k: v.contiguous().clone() for k, v in original_tensors("sdxl", tiny_family("sdxl")).items()}
    save_file(xl, models / "checkpoints" / "f.safetensors")
    service.listing(refresh=True)
    for name, words in {
        "d": "d is a diffusers folder; only single .safetensors files can be merged.",
        "e": "e is a pickle: convert it safely first.",
        "f": "a is SD 1, f is SDXL: only checkpoints of one family can be merged.",
    }.items():
        with pytest.raises(Refused) as error:
            service.order(order(service, f"a{name}"))
        assert str(error.value) == words
    ids = {model.name: model.id for model in service.listing()}
    service.correct(ids["b"], "v_prediction")
    service.correct(ids["a"], "epsilon")
    with pytest.raises(Refused, match=r"a and b predict different things \(epsilon and v_prediction\)"):
        service.order(order(service))


def test_a_full_disk_and_a_name_that_is_taken(
    service: ModelService, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match=r"c\.safetensors is there already; it is not overwritten"):
        service.order(order(service, name="c"))
    monkeypatch.setattr(service._merges, "_free_bytes", lambda folder: 2**20)
    with pytest.raises(Refused, match=r"The disk is too small: the new checkpoint takes .* GB, 0\.0 GB are free"):
        service.order(order(service))


def test_a_merge_is_stopped_and_leaves_nothing(
    service: ModelService, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(*args: Any, progress: Any, **rest: Any) -> None:
        def at(fraction: float) -> None:
            progress(fraction)
            entered.set()
            assert go_on.wait(60)

        write(*args, progress=at, **rest)

    monkeypatch.setattr(merges, "write", slow)
    service.order(order(service, name="one"))
    service.order(order(service, name="two"))
    assert entered.wait(60)
    with pytest.raises(Refused, match=r"one\.safetensors is being made already"):
        service.order(order(service, name="one"))
    two, one = service.merges()
    assert (one.state, two.state) == ("running", "waiting")
    assert [path.name for path in (models / "checkpoints").glob(".*")] == [".one.safetensors.part"]
    service.order(StopMerge(merge_id=two.id))
    service.order(StopMerge(merge_id=one.id))
    go_on.set()
    tick = threading.Event()
    while service.merges()[1].state == "running":
        tick.wait(0.01)
    assert [one.state for one in service.merges()] == ["cancelled", "cancelled"]
    assert sorted(path.name for path in (models / "checkpoints").iterdir()) == [f"{n}.safetensors" for n in "abc"]
    with pytest.raises(NoSuchModel):
        service.order(StopMerge(merge_id="here-nothing"))
