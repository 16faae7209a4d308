"""ControlNets through the engine: a job with one, its second pass, its metadata, and what is refused at once."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load
from safetensors.torch import load_file, save_file

from studio.answered.events import ComparisonEnded, Failed, Finished
from studio.answered.models import Model
from studio.asked.axes import Axis
from studio.asked.branch import Branch
from studio.asked.compare import Comparison
from studio.asked.control import Control
from studio.asked.fields import NO_FILE, ImageToImage, Inpaint, TextToImage
from studio.asked.problems import InvalidRequest
from studio.asked.requests import Request
from studio.diffusion.lane import Lane
from studio.engine.engine import DiffusionEngine
from studio.engine.executor import Executor
from studio.engine.jobs import Limits
from studio.engine.runs import ActiveImage, Run
from studio.picture.gallery import Gallery
from studio.picture.metadata import request_from_info
from tests.checkpoints.original import tiny_family
from tests.engine.conftest import MakeDevice, ask, finish, outcome, pixels
from tests.engine.test_answers import inquire
from tests.engine.test_recorder import header
from tests.tiny import save_tiny_checkpoint, tiny_components
from tests.tiny_control import save_tiny_controlnet, tiny_controlnet


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint, two ControlNets for it, and one for SDXL."""
    folder = tmp_path_factory.mktemp("models")
    save_tiny_checkpoint(folder / "checkpoints" / "tiny", fast_preview=True)
    unet = tiny_components().unet
    save_tiny_controlnet(folder / "controlnet" / "lines", unet, 1)
    net = tiny_controlnet(unet, 2)
    save_file(net.state_dict(), folder / "controlnet" / "maps.safetensors")
    save_tiny_controlnet(folder / "controlnet" / "large", tiny_family("sdxl")["unet"])
    return folder


@pytest.fixture(scope="module")
def engine(models: Path, tmp_path_factory: pytest.TempPathFactory, make_device: MakeDevice) -> object:
    limits = Limits(unwatched_seconds=None, per_owner=100)
    gallery = Gallery(tmp_path_factory.mktemp("outputs"))
    engine = DiffusionEngine([models], gallery, preload=None, make_device=make_device, limits=limits)
    engine.start()
    yield engine
    engine.close()


def png(seed: int, size: tuple[int, int] = (64, 64)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def control(model: str = "lines", seed: int = 1, **fields: object) -> Control:
    return Control(model=model, image=png(seed), **fields)  # type: ignore[arg-type]


def test_a_control_changes_the_picture_and_is_told_in_its_file(engine: DiffusionEngine) -> None:
    plain, steered = finish(engine, ask()), finish(engine, ask(controls=(control(scale=1.5),)))
    assert not (pixels(engine, plain) == pixels(engine, steered)).all()
    info = steered.pictures[0].info
    assert 'ControlNet 0: "Module: none, Model: lines, Weight: 1.5, ' in steered.pictures[0].parameters
    with pytest.raises(InvalidRequest, match="image nothing of control 1"):
        request_from_info(info)
    again = request_from_info(info, control_images=[png(1)])
    assert (pixels(engine, finish(engine, again)) == pixels(engine, steered)).all()
    for other in (control(seed=2, scale=1.5), control(scale=0.5), control("maps", scale=1.5), control(end=0.5)):
        assert not (pixels(engine, finish(engine, ask(controls=(other,)))) == pixels(engine, steered)).all()
    silent = finish(engine, ask(controls=(control(scale=0.0),)))
    assert (pixels(engine, silent) == pixels(engine, plain)).all()


def test_a_figure_of_few_steps_obeys_a_map_as_a_run_does(engine: DiffusionEngine) -> None:
    fields = {"prompt": "a fox", "guidance_scale": 3.5, "seed": 7, "scheduler": "dpmpp_2m"}
    made = finish(engine, ask(num_inference_steps=2, exact=True, controls=(control("maps"),), **fields))
    answer = inquire(engine, "few-steps-of-map", png(1), steps=2, control="maps", **fields)
    assert (np.asarray(Image.open(io.BytesIO(answer.content))) == pixels(engine, made)).all()
    with pytest.raises(InvalidRequest, match="control"):
        inquire(engine, "few-steps-of-map", png(1), control="absent")


def test_and_takes_a_control_in_every_row(engine: DiffusionEngine) -> None:
    """Two equal texts of half the weight are one text, with the control too."""
    controls = (control(scale=1.5),)
    one = pixels(engine, finish(engine, ask(prompt="a fox", controls=controls)))
    halves = pixels(engine, finish(engine, ask(prompt="a fox :0.5 AND a fox :0.5", controls=controls)))
    other = pixels(engine, finish(engine, ask(prompt="a fox AND the sea", controls=controls)))
    plain = pixels(engine, finish(engine, ask(prompt="a fox AND the sea")))
    assert abs(one.astype(int) - halves).max() <= 1
    assert (one != other).any()
    assert (plain != other).any()


def test_it_is_listed_as_loaded_and_can_be_let_go(engine: DiffusionEngine) -> None:
    def lines() -> Model:
        return next(model for model in engine.models.listing() if model.name == "lines")

    engine.models.unload(lines().id)
    wait_for(lambda: lines().place == "disk")
    finish(engine, ask())
    before = engine.models.memory().ram_models
    finish(engine, ask(controls=(control(),)))
    assert lines().place == "device"
    assert engine.models.memory().ram_models > before
    engine.models.unload(lines().id)
    wait_for(lambda: lines().place == "disk")
    assert engine.models.memory().ram_models == before
    assert next(model for model in engine.models.listing() if model.name == "tiny").place == "device"


def wait_for(done: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(3000):
        if done():
            return
        tick.wait(0.02)
    raise AssertionError("it did not come to be")


@pytest.mark.parametrize(
    "request_",
    [
        TextToImage(prompt="", checkpoint="tiny", num_inference_steps=3, seed=1, hires_scale=1.5, hires_strength=0.7),
        ImageToImage(prompt="", checkpoint="tiny", num_inference_steps=4, seed=1, image=png(5, (96, 64))),
        Inpaint(
            prompt="", checkpoint="tiny", num_inference_steps=4, seed=1, image=png(5), mask=png(0, (1, 1)),
            extend_left=16, inpaint_area="masked",
        ),
    ],
    ids=["hires", "image to image", "inpaint"],
)  # fmt: skip
def test_every_kind_of_run_takes_controls(engine: DiffusionEngine, request_: Request) -> None:
    import dataclasses

    two = (control(preprocessor="canny"), control("maps", seed=3, preprocessor="scribble", start=0.25))
    steered = finish(engine, dataclasses.replace(request_, controls=two))
    plain = finish(engine, request_)
    size = (plain.pictures[0].width, plain.pictures[0].height)
    assert (steered.pictures[0].width, steered.pictures[0].height) == size
    assert not (pixels(engine, plain) == pixels(engine, steered)).all()


def test_what_cannot_be_is_refused_before_the_job_begins(engine: DiffusionEngine) -> None:
    for bad, message in (
        (control("large"), "model 'large' of control 1, which is for SDXL, while tiny is SD 1"),
        (control("nothing"), "model 'nothing' of control 1 is not allowed. Allowed: one of lines, maps"),
        (Control(model="lines", image=b"GIF89a"), "a broken GIF file in control 1"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            engine.submit(ask(controls=(bad,)), owner="anna")
        assert message in str(caught.value)
        assert [problem.field for problem in caught.value.problems] == ["controls"]
    assert finish(engine, ask()).pictures


def test_one_that_is_damaged_ends_its_own_job_alone(models: Path, engine: DiffusionEngine) -> None:
    net = tiny_controlnet(tiny_components().unet)
    tensors = {name: value for name, value in net.state_dict().items() if name != "conv_in.bias"}
    save_file(tensors, models / "controlnet" / "broken.safetensors")
    engine.models.listing(refresh=True)
    ended = outcome(engine, engine.submit(ask(controls=(control("broken"),)), owner="anna"))
    assert isinstance(ended, Failed)
    assert (ended.kind, "conv_in.bias" in ended.message) == ("bad_checkpoint", True)
    assert finish(engine, ask(controls=(control(),))).pictures


def test_the_pictures_of_a_job_are_forgotten_with_its_end(engine: DiffusionEngine) -> None:
    job_id = engine.submit(ask(controls=(control(),)), owner="anna")
    job = engine._book.get(job_id, owner="anna")
    outcome(engine, job_id)
    assert job.request.file_bytes == 0
    assert job.controls == ()
    assert job.size_bytes == 0


def test_the_cells_of_a_comparison_are_held_to_the_same_map_each_as_its_single_run(engine: DiffusionEngine) -> None:
    base = ask(controls=(control(scale=1.5), control("maps", seed=2)), seed=5)
    scales = Axis(field="control_scale", values=(0.0, 1.5))
    comparison = Comparison(base=base, x=scales, y=Axis(field="guidance_scale", values=(1.0, 5.0)))
    job_id = engine.submit_comparison(comparison, owner="anna")
    job = engine._book.get(job_id, owner="anna")
    assert job.size_bytes >= 2 * 3 * 64 * 64
    done = asyncio.run(_to_the_end(engine, job_id))
    assert sorted(done) == [0, 1, 2, 3]
    for index, finished in done.items():
        single = comparison.request(index)
        assert single is not None
        alone = finish(engine, single)
        difference = pixels(engine, finished).astype(int) - pixels(engine, alone).astype(int)
        assert abs(difference).max() <= 1, index  # they shared U-Net calls
        assert [one["scale"] for one in finished.pictures[0].info["controls"]] == [scales.values[index % 2], 1.0]
    assert not (pixels(engine, done[0]) == pixels(engine, done[1])).all()
    over = engine.comparison(job_id, owner="anna").comparison
    assert [one.image for one in over.base.controls] == [NO_FILE, NO_FILE]
    assert job.controls == ()
    assert all(cell.controls == () for cell in job.parts())


async def _to_the_end(engine: DiffusionEngine, job_id: str) -> dict[int, Finished]:
    events = [event async for event in engine.watch_comparison(job_id, owner="anna")]
    assert isinstance(events[-1], ComparisonEnded)
    cells = engine.comparison(job_id, owner="anna").cells
    return {index: told.event for index, told in cells.items() if isinstance(told.event, Finished)}


def test_a_recorded_call_with_a_control_is_made_again_with_it(engine: DiffusionEngine) -> None:
    request = ask(controls=(control(scale=2.0),), width=96, height=64)
    job = engine.submit(request, owner="anna", attention=True)
    assert isinstance(outcome(engine, job), Finished)
    data = engine.record(job, owner="anna")
    maps = load(data)["attention.up.4x6"][2].astype(float)
    names = [one["name"] for one in header(data)["attention_layers"] if one["place"] == "up"]
    answers = [inquire(engine, "heads", owner="anna", job=job, evaluation=2, layer=name) for name in names]
    again = np.mean([load(one.content)["heads"].astype(float).mean(axis=0) for one in answers], axis=0)
    assert np.abs(again - maps[: len(again)]).max() < 2e-3
    rms = header(answers[0].content)["rms"]
    assert sorted(rms) == ["k", "q", "v"]
    assert all(value > 0 for value in rms.values())


@pytest.fixture
def own_engine(models: Path, tmp_path: Path, make_device: MakeDevice) -> Iterator[DiffusionEngine]:
    """An engine over a models folder of which a test may replace a ControlNet, `maps`."""
    shutil.copytree(models, tmp_path / "models", ignore=shutil.ignore_patterns(".latent-studio"))
    limits = Limits(unwatched_seconds=None, per_owner=100)
    gallery = Gallery(tmp_path / "outputs")
    engine = DiffusionEngine([tmp_path / "models"], gallery, preload=None, make_device=make_device, limits=limits)
    engine.start()
    yield engine
    engine.close()


def replace_maps(folder: Path) -> None:
    file = folder / "models" / "controlnet" / "maps.safetensors"
    save_file({name: tensor * 0.5 for name, tensor in load_file(file).items()}, file.with_suffix(".part"))
    os.replace(file.with_suffix(".part"), file)


def test_a_branch_is_not_made_with_another_controlnet(own_engine: DiffusionEngine, tmp_path: Path) -> None:
    job = own_engine.submit(ask(controls=(control("maps"),)), owner="anna")
    outcome(own_engine, job)
    branch = Branch(evaluation=1, guidance_scale=2.0)
    assert isinstance(outcome(own_engine, own_engine.branch(job, branch, owner="anna")), Finished)
    replace_maps(tmp_path)
    last = outcome(own_engine, own_engine.branch(job, branch, owner="anna"))
    assert isinstance(last, Failed)
    assert "The ControlNet maps has been replaced on disk since this run began" in last.message
    assert isinstance(outcome(own_engine, own_engine.submit(ask(controls=(control("maps"),)), owner="anna")), Finished)


def test_a_run_goes_on_with_the_controlnet_that_it_has(
    own_engine: DiffusionEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = ask(controls=(control("maps", scale=2.0),), hires_scale=1.5, hires_strength=0.7)
    undisturbed = pixels(own_engine, finish(own_engine, twice))
    real = Executor.second_pass

    def second_pass(executor: Executor, active: ActiveImage, *picture: Any) -> Lane | None:
        if not active.before:
            replace_maps(tmp_path)
        return real(executor, active, *picture)

    monkeypatch.setattr(Executor, "second_pass", second_pass)
    assert (pixels(own_engine, finish(own_engine, twice)) == undisturbed).all()
    monkeypatch.undo()
    assert not (pixels(own_engine, finish(own_engine, twice)) == undisturbed).all()


def test_a_controlnet_that_is_replaced_before_the_run_has_read_it_is_named(
    own_engine: DiffusionEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Executor.first_pass

    def first_pass(executor: Executor, run: Run, image: int) -> Lane:
        replace_maps(tmp_path)
        return real(executor, run, image)

    monkeypatch.setattr(Executor, "first_pass", first_pass)
    last = outcome(own_engine, own_engine.submit(ask(controls=(control("maps"),)), owner="anna"))
    assert isinstance(last, Failed)
    assert "The ControlNet maps has been replaced on disk" in last.message
