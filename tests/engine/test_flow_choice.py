"""A single file that does not say it is a rectified flow: its owner says so, and which shift its times have."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.answered.models import Model
from studio.asked.orders import CorrectPrediction
from studio.asked.problems import InvalidRequest
from studio.asked.requests import Request
from studio.engine.engine import DiffusionEngine
from studio.engine.models import ModelService
from studio.picture.metadata import own_info
from tests.checkpoints.original import save_original, tiny_family
from tests.engine.conftest import EngineFactory, ask, finish
from tests.families.helpers import lane_of, load, run


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "checkpoints"
    folder.mkdir(parents=True)
    said = {"modelspec.prediction_type": "epsilon", "modelspec.resolution": "64x64"}
    save_original(folder / "quiet.safetensors", "sdxl", tiny_family("sdxl"), metadata=said)
    return tmp_path / "models"


def info_of(engine: DiffusionEngine, request: Request) -> dict[str, object]:
    """What the picture of a run says about itself."""
    path = engine._gallery.path(finish(engine, request).pictures[0].id, "anna")
    assert path is not None
    info = own_info(path)
    assert info is not None
    return info


def the_model(service: ModelService) -> Model:
    [model] = service.listing(refresh=True)
    return model


def test_the_choice_is_listed_remembered_and_forgotten(models: Path) -> None:
    service = ModelService([models])
    model = the_model(service)
    assert (model.prediction_type, model.shift, model.shift_chosen) == ("epsilon", None, False)
    service.order(CorrectPrediction(model_id=model.id, prediction_type="flow_prediction"))
    assert (the_model(service).shift, the_model(service).shift_chosen) == (1.0, False)
    service.order(CorrectPrediction(model_id=model.id, prediction_type="flow_prediction", shift=2.5))
    [checkpoint] = service.checkpoints()
    assert checkpoint.scheduler == "euler", "what suits a flow"
    service.close()
    again = ModelService([models])  # after a restart
    model = the_model(again)
    assert (model.prediction_type, model.prediction_corrected, model.shift) == ("flow_prediction", True, 2.5)
    assert model.shift_chosen
    again.order(CorrectPrediction(model_id=model.id, prediction_type=None))
    assert (the_model(again).prediction_type, the_model(again).shift) == ("epsilon", None)
    again.close()


@pytest.mark.parametrize("shift", [0, -1.0, 100.5, float("nan"), float("inf"), "3", True])
def test_a_shift_that_is_none_is_refused_by_name(models: Path, shift: object) -> None:
    service = ModelService([models])
    model = the_model(service)
    with pytest.raises(InvalidRequest, match=r"shift: .* is not allowed\. Allowed: numbers above 0, to 100"):
        service.order(CorrectPrediction(model_id=model.id, prediction_type="flow_prediction", shift=shift))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="only a rectified flow has one"):
        service.order(CorrectPrediction(model_id=model.id, prediction_type="v_prediction", shift=3.0))
    assert the_model(service).prediction_type == "epsilon"
    service.close()


def test_the_chosen_shift_is_that_of_the_run(models: Path) -> None:
    path = models / "checkpoints" / "quiet.safetensors"
    chosen = load(path, prediction_type="flow_prediction", shift=3.0)
    assert (chosen.scheduler_config["shift"], chosen.scheduler_config["flow_shift"]) == (3.0, 3.0)
    marked = load(path, prediction_type="flow_prediction")
    latents = []
    for components in (chosen, marked):
        lane = lane_of(components, "euler")
        times = [level.s for level in lane.schedule.levels]
        shift = components.scheduler_config["shift"]
        assert times == pytest.approx([shift * t / (1 + (shift - 1) * t) for t in (1.0, 0.8, 0.6, 0.4, 0.2)], rel=1e-5)
        run(components, lane)
        latents.append(lane.latents)
    assert not torch.allclose(*latents)
    assert load(path, shift=3.0).scheduler_config.get("shift") is None, "what is no flow has none"


def test_pictures_say_what_the_owner_chose(models: Path, make_engine: EngineFactory) -> None:
    engine = make_engine(models_dirs=[models])
    [entry] = engine.models.listing()
    engine.models.correct(entry.id, "flow_prediction", 3.0)
    request = ask(checkpoint="quiet", scheduler="euler", width=64, height=64, num_inference_steps=2, exact=True)
    first = info_of(engine, request)
    assert (first["prediction_type"], first["flow_shift"]) == ("flow_prediction", 3.0)
    engine.models.correct(entry.id, "flow_prediction", 1.5)
    assert info_of(engine, request)["flow_shift"] == 1.5
    engine.models.correct(entry.id, None)
    assert not {"prediction_type", "flow_shift"} & info_of(engine, request).keys()
