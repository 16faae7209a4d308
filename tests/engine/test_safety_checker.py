"""A guest's pictures are looked at before anything of them is shown, and what is flagged is said in a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.answered.engine import UnknownJob
from studio.answered.events import Event, Failed, Finished, Step
from studio.asked.guest_rules import Rules
from studio.asked.orders import Allowance
from studio.diffusion.safety_checker import SafetyChecker
from studio.engine.engine import DiffusionEngine
from studio.engine.failures import HELD_BACK, NO_SAFETY_CHECKER
from studio.picture.gallery import Gallery
from tests.diffusion.test_safety_checker import save_checker, tiny_checker
from tests.engine.conftest import MakeDevice, ask, events_of, outcome
from tests.tiny import save_tiny_checkpoint

GUEST = Allowance(group="g", rules=Rules(safety_checker=True))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    save_tiny_checkpoint(tmp_path / "models" / "checkpoints" / "tiny")
    return tmp_path / "models"


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery(tmp_path / "outputs")


@pytest.fixture
def engine(models: Path, gallery: Gallery, make_device: MakeDevice) -> Iterator[DiffusionEngine]:
    engine = DiffusionEngine([models], gallery, preload=None, make_device=make_device)
    engine.start()
    yield engine
    engine.close()


def put_checker(models: Path, *, flags: bool) -> None:
    module = tiny_checker()
    module.concept_embeds_weights.data[:] = -2.0 if flags else 2.0  # of a cosine
    save_checker(models / "safety_checker" / "model.safetensors", module)


def made(engine: DiffusionEngine, allowance: Allowance | None) -> tuple[str, list[Event]]:
    job = engine.submit(ask(preview="fast"), owner="guest", allowance=allowance)
    return job, asyncio.run(events_of(engine, job, "guest"))


def test_what_is_flagged_is_neither_shown_nor_stored(models: Path, gallery: Gallery, engine: DiffusionEngine) -> None:
    put_checker(models, flags=True)
    job, events = made(engine, GUEST)
    assert isinstance(events[-1], Failed)
    assert events[-1].message == HELD_BACK
    assert all(event.preview is None for event in events if isinstance(event, Step))
    assert gallery.earlier("guest") == []
    assert list(gallery.outputs_dir.rglob("*.png")) == []
    with pytest.raises(UnknownJob):
        engine.record(job, owner="guest")
    assert isinstance(made(engine, None)[1][-1], Finished), "the owner's own are not looked at"


def test_what_is_not_flagged_is_a_picture_without_previews(
    models: Path, gallery: Gallery, engine: DiffusionEngine
) -> None:
    put_checker(models, flags=False)
    job, events = made(engine, GUEST)
    assert isinstance(events[-1], Finished)
    assert len(gallery.earlier("guest")) == 1
    assert all(event.preview is None for event in events if isinstance(event, Step))
    with pytest.raises(UnknownJob):
        engine.record(job, owner="guest")
    places = [model.place for model in engine.models.listing() if model.kind == "safety_checker"]
    assert places == ["device"], "its memory is counted like that of any model"


def test_one_flagged_picture_does_not_end_the_others(
    models: Path, gallery: Gallery, engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_checker(models, flags=False)
    judgements = iter([False, True, False])
    monkeypatch.setattr(SafetyChecker, "flags", lambda checker, picture: next(judgements))
    request = ask(num_images_per_prompt=3, seed=7)
    events = asyncio.run(events_of(engine, engine.submit(request, owner="guest", allowance=GUEST), "guest"))
    ended = events[-1]
    assert isinstance(ended, Finished)
    assert [note.split("(")[0] for note in ended.notes] == [
        "The safety checker of this studio holds back picture 2 of 3 "
    ]
    assert [picture.seed for picture in ended.pictures] == [7, 9]
    assert len(gallery.earlier("guest")) == 2


def test_without_a_checker_nothing_is_shown_unlooked_at(engine: DiffusionEngine) -> None:
    job = engine.submit(ask(), owner="guest", allowance=GUEST)
    ended = outcome(engine, job, "guest")
    assert isinstance(ended, Failed)
    assert ended.message == NO_SAFETY_CHECKER
