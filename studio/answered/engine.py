"""What the page may ask of an engine: the `Engine` protocol, and the values of its answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from studio.answered.events import CellEvent, Event, JobSummary, SurfaceEvent
from studio.answered.models import Checkpoint, Models
from studio.asked.branch import Branch, BranchNode
from studio.asked.compare import Surface
from studio.asked.questions import Question
from studio.asked.requests import Request


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
    """How does this checkpoint's tokenizer see a prompt, or a negative prompt?"""

    checkpoint: str
    text: str
    negative: bool = False


@dataclass(frozen=True, kw_only=True)
class TokensAnswer:
    """`pieces` are the content tokens of the text, prompt grammar applied; begin, end and padding are not counted.
    `notices` are sentences about what is left out, or read in another way than it may be meant."""

    count: int
    chunks: int
    pieces: tuple[str, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a `studio.asked.questions.Question` gets: JSON, a safetensors file, a picture, ..."""

    content: bytes
    media_type: str


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
