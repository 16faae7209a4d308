"""How fast is image to image, and inpainting, through the engine, against diffusers' own pipelines on the same weights?

    python -m benchmarks.bench_image_to_image --checkpoint models/small-world-128

Engine: from `submit` of the uploaded file's bytes (decoded and fitted there) to `Finished`, with a preview at every
step and the PNG on disk. diffusers: one call of the pipeline with the decoded picture, nothing shown, nothing saved.
Both run in this process in turn, on the engine's thread (`on_engine_thread`), round after round; a ratio is the median
over the rounds of engine / diffusers. The last line is JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from benchmarks.common import engine_seconds, loaded_engine, native_settings, on_engine_thread, peak_rss_mib
from studio.asked.fields import ImageToImage, Inpaint
from studio.asked.requests import Request
from studio.engine.engine import DiffusionEngine

PROMPT = "a fox in the snow"
STRENGTHS = {"image_to_image": 0.6, "inpaint": 1.0}


def file_of(picture: Image.Image) -> bytes:
    """A picture as the bytes of a PNG."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def pipelines(folder: Path, engine: DiffusionEngine) -> dict[str, Any]:
    """diffusers' own pipelines on the folder, with the scheduler our requests name (DPM++ 2M, Karras)."""
    import torch
    from diffusers import (
        DPMSolverMultistepScheduler,
        StableDiffusionImg2ImgPipeline,
        StableDiffusionInpaintPipeline,
    )

    components = engine.components
    assert components is not None
    torch.set_num_threads(native_settings(components)["threads"])
    pipes = {}
    for name, cls in (("image_to_image", StableDiffusionImg2ImgPipeline), ("inpaint", StableDiffusionInpaintPipeline)):
        pipe = cls.from_pretrained(folder, safety_checker=None, dtype=components.dtype)
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=True)
        pipe.set_progress_bar_config(disable=True)
        pipes[name] = pipe.to(components.device)
    return pipes


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        engine = loaded_engine(options.checkpoint, Path(scratch), options.device)
        pipes = on_engine_thread(engine, lambda: pipelines(options.checkpoint, engine))
        result = ratios(engine, pipes, options.steps, options.rounds)
        engine.close()
    result["peak_rss_mib_with_all"] = peak_rss_mib()
    print(json.dumps(result))


def ratios(engine: DiffusionEngine, pipes: dict[str, Any], steps: int, rounds: int) -> dict[str, Any]:
    """Ratios and medians of both ways; the first round warms up and is not counted."""
    import torch

    assert engine.components is not None
    size = engine.components.native_width, engine.components.native_height
    picture = Image.linear_gradient("L").resize(size).convert("RGB")
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rectangle((size[0] // 8, size[1] // 4, size[0] // 2, size[1] * 3 // 4), fill=255)
    common: dict[str, Any] = {
        "prompt": PROMPT,
        "checkpoint": engine.components.name,
        "num_inference_steps": steps,
        "guidance_scale": 5.0,
        "image": file_of(picture),
    }
    requests: dict[str, Callable[[int], Request]] = {
        "image_to_image": lambda seed: ImageToImage(**common, strength=STRENGTHS["image_to_image"], seed=seed),
        "inpaint": lambda seed: Inpaint(**common, strength=STRENGTHS["inpaint"], mask=file_of(mask), seed=seed),
    }
    seconds: dict[str, list[float]] = {f"{who} {way}": [] for way in requests for who in ("engine", "diffusers")}
    for number in range(rounds + 1):
        for way, request in requests.items():
            fields: dict[str, Any] = {"image": picture, "strength": STRENGTHS[way], "num_inference_steps": steps}
            fields |= {"mask_image": mask, "width": size[0], "height": size[1]} if way == "inpaint" else {}
            generator = torch.Generator().manual_seed(number)
            run = request(number)
            turns = {
                f"engine {way}": lambda r=run: engine_seconds(engine, r),
                f"diffusers {way}": lambda p=pipes[way], g=fields, s=generator: on_engine_thread(
                    engine, lambda: seconds_of(lambda: p(PROMPT, guidance_scale=5.0, generator=s, **g))
                ),
            }
            for name in list(turns) if number % 2 else list(turns)[::-1]:
                seconds_of_turn = turns[name]()
                if number:
                    seconds[name].append(seconds_of_turn)
    result: dict[str, Any] = {
        "bench": "image_to_image",
        "steps": steps,
        "strengths": STRENGTHS,
        "rounds": rounds,
        **native_settings(engine.components),
    }
    for way in requests:
        pairs = zip(seconds[f"engine {way}"], seconds[f"diffusers {way}"])
        result[f"{way} ratio"] = round(statistics.median(ours / theirs for ours, theirs in pairs), 3)
    return result | {f"{name} seconds": round(statistics.median(values), 3) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
