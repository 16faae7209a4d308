"""What is answered: the typed events of a job, what the models are doing, and the `Engine` protocol the page talks to.

Plain values only: nothing here is a tensor, so an engine could live in another process. The page is tested against a
fake engine that implements this protocol in a few lines.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from studio.asked.branch import Branch, BranchNode
from studio.asked.compare import Surface
from studio.asked.questions import Question
from studio.asked.requests import Request

RungName = Literal["fast", "tiny", "full"]

# ------------------------------------------------------------------------------------------- what an event holds


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A decoded predicted x0: `jpeg` holds the bytes of a JPEG at the picture's full size or smaller."""

    jpeg: bytes
    width: int
    height: int
    rung: RungName  # which decoder of the preview ladder made it


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A finished picture on disk. `id` is random; the file is served at `/picture/<id>` to its owner alone."""

    id: str
    file_name: str
    width: int
    height: int
    seed: int
    info: dict[
        str, object
    ]  # the request as a dict with everything resolved, plus model hash, versions, evaluations, seconds
    parameters: str  # the A1111 `parameters` text
    filmstrip: tuple[bytes, ...] = ()  # one small JPEG per U-Net evaluation: predicted x0


# ------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, kw_only=True)
class Loading:
    """The checkpoint of this job is being loaded."""

    job_id: str
    checkpoint: str
    message: str  # a sentence for the page
    fraction: float | None = None  # 0..1, None when unknown


@dataclass(frozen=True, kw_only=True)
class Queued:
    """The job waits. Sent again when the position changes."""

    job_id: str
    ahead: int  # jobs before this one, 0 = next


@dataclass(frozen=True, kw_only=True)
class Started:
    """The first lane has been admitted. Everything random or automatic is resolved here."""

    job_id: str
    seeds: tuple[int, ...]
    width: int
    height: int
    total: int  # U-Net evaluations per image
    prompt_tokens: int  # content tokens of the prompt, all of them used
    negative_prompt_tokens: int
    chunks: int  # 77-token chunks the prompts were encoded in
    notes: tuple[str, ...] = ()  # sentences worth knowing, such as "the prompt was encoded in 3 chunks"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One U-Net evaluation of one image is done. Dropped when a newer one is there before anybody looked."""

    job_id: str
    image: int  # 0-based index of the image within the request
    index: int  # 0-based evaluation just done
    total: int
    timestep: float
    sigma: float  # noise level of that evaluation, sqrt((1 - abar) / abar)
    seconds_per_step: float  # running mean of this job
    seconds_left: float  # for the whole job, decoding and saving included as far as known
    images_done: int
    preview: Preview | None = None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Every picture is on disk."""

    job_id: str
    pictures: tuple[Picture, ...]
    seconds: float
    exact: bool  # whether lanes ran one by one (bit-equal to the same request alone)


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """Stopped on request. Images finished before are kept; `last` is what each unfinished image looked like."""

    job_id: str
    pictures: tuple[Picture, ...]
    last: tuple[Preview, ...]
    index: int  # evaluations done of the image that was running, 0 when stopped before the first
    total: int
    reason: str = "Stopped."


FailureKind = Literal["bad_request", "out_of_memory", "bad_checkpoint", "not_finite", "disk", "internal"]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The job failed. The same for every watcher and after a reload."""

    job_id: str
    kind: FailureKind
    message: str  # one plain sentence or two: the cause and what to do; no path, no traceback
    error_id: str  # the same id stands in the log beside the traceback


Event = Loading | Queued | Started | Step | Finished | Stopped | Failed
TERMINAL = (Finished, Stopped, Failed)

# ------------------------------------------------------------------------------------------------------ surfaces


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A surface has been taken: what it is, its seed decided. The first event of its watchers."""

    job_id: str
    surface: Surface


@dataclass(frozen=True, kw_only=True)
class CellEvent:
    """Something happened to one cell of a surface: an event of its own, the last one terminal.

    `Finished` has the cell's one picture, which is kept apart from the gallery until `Gallery.keep`.
    """

    job_id: str  # the surface's; the cell's record is `record(job_id, image=cell)`
    cell: int
    event: Started | Step | Finished | Stopped | Failed


@dataclass(frozen=True, kw_only=True)
class SurfaceEnded:
    """Every cell has ended: the one terminal event of a surface. What was finished is kept, stopped or not."""

    job_id: str
    state: Literal["finished", "stopped"]
    reason: str  # why it was stopped, "" when it was not
    done: int  # cells
    failed: int
    seconds: float


SurfaceEvent = Loading | Queued | Planned | CellEvent | SurfaceEnded


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast this checkpoint is at this size, measured while working."""

    width: int
    height: int
    seconds_per_row: Mapping[int, float]  # rows of a shared U-Net call (1, 2, 4, ...) -> seconds of one of them
    seconds_per_picture: float  # decoding and saving one

    def row(self, rows: int) -> float:
        """Seconds of one row of a call of so many, by the nearest measured size, the smaller of two."""
        return self.seconds_per_row[min(self.seconds_per_row, key=lambda known: (abs(known - rows), known))]

    def seconds(self, surface: Surface, most_rows: int = 64) -> float:
        """What the surface will take here alone: its cells share calls of at most `most_rows` rows, and the calls grow
        smaller as cells with few steps are done. A picture of another size counts by its pixels."""
        total = 0.0
        lanes = [
            (n, rows, pixels / (self.width * self.height)) for n, rows, pixels in surface.lanes(self.width, self.height)
        ]
        before = 0
        for steps in sorted({n for n, _, _ in lanes}):
            rows = sum(r * size for n, r, size in lanes if n >= steps)
            total += (steps - before) * rows * self.row(min(most_rows, round(rows)))
            before = steps
        return total + sum(size for _, _, size in lanes) * self.seconds_per_picture


# -------------------------------------------------------------------------------- models, questions and summaries


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One entry of the catalogue; no tensor has been read for it."""

    name: str  # what a request's `checkpoint` says
    label: str
    family: str  # "SD 1", "SD 2", "SDXL", ...
    native_width: int
    native_height: int
    size_bytes: int
    built_in: bool = False
    num_inference_steps: int = 25  # what suits its kind, as are the next three; the page aims its fields at them
    guidance_scale: float = 5.0
    scheduler: str = "dpmpp_2m"
    noise_schedule: str = "automatic"
    examples: tuple[str, ...] = ()  # prompts that work well with it
    words: tuple[str, ...] = ()  # words it knows
    # The same for the prompt helper: rows of group, label, phrase, other words (checkpoints/vocabulary.py).
    vocabulary: tuple[tuple[str, ...], ...] = ()
    note: str = ""
    controlnets: tuple[str, ...] = ()  # that were found for it, by the names that `Control.model` says
    # Those of them whose maps can be painted: (name, rows of (what, "#rrggbb")), see checkpoints/palette.py.
    palettes: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()


@dataclass(frozen=True, kw_only=True)
class EngineStatus:
    """What the engine is doing, for the line above Generate."""

    state: Literal["starting", "loading", "ready", "failed"]
    message: str
    checkpoint: str | None = None  # the one that is loaded or being loaded
    fraction: float | None = None
    device: str = ""
    running: int = 0  # jobs
    queued: int = 0
    next: str | None = None  # the checkpoint that is loaded when nothing else is to be done (`Engine.prepare`)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """How does this checkpoint's tokenizer see the text?"""

    checkpoint: str
    text: str


@dataclass(frozen=True, kw_only=True)
class TokensAnswer:
    """`pieces` are the content tokens of the text, prompt grammar applied; begin, end and padding are not counted."""

    count: int
    chunks: int
    pieces: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a `studio.asked.questions.Question` gets: JSON, a safetensors file, a picture, ..."""

    content: bytes
    media_type: str


@dataclass(frozen=True, kw_only=True)
class JobSummary:
    """A job as its owner may list it, newest first."""

    job_id: str
    request: Request
    state: Literal["queued", "running", "finished", "stopped", "failed"]
    origin: str  # which tab or API asked: "text_to_image", "image_to_image", "noise_viewer", "compare", "api"
    surface: Surface | None = None  # of a comparison, whose `request` is the base of its cells


# ------------------------------------------------------------------------------------- the models on this machine

ModelKind = Literal["checkpoint", "vae", "lora", "embedding", "preview_decoder", "controlnet"]
ModelState = Literal[
    "usable", "incomplete", "unknown", "refused"
]  # incomplete: it lacks a VAE, and runs with a chosen one
ModelPlace = Literal["disk", "ram", "device"]
PredictionName = Literal["epsilon", "v_prediction", "sample"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """One file or diffusers folder of the models folders, as its header tells it; no tensor has been read."""

    id: str  # names it in every call below; says nothing of where it lies
    kind: ModelKind | None  # None: neither its folder nor its header says
    name: str  # a checkpoint's is what a request's `checkpoint` says
    label: str
    where: str  # the models folder's name and the folders below it, never a whole path
    state: ModelState
    reason: str = ""  # why it is incomplete, unknown or refused, one sentence
    family: str = ""  # "SD 1", "SD 2", "SDXL", ...; "" where it is not known
    form: str = ""  # "safetensors", "diffusers folder", "pickle", ...
    precision: str = ""  # "fp16", "fp32 and fp16", ...
    parts: tuple[str, ...] = ()  # "U-Net", "VAE", "text encoder", ...
    prediction_type: PredictionName | None = None  # as the file says, or as it was corrected
    prediction_corrected: bool = False
    native_width: int | None = None
    native_height: int | None = None
    size_bytes: int = 0
    built_in: bool = False
    sha256: str | None = None  # None until it has been hashed in the background
    note: str = ""  # what the owner wrote
    place: ModelPlace = "disk"
    has_picture: bool = False  # an embedded or neighbouring preview picture; `Models.picture`
    origin: str = ""  # the hub's repository that it was fetched from, where this studio did that
    metadata: tuple[tuple[str, str], ...] = ()  # title, author, licence, trigger words, ... in words
    convertible: bool = False  # a pickle that "convert safely" may turn into safetensors
    vae: str = ""  # id of the model whose VAE was chosen for this checkpoint; "" for its own
    lends_vae_to: tuple[str, ...] = ()  # families whose checkpoints could run with the VAE in it


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """What the loaded models take, in bytes. On a CPU there is one memory, so `device_*` are None."""

    device_label: str = ""
    device_models: int | None = None  # weights on the device
    device_limit: int | None = None  # what they may take before the least recently used is moved to RAM
    device_free: int | None = None
    device_total: int | None = None
    ram_models: int = 0  # weights in RAM
    ram_limit: int | None = None
    ram_free: int | None = None
    ram_total: int | None = None


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """One file of a repository on the hub."""

    path: str
    size: int | None
    sha256: str | None = None  # of large files; the hub knows none for small ones
    suggested: bool = False  # part of what this studio would need of the repository


DownloadState = Literal["waiting", "running", "verifying", "done", "failed", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class Download:
    """One download from the hub, from request to end."""

    id: str
    repository: str
    files: tuple[str, ...]
    kind: ModelKind
    state: DownloadState
    done_bytes: int = 0
    total_bytes: int | None = None
    bytes_per_second: float = 0.0
    seconds_left: float | None = None
    message: str = ""  # one sentence: what it is doing, or why it failed and what to do


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A pickle on its way to a safetensors file beside it."""

    id: str  # the model's
    name: str  # of the file
    state: Literal["waiting", "running", "done", "failed"]
    fraction: float | None = None  # of the new file, None while the old one is read
    message: str = ""  # where the new file is, or why there is none: the class it names that could run code, ...


class NoSuchModel(LookupError):
    """No model, order or download of this id."""


class Models(Protocol):
    """What the page may ask of the models on this machine. `load` and `unload` only ask: what became of it is told by
    `found`, `message` and `EngineStatus`. Who may ask is for `studio.web` and the page to say."""

    def found(self, *, refresh: bool = False) -> tuple[Model, ...]:
        """Everything found, checkpoints first; with `refresh` the folders are looked at anew now. May read headers of
        new files, so call it off the event loop."""
        ...

    def load(self, model_id: str) -> None:
        """Bring a checkpoint to the device as soon as no lane runs. Raises NoSuchModel, or Refused with the reason."""
        ...

    def unload(self, model_id: str) -> None:
        """Let a loaded checkpoint go from device and RAM as soon as no lane needs it. Raises NoSuchModel."""
        ...

    def memory(self) -> MemoryUse:
        """What the loaded models take and what is free."""
        ...

    def message(self) -> str:
        """What became of the last order that failed, one sentence; empty when the last one went well."""
        ...

    def annotate(self, model_id: str, note: str) -> None:
        """Remember a note of at most 2,000 characters. Raises NoSuchModel or InvalidRequest."""
        ...

    def correct(self, model_id: str, prediction_type: PredictionName | None) -> None:
        """Remember another prediction type than the file says; None forgets it. It counts from the next load on.
        Raises NoSuchModel or InvalidRequest."""
        ...

    def choose_vae(self, model_id: str, source_id: str | None) -> None:
        """Let a checkpoint run with the VAE of another file (a VAE, or a checkpoint that has one), from its next load
        on; None: its own again. A loaded one is loaded anew. It is remembered. Raises NoSuchModel or InvalidRequest."""
        ...

    def convert(self, model_id: str) -> None:
        """Write a safetensors file beside a pickle, in the background, in a process that runs nothing of it. Raises
        NoSuchModel, or Refused for what is no such file."""
        ...

    def conversions(self) -> tuple[Conversion, ...]:
        """Every conversion since the start, newest first."""
        ...

    def picture(self, model_id: str) -> bytes | None:
        """A JPEG of at most 512 pixels a side, of the embedded or neighbouring preview; None when there is none."""
        ...

    def repository(self, repository: str, *, revision: str = "main", token: str | None = None) -> tuple[HubFile, ...]:
        """What lies in a repository of the hub. Waits for the hub. Raises InvalidRequest or Refused in one sentence."""
        ...

    def download(
        self,
        repository: str,
        files: tuple[str, ...],
        *,
        kind: ModelKind = "checkpoint",
        revision: str = "main",
        token: str | None = None,
    ) -> str:
        """Fetch files into the models folder; returns the download's id at once. Raises InvalidRequest or Refused."""
        ...

    def downloads(self) -> tuple[Download, ...]:
        """Every download since the start, newest first."""
        ...

    def cancel_download(self, download_id: str) -> None:
        """Stop a download; what has come is kept for resuming and never listed. Raises NoSuchModel."""
        ...


# ------------------------------------------------------------------------------------------------------- engine


class UnknownJob(LookupError):
    """No such job, or not this owner's: the two are not told apart."""


class Refused(RuntimeError):
    """The engine does not take the job now (queue full, too many jobs of one visitor). The text says what to do."""


class Engine(Protocol):
    """What the page may ask. Every call returns at once; nothing here imports torch in the caller."""

    @property
    def models(self) -> Models:
        """The models on this machine: list, load, unload, download."""
        ...

    def submit(self, request: Request, *, owner: str, origin: str = "api", attention: bool = False) -> str:
        """Take a job and return its random id. `attention` records where the U-Net looks, in calls of its own.

        Raises InvalidRequest (unknown checkpoint, unreadable picture, ...)
        or Refused. Nothing else ever raises for what a visitor typed."""
        ...

    def watch(self, job_id: str, *, owner: str) -> AsyncIterator[Event]:
        """Events of a job from where it is now: the state so far in short (Loading/Queued/Started, newest Step), then
        live ones, ending with exactly one terminal event. Any number of watchers. Raises UnknownJob."""
        ...

    def cancel(self, job_id: str, *, owner: str) -> bool:
        """Ask a job to stop; it does within one step. False when it had ended already. Raises UnknownJob."""
        ...

    def submit_surface(self, surface: Surface, *, owner: str, origin: str = "api", focus: int = 0) -> str:
        """Take a comparison as one job: its cells are made side by side, the one at `focus` first. Raises as `submit`.
        `cancel`, `jobs` and `record` (its `image` is the cell) take the id like any other."""
        ...

    def watch_surface(self, job_id: str, *, owner: str) -> AsyncIterator[SurfaceEvent]:
        """Events of a comparison from where it is now, as `watch`: the newest of every cell, then live ones, ending
        with exactly one SurfaceEnded. Raises UnknownJob."""
        ...

    def surface(self, job_id: str, *, owner: str) -> tuple[Surface, dict[int, CellEvent]]:
        """A comparison as it is now, with the newest event of every cell that has begun. Raises UnknownJob."""
        ...

    def hurry(self, job_id: str, cell: int, *, owner: str) -> bool:
        """Let a cell go before the others of its surface. False when it has ended. Raises UnknownJob."""
        ...

    def pace(self, checkpoint: str, width: int | None = None, height: int | None = None) -> Pace | None:
        """The measured speed of a checkpoint at this size if it was used, else at another; None before any run."""
        ...

    def jobs(self, *, owner: str) -> tuple[JobSummary, ...]:
        """This owner's jobs, newest first, for re-attaching after a reload."""
        ...

    def catalog(self) -> tuple[Checkpoint, ...]:
        """Installed checkpoints, the built-in one first. Cheap: reads folder names and headers only."""
        ...

    def status(self) -> EngineStatus:
        """What the engine is doing now."""
        ...

    def prepare(self, checkpoint: str) -> None:
        """Load this checkpoint when nothing else is to be done, so that the first picture with it need not wait.

        Only a hint: the last one counts, jobs go first, and a name that is unknown or loaded already asks nothing."""
        ...

    async def ask(self, question: Tokens) -> TokensAnswer:
        """A short question, answered between ticks. Raises InvalidRequest, or Refused while the model is loading."""
        ...

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
        """The recorded evaluations `since`.. (before `until`) of one image as the bytes of a safetensors file.

        What the model was given and what it answered in half precision, and the numbers of each evaluation:
        docs/record.md. `lean` takes eight bits a number where the whole run is large.
        Raises UnknownJob (also when nothing was recorded).
        """
        ...

    def branch(self, job_id: str, branch: Branch, *, owner: str, image: int = 0, origin: str = "api") -> str:
        """Go on from an evaluation of a recorded run with something changed: a new job, whose id is returned. Nothing
        changed gives the same picture to the last bit when the run had `exact` or `attention`. Raises UnknownJob
        (also when it is not recorded any more), InvalidRequest or Refused."""
        ...

    def branches(self, job_id: str, *, owner: str) -> tuple[BranchNode, ...]:
        """The tree of branches that this job belongs to, its root first. Raises UnknownJob."""
        ...

    async def inquire(self, question: Question, *, owner: str) -> Answer:
        """A question of the noise viewer, worked on between ticks. Raises InvalidRequest (no picture, ...), or Refused:
        the checkpoint is not the loaded one, too many questions wait, or the answer cannot be computed."""
        ...

    def visitor(self, owner: str, *, here: bool) -> None:
        """This visitor has opened the page (`here`), or closed it: what is only kept to be looked at (recordings, with
        the pictures that their runs began with) is let go of a few minutes later. Runs go on, pictures stay."""
        ...

    def close(self) -> None:
        """Stop running jobs, end the thread, release the device. Returns within three seconds."""
        ...
