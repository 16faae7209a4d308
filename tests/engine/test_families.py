"""The engine and the noise viewer on every family and path of noise: pictures, recordings, branches, questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from studio.answered.events import Failed, Finished
from studio.asked.branch import Branch
from studio.asked.fields import ImageToImage
from studio.diffusion.quantities import noise_terms, x0_terms
from studio.engine.engine import DiffusionEngine
from studio.engine.jobs import Limits
from studio.picture.gallery import Gallery
from tests.checkpoints.original import save_original, tiny_family
from tests.engine.conftest import OneThread, ask, finish, outcome, run
from tests.engine.test_answers import inquire, png
from tests.engine.test_recorder import header
from tests.families.helpers import COSXL, EDM, FLOW_METADATA

V = {"modelspec.prediction_type": "v"}
KINDS: dict[str, dict[str, Any]] = {
    "sd1": {"family": "sd1"},
    "sd1-inpainting": {"family": "sd1", "in_channels": 9},
    "sd2": {"family": "sd2", "metadata": V},
    "sdxl": {"family": "sdxl"},
    "sdxl-refiner": {"family": "sdxl_refiner"},
    "ssd-1b": {"family": "ssd_1b"},
    "playground": {"family": "sdxl", "extra": EDM},
    "cosxl": {"family": "sdxl", "extra": COSXL},
    "flow": {"family": "sdxl", "metadata": FLOW_METADATA},
}
SMALL = {"modelspec.resolution": "64x64"}  # so that an answer about the whole model takes no minute
OWNER = "anna"


@pytest.fixture(scope="module")
def families_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiffusionEngine]:
    models = tmp_path_factory.mktemp("families")
    (models / "checkpoints").mkdir()
    for name, kind in KINDS.items():
        modules = tiny_family(kind["family"], in_channels=kind.get("in_channels", 4))
        path = models / "checkpoints" / f"{name}.safetensors"
        metadata = SMALL | kind.get("metadata", {})
        save_original(path, kind["family"], modules, metadata=metadata, extra=kind.get("extra"))
    engine = DiffusionEngine(
        [models],
        Gallery(tmp_path_factory.mktemp("outputs")),
        preload=None,
        make_device=OneThread,
        limits=Limits(unwatched_seconds=None, per_owner=100),
    )
    engine.start()
    yield engine
    engine.close()


def asked(name: str, **fields: Any) -> Any:
    size = {"width": 64, "height": 64}
    return ask(**{"checkpoint": name, "exact": True, "scheduler": "dpmpp_2m", "guidance_scale": 3.0} | size | fields)


def recorded(engine: DiffusionEngine, job: str) -> dict[str, Any]:
    return dict(load(engine.record(job, owner=OWNER)))


@pytest.mark.parametrize("name", KINDS)
def test_pictures_recordings_and_branches(families_engine: DiffusionEngine, name: str) -> None:
    engine = families_engine
    for scheduler in ("euler", "dpmpp_2m"):
        job = engine.submit(asked(name, scheduler=scheduler), owner=OWNER)
        assert isinstance(outcome(engine, job), Finished)
        facts = header(engine.record(job, owner=OWNER))
        last = facts["evaluations"][-1]
        assert last["norm_denoised"] > 0
        prediction = facts["prediction_type"]
        for told in facts["evaluations"]:
            x0, noise = x0_terms(told["a"], told["s"], prediction), noise_terms(told["a"], told["s"], prediction)
            if x0 is None or noise is None:
                continue
            # a x0 + s noise is x_t, whatever the model answers.
            assert told["a"] * x0.of_input + told["s"] * noise.of_input == pytest.approx(1, abs=1e-9)
            assert told["a"] * x0.of_output + told["s"] * noise.of_output == pytest.approx(0, abs=1e-9)
        child = engine.branch(job, Branch(evaluation=2), owner=OWNER)
        assert isinstance(outcome(engine, child), Finished)
        one, other = recorded(engine, job), recorded(engine, child)
        differing = [key for key in one if not np.array_equal(one[key], other[key])]
        assert all(key.startswith("preview.") for key in differing), "the fast preview is fitted meanwhile"
        turned = engine.branch(
            job, Branch(evaluation=1, scheduler="euler" if scheduler == "dpmpp_2m" else "dpmpp_2m"), owner=OWNER
        )
        assert isinstance(outcome(engine, turned), Finished)
    picture = ImageToImage(
        prompt="a red fox", image=png(), checkpoint=name, strength=0.6, num_inference_steps=5, seed=5, exact=True,
        width=64, height=64, preview="fast", scheduler="euler",
    )  # fmt: skip
    finish(engine, picture)


@pytest.mark.parametrize("name", KINDS)
def test_every_question_about_the_model_has_an_answer(families_engine: DiffusionEngine, name: str) -> None:
    engine = families_engine
    finish(engine, asked(name, num_inference_steps=1))

    def answer(question: str, image: bytes = b"", **given: Any) -> bytes:
        return inquire(engine, question, image, checkpoint=name, **given).content

    architecture = json.loads(answer("architecture"))
    assert architecture["parts"].keys() >= {"unet", "encoder", "decoder"}
    assert any(part.startswith("text_encoder") for part in architecture["parts"])
    assert all(block["milliseconds"] is not None for block in architecture["blocks"])
    schedule = json.loads(answer("schedule", scheduler="euler", num_inference_steps=5))
    training = schedule["training"]
    assert {len(training[key]) for key in ("a", "s", "timesteps")} == {1000}
    for told in schedule["evaluations"]:
        place = round(told["position"])
        ratio = training["s"][place] / training["a"][place] if training["a"][place] else None
        if told["sigma"] is not None and ratio is not None:
            assert ratio == pytest.approx(told["sigma"], rel=0.05)
    losses = json.loads(answer("losses", png(), caption="a red apple", points=3))
    assert all(np.isfinite(values).all() for values in losses["losses"].values())
    assert np.isfinite(load(answer("error", png(), caption="a red apple", timestep=500))["error"]).all()
    forward = load(answer("forward", png()))
    assert forward["training_a"][0] > forward["training_a"][-1]
    assert json.loads(answer("embeddings", prompt="a red apple"))["tokens"]
    assert header(answer("vae", png()))["channels"]
    assert answer("start", png(), scheduler="euler", num_inference_steps=5)


@pytest.mark.parametrize(("name", "scheduler"), [("flow", "heun"), ("cosxl", "ddim"), ("playground", "unipc")])
def test_what_cannot_run_a_path_is_said_by_name(families_engine: DiffusionEngine, name: str, scheduler: str) -> None:
    last = run(families_engine, asked(name, scheduler=scheduler))[-1]
    assert isinstance(last, Failed)
    assert last.kind == "bad_request"
    assert last.message.startswith("scheduler: ")
    assert "DPM++ 2M" in last.message


def test_the_numbers_of_a_tensor_are_finite() -> None:
    """The tiny models answer noise with something of its size, so that the other tests mean something."""
    unet = tiny_family("sdxl")["unet"]
    assert torch.isfinite(next(unet.parameters())).all()
