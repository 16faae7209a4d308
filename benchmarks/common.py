"""What the engine's benchmarks share: an engine with one checkpoint loaded, and what a number has to be read with."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from studio.answered.events import Finished
from studio.asked.requests import Request
from studio.engine.engine import DiffusionEngine
from studio.engine.jobs import Limits
from studio.engine.store.store import JobStore
from studio.picture.gallery import Gallery

if TYPE_CHECKING:
    from studio.diffusion.components import Components

LOAD_SECONDS = 600
OWNER = "bench"
Result = TypeVar("Result")


def loaded_engine(
    checkpoint: Path, scratch: Path, device: str = "auto", *, as_built_in: bool = False
) -> DiffusionEngine:
    """An engine that has the checkpoint's folder on its device and saves below `scratch`. `as_built_in`: in the place
    of the built-in checkpoint, whose own few-step LoRA is offered."""
    if not (checkpoint / "model_index.json").exists():
        raise SystemExit(f"--checkpoint {checkpoint}: no diffusers folder (model_index.json is missing)")
    models = scratch / "models"
    shutil.copytree(checkpoint, models / ("" if as_built_in else "checkpoints") / checkpoint.name)
    return started_engine(models, checkpoint.name, scratch, device)


def started_engine(models: Path, checkpoint: str, scratch: Path, device: str = "auto") -> DiffusionEngine:
    """An engine on a models folder that has its checkpoint of this name on its device and saves below `scratch`."""
    engine = DiffusionEngine(
        [models],
        Gallery(scratch / "outputs"),
        device=device,
        preload=checkpoint,
        limits=Limits(per_owner=64, unwatched_seconds=None),
        store=JobStore(scratch / "outputs"),
    )
    engine.start()
    deadline = time.monotonic() + LOAD_SECONDS
    while engine.status().state in ("starting", "loading") or engine.components is None:
        status = engine.status()
        if status.state == "failed" or time.monotonic() > deadline:
            raise SystemExit(f"The checkpoint was not loaded: {status.message}")
        time.sleep(0.05)
    return engine


def engine_seconds(engine: DiffusionEngine, request: Request) -> float:
    """Seconds from `submit` to `Finished`."""

    async def wait(job: str) -> None:
        async for event in engine.watch(job, owner=OWNER):
            last = event
        if not isinstance(last, Finished):
            raise SystemExit(f"The engine did not finish: {last}")

    start = time.perf_counter()
    asyncio.run(wait(engine.submit(request, owner=OWNER)))
    return time.perf_counter() - start


def on_engine_thread(engine: DiffusionEngine, work: Callable[[], Result]) -> Result:
    """What `work` answers, done by the engine's own thread while it has nothing else to do.

    Every thread that computes has a pool of threads of its own in torch (OpenMP). Two pools in one process put each
    other to sleep after every operation, so what both of them do takes twice as long on two cores. So a baseline runs
    where the engine does, or neither is what somebody has who starts the studio.
    """
    result: Future[Result] = Future()
    worker, idle = engine._thread.worker, engine._thread.worker.idle

    def once() -> bool:
        worker.idle = idle  # type: ignore[method-assign]
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)
        return True

    worker.idle = once  # type: ignore[method-assign]
    engine._thread.wake.set()
    return result.result()


def peak_rss_mib() -> int | None:
    """The most memory this process has held so far; None on Windows, where Python cannot say."""
    try:
        import resource
    except ImportError:
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))


def native_settings(components: Components) -> dict[str, Any]:
    """Checkpoint, size, device, versions: a number without them says nothing."""
    import diffusers
    import torch

    return {
        "checkpoint": components.name,
        "size": f"{components.native_width}x{components.native_height}",
        "device": str(components.device),
        "dtype": str(components.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }
