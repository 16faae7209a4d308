"""Many pictures at once, by the studio's own lanes, outside of any engine, for the evaluation and its sheets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from studio.asked.fields import TextToImage
from studio.asked.forecast import ForecastName
from studio.asked.resolved import resolve
from studio.asked.schedulers import SchedulerName
from studio.checkpoints.loader import load
from studio.checkpoints.lora_file import load_adapter
from studio.diffusion.components import Components
from studio.diffusion.denoisers import call_unet
from studio.diffusion.lane import Lane, start_lane
from studio.diffusion.lora import AppliedAdapter
from studio.diffusion.prompt import encode_prompts
from studio.diffusion.vae import decode, to_pictures


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How all pictures of a batch are made; the same steps for all, so that they share every U-Net call."""

    steps: int = 25
    guidance_scale: float = 3.0  # the better default: docs/built-in-model.md, "Guidance and steps"
    scheduler: SchedulerName = "dpmpp_2m"
    forecast: ForecastName = "off"
    lora: Path | None = None  # a file, at full strength


def load_checkpoint(folder: Path) -> Components:
    """The checkpoint in float32 on the CPU, by the studio's loader."""
    return load(
        folder,
        name=folder.name,
        device=torch.device("cpu"),
        dtype=torch.float32,
        progress=lambda sentence, fraction: None,
    )


@torch.inference_mode()
def make_pictures(components: Components, prompts: Sequence[tuple[str, int]], settings: Settings) -> list[Image.Image]:
    """One picture for each (prompt, seed), in their order."""
    lanes = _lanes(components, prompts, settings)
    run_lanes(components, lanes)
    return [to_pictures(decode(components, lane.latents))[0] for lane in lanes]


@torch.inference_mode()
def denoised_latents(
    components: Components, prompts: Sequence[tuple[str, int]], settings: Settings
) -> list[torch.Tensor]:
    """Predicted x0 of each step of the runs of (prompt, seed), (runs, C, h, w) each: what previews show."""
    return run_lanes(components, _lanes(components, prompts, settings))


def _lanes(components: Components, prompts: Sequence[tuple[str, int]], settings: Settings) -> list[Lane]:
    lanes = []
    adapters = [AppliedAdapter(load_adapter(settings.lora, components))] if settings.lora is not None else []
    for prompt, seed in prompts:
        request = TextToImage(
            prompt=prompt,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            scheduler=settings.scheduler,
            seed=seed,
            forecast=settings.forecast,
        )
        conditioning = encode_prompts(
            components, prompt, "", num_steps=settings.steps, guidance_scale=settings.guidance_scale
        )
        resolved = resolve(request, components.suits)
        lanes.append(start_lane(components, resolved, seed=seed, conditioning=conditioning, adapters=adapters))
    return lanes


@torch.inference_mode()
def rows_per_picture(components: Components, settings: Settings) -> int:
    """Rows of the U-Net that a picture of a plain prompt costs."""
    lane = _lanes(components, [("a red apple", 0)], settings)[0]
    return lane.rows * (lane.total - len(lane.forecasts))


def run_lanes(components: Components, lanes: list[Lane]) -> list[torch.Tensor]:
    """Drive lanes of as many steps each to their end, all in one U-Net call a step; predicted x0 of each step."""
    denoised = []
    while not lanes[0].is_finished:
        calls = [lane.call() for lane in lanes if not lane.is_forecast]
        rows = [len(call.sample) for call in calls]
        parts = iter(call_unet(components, calls).split(rows) if calls else ())
        evaluations = [lane.forecast() if lane.is_forecast else lane.advance(next(parts)) for lane in lanes]
        denoised.append(torch.stack([evaluation.denoised for evaluation in evaluations]))
    return denoised
