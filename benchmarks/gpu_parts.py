"""One part of the measurements on a GPU: `python -m benchmarks.gpu_parts picture_sd15 --work /tmp/gpu`.

`benchmarks.on_gpu` runs them one after the other, each in a process of its own with a time limit. The engine's parts
use what the other benchmarks use; those of ideas are in `benchmarks.gpu_ideas`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import bench_compare, bench_engine, bench_visitors, gpu_ideas, gpu_models
from benchmarks.common import engine_seconds, native_settings, on_engine_thread, started_engine
from benchmarks.gpu_ideas import Setting
from benchmarks.gpu_report import Report, ratio
from studio.asked.fields import PreviewName, TextToImage
from studio.engine.engine import DiffusionEngine

PREVIEWS: tuple[PreviewName, ...] = ("automatic", "fast")
PIPELINE = "diffusers_pipeline"


def picture_sd15(setting: Setting, report: Report) -> None:
    """A picture to diffusers' pipeline, Stable Diffusion 1.5 at 512x512."""
    _picture(setting, report, "sd15")


def picture_sdxl(setting: Setting, report: Report) -> None:
    """A picture to diffusers' pipeline, SDXL at 1024x1024."""
    _picture(setting, report, "sdxl")


def _picture(setting: Setting, report: Report, name: str) -> None:
    engine = _engine(setting, name)
    pipe = on_engine_thread(engine, lambda: bench_engine.pipeline(setting.checkpoint(name), engine))
    report.add(**_settings(engine), steps=setting.work.steps)
    seconds: dict[str, list[float]] = {way: [] for way in (PIPELINE, *PREVIEWS)}
    for number in range(setting.work.rounds + 1):  # the first warms up
        turns: dict[str, Callable[[], float]] = {}
        for preview in PREVIEWS:
            request = TextToImage(
                prompt="a fox in the snow",
                checkpoint=name,
                num_inference_steps=setting.work.steps,
                guidance_scale=7.0,
                seed=number,
                preview=preview,
            )
            turns[preview] = lambda request=request: engine_seconds(engine, request)
        turns[PIPELINE] = lambda request=request: on_engine_thread(
            engine, lambda: bench_engine.diffusers_seconds(pipe, request)
        )
        for way in list(turns)[:: 1 if number % 2 else -1]:
            took = turns[way]()
            if number:
                seconds[way].append(took)
        for way, values in seconds.items():
            if values:
                pairs = zip(values, seconds[PIPELINE])
                ratios = {"ratio": round(statistics.median(a / b for a, b in pairs), 3)}
                report.add(**{way: {"seconds": round(statistics.median(values), 4), **ratios}}, rounds=number)
    report.add(**_precision(engine))
    engine.close()


def visitors(setting: Setting, report: Report) -> None:
    """Visitors at once to one after the other, and the U-Net calls until the last one's first preview."""
    engine = _engine(setting, "sd15")
    report.add(**_settings(engine), steps=setting.work.steps, visitors=setting.work.visitors)
    requests = bench_visitors.requests("sd15", setting.work.steps, setting.work.visitors)
    asyncio.run(bench_visitors.seconds_together(engine, requests))  # warms up, and encodes the prompts
    together, in_turn, ticks = [], [], []
    for _ in range(min(3, setting.work.rounds)):
        together.append(asyncio.run(bench_visitors.seconds_together(engine, requests)))
        in_turn.append(asyncio.run(bench_visitors.seconds_in_turn(engine, requests)))
        ticks.append(asyncio.run(bench_visitors.first_preview_ticks(engine, requests)))
        report.add(
            seconds_together=round(statistics.median(together), 3),
            seconds_in_turn=round(statistics.median(in_turn), 3),
            times_as_fast=round(statistics.median(b / a for a, b in zip(together, in_turn)), 2),
            last_visitors_first_preview_ticks=max(ticks),
        )
    engine.close()


def load(setting: Setting, report: Report) -> None:
    """A load to a raw read of the same files, and the device's memory before and after A, B, A."""
    from safetensors.torch import load_file

    from studio.checkpoints import loader
    from tests.checkpoints.original import save_large

    paths = {name: setting.checkpoint(name) for name in gpu_models.FAMILIES}
    paths["sd15_file"] = setting.models / "sd15.safetensors"
    if not paths["sd15_file"].exists():
        save_large(paths["sd15_file"], "sd1", gpu_models.modules("sd15", setting.work.tiny))

    def components(path: Path) -> Any:
        loaded = loader.load(
            path, name=path.stem, device=setting.device, dtype=setting.dtype, progress=lambda text, share: None
        )
        setting.synchronize()
        return loaded

    def raw(path: Path) -> Any:
        files = [path] if path.is_file() else sorted(path.glob("*/*.safetensors"))
        tensors = [load_file(file, device=str(setting.device)) for file in files]
        setting.synchronize()
        return tensors

    for name, path in paths.items():
        seconds: dict[str, list[float]] = {"load": [], "raw": []}
        for number in range(min(3, setting.work.rounds) + 1):  # the first fills the system's cache
            for way, action in (("load", components), ("raw", raw)):
                took = _freed_seconds(lambda action=action, path=path: action(path))
                if number or setting.work.tiny:
                    seconds[way].append(took)
        medians = {way: round(statistics.median(values), 3) for way, values in seconds.items()}
        report.add(**{name: {"seconds": medians, "ratio_to_raw": ratio(medians["load"], medians["raw"])}})
    allocated = [setting.allocated()]
    for path in (paths["sd15"], paths["sdxl"], paths["sd15"]):
        loaded = components(path)
        allocated.append(setting.allocated())
        del loaded
        gc.collect()
        allocated.append(setting.allocated())
    names = ("before", "A", "A gone", "B", "B gone", "A again", "A gone again")
    report.add(allocated_bytes=dict(zip(names, allocated)))


def switches(setting: Setting, report: Report) -> None:
    """The engine asked for pictures of A, B, A: seconds of each and the device's memory after it."""
    setting.checkpoint("sdxl")
    engine = _engine(setting, "sd15")
    pictures = []
    for name in ("sd15", "sdxl", "sd15", "sdxl", "sd15"):
        request = TextToImage(prompt="a fox in the snow", checkpoint=name, num_inference_steps=2, seed=1)
        seconds = round(engine_seconds(engine, request), 3)
        pictures.append({"checkpoint": name, "seconds": seconds, "allocated_bytes": setting.allocated()})
        report.add(pictures=pictures)
    engine.close()


def comparison(setting: Setting, report: Report) -> None:
    """A comparison of 4x4 pictures to diffusers' pipeline, one picture after the other."""
    engine = _engine(setting, "sd15")
    pipe = on_engine_thread(engine, lambda: bench_engine.pipeline(setting.checkpoint("sd15"), engine))
    report.add(**_settings(engine), step_counts=setting.work.compare_steps)
    ours, theirs = [], []
    for number in range(min(2, setting.work.rounds) + 1):
        asked = bench_compare.comparison("sd15", number, setting.work.compare_steps)
        took = bench_compare.comparison_seconds(engine, asked)
        if not number:
            continue  # it warmed up
        ours.append(took)
        theirs.append(on_engine_thread(engine, lambda asked=asked: bench_compare.diffusers_seconds(pipe, asked)))
        report.add(
            engine_seconds=round(statistics.median(ours), 3),
            diffusers_seconds=round(statistics.median(theirs), 3),
            ratio=round(statistics.median(a / b for a, b in zip(ours, theirs)), 3),
        )
    engine.close()


PARTS: dict[str, Callable[[Setting, Report], None]] = {
    "picture_sd15": picture_sd15,
    "picture_sdxl": picture_sdxl,
    "batch_curve": gpu_ideas.batch_curve,
    "visitors": visitors,
    "load": load,
    "switches": switches,
    "comparison": comparison,
    "formats": gpu_ideas.formats,
    "compiled": gpu_ideas.compiled,
    "graphs": gpu_ideas.graphs,
    "decode_beside": gpu_ideas.decode_beside,
}


def _engine(setting: Setting, name: str) -> DiffusionEngine:
    setting.checkpoint(name)
    return started_engine(setting.models, name, setting.scratch, str(setting.device))


def _settings(engine: DiffusionEngine) -> dict[str, Any]:
    assert engine.components is not None
    return native_settings(engine.components)


def _precision(engine: DiffusionEngine) -> dict[str, Any]:
    """Whether the VAE had to compute in float32: random weights may overflow where real ones do not."""
    assert engine.components is not None
    return {"vae_dtype": str(engine.components.vae_dtype or engine.components.dtype).removeprefix("torch.")}


def _freed_seconds(action: Callable[[], Any]) -> float:
    gc.collect()
    begin = time.perf_counter()
    result = action()
    seconds = time.perf_counter() - begin
    del result
    gc.collect()
    return seconds


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--work", type=Path, required=True, help="models, figures and logs")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="models of a few thousand weights, one round")
    flags = parser.parse_args(arguments)
    scratch = flags.work / "scratch" / flags.part
    work = gpu_models.TINY if flags.tiny else gpu_models.FULL
    setting = Setting(flags.work / "models", scratch, torch.device(flags.device), work)
    try:
        PARTS[flags.part](setting, Report(flags.work / "parts" / f"{flags.part}.json"))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
