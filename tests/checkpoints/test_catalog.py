"""The catalogue reads small JSON files, and nothing outside the models folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from studio.checkpoints.catalog import Catalog, Entry
from studio.checkpoints.part_plans import weighted_parts
from studio.families.configs import family_config, pipeline_index
from studio.families.registry import FAMILIES
from studio.families.shapes import shapes_by_config
from tests.checkpoints.headers import header_file


def folder(path: Path, *, world: object = None, pipeline: str = "StableDiffusionPipeline", width: int = 768) -> Path:
    """A diffusers folder of SD 1's or SD 2's real names and shapes, whose data are holes."""
    family = FAMILIES["sd1" if width == 768 else "sd2"]
    for part, kind in weighted_parts(family).items():
        (path / part).mkdir(parents=True)
        config = family_config(family, part)
        (path / part / "config.json").write_text(json.dumps(config))
        name = "model" if part.startswith("text_encoder") else "diffusion_pytorch_model"
        header_file(path / part / f"{name}.safetensors", shapes_by_config(kind.class_name, config) or {})
    for part in ("scheduler", "tokenizer"):
        (path / part).mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(family_config(family, "scheduler")))
    (path / "model_index.json").write_text(json.dumps(pipeline_index(family) | {"_class_name": pipeline}))
    if world is not None:
        (path / "world.json").write_text(json.dumps(world))
    return path


def scan(models_dirs: list[Path]) -> dict[str, Entry]:
    return dict(Catalog(models_dirs).checkpoints())


def test_no_torch_is_needed() -> None:
    code = "import sys, studio.checkpoints.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_built_in_one_comes_first_and_speaks_for_itself(tmp_path: Path) -> None:
    world = {"label": "Small World", "note": "Drawn objects.", "examples": ["a fox", 5], "words": ["fox", "sea"]}
    folder(tmp_path / "small-world-128", world=world)
    folder(tmp_path / "checkpoints" / "Animals", width=1024)
    built_in, other = (entry.checkpoint for entry in scan([tmp_path]).values())
    assert (built_in.name, built_in.label, built_in.built_in) == ("small-world-128", "Small World", True)
    assert (built_in.examples, built_in.words, built_in.note) == (("a fox",), ("fox", "sea"), "Drawn objects.")
    weights = sum(file.stat().st_size for file in (tmp_path / "small-world-128").glob("*/*.safetensors"))
    assert (built_in.native_width, built_in.native_height, built_in.size_bytes) == (512, 512, weights)
    assert (other.name, other.family, other.built_in, other.words) == ("Animals", "sd2", False, ())


@pytest.mark.parametrize(
    ("said", "suits"), [({"guidance_scale": 3, "num_inference_steps": 30}, (3.0, 30)), ({}, (5.0, 25))]
    + [({"guidance_scale": bad, "num_inference_steps": bad}, (5.0, 25)) for bad in ("3", -1, 10**9, True, None, [3])],
)  # fmt: skip
def test_a_world_says_what_suits_it_as_far_as_a_request_allows(
    tmp_path: Path, said: dict[str, object], suits: tuple[float, int]
) -> None:
    folder(tmp_path / "small-world-128", world=said)
    found = scan([tmp_path])["small-world-128"].checkpoint
    assert (found.guidance_scale, found.num_inference_steps) == suits


def test_several_models_folders_and_equal_names(tmp_path: Path) -> None:
    for models in ("one", "two"):
        folder(tmp_path / models / "checkpoints" / "fox")
    found = scan([tmp_path / "one", tmp_path / "two", tmp_path / "absent"])
    assert list(found) == ["one/checkpoints/fox", "two/checkpoints/fox"]
    assert found["two/checkpoints/fox"].path == tmp_path / "two" / "checkpoints" / "fox"
    assert found["two/checkpoints/fox"].checkpoint.label == "two/checkpoints/fox"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"_class_name": ["x"]}', "[" * 100_000, "x" * 2**21])
def test_what_is_no_checkpoint_is_left_out(tmp_path: Path, text: str) -> None:
    damaged = folder(tmp_path / "checkpoints" / "damaged")
    (damaged / "model_index.json").write_text(text)
    (tmp_path / "checkpoints" / "empty").mkdir()
    (tmp_path / "checkpoints" / "file.safetensors").write_bytes(b"")
    folder(tmp_path / "checkpoints" / "other pipeline", pipeline="FluxPipeline")
    folder(tmp_path / "checkpoints" / "good")
    assert list(scan([tmp_path])) == ["good"]


def test_odd_configs_do_not_break_the_catalogue(tmp_path: Path) -> None:
    odd = folder(tmp_path / "checkpoints" / "odd", world={"label": 5, "words": "fox", "examples": None})
    for config in ({"sample_size": "x"}, {"sample_size": -1}, {"sample_size": 10**9}, {"sample_size": [64, 64]}):
        (odd / "unet" / "config.json").write_text(json.dumps(config))
        [entry] = scan([tmp_path]).values()
        assert (entry.checkpoint.native_width, entry.checkpoint.label, entry.checkpoint.words) == (512, "odd", ())


def test_a_link_to_outside_the_models_folder_is_left_out(tmp_path: Path) -> None:
    folder(tmp_path / "elsewhere" / "secret")
    (tmp_path / "models" / "checkpoints").mkdir(parents=True)
    try:
        (tmp_path / "models" / "checkpoints" / "link").symlink_to(tmp_path / "elsewhere" / "secret")
    except OSError:
        pytest.skip("no links on this file system")
    folder(tmp_path / "models" / "checkpoints" / "real")
    (tmp_path / "models" / "checkpoints" / "inside").symlink_to(tmp_path / "models" / "checkpoints" / "real")
    catalog = Catalog([tmp_path / "models"])
    assert list(catalog.checkpoints()) == ["inside"]  # and "real", which is the same folder, is not told twice
    refused = next(entry for entry in catalog.entries() if entry.name == "link")
    assert refused.facts.state == "refused"
    assert "--models-dir" in refused.facts.reason
