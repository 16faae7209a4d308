"""What becomes of a job: its typed events, and the pictures and previews that they carry.

Plain values only: nothing here is a tensor, so an engine can live in another process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from studio.asked.compare import Comparison
from studio.asked.requests import Request

DecoderName = Literal["fast", "tiny", "full"]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A decoded predicted x0: `jpeg` holds the bytes of a JPEG at the picture's full size or smaller."""

    jpeg: bytes
    width: int
    height: int
    decoder: DecoderName  # which decoder made it


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A finished picture on disk. `id` is random; the file is served at `/picture/<id>` to its owner alone. `file_name`
    is "" for a picture of live mode that is not saved yet."""

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
    chunks: int  # chunks of tokens that the prompts were encoded in
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
    """Every picture is on disk, but for those that `notes` name."""

    job_id: str
    pictures: tuple[Picture, ...]
    seconds: float
    exact: bool  # whether lanes ran one by one (bit-equal to the same request alone)
    notes: tuple[str, ...] = ()  # which images are held back, each in a sentence


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """Stopped on request. Images finished before are kept; `last` is what each unfinished image looked like."""

    job_id: str
    pictures: tuple[Picture, ...]
    last: tuple[Preview, ...]
    index: int  # evaluations done of the image that was running, 0 when stopped before the first
    total: int
    reason: str = "Stopped."
    interrupted: bool = False  # the studio ended while it ran: it can be run again (`RunAgain`)


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


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A comparison has been taken: what it is, its seed decided. The first event of its watchers. `focus`: the cell
    that is made first; None where it is not known any more."""

    job_id: str
    comparison: Comparison
    focus: int | None = None


@dataclass(frozen=True, kw_only=True)
class CellEvent:
    """Something happened to one cell of a comparison: an event of its own, the last one terminal.

    `Finished` has the cell's one picture, which is kept apart from the gallery until `Gallery.keep`.
    """

    job_id: str  # the comparison's; the cell's record is `record(job_id, image=cell)`
    cell: int
    event: Started | Step | Finished | Stopped | Failed


@dataclass(frozen=True, kw_only=True)
class ComparisonEnded:
    """Every cell has ended: the one terminal event of a comparison. What was finished is kept, stopped or not."""

    job_id: str
    state: Literal["finished", "stopped"]
    reason: str  # why it was stopped, "" when it was not
    finished_cells: int  # cells
    failed_cells: int
    seconds: float
    interrupted: bool = False  # as of `Stopped`


ComparisonEvent = Loading | Queued | Planned | CellEvent | ComparisonEnded
AnyEvent = Event | ComparisonEvent
ENDS = (*TERMINAL, ComparisonEnded)


@dataclass(frozen=True, kw_only=True)
class JobSummary:
    """A job as its owner may list it, newest first."""

    job_id: str
    request: Request
    state: Literal["queued", "running", "interrupted", "finished", "stopped", "failed"]
    origin: str  # which tab or API asked: "text_to_image", "image_to_image", "noise_viewer", "compare", "api"
    comparison: Comparison | None = None  # whose `request` is the base of the cells
