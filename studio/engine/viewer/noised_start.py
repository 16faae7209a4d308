"""Where an image-to-image run begins, answered for the page: what the strength slider means, before anything is run."""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image
from safetensors.numpy import save

from studio.answered.engine import Answer, Refused
from studio.asked.questions import DecodedStart, NoisedStart
from studio.asked.schedulers import steps_run
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.latents import image_generator, image_noise
from studio.diffusion.schedule import Schedule, make_schedule
from studio.engine.viewer.inquiries import Slices
from studio.engine.viewer.recording import fast_decoder, on_cpu

JPEG_QUALITY = 88


def slices(question: NoisedStart, picture: Image.Image, components: Components) -> Slices:
    """A safetensors file with `latents` and `noise` (C, h, w) float16 and the fast decoder, its header with `levels`:
    a and s of the first evaluation by how many steps are run; or, for a DecodedStart, a JPEG.

    x_t = a latents + s noise is what the U-Net is given first. The latents are those of the run with this seed.
    """
    try:
        schedule = _schedule(question, components)
    except ValueError as error:  # a scheduler that cannot run what this checkpoint predicts
        raise Refused(str(error)) from None
    generator = image_generator(question.seed)
    latents = vae.encode(components, vae.from_picture(picture, *picture.size), generator).float()
    noise = image_noise(tuple(latents.shape), generator).to(latents.device)
    yield
    levels = first_levels(schedule)
    if isinstance(question, DecodedStart):
        a, s = levels[steps_run(len(levels) - 1, question.strength)]
        return _jpeg(vae.to_pictures(vae.decode(components, a * latents + s * noise))[0])
    tensors = {"latents": on_cpu(latents[0].half()), "noise": on_cpu(noise[0].half())}
    decoder = fast_decoder(components)
    if decoder is not None:
        tensors["preview.weight"], tensors["preview.bias"] = (part.astype(np.float16) for part in decoder)
    facts = {"width": picture.width, "height": picture.height, "levels": levels, "seed": question.seed}
    content = bytes(save(tensors, metadata={"run": json.dumps(facts, allow_nan=False)}))
    return Answer(content=content, media_type="application/octet-stream")


def first_levels(schedule: Schedule) -> list[tuple[float, float]]:
    """(a, s) of the latents a run begins with, by the number of steps it runs, from none (1, 0) to all of a whole
    schedule's."""
    first: dict[int, tuple[float, float]] = {}
    for step, stage, level in zip(schedule.steps, schedule.stages, schedule.levels):
        if stage == 1:
            first.setdefault(step, (level.a, level.s))
    return [(1.0, 0.0), *(first[step] for step in sorted(first, reverse=True))]


def _schedule(question: NoisedStart, components: Components) -> Schedule:
    return make_schedule(
        question.scheduler,
        question.noise_schedule,
        question.num_inference_steps,
        components.scheduler_config,
        prediction_type=components.prediction_type,
        family=components.family,
    )


def _jpeg(picture: Image.Image) -> Answer:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY)
    return Answer(content=file.getvalue(), media_type="image/jpeg")
