"""What a PNG says about itself: our own JSON, and the `parameters` text that other studios read.

Plain values and Pillow's chunk container: no torch, no page, no disk.

`info` is one finished picture as a flat dict: `Request.to_dict()` with everything resolved (`picture_info` below), plus
facts about the run. Keys beyond the request's fields that are understood here, all optional:
`image` (index within the job), `model_hash` (hex SHA-256 of the weights, 10 shown), `evaluations` (U-Net calls),
`seconds`, `versions` (name -> version, with "Latent Studio" among them).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from PIL.PngImagePlugin import PngInfo

from studio.requests import NoiseScheduleName, Request, resolve_noise_schedule

OWN_CHUNK = "latent-studio"
A1111_CHUNK = "parameters"


def picture_info(
    request: Request,
    *,
    seed: int,
    width: int,
    height: int,
    noise_schedule: NoiseScheduleName | None = None,
    **facts: object,
) -> dict[str, object]:
    """The info of one picture of a request: what has to be asked to get this picture again, and facts about its run.

    `seed` is this picture's own (request seed + k), so `num_images_per_prompt` becomes 1. `noise_schedule` None:
    resolved from the scheduler here. `facts` are the optional keys of the module docstring, JSON-able.
    """
    resolved: dict[str, object] = {
        "seed": seed,
        "width": width,
        "height": height,
        "noise_schedule": noise_schedule or resolve_noise_schedule(request.scheduler, request.noise_schedule),
        "num_images_per_prompt": 1,
    }
    return request.to_dict() | resolved | facts


def png_info(info: Mapping[str, object], parameters: str) -> PngInfo:
    """The text chunks of a saved picture: `parameters` for every studio, `latent-studio` (JSON) for ours."""
    chunks = PngInfo()
    chunks.add_text(A1111_CHUNK, parameters)
    chunks.add_text(OWN_CHUNK, json.dumps(info, allow_nan=False))
    return chunks


def parameters_text(info: Mapping[str, object]) -> str:
    """The A1111 infotext of a picture."""
    negative = info.get("negative_prompt")
    lines = [str(info["prompt"])] + ([f"Negative prompt: {negative}"] if negative else [])
    pairs = {
        "Steps": info["num_inference_steps"],
        "CFG scale": info["guidance_scale"],
        "Seed": info["seed"],
        "Size": f"{info['width']}x{info['height']}",
    }
    return "\n".join([*lines, ", ".join(f"{key}: {value}" for key, value in pairs.items())]).strip()
