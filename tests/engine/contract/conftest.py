"""The engines that have to keep the contract: the fake one, the one of this process, and one in a child process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from studio.answered.engine import Engine
from studio.engine.engine import DiffusionEngine
from studio.engine.jobs import Limits
from studio.engine.local import LocalEngine
from studio.engine.remote.engine import RemoteEngine
from studio.picture.gallery import Gallery
from tests.engine.conftest import OneThread
from tests.ui.fake_engine import FakeEngine

SECONDS = 120  # nothing here takes long; this only ends a test that hangs


@dataclass(frozen=True)
class Place:
    """Where an engine finds models and puts pictures, and the checkpoint that the tests ask for."""

    models_dir: Path
    gallery: Gallery
    checkpoint: str


def fake(place: Place) -> Engine:
    return FakeEngine(place.gallery, seconds_per_step=0.02)


def local(place: Place) -> Engine:
    limits = Limits(unwatched_seconds=None, per_owner=8)
    core = DiffusionEngine([place.models_dir], place.gallery, preload="tiny", make_device=OneThread, limits=limits)
    return LocalEngine(core)


def child(place: Place, *, jobs_file: bool = False) -> Engine:
    os.environ["OMP_NUM_THREADS"] = "1"  # two cores are shared, and tiny matrices are not worth splitting
    limits = Limits(unwatched_seconds=None, per_owner=8)
    outputs = place.gallery.outputs_dir
    return RemoteEngine(
        [place.models_dir], outputs, device="cpu", preload="tiny", limits=limits, name="gpu2", jobs_file=jobs_file
    )


ENGINES: dict[str, tuple[str, Callable[[Place], Engine]]] = {
    "fake": ("small-world-128", fake),
    "in-process": ("tiny", local),
    "child-process": ("tiny", child),
}


@pytest.fixture(scope="module", params=ENGINES)
def door(
    request: pytest.FixtureRequest, models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, Place]]:
    """A started engine of each kind, and its place."""
    checkpoint, make = ENGINES[request.param]
    place = Place(models_dir, Gallery(tmp_path_factory.mktemp("outputs")), checkpoint)
    engine = make(place)
    engine.start()
    yield engine, place
    engine.close()
