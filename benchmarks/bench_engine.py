"""How fast is one picture through the engine, against diffusers' own pipeline with the same weights and settings?

    python -m benchmarks.bench_engine --checkpoint models/small-world-128

Engine: from `submit` to `Finished`, with a preview at every step, a recording for the noise viewer, the PNG with its
metadata on disk. diffusers: one call of `StableDiffusionPipeline` without any preview, giving a PIL picture that
nobody saves. The bare loop is the same U-Net 25 times with nothing around it. All run in this process in turn, on the
engine's thread (`on_engine_thread`), round after round; a ratio is the median over the rounds, so a machine that is
busy for a while does not decide it. Prompts are known to the engine, as when somebody tries another seed, but for "new
prompt", which it has to encode. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import engine_seconds, loaded_engine, native_settings, on_engine_thread, peak_rss_mib
from studio.asked.fields import PreviewName, TextToImage
from studio.engine.engine import DiffusionEngine

PROMPTS = ("a fox in the snow", "a pizza on a blue background", "two cats in the desert", "a rocket at night")


def diffusers_seconds(pipe: Any, request: TextToImage) -> float:
    """Seconds of one pipeline call."""
    import torch

    start = time.perf_counter()
    pipe(
        request.prompt,
        negative_prompt=request.negative_prompt,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator().manual_seed(request.seed or 0),
    )
    return time.perf_counter() - start


def bare_seconds(pipe: Any, request: TextToImage, embeds: Any) -> float:
    """Seconds of the loop and nothing else: U-Net, guidance, `scheduler.step`, and the VAE once. No text encoder, no
    preview, no picture: what is left of 25 steps when nobody is served."""
    import torch

    pipe.scheduler.set_timesteps(request.num_inference_steps)
    start = time.perf_counter()
    with torch.inference_mode():
        side = pipe.unet.config.sample_size
        generator = torch.Generator().manual_seed(request.seed or 0)
        latents = torch.randn((1, 4, side, side), generator=generator).to(pipe.device, pipe.unet.dtype)
        for timestep in pipe.scheduler.timesteps:
            answer = pipe.unet(torch.cat([latents] * 2), timestep, embeds, return_dict=False)[0]
            uncond, cond = answer.chunk(2)
            noise_pred = uncond + request.guidance_scale * (cond - uncond)
            latents = pipe.scheduler.step(noise_pred, timestep, latents, return_dict=False)[0]
        pipe.vae.decode(latents / pipe.vae.config.scaling_factor)
    return time.perf_counter() - start


def pipeline(folder: Path, engine: DiffusionEngine) -> Any:
    """diffusers' own pipeline on the folder, with the scheduler our requests name (DPM++ 2M, Karras)."""
    import torch
    from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler

    components = engine.components
    assert components is not None
    pipe = DiffusionPipeline.from_pretrained(folder, dtype=components.dtype)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=True)
    pipe.set_progress_bar_config(disable=True)
    torch.set_num_threads(native_settings(components)["threads"])
    return pipe.to(components.device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        engine = loaded_engine(options.checkpoint, Path(scratch), options.device)
        pipe = on_engine_thread(engine, lambda: pipeline(options.checkpoint, engine))
        result = ratios(engine, pipe, options.steps, options.rounds)
        engine.close()
    result["peak_rss_mib_with_both"] = peak_rss_mib()
    print(json.dumps(result))


def ratios(engine: DiffusionEngine, pipe: Any, steps: int, rounds: int) -> dict[str, Any]:
    """Ratios and medians of all ways; the first round warms up and is not counted."""
    import torch

    assert engine.components is not None
    ways: dict[str, PreviewName] = {"fast": "fast", "automatic": "automatic", "full": "full"}
    seconds: dict[str, list[float]] = {name: [] for name in ["diffusers", "bare loop", "fast, new prompt", *ways]}
    embeds = torch.cat(on_engine_thread(engine, lambda: pipe.encode_prompt(PROMPTS[0], pipe.device, 1, True))[::-1])
    for number in range(rounds + 1):
        settings: dict[str, Any] = {
            "prompt": PROMPTS[number % len(PROMPTS)],
            "checkpoint": engine.components.name,
            "num_inference_steps": steps,
            "guidance_scale": 5.0,
            "seed": number,
        }
        plain = TextToImage(**settings)
        new = TextToImage(**settings | {"prompt": f"{plain.prompt} {number}", "preview": "fast"})
        engine_seconds(engine, plain) if number < len(PROMPTS) else None  # from now on this prompt is known
        turns = {"diffusers": lambda plain=plain: on_engine_thread(engine, lambda: diffusers_seconds(pipe, plain))}
        turns["bare loop"] = lambda plain=plain: on_engine_thread(engine, lambda: bare_seconds(pipe, plain, embeds))
        turns["fast, new prompt"] = lambda new=new: engine_seconds(engine, new)
        for name, preview in ways.items():
            request = TextToImage(**settings | {"preview": preview})
            turns[name] = lambda request=request: engine_seconds(engine, request)
        names = list(turns) if number % 2 else list(turns)[::-1]
        for name in names:
            seconds_of_turn = turns[name]()
            if number:
                seconds[name].append(seconds_of_turn)
    result: dict[str, Any] = {
        "bench": "engine",
        "steps": steps,
        "rounds": rounds,
        **native_settings(engine.components),
    }
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(values, seconds["diffusers"]))
        bare = statistics.median(a / b for a, b in zip(values, seconds["bare loop"]))
        median = statistics.median(values)
        result[name] = {"seconds": round(median, 4), "ratio": round(ratio, 3), "ratio_to_bare_loop": round(bare, 3)}
        print(f"{name:18s} {median:8.3f} s   {ratio:5.2f} x diffusers   {bare:5.2f} x a bare loop")
    return result


if __name__ == "__main__":
    main()
