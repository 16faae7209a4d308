"""An engine on tiny random weights, and the means to hold its U-Net calls in hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from studio.answered.events import Event, Finished, Stopped
from studio.asked.fields import TextToImage
from studio.asked.requests import Request
from studio.engine.device import Device
from studio.engine.engine import DiffusionEngine
from studio.engine.jobs import Limits
from studio.picture.gallery import Gallery
from tests.tiny import save_tiny_checkpoint

SECONDS = 120  # nothing here takes long; this only ends a test that hangs


class OneThread(Device):
    """The CPU with one thread: two cores are shared, and tiny matrices are not worth splitting."""

    def __init__(self, name: str = "cpu", dtype: str = "auto") -> None:
        super().__init__("cpu", dtype)
        torch.set_num_threads(1)


MakeDevice = Callable[..., Device]


def cuda(*_: object) -> Device:
    """The GPU, in the precision that the references are in."""
    return Device("cuda", "fp32")


DEVICES: dict[str, MakeDevice] = {"cpu": OneThread} | ({"cuda": cuda} if torch.cuda.is_available() else {})


@pytest.fixture(scope="session", params=DEVICES)
def make_device(request: pytest.FixtureRequest) -> MakeDevice:
    """What engines run on here: the CPU, and the GPU where there is one."""
    return DEVICES[request.param]


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with `tiny` (epsilon, with a fast preview) and `tiny-v` (v-prediction, without)."""
    models = tmp_path_factory.mktemp("models")
    tiny = save_tiny_checkpoint(models / "checkpoints" / "tiny")
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn((192, 4, 3, 3), generator=generator) / 6
    save_file({"weight": weight, "bias": torch.zeros(192)}, tiny / "vae" / "fast_preview.safetensors")
    save_tiny_checkpoint(models / "checkpoints" / "tiny-v", prediction_type="v_prediction")
    return models


EngineFactory = Callable[..., DiffusionEngine]


@pytest.fixture
def make_engine(models_dir: Path, tmp_path: Path, make_device: MakeDevice) -> Iterator[EngineFactory]:
    """Makes started engines; every one is closed at the end of the test."""
    made: list[DiffusionEngine] = []

    def make(*, start: bool = True, **settings: Any) -> DiffusionEngine:
        settings.setdefault("models_dirs", [models_dir])
        settings.setdefault("gallery", Gallery(tmp_path / "outputs"))
        settings.setdefault("preload", None)
        settings.setdefault("make_device", make_device)
        settings.setdefault("limits", Limits(unwatched_seconds=None, per_owner=100))
        engine = DiffusionEngine(**settings)
        made.append(engine)
        if start:
            engine.start()
        return engine

    yield make
    for engine in made:
        engine.close()


@pytest.fixture(scope="session")
def engine(
    models_dir: Path, tmp_path_factory: pytest.TempPathFactory, make_device: MakeDevice
) -> Iterator[DiffusionEngine]:
    """One engine for all tests that do not ask for more: it has to survive them anyway, and loading takes time."""
    gallery = Gallery(tmp_path_factory.mktemp("outputs"))
    limits = Limits(unwatched_seconds=None, per_owner=100)
    engine = DiffusionEngine([models_dir], gallery, preload=None, make_device=make_device, limits=limits)
    engine.start()
    yield engine
    engine.close()


def ask(**fields: Any) -> TextToImage:
    """A small request on the tiny checkpoint."""
    return TextToImage(
        **{"prompt": "a red fox", "checkpoint": "tiny", "num_inference_steps": 4, "seed": 5, "preview": "fast"} | fields
    )


async def events_of(engine: DiffusionEngine, job_id: str, owner: str = "anna") -> list[Event]:
    async def read() -> list[Event]:
        return [event async for event in engine.watch(job_id, owner=owner)]

    return await asyncio.wait_for(read(), SECONDS)


def run(engine: DiffusionEngine, request: Request, owner: str = "anna") -> list[Event]:
    """Submit a request and read its events to the end."""
    return asyncio.run(events_of(engine, engine.submit(request, owner=owner), owner))


def outcome(engine: DiffusionEngine, job_id: str, owner: str = "anna") -> Event:
    """The terminal event of a job, waited for."""
    return asyncio.run(events_of(engine, job_id, owner))[-1]


def finish(engine: DiffusionEngine, request: Request, owner: str = "anna") -> Finished:
    """Submit a request that must succeed."""
    last = run(engine, request, owner)[-1]
    assert isinstance(last, Finished), last
    return last


def pixels(engine: DiffusionEngine, finished: Event, image: int = 0, owner: str = "anna") -> Any:
    """The saved picture as an array (H, W, 3)."""
    import numpy as np
    from PIL import Image

    assert isinstance(finished, (Finished, Stopped)), finished
    path = engine._gallery.path(finished.pictures[image].id, owner)
    assert path is not None
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


class Calls:
    """Sees every U-Net call of the engine. `before(number)` runs on the engine's thread as each begins; while `gate`
    is clear the engine waits there."""

    def __init__(self, real: Callable[..., torch.Tensor]) -> None:
        self._real = real
        self.rows: list[int] = []
        self.lanes: list[int] = []
        self.at_once = 0
        self.most_at_once = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.before: Callable[[int], None] = lambda number: None

    def __call__(self, components: Any, calls: Any, *rest: Any) -> torch.Tensor:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.entered.release()
            assert self.gate.wait(SECONDS)
            self.lanes.append(len(calls))
            self.rows.append(sum(len(c.sample) for c in calls))
            self.before(len(self.rows) - 1)
            return self._real(components, calls, *rest)
        finally:
            self.at_once -= 1

    def wait(self) -> None:
        """Until the engine has entered one more call."""
        assert self.entered.acquire(timeout=SECONDS)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Every U-Net call, seen; lanes share whenever they can, whatever the clock of a busy machine says of it."""
    from studio.diffusion import denoisers
    from studio.engine import batching, scheduler

    monkeypatch.setattr(batching, "PAYS", 1e9)
    monkeypatch.setattr(batching, "TICK_SECONDS", 1e9)
    monkeypatch.setattr(scheduler, "ADMIT_SECONDS", 60.0)
    seen = Calls(denoisers.call_unet)
    monkeypatch.setattr(denoisers, "call_unet", seen)
    return seen
