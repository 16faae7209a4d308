"""The forms of AUTOMATIC1111's answers (version 1.10), filled with what happened here.

What the studio adds stands under one key of its own, `latent_studio`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from PIL import Image

from studio import __version__
from studio.answered.errors import ApiError
from studio.answered.events import Finished, Picture, Preview, Stopped
from studio.asked.messages import as_text
from studio.picture.infotext import A1111_SAMPLERS, parse_parameters
from studio.web import base64_pictures
from studio.web.a1111.fields import SAME, Notice
from studio.web.a1111.reading import Order
from studio.web.a1111.running import Run

OWN_KEY = "latent_studio"
_TIMESTAMP = "%Y%m%d%H%M%S"


_PROMPTS = ("prompt", "negative_prompt")


def of_run(order: Order, run: Run, event: Finished | Stopped, files: Sequence[bytes]) -> dict[str, Any]:
    """The answer of txt2img and img2img: pictures, what was asked, and the info of the run as JSON in a text.

    A stopped run has the pictures that were finished, and of each other one what it looked like."""
    last = [_png(preview) for preview in event.last] if isinstance(event, Stopped) else []
    images = [base64_pictures.encode(data) for data in (*files, *last)] if order.send_images else []
    info = run_info(order, run, event)
    first = event.pictures[0].info if event.pictures else {}
    resolved = {theirs: first[ours] for theirs, ours in SAME.items() if ours in first}
    echo = {**order.echo, **resolved}
    return {"images": images, "parameters": echo, "info": json.dumps(info, ensure_ascii=False)}


def run_info(order: Order, run: Run, event: Finished | Stopped) -> dict[str, Any]:
    """The keys of AUTOMATIC1111's `Processed.js`, and ours."""
    pictures = event.pictures
    request = order.request
    info: Mapping[str, Any] = pictures[0].info if pictures else request.to_dict()
    seeds = [picture.seed for picture in pictures]
    variations = [picture.info.get("variation_seed") for picture in pictures]
    subseeds = [value if isinstance(value, int) else -1 for value in variations]
    prompts, negative_prompts = (  # of a template, what was chosen for each picture
        [str(picture.info.get(name, getattr(request, name))) for picture in pictures] for name in _PROMPTS
    )
    width, height = _size(pictures[0]) if pictures else (request.width or 0, request.height or 0)
    return {
        "prompt": next(iter(prompts), request.prompt),
        "all_prompts": prompts,
        "negative_prompt": next(iter(negative_prompts), request.negative_prompt),
        "all_negative_prompts": negative_prompts,
        "seed": seeds[0] if seeds else -1,
        "all_seeds": seeds,
        "subseed": subseeds[0] if subseeds else -1,
        "all_subseeds": subseeds,
        "subseed_strength": info.get("variation_strength") or 0,
        "width": width,
        "height": height,
        "sampler_name": A1111_SAMPLERS.get(str(info.get("scheduler")), ""),
        "cfg_scale": info.get("guidance_scale"),
        "steps": info.get("num_inference_steps"),
        "batch_size": request.num_images_per_prompt,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": info.get("checkpoint"),
        "sd_model_hash": str(info.get("model_hash") or "")[:10],
        "sd_vae_name": info.get("vae"),
        "sd_vae_hash": str(info.get("vae_hash") or "")[:10] or None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": info.get("strength", info.get("hires_strength")),
        "extra_generation_params": _extra(pictures),
        "index_of_first_image": 0,
        "infotexts": [picture.parameters for picture in pictures],
        "styles": list(order.echo.get("styles") or []),  # type: ignore[call-overload]
        "job_timestamp": timestamp(run.start_time),
        "clip_skip": info.get("clip_skip") or 1,
        "is_using_inpainting_conditioning": False,
        "version": f"Latent Studio {__version__}",
        OWN_KEY: {
            "notices": [one.to_dict() for one in order.notices],
            "notes": list(run.notes),
            "stopped": event.reason if isinstance(event, Stopped) else "",
            "pictures": [picture.id for picture in pictures],
        },
    }


def _extra(finished: Sequence[Picture]) -> dict[str, str]:
    """The pairs of the infotext that have no key of their own in the info."""
    if not finished:
        return {}
    pairs = parse_parameters(finished[0].parameters)[2]
    own = ("Steps", "Sampler", "CFG scale", "Seed", "Size-1", "Size-2", "Model", "Model hash", "Version", "Clip skip")
    return {key: value for key, value in pairs.items() if key not in own}


def _size(picture: Picture) -> tuple[int, int]:
    """That of the first pass where there are two, as there."""
    width, height = picture.info.get("width"), picture.info.get("height")
    twice = isinstance(scale := picture.info.get("hires_scale"), (int, float)) and scale > 1
    if twice and isinstance(width, int) and isinstance(height, int):
        return width, height
    return picture.width, picture.height


def _png(preview: Preview) -> bytes:
    """What an unfinished image looked like, as a picture's file."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(preview.jpeg), formats=("JPEG",)) as image:
        image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def progress(run: Run | None, runs: int, *, with_picture: bool) -> dict[str, Any]:
    """The answer of /sdapi/v1/progress: the oldest of a visitor's runs, or that there is none."""
    step = run.step if run is not None else None
    state = {
        "skipped": False,
        "interrupted": run is not None and run.is_interrupted,
        "stopping_generation": run is not None and run.is_interrupted,
        "job": run.kind if run is not None else "",
        "job_count": runs,
        "job_timestamp": timestamp(run.start_time) if run is not None else "0",
        "job_no": step.image if step is not None else 0,
        "sampling_step": step.index + 1 if step is not None else 0,
        "sampling_steps": run.total if run is not None else 0,
    }
    picture = run.preview if run is not None and with_picture else b""
    return {
        "progress": run.share if run is not None else 0.0,
        "eta_relative": step.seconds_left if step is not None else 0.0,
        "state": state,
        "current_image": base64_pictures.encode(picture) if picture else None,
        "textinfo": (run.text or None) if run is not None else None,
        "current_task": run.job_id if run is not None else None,
    }


def png_info(texts: Mapping[str, str]) -> dict[str, Any]:
    """The answer of /sdapi/v1/png-info, from the texts of a picture's file."""
    infotext = texts.get("parameters", "")
    prompt, negative_prompt, pairs = parse_parameters(infotext)
    read = {"Prompt": prompt, "Negative prompt": negative_prompt, **pairs} if infotext else {}
    return {"info": infotext, "items": dict(texts), "parameters": read}


def timestamp(when: datetime) -> str:
    """As AUTOMATIC1111 writes it, in the time of this place."""
    return when.astimezone().strftime(_TIMESTAMP)


def error(what: ApiError) -> dict[str, Any]:
    """The body of a refusal: AUTOMATIC1111's four keys, and under ours the form that all programs get."""
    return {
        "error": what.kind or what.type,
        "detail": what.message,
        "body": "",
        "errors": what.message,
        OWN_KEY: {"error": msgspec.to_builtins(what, enc_hook=as_text)},
    }


def error_json(what: ApiError) -> bytes:
    """The same as bytes."""
    return msgspec.json.encode(error(what))


def is_error(value: Mapping[str, Any]) -> bool:
    """Whether an answer has this form already."""
    return OWN_KEY in value and "errors" in value


def set_options(notices: Sequence[Notice]) -> dict[str, Any] | None:
    """The answer of `POST /options`: null, as there, or what was not obeyed."""
    return {OWN_KEY: {"notices": [one.to_dict() for one in notices]}} if notices else None
