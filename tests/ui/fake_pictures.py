"""Pictures of a disc, and the record of a perfect model that draws it: what the fake engine shows."""

from __future__ import annotations

import colorsys
import hashlib
import io
import json
import random
import secrets
import struct
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from safetensors.numpy import save

from studio.answered.engine import Answer, Refused
from studio.answered.events import Failed, FailureKind, Finished, Picture, Preview, Started, Step, Stopped
from studio.asked.problems import InvalidRequest, Problem
from studio.asked.prompt import parse_prompt
from studio.asked.question import Question
from studio.asked.questions import DecodedStart, NoisedStart
from studio.asked.resolved import resolve
from studio.asked.schedulers import evaluations
from studio.asked.upscale import Upscale
from studio.engine.jobs import Job
from studio.picture import decode, enlarged, infotext, metadata
from studio.picture.gallery import Gallery
from tests.ui.fake_models import SUITS

FAILURES: dict[str, tuple[FailureKind, str]] = {
    "fail: oom": ("out_of_memory", "The device ran out of memory. Choose a smaller size or fewer images."),
    "fail: disk": ("disk", "The picture could not be saved: the disk is full. Free some space and try again."),
}
RecordedStep = tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, float]]


def enlarge(order: Upscale) -> Answer:
    """By Lanczos, whatever upscaler is named, and its name in the file. Raises as an engine."""
    if order.problems():
        raise InvalidRequest(*order.problems())
    if order.upscaler.casefold() not in ("lanczos", "small-world-4x"):
        raise InvalidRequest(Problem("upscaler", repr(order.upscaler), "lanczos, or one of small-world-4x"))
    picture = decode.read_picture(order.image)
    whole, shown = order.sizes(picture.size)
    result = enlarged.to_size(picture, whole, shown)
    content = enlarged.png(result, order.image, whole[0] / picture.width, order.upscaler)
    return Answer(content=content, media_type="image/png")


class Drawing:
    """A run under way: each step draws every image with a little less noise, and tells it."""

    def __init__(self, job: Job, gallery: Gallery) -> None:
        self.job, self.gallery = job, gallery
        size = job.request.width or 128, job.request.height or 128
        self.resolved = resolve(job.request, SUITS[job.request.checkpoint], size=size)
        self.size, self.seeds = size, self.resolved.seeds
        self.total = evaluations(self.resolved.scheduler, max(1, self.resolved.steps))
        self.done = 0
        self.began = time.monotonic()
        self.strips: dict[int, list[bytes]] = defaultdict(list)

    def step(self) -> Iterator[tuple[int, RecordedStep]]:
        """One evaluation of every image, and what is recorded of it; the last one ends the job."""
        if self.job.stop_reason is not None:
            last = tuple(self._preview(k) for k in self.strips)
            self._tell(Stopped, pictures=(), last=last, index=self.done, total=self.total, reason=self.job.stop_reason)
            return
        width, height = self.size
        if not self.done:
            words = len(self.job.request.prompt.split())
            facts = {"seeds": self.seeds, "width": width, "height": height, "total": self.total}
            chunks, notes = max(1, -(-words // 75)), parse_prompt(self.job.request.prompt).notices
            self._tell(Started, **facts, prompt_tokens=words, negative_prompt_tokens=0, chunks=chunks, notes=notes)
        now, self.done = self.done, self.done + 1
        for k, seed in enumerate(self.seeds):
            self.strips[k].append(jpeg(self._frame(seed)))
            yield k, latent_step(seed, width, height, now, self.total)
            pace = (time.monotonic() - self.began) / self.done
            noise = {"timestep": 999 * (1 - now / self.total), "sigma": 14.6 * (1 - now / self.total) ** 3}
            left = {"seconds_per_step": pace, "seconds_left": pace * (self.total - self.done), "images_done": 0}
            self._tell(Step, image=k, index=now, total=self.total, **noise, **left, preview=self._preview(k))
        if self.job.request.prompt in FAILURES and now == (min(3, self.total - 1) if self.job.part_of is None else 0):
            kind, message = FAILURES[self.job.request.prompt]
            self._tell(Failed, kind=kind, message=message, error_id=secrets.token_hex(4))
        elif self.done == self.total:
            pictures = tuple(self._saved(k) for k in range(len(self.seeds)))
            seconds = time.monotonic() - self.began
            self._tell(Finished, pictures=pictures, seconds=seconds, exact=self.resolved.request.exact)

    def _frame(self, seed: int) -> Image.Image:
        asked = self.resolved
        words = asked.request.prompt
        if self.job.part_of is not None:
            words += f" {asked.num_inference_steps} {asked.guidance_scale} {asked.scheduler}"
        return scene(words, seed, *self.size, self.done / self.total)

    def _preview(self, image: int) -> Preview:
        return Preview(jpeg=self.strips[image][-1], width=self.size[0], height=self.size[1], decoder="fast")

    def _saved(self, image: int) -> Picture:
        info = metadata.picture_info(
            self.resolved.of_image(image),
            width=self.size[0],
            height=self.size[1],
            evaluations=self.total,
            seconds=round(time.monotonic() - self.began, 3),
        )
        text, owner = infotext.parameters_text(info), self.job.owner
        frame = self._frame(self.seeds[image])
        saved = self.gallery.save(
            frame,
            info=info,
            parameters=text,
            owner=owner,
            part_of=self.job.part_of,
            live_tab=self.job.origin if self.job.live else "",
        )
        return replace(saved, filmstrip=tuple(self.strips[image]))

    def _tell(self, event: type, **facts: object) -> None:
        self.job.publish(event(job_id=self.job.id, **facts))


def scene(prompt: str, seed: int, width: int, height: int, done: float) -> Image.Image:
    """A disc on a sky, behind as much noise as is left; the same for the same words and seed."""
    digest = hashlib.sha256(prompt.encode()).digest()
    draw_at_random = random.Random(seed)
    hue = digest[0] / 255
    sky = tuple(int(255 * c) for c in colorsys.hsv_to_rgb((hue + 0.45) % 1, 0.35, 0.95))
    ground = tuple(int(255 * c) for c in colorsys.hsv_to_rgb((hue + 0.3) % 1, 0.45, 0.75))
    thing = tuple(int(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.8, 0.9))
    picture = Image.new("RGB", (width, height), sky)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, int(height * 0.68), width, height), fill=ground)
    radius = min(width, height) * (0.2 + 0.1 * draw_at_random.random())
    x, y = width * (0.35 + 0.3 * draw_at_random.random()), height * 0.58
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=thing)
    pen.ellipse((x - radius * 0.5, y - radius * 0.6, x - radius * 0.1, y - radius * 0.2), fill="white")
    if done >= 1:
        return picture
    noise = np.random.default_rng(seed).normal(128, 60, (height, width, 3)).clip(0, 255).astype(np.uint8)
    blurred = picture.filter(ImageFilter.GaussianBlur(min(width, height) * 0.12 * (1 - done)))
    return Image.blend(blurred, Image.fromarray(noise), (1 - done) ** 1.5)


def jpeg(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=75)
    return out.getvalue()


def latent_step(seed: int, width: int, height: int, index: int, total: int) -> RecordedStep:
    """x_t, denoised, noise_pred of a perfect model for one hidden picture, and the numbers of the evaluation."""
    shape = (4, height // 8, width // 8)
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    rows = np.linspace(-1.5, 1.5, shape[1], dtype=np.float32)[:, None]
    columns = np.linspace(-1.5, 1.5, shape[2], dtype=np.float32)[None, :]
    clean = np.stack([rows + 0 * columns, columns + 0 * rows, rows * columns, 1 - rows**2 - columns**2])
    sigma = 14.6 * (1 - index / total) ** 3 + 0.03
    a = 1 / (1 + sigma**2) ** 0.5
    s = a * sigma
    x_t = a * clean + s * noise
    numbers = {
        "index": index,
        "timestep": 999 * (1 - index / total),
        "sigma": sigma,
        "a": a,
        "s": s,
        "log_snr": -2 * float(np.log(sigma)),
        "guidance_scale": 1.0,
        "captured": False,
        "x0_defined": True,
        "norm_x_t": float(np.sqrt((x_t**2).mean())),
        "norm_denoised": float(np.sqrt((clean**2).mean())),
        "norm_noise_pred": float(np.sqrt((noise**2).mean())),
    }
    return x_t, clean, noise, numbers


def answer(question: Question) -> Answer:
    """What the noise viewer and the tabs that make pictures may ask of a picture."""
    if isinstance(question, DecodedStart):
        return Answer(content=jpeg(Image.new("RGB", (128, 96), "teal")), media_type="image/jpeg")
    if isinstance(question, NoisedStart):
        return noised_start(question)
    raise Refused("The fake engine has no model to ask.")


def noised_start(question: NoisedStart) -> Answer:
    """A flat picture of 16 x 12 cells that turns into noise evenly as more steps are run."""
    steps = question.num_inference_steps
    noise = np.random.default_rng(question.seed).normal(size=(4, 12, 16))
    weight = np.zeros((3, 64, 4, 3, 3))
    weight[:, :, 0, 1, 1] = 0.5
    levels = [((1 - (k / steps) ** 2) ** 0.5, k / steps) for k in range(steps + 1)]
    facts = {"width": 128, "height": 96, "seed": question.seed, "levels": levels}
    arrays = {
        "latents": np.ones((4, 12, 16)),
        "noise": noise,
        "preview.weight": weight.reshape(192, 4, 3, 3),
        "preview.bias": np.zeros(192),
    }
    halves = {name: array.astype(np.float16) for name, array in arrays.items()}
    content = save(halves, metadata={"run": json.dumps(facts)})
    return Answer(content=bytes(content), media_type="application/octet-stream")


def recording(job: Job, recorded: Sequence[RecordedStep], since: int) -> bytes:
    """What a recorder would answer: docs/record.md."""
    steps = list(recorded[since:])
    height, width = recorded[0][0].shape[1:]
    empty = np.zeros((0, 4, height, width), np.float32)
    weight = np.zeros((3, 64, 4, 3, 3), np.float32)
    weight[0, :, 0, 1, 1] = weight[1, :, 1, 1, 1] = weight[2, :, 2, 1, 1] = 0.6
    arrays = {
        "x_t": np.stack([x for x, _, _, _ in steps]) if steps else empty,
        "model_cond": np.stack([n for _, _, n, _ in steps]) if steps else empty,
        "preview.weight": weight.reshape(192, 4, 3, 3),
        "preview.bias": np.zeros(192, np.float32),
    }
    request = job.request
    run = {
        "job_id": job.id,
        "state": job.state,
        "total": evaluations(request.scheduler, request.num_inference_steps),
        "since": since,
        "width": width * 8,
        "height": height * 8,
        "prompt": request.prompt,
        "seed": request.seed or 0,
        "guidance_scale": request.guidance_scale,
        "scheduler": request.scheduler,
        "schedulers": [
            {"evaluation": 0, "scheduler": request.scheduler, "scheduler_label": "Fake", "adds_noise": False}
        ],
        "prediction_type": "epsilon",
        "evaluations": [numbers for _, _, _, numbers in steps],
    }
    header: dict[str, object] = {"__metadata__": {"run": json.dumps(run)}}
    body = b""
    for name, array in arrays.items():
        data = array.astype("<f2").tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F16", "shape": list(array.shape), "data_offsets": offsets}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body
