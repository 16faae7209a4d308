"""Loading and letting go of models beside the jobs: orders wait for lanes, switches keep what fits."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from studio.answered.events import Failed, Finished
from studio.answered.models import Model
from studio.asked.problems import InvalidRequest
from studio.checkpoints.options import ModelOptions
from studio.engine.engine import DiffusionEngine
from tests.engine.conftest import DEVICES, Calls, EngineFactory, ask, finish, outcome, run
from tests.fake_device import FakeDevice


def model(engine: DiffusionEngine, name: str) -> Model:
    return next(m for m in engine.models.listing() if m.name == name)


def wait_for(done: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(3000):
        if done():
            return
        tick.wait(0.02)
    raise AssertionError("it did not come to be")


def test_a_model_is_loaded_and_let_go_by_order(make_engine: EngineFactory) -> None:
    engine = make_engine()
    engine.models.load(model(engine, "tiny").id)
    wait_for(lambda: model(engine, "tiny").place == "device")
    assert engine.status().checkpoint == "tiny"
    memory = engine.models.memory()
    assert memory.ram_models > 0
    assert memory.device_models is None  # one memory on a CPU
    assert memory.ram_total
    engine.models.unload(model(engine, "tiny").id)
    wait_for(lambda: model(engine, "tiny").place == "disk")
    assert engine.models.memory().ram_models == 0
    finish(engine, ask())


def test_an_order_waits_for_the_lanes_and_not_for_the_queue(make_engine: EngineFactory, calls: Calls) -> None:
    engine = make_engine()
    calls.gate.clear()
    first = engine.submit(ask(), owner="anna")
    calls.wait()
    waiting = engine.submit(ask(checkpoint="tiny-v"), owner="ben")
    engine.models.unload(model(engine, "tiny").id)
    calls.gate.set()
    assert isinstance(outcome(engine, first), Finished)
    assert isinstance(outcome(engine, waiting, "ben"), Finished)
    wait_for(lambda: model(engine, "tiny").place == "disk")
    assert model(engine, "tiny-v").place == "device"


def test_a_switch_back_reads_nothing(make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.checkpoints import loader

    read: list[str] = []
    real = loader.blueprint_of
    monkeypatch.setattr(loader, "blueprint_of", lambda path, *a, **k: read.append(path.name) or real(path, *a, **k))
    engine = make_engine()
    for checkpoint in ("tiny", "tiny-v", "tiny", "tiny-v"):
        finish(engine, ask(checkpoint=checkpoint))
    assert read == ["tiny", "tiny-v"]


def test_after_a_load_that_failed_the_one_before_makes_pictures(make_engine: EngineFactory, models_dir: Path) -> None:
    bad = models_dir / "checkpoints" / "bad"
    shutil.copytree(models_dir / "checkpoints" / "tiny", bad)
    try:
        (bad / "tokenizer" / "tokenizer_config.json").write_text("{")
        for file in (bad / "tokenizer").iterdir():
            file.write_text("{")
        engine = make_engine()
        finish(engine, ask())
        failed = run(engine, ask(checkpoint="bad"))[-1]
        assert isinstance(failed, Failed)
        assert failed.kind == "bad_checkpoint"
        assert model(engine, "tiny").place == "device"
        finish(engine, ask())
        engine.models.load(model(engine, "bad").id)
        wait_for(lambda: engine.models.message() != "")
        assert "tokenizer" in engine.models.message()
        finish(engine, ask())
    finally:
        shutil.rmtree(bad)


class Small(FakeDevice):
    """What an engine makes: a fake device by the arguments of a real one."""

    def __init__(self, name: str, dtype: str) -> None:
        super().__init__(name, dtype)


@pytest.mark.parametrize("device", [*DEVICES, "fake"])
def test_pictures_of_two_models_in_turn_on_every_device(make_engine: EngineFactory, device: str) -> None:
    engine = make_engine(make_device=DEVICES.get(device, Small), options=ModelOptions(device_limit=0))
    for checkpoint in ("tiny", "tiny-v", "tiny"):
        finish(engine, ask(checkpoint=checkpoint, num_inference_steps=2))
    places = {m.name: m.place for m in engine.models.listing()}
    assert places["tiny"] == "device"
    if device == "fake":
        assert places["tiny-v"] == "ram"


def test_a_corrected_prediction_type_counts_from_the_next_picture(make_engine: EngineFactory) -> None:
    engine = make_engine()
    finish(engine, ask())
    tiny = model(engine, "tiny")
    try:
        engine.models.correct(tiny.id, "v_prediction")
        wait_for(lambda: model(engine, "tiny").place == "disk")
        finish(engine, ask())
        assert engine.components is not None
        assert engine.components.prediction_type == "v_prediction"
    finally:
        engine.models.correct(tiny.id, None)


def test_a_chosen_vae_decodes_the_next_picture_and_is_named_in_it(make_engine: EngineFactory, models_dir: Path) -> None:
    from tests.engine.conftest import pixels
    from tests.tiny import tiny_vae

    other = tiny_vae(seed=11)
    other.save_pretrained(models_dir / "vae" / "other")
    bare = models_dir / "checkpoints" / "bare"
    shutil.copytree(models_dir / "checkpoints" / "tiny", bare)
    shutil.rmtree(bare / "vae")
    try:
        engine = make_engine()
        with pytest.raises(InvalidRequest, match=r"checkpoint: 'bare' is not allowed.*choose one for it on the Models"):
            engine.submit(ask(checkpoint="bare"), owner="anna")
        own = pixels(engine, finish(engine, ask()))
        for name in ("tiny", "bare"):
            engine.models.choose_vae(model(engine, name).id, model(engine, "other").id)
        wait_for(lambda: model(engine, "tiny").place == "device" and not engine.models.has_orders)
        finished = finish(engine, ask())
        chosen = pixels(engine, finished)
        assert (chosen != own).any()
        assert (pixels(engine, finish(engine, ask(checkpoint="bare"))) == chosen).all()
        assert finished.pictures[0].info["vae"] == "other"
        assert "VAE: other" in finished.pictures[0].parameters
        assert engine.components is not None
        weights = dict(engine.components.vae.named_parameters())
        assert all(torch.equal(weights[name], value) for name, value in other.named_parameters())
        engine.models.choose_vae(model(engine, "tiny").id, None)
        again = finish(engine, ask())
        assert (pixels(engine, again) == own).all()
        assert "vae" not in again.pictures[0].info
    finally:
        engine.models.choose_vae(model(engine, "tiny").id, None)
        shutil.rmtree(bare)
        shutil.rmtree(models_dir / "vae")


def test_what_is_prepared_is_loaded_when_the_jobs_are_done(make_engine: EngineFactory, calls: Calls) -> None:
    engine = make_engine(preload="tiny")
    calls.gate.clear()
    first = engine.submit(ask(), owner="anna")
    calls.wait()
    engine.prepare("absent")
    assert engine.status().next is None
    engine.prepare("tiny-v")
    assert engine.status().next == "tiny-v"
    second = engine.submit(ask(), owner="anna")
    calls.gate.set()
    assert isinstance(outcome(engine, first), Finished)
    assert isinstance(outcome(engine, second), Finished)
    wait_for(lambda: engine.status().checkpoint == "tiny-v" and engine.status().state == "ready")
    assert engine.status().next is None
    assert model(engine, "tiny-v").place == "device"
    engine.prepare("tiny-v")
    wait_for(lambda: engine._thread.next is None)
    assert isinstance(run(engine, ask())[-1], Finished)


def test_a_studio_that_was_told_to_load_nothing_beforehand_does_not(make_engine: EngineFactory) -> None:
    engine = make_engine()  # preload None
    engine.prepare("tiny")
    assert engine.status().next is None


def test_offload_makes_the_same_picture(make_engine: EngineFactory) -> None:
    from tests.engine.conftest import pixels

    plain = make_engine()
    expected = pixels(plain, finish(plain, ask()))
    engine = make_engine(make_device=Small, options=ModelOptions(offload=True))
    assert (pixels(engine, finish(engine, ask())) == expected).all()


def test_the_listing_is_there_before_torch(make_engine: EngineFactory) -> None:
    engine = make_engine(start=False)
    assert {m.name for m in engine.models.listing()} >= {"tiny", "tiny-v"}
    assert asyncio.run(asyncio.to_thread(engine.models.memory)).ram_total
