"""An engine without a model: a thread that draws a disc out of noise, one step after the other.

It keeps every promise of `studio.answered.engine.Engine` that the page relies on, so the page can be tested
without torch. The prompt steers it: "fail: oom" fails, "slow" takes longer, anything else picks the colour.
"""

from __future__ import annotations

import asyncio
import colorsys
import hashlib
import io
import json
import random
import secrets
import struct
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from safetensors.numpy import save

from studio.answered.engine import Answer, EngineStatus, Pace, Refused, Tokens, TokensAnswer, UnknownJob
from studio.answered.events import (
    CellEvent,
    Event,
    Failed,
    FailureKind,
    Finished,
    JobSummary,
    Loading,
    Picture,
    Planned,
    Preview,
    Queued,
    Started,
    Step,
    Stopped,
    SurfaceEnded,
    SurfaceEvent,
)
from studio.answered.models import Checkpoint
from studio.asked.branch import Branch, BranchNode
from studio.asked.compare import Surface
from studio.asked.prompt import parse_prompt
from studio.asked.questions import DecodedStart, NoisedStart, Question
from studio.asked.requests import (
    ImageToImage,
    InvalidRequest,
    Problem,
    Request,
    evaluations,
    resolve_noise_schedule,
    steps_run,
)
from studio.asked.resolved import Suits, suited
from studio.picture import metadata
from studio.picture.gallery import Gallery
from tests.ui.fake_models import FakeModels

FAILURES: dict[str, tuple[FailureKind, str]] = {
    "fail: oom": ("out_of_memory", "The device ran out of memory. Choose a smaller size or fewer images."),
    "fail: disk": ("disk", "The picture could not be saved: the disk is full. Free some space and try again."),
}
EXAMPLES = (
    "a red apple in the snow",
    "a fox in the meadow",
    "a rocket in the night sky",
    "a small whale in the sea",
    "a cactus in the desert, pixel art",
    "two mushrooms at sunset",
)
WORDS = ("fox", "apple", "rocket", "whale", "cactus", "pizza", "owl", "snow", "meadow", "sea", "desert", "sunset",
         "night sky", "small", "big", "left", "right", "pixel art", "black and white")  # fmt: skip
OBJECTS = ("fox", "red apple", "rocket", "whale", "cactus", "pizza", "owl", "grapes")
PALETTE = (("", "#000000"), ("*", "#ffffff"), ("fox", "#c000ff"), ("red apple", "#40ff00"), ("cat", "#00ffff"))
VOCABULARY = (
    *(
        ("objects", name, name if name == "grapes" else f"{'an' if name[0] in 'aeiou' else 'a'} {name}")
        for name in OBJECTS
    ),
    *(
        ("backgrounds", name, f"on {'an' if name[0] == 'o' else 'a'} {name} background")
        for name in ("red", "blue", "orange")
    ),
    ("backgrounds", "gray", "on a gray background", "grey"),
    ("scenes", "meadow", "in a meadow", "in the meadow", "on the grass"),
    ("scenes", "snow", "in the snow", "in winter"),
    ("sizes", "small", "small", "little", "tiny"),
    ("sizes", "big", "big", "large"),
    ("places", "left", "on the left"),
    ("places", "right", "on the right"),
    ("relations", "left of", "left of", "to the left of"),
    ("relations", "above", "above", "over"),
    ("relations", "and", "and"),
    ("styles", "pixel art", "pixel art"),
    ("styles", "black and white", "black and white", "monochrome"),
)


@dataclass
class Job:
    """One run: what was asked, what has happened, who may see it."""

    id: str
    request: Request
    owner: str
    origin: str
    state: str = "queued"
    stop: threading.Event = field(default_factory=threading.Event)
    events: dict[str, Event] = field(default_factory=dict)  # newest of each kind that a new watcher needs
    version: int = 0
    end: Event | None = None
    record: list[tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, float]]] = field(default_factory=list)
    surface: Surface | None = None
    order: list[int] = field(default_factory=list)  # of a surface's cells that have not ended
    records: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, float]]]] = field(default_factory=dict)


class FakeEngine:
    """One worker thread, first come first served."""

    def __init__(self, gallery: Gallery, *, seconds_per_step: float = 0.03, loading_seconds: float = 0.0) -> None:
        self.visits: list[tuple[str, bool]] = []  # who opened (True) or closed the page
        self.gallery = gallery
        self.models = FakeModels()
        self.seconds_per_step = seconds_per_step
        self.max_jobs_of_one_owner = 8
        self._jobs: dict[str, Job] = {}
        self._waiting: list[Job] = []
        self._wake = threading.Condition()
        self._closed = False
        self._ready_at = time.monotonic() + loading_seconds
        self._loading_seconds = loading_seconds
        self.prepared: list[str] = []
        self.switching = threading.Event()  # while set, the last prepared checkpoint is being loaded
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------------------- the protocol

    def _suits(self) -> dict[str, Suits]:
        return {checkpoint.name: checkpoint.suits for checkpoint in self.catalog()}

    def submit(self, request: Request, *, owner: str, origin: str = "api", attention: bool = False) -> str:
        if request.checkpoint not in {c.name for c in self.catalog()}:
            raise InvalidRequest(Problem("checkpoint", repr(request.checkpoint), "small-world-128 or tiny-test"))
        if isinstance(request, ImageToImage):
            try:
                Image.open(io.BytesIO(request.image)).load()
            except Exception as error:
                raise InvalidRequest(Problem("image", "this file", "a PNG, JPEG, WebP or GIF file")) from error
        mine = [j for j in self._jobs.values() if j.owner == owner and j.end is None]
        if len(mine) >= self.max_jobs_of_one_owner:
            raise Refused("You have 8 runs waiting already. Stop one of them, or wait until one is done.")
        request = suited(request, self._suits()[request.checkpoint])
        job = Job(id=secrets.token_hex(16), request=request, owner=owner, origin=origin)
        with self._wake:
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._tell_positions()
            self._wake.notify_all()
        return job.id

    def submit_surface(self, surface: Surface, *, owner: str, origin: str = "api", focus: int = 0) -> str:
        for cell in map(surface.request, range(len(surface))):
            if cell is not None and cell.checkpoint not in {c.name for c in self.catalog()}:
                raise InvalidRequest(Problem("checkpoint", repr(cell.checkpoint), "small-world-128 or tiny-test"))
        if surface.base.seed is None:
            surface = surface.with_seed(random.randrange(2**32))
        surface = surface.with_suits(self._suits())
        job = Job(id=secrets.token_hex(16), request=surface.base, owner=owner, origin=origin, surface=surface)
        job.order = list(surface.order(focus))
        with self._wake:
            self._jobs[job.id] = job
            job.events["planned"] = Planned(job_id=job.id, surface=surface)
            self._waiting.append(job)
            self._tell_positions()
            self._wake.notify_all()
        return job.id

    def watch_surface(self, job_id: str, *, owner: str) -> AsyncIterator[SurfaceEvent]:
        if self._job(job_id, owner).surface is None:
            raise UnknownJob(job_id)
        return self.watch(job_id, owner=owner)  # type: ignore[return-value]

    def surface(self, job_id: str, *, owner: str) -> tuple[Surface, dict[int, CellEvent]]:
        job = self._job(job_id, owner)
        if job.surface is None:
            raise UnknownJob(job_id)
        return job.surface, {e.cell: e for e in list(job.events.values()) if isinstance(e, CellEvent)}

    def hurry(self, job_id: str, cell: int, *, owner: str) -> bool:
        job = self._job(job_id, owner)
        with self._wake:
            if cell not in job.order:
                return False
            job.order.remove(cell)
            job.order.insert(0, cell)
            return True

    def pace(self, checkpoint: str, width: int | None = None, height: int | None = None) -> Pace | None:
        return Pace(width=128, height=128, seconds_per_row={8: 0.02}, seconds_per_picture=0.05)

    async def watch(self, job_id: str, *, owner: str) -> AsyncIterator[Event]:
        job = self._job(job_id, owner)
        seen: dict[str, Event] = {}
        while True:
            end = job.end
            for kind, event in list(job.events.items()):
                if seen.get(kind) is not event:
                    seen[kind] = event
                    yield event
            if end is not None:
                yield end
                return
            await asyncio.sleep(0.01)

    def cancel(self, job_id: str, *, owner: str) -> bool:
        job = self._job(job_id, owner)
        if job.end is not None:
            return False
        job.stop.set()
        with self._wake:
            if job in self._waiting:
                self._waiting.remove(job)
                if job.surface is not None:
                    self._end_surface(job, time.monotonic(), {})
                else:
                    self._finish(job, "stopped", self._stopped(job, 0, 0))
                self._tell_positions()
        return True

    def jobs(self, *, owner: str) -> tuple[JobSummary, ...]:
        mine = [j for j in self._jobs.values() if j.owner == owner]
        return tuple(
            JobSummary(job_id=j.id, request=j.request, state=j.state, origin=j.origin, surface=j.surface)  # type: ignore[arg-type]
            for j in reversed(mine)
        )

    def catalog(self) -> tuple[Checkpoint, ...]:
        return (
            Checkpoint(
                name="small-world-128", label="Small World", family="SD 1", native_width=128, native_height=128,
                size_bytes=30 * 2**20, built_in=True, examples=EXAMPLES, words=WORDS,
                vocabulary=VOCABULARY, note="built in", controlnets=("control-segmentation",),
                palettes=(("control-segmentation", PALETTE),),
            ),
            Checkpoint(
                name="tiny-test", label="Tiny <b>test</b>", family="SD 1", native_width=512, native_height=512,
                size_bytes=2**20, controlnets=("lines", "maps"),
            ),
            Checkpoint(
                name="quick", label="Quick one", family="SD 1", native_width=512, native_height=512, size_bytes=2**20,
                num_inference_steps=4, guidance_scale=1.0, scheduler="euler_a", noise_schedule="sgm_uniform",
            ),
        )  # fmt: skip

    def status(self) -> EngineStatus:
        left = self._ready_at - time.monotonic()
        if left > 0:
            done = 1 - left / self._loading_seconds
            return EngineStatus(
                state="loading",
                message="Loading Small World",
                checkpoint="small-world-128",
                fraction=done,
                device="CPU",
            )
        if self.switching.is_set() and self.prepared:
            name = self.prepared[-1]
            return EngineStatus(state="loading", message=f"Loading {name}", checkpoint=name, fraction=0.4, device="CPU")
        running = sum(j.state == "running" for j in self._jobs.values())
        return EngineStatus(
            state="ready",
            message="Small World is ready",
            checkpoint="small-world-128",
            device="CPU",
            running=running,
            queued=len(self._waiting),
        )

    def prepare(self, checkpoint: str) -> None:
        self.prepared.append(checkpoint)

    async def ask(self, question: Tokens) -> TokensAnswer:
        pieces = tuple(question.text.split())
        notices = parse_prompt(question.text, negative=question.negative).notices
        return TokensAnswer(count=len(pieces), chunks=max(1, -(-len(pieces) // 75)), pieces=pieces, notices=notices)

    def branch(self, job_id: str, branch: Branch, *, owner: str, image: int = 0, origin: str = "api") -> str:
        parent = self._job(job_id, owner)
        changed = {k: v for k, v in branch.changed.items() if k in ("prompt", "negative_prompt", "guidance_scale")}
        return self.submit(replace(parent.request, **changed), owner=owner, origin=origin)

    def branches(self, job_id: str, *, owner: str) -> tuple[BranchNode, ...]:
        job = self._job(job_id, owner)
        request = job.request
        return (
            BranchNode(job_id=job.id, state=job.state, prompt=request.prompt, guidance_scale=request.guidance_scale),
        )

    async def inquire(self, question: Question, *, owner: str) -> Answer:
        if isinstance(question, DecodedStart):
            return Answer(content=jpeg(Image.new("RGB", (128, 96), "teal")), media_type="image/jpeg")
        if isinstance(question, NoisedStart):
            return _noised_start(question)
        raise Refused("The fake engine has no model to ask.")

    def record(
        self,
        job_id: str,
        *,
        owner: str,
        image: int = 0,
        since: int = 0,
        until: int | None = None,
        lean: bool = False,
    ) -> bytes:
        job = self._job(job_id, owner)
        if job.surface is not None:
            job = replace(job, record=job.records.get(image, []))
        if not job.record:
            raise UnknownJob(job_id)
        return _safetensors(job, since)

    def visitor(self, owner: str, *, here: bool) -> None:
        """Recordings of this engine are drawn anew each time: there is nothing to let go of, only something to note."""
        self.visits.append((owner, here))

    def close(self) -> None:
        with self._wake:
            self._closed = True
            for job in self._jobs.values():
                job.stop.set()
            self._wake.notify_all()
        self._thread.join(3)

    # -------------------------------------------------------------------------------------------- the thread

    def _job(self, job_id: str, owner: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None or job.owner != owner:
            raise UnknownJob(job_id)
        return job

    def _tell_positions(self) -> None:
        for ahead, job in enumerate(self._waiting):
            job.events["queued"] = Queued(job_id=job.id, ahead=ahead)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closed:
                    self._wake.wait()
                if self._closed:
                    return
                job = self._waiting.pop(0)
                self._tell_positions()
            while (left := self._ready_at - time.monotonic()) > 0:
                job.events["loading"] = Loading(
                    job_id=job.id,
                    checkpoint="small-world-128",
                    message="Loading Small World",
                    fraction=1 - left / self._loading_seconds,
                )
                time.sleep(min(0.1, left))
            job.state = "running"
            if job.surface is not None:
                self._draw_surface(job, job.surface)
            else:
                self._draw(job)

    def _draw(self, job: Job) -> None:
        request = job.request
        width, height = request.width or 128, request.height or 128
        first_seed = request.seed if request.seed is not None else random.randrange(2**32)
        images = request.num_images_per_prompt
        steps = request.num_inference_steps
        if isinstance(request, ImageToImage):
            steps = max(1, steps_run(steps, request.strength))
        total = evaluations(request.scheduler, steps)
        pause = self.seconds_per_step * (8 if "slow" in request.prompt else 1)
        words = len(request.prompt.split())
        job.events.clear()
        job.events["started"] = Started(
            job_id=job.id,
            seeds=tuple(first_seed + k for k in range(images)),
            width=width,
            height=height,
            total=total,
            prompt_tokens=words,
            negative_prompt_tokens=0,
            chunks=max(1, -(-words // 75)),
            notes=parse_prompt(request.prompt).notices,
        )
        began = time.monotonic()
        strips: list[list[bytes]] = [[] for _ in range(images)]
        pictures: list[Picture] = []
        frame = Image.new("RGB", (width, height))
        for index in range(total):
            for k in range(images):
                if job.stop.is_set():
                    self._finish(job, "stopped", self._stopped(job, index, total, strips))
                    return
                time.sleep(pause / images)
                frame = scene(request.prompt, first_seed + k, width, height, (index + 1) / total)
                strips[k].append(jpeg(frame))
                if k == 0:
                    job.record.append(latent_step(first_seed, width, height, index, total))
                done = (index * images + k + 1) / (total * images)
                elapsed = time.monotonic() - began
                job.events["step"] = Step(
                    job_id=job.id,
                    image=k,
                    index=index,
                    total=total,
                    timestep=999 * (1 - index / total),
                    sigma=14.6 * (1 - index / total) ** 3,
                    seconds_per_step=elapsed / (index + 1),
                    seconds_left=elapsed / done * (1 - done),
                    images_done=0,
                    preview=Preview(jpeg=strips[k][-1], width=width, height=height, rung="fast"),
                )
            if request.prompt in FAILURES and index == min(3, total - 1):
                kind, message = FAILURES[request.prompt]
                failed = Failed(job_id=job.id, kind=kind, message=message, error_id=secrets.token_hex(4))
                self._finish(job, "failed", failed)
                return
        for k in range(images):
            info = request.to_dict() | {
                "seed": first_seed + k,
                "width": width,
                "height": height,
                "noise_schedule": resolve_noise_schedule(request.scheduler, request.noise_schedule),
                "seconds": round(time.monotonic() - began, 3),
                "evaluations": total,
            }
            picture = self.gallery.save(
                scene(request.prompt, first_seed + k, width, height, 1.0),
                info=info,
                parameters=metadata.parameters_text(info),
                owner=job.owner,
            )
            pictures.append(
                Picture(**{**vars(picture), "filmstrip": tuple(strips[k])})  # frozen: made anew with its strip
            )
        seconds = time.monotonic() - began
        self._finish(
            job, "finished", Finished(job_id=job.id, pictures=tuple(pictures), seconds=seconds, exact=request.exact)
        )

    def _draw_surface(self, job: Job, surface: Surface) -> None:
        """Three cells at a time, one step each; "fail: oom" in a cell's prompt fails that cell."""
        job.events.pop("queued", None)
        began = time.monotonic()
        strips: dict[int, list[bytes]] = {}
        while job.order and not job.stop.is_set():
            with self._wake:
                now = job.order[:3]
            time.sleep(self.seconds_per_step * (8 if "slow" in job.request.prompt else 1))
            for cell in now:
                self._cell_step(job, surface, cell, strips.setdefault(cell, []), began)
        self._end_surface(job, began, strips)

    def _cell_step(self, job: Job, surface: Surface, cell: int, strip: list[bytes], began: float) -> None:
        request = surface.request(cell)
        assert request is not None
        width, height, index = request.width or 128, request.height or 128, len(strip)
        total = evaluations(request.scheduler, request.num_inference_steps)
        words = f"{request.prompt} {request.num_inference_steps} {request.guidance_scale} {request.scheduler}"
        frame = scene(words, request.seed or 0, width, height, (index + 1) / total)
        strip.append(jpeg(frame))
        job.records.setdefault(cell, []).append(latent_step((request.seed or 0) + cell, width, height, index, total))
        end: Event | None = None
        if request.prompt in FAILURES:
            kind, message = FAILURES[request.prompt]
            end = Failed(job_id="cell", kind=kind, message=message, error_id="0a1b2c3d")
        elif index + 1 == total:
            info = metadata.picture_info(surface.resolved(cell), width=width, height=height, evaluations=total,
                                         seconds=round(time.monotonic() - began, 3))  # fmt: skip
            picture = self.gallery.save(frame, info=info, parameters=metadata.parameters_text(info), owner=job.owner,
                                        part_of=job.id)  # fmt: skip
            picture = replace(picture, filmstrip=tuple(strip))
            end = Finished(job_id="cell", pictures=(picture,), seconds=time.monotonic() - began, exact=False)
        step = Step(
            job_id="cell", image=0, index=index, total=total, timestep=0, sigma=0, seconds_per_step=0.1, seconds_left=1,
            images_done=0, preview=Preview(jpeg=strip[-1], width=width, height=height, rung="fast"),
        )  # fmt: skip
        job.events[f"cell {cell}"] = CellEvent(job_id=job.id, cell=cell, event=end or step)
        if end is not None:
            with self._wake:
                job.order.remove(cell)

    def _end_surface(self, job: Job, began: float, strips: dict[int, list[bytes]]) -> None:
        for cell in job.order:
            stopped = self._stopped(job, len(strips.get(cell, ())), 1, [strips.get(cell, [])])
            job.events[f"cell {cell}"] = CellEvent(job_id=job.id, cell=cell, event=stopped)
        ends = [e.event for e in job.events.values() if isinstance(e, CellEvent)]
        state = "stopped" if job.order else "finished"
        job.order = []
        job.state = state
        job.end = SurfaceEnded(  # type: ignore[assignment]
            job_id=job.id, state=state, reason="Stopped." if state == "stopped" else "",  # type: ignore[arg-type]
            done=sum(isinstance(e, Finished) for e in ends), failed=sum(isinstance(e, Failed) for e in ends),
            seconds=time.monotonic() - began,
        )  # fmt: skip

    def _stopped(self, job: Job, index: int, total: int, strips: list[list[bytes]] | None = None) -> Stopped:
        last = tuple(Preview(jpeg=s[-1], width=0, height=0, rung="fast") for s in strips or [] if s)
        return Stopped(job_id=job.id, pictures=(), last=last, index=index, total=total)

    def _finish(self, job: Job, state: str, event: Event) -> None:
        job.state = state
        job.end = event


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


def latent_step(
    seed: int, width: int, height: int, index: int, total: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, float]]:
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


def _noised_start(question: NoisedStart) -> Answer:
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


def _safetensors(job: Job, since: int) -> bytes:
    steps = list(job.record[since:])
    height, width = job.record[0][0].shape[1:]
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
