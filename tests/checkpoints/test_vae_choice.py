"""A checkpoint runs with the VAE that was chosen for it: its own, a file's, or, where it lacks one, another's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from studio.answered.engine import Refused
from studio.answered.models import Model, NoSuchModel
from studio.asked.problems import InvalidRequest
from studio.checkpoints.catalog import NO_VAE, VAE_MISSING, Catalog, Entry
from studio.engine.models import ModelService
from studio.families.configs import family_config
from studio.families.registry import FAMILIES
from studio.families.shapes import shapes_by_config
from tests.checkpoints.headers import header_file
from tests.checkpoints.test_catalog import folder


def without_vae(path: Path, width: int = 768) -> Path:
    folder(path, width=width)
    shutil.rmtree(path / "vae")
    return path


def vae(path: Path, scaling_factor: float) -> Path:
    path.mkdir(parents=True)
    config = family_config(FAMILIES["sd1"], "vae") | {"scaling_factor": scaling_factor}
    (path / "config.json").write_text(json.dumps(config))
    shapes = shapes_by_config("AutoencoderKL", config)
    assert shapes is not None
    header_file(path / "diffusion_pytorch_model.safetensors", shapes)
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder(tmp_path / "small-world-128")
    folder(tmp_path / "checkpoints" / "whole")
    without_vae(tmp_path / "checkpoints" / "bare")
    without_vae(tmp_path / "checkpoints" / "bare-2", width=1024)
    vae(tmp_path / "vae" / "soft", 0.18215)
    vae(tmp_path / "vae" / "xl", 0.13025)
    return tmp_path


def by_name(models: ModelService) -> dict[str, Model]:
    return {model.name: model for model in models.listing()}


def entry(catalog: Catalog, name: str) -> Entry:
    return next(e for e in catalog.entries() if e.name == name)


def test_a_checkpoint_without_one_says_so_and_is_offered_those_of_its_family(models: Path) -> None:
    service = ModelService([models])
    found = by_name(service)
    assert (found["bare"].state, found["bare"].reason) == ("incomplete", NO_VAE)
    assert "bare" not in service.catalog.checkpoints()
    with pytest.raises(Refused, match="choose one"):
        service.load(found["bare"].id)
    lenders = {name: model.lends_vae_to for name, model in found.items() if model.lends_vae_to}
    xl = ("sdxl", "sdxl_refiner", "ssd_1b", "vega")
    assert lenders == {"whole": ("sd1", "sd2"), "soft": ("sd1", "sd2"), "xl": xl}
    service.close()


@pytest.mark.parametrize(("checkpoint", "source"), [("bare", "soft"), ("bare", "whole"), ("bare-2", "soft")])
def test_the_choice_makes_it_whole_and_is_remembered(models: Path, checkpoint: str, source: str) -> None:
    service = ModelService([models])
    found = by_name(service)
    service.choose_vae(found[checkpoint].id, found[source].id)
    service.close()
    again = ModelService([models])
    now = by_name(again)
    assert (now[checkpoint].state, now[checkpoint].reason, now[checkpoint].vae) == ("usable", "", now[source].id)
    chosen = again.catalog.checkpoints()[checkpoint].vae
    assert chosen is not None
    assert chosen.name == source
    again.choose_vae(now[checkpoint].id, None)
    assert by_name(again)[checkpoint].state == "incomplete"
    again.close()


def test_one_that_has_gone_is_told_and_not_replaced_in_silence(models: Path) -> None:
    catalog = Catalog([models])
    before = entry(catalog, "whole").components_identity
    catalog.choose_vae(entry(catalog, "whole"), entry(catalog, "soft"))
    assert entry(catalog, "whole").components_identity != before
    shutil.rmtree(models / "vae" / "soft")
    catalog.entries(refresh=True)
    assert (entry(catalog, "whole").problem, entry(catalog, "whole").usable) == (VAE_MISSING, False)
    catalog.choose_vae(entry(catalog, "whole"), None)
    assert entry(catalog, "whole").components_identity == before


def test_what_does_not_fit_is_refused(models: Path) -> None:
    service = ModelService([models])
    found = by_name(service)
    for checkpoint, source in (("whole", "xl"), ("whole", "small-world-128"), ("whole", "whole"), ("whole", "bare")):
        with pytest.raises(InvalidRequest, match=rf"vae: '{source}' is not allowed.*made for SD 1"):
            service.choose_vae(found[checkpoint].id, found[source].id)
    for other in ("soft", "small-world-128"):
        with pytest.raises(InvalidRequest, match="a checkpoint other than the built-in one"):
            service.choose_vae(found[other].id, found["soft"].id)
    with pytest.raises(NoSuchModel):
        service.choose_vae(found["whole"].id, "nothing")
    assert all(model.vae == "" for model in service.listing())
    service.close()
