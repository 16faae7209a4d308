"""What each preview decoder costs and how near it comes to the whole VAE, as JSON on the last line.

    python -m training.previews --checkpoint models/small-world-128

Frames of one picture, as a run shows them, JPEG included; medians. PSNR against the VAE's own decoding: of encodings of
held-out pictures, and of the predicted x0 of real runs, early and late. Measure on an idle machine, or with --busy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from studio.answered.events import DecoderName
from studio.diffusion.components import Components
from studio.engine.previews import Frame, PreviewDecoders, allowed_seconds
from training.evaluation_prompts import draw_rows
from training.pictures import Settings, denoised_latents, load_checkpoint
from training.world_pictures import HELD_OUT_SEED, draw_pictures, to_pixels

PEAK = 255.0
Clock = Callable[[], float]  # seconds


def pictures_psnr(pictures: np.ndarray, reference: np.ndarray) -> float:
    """Mean PSNR in dB of uint8 pictures (B, H, W, 3)."""
    error = np.square(pictures.astype(np.float64) - reference.astype(np.float64)).mean(axis=(1, 2, 3)).clip(1e-4)
    return float((10 * np.log10(PEAK**2 / error)).mean())


def frame_milliseconds(
    decoders: PreviewDecoders, decoder: DecoderName, latents: Tensor, count: int, clock: Clock
) -> float:
    """Median time of one frame of one picture, from latents (1, C, h, w) to JPEG."""
    seconds = []
    for _ in range(count + 3):  # the first ones pay for set-up
        start = clock()
        Frame(decoders.decode(decoder, latents)[0], decoder).preview()
        seconds.append(clock() - start)
    return 1000 * statistics.median(seconds[3:])


@torch.inference_mode()
def step_milliseconds(components: Components, count: int, clock: Clock) -> float:
    """Median time of one guided step's U-Net call for one picture."""
    shape = (2, components.latent_channels, components.native_height // 8, components.native_width // 8)
    sample, embeds = torch.zeros(shape), torch.zeros(2, 77, components.unet.config.cross_attention_dim)
    seconds = []
    for _ in range(count + 3):
        start = clock()
        components.unet(sample, torch.tensor(500), embeds, return_dict=False)
        seconds.append(clock() - start)
    return 1000 * statistics.median(seconds[3:])


@torch.inference_mode()
def measure(components: Components, pictures: int, runs: int, frames: int, busy: bool = False) -> dict[str, object]:
    """Every decoder's figures, and a step's time beside them. `busy`: in CPU time, which other work hardly changes."""
    clock = time.process_time if busy else time.perf_counter
    decoders = PreviewDecoders(components)
    truth = draw_pictures(HELD_OUT_SEED, range(pictures))
    pixels = to_pixels(torch.from_numpy(truth))
    means = torch.cat([components.vae.encode(part).latent_dist.mean for part in pixels.split(8)])
    latents = means * components.vae.config.scaling_factor
    prompts = [(prompt.prompt, prompt.seed) for prompt in draw_rows(runs)["single"]]
    settings = Settings()
    steps = denoised_latents(components, prompts, settings)  # one per step, (runs, C, h, w)
    thirds = {"first third": steps[: len(steps) // 3], "last third": steps[-(len(steps) // 3) :]}
    step = step_milliseconds(components, frames, clock)
    whole = decode(decoders, "full", latents)
    by_decoder: dict[str, object] = {}
    for decoder in decoders.available:
        milliseconds = frame_milliseconds(decoders, decoder, latents[:1], frames, clock)
        decodings = decode(decoders, decoder, latents)
        figures: dict[str, object] = {
            "milliseconds": round(milliseconds, 2),
            "of a step": round(milliseconds / step, 3),
            "automatic may take it": milliseconds <= 1000 * allowed_seconds(step / 1000),
            "PSNR to the picture": round(pictures_psnr(decodings, truth), 2),
        }
        if decoder != "full":
            figures["PSNR to full, of encodings"] = round(pictures_psnr(decodings, whole), 2)
            for name, part in thirds.items():
                latents_of_part = torch.cat(part)
                near = pictures_psnr(
                    decode(decoders, decoder, latents_of_part), decode(decoders, "full", latents_of_part)
                )
                figures[f"PSNR to full, of predicted x0, {name}"] = round(near, 2)
        by_decoder[decoder] = figures
    return {
        "clock": "CPU" if busy else "wall",
        "threads": torch.get_num_threads(),
        "step, milliseconds": round(step, 2),
        "decoders": by_decoder,
    }


def decode(decoders: PreviewDecoders, decoder: DecoderName, latents: Tensor) -> np.ndarray:
    """Latents (B, C, h, w) => uint8 pictures (B, H, W, 3) by one decoder."""
    return np.concatenate([decoders.decode(decoder, part) for part in latents.split(8)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--pictures", type=int, default=64, help="held-out pictures")
    parser.add_argument("--runs", type=int, default=16, help="runs whose predicted x0 are decoded")
    parser.add_argument("--frames", type=int, default=30, help="frames per measured time")
    parser.add_argument("--threads", type=int, help="of torch; else as many as it takes")
    parser.add_argument("--busy", action="store_true", help="CPU time instead of the clock's; take one thread")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    components = load_checkpoint(options.checkpoint)
    print(json.dumps(measure(components, options.pictures, options.runs, options.frames, options.busy)))


if __name__ == "__main__":
    main()
