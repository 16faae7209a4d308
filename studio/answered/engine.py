"""What the page may ask of an engine: the `Engine` protocol, and the values of its answers.

An engine may live in this process, in a child process or on another machine. So everything that crosses is plain data,
which `studio.answered.codec` turns into bytes and back. A call that has to reach the engine is asynchronous. What a
page needs at once is a snapshot on the page's side.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal, Protocol, overload

from studio.answered.events import (
    AnyEvent,
    CellEvent,
    ComparisonEnded,
    ComparisonEvent,
    Event,
    Failed,
    Finished,
    JobSummary,
    Planned,
    Started,
    Step,
    Stopped,
)
from studio.answered.models import Checkpoint, HubFile, ModelsNow
from studio.asked import orders
from studio.asked.branch import BranchNode
from studio.asked.compare import Comparison
from studio.asked.messages import Message
from studio.asked.question import Question
from studio.asked.upscale import Upscale


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast this checkpoint is at this size, measured while working."""

    width: int
    height: int
    seconds_per_row: Mapping[int, float]  # rows of a shared U-Net call (1, 2, 4, ...) -> seconds of one of them
    seconds_per_picture: float  # decoding and saving one

    def row(self, rows: int) -> float:
        """Seconds of one row of a call of so many, by the nearest measured size, the smaller of two."""
        return self.seconds_per_row[
            min(self.seconds_per_row, key=lambda measurement: (abs(measurement - rows), measurement))
        ]

    def seconds(self, comparison: Comparison, most_rows: int = 64) -> float:
        """What the comparison will take here alone. Its cells share calls of at most `most_rows` rows, and the calls
        grow smaller as cells with few steps end. A picture of another size counts by its pixels."""
        total = 0.0
        lanes = [
            (n, rows, pixels / (self.width * self.height))
            for n, rows, pixels in comparison.lanes(self.width, self.height)
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
    next: str | None = None  # the checkpoint that is loaded when nothing else is to be done (`PrepareCheckpoint`)


@dataclass(frozen=True, kw_only=True)
class TokensAnswer:
    """`pieces` are the content tokens of the text, prompt grammar applied; begin, end and padding are not counted.
    `notices` are sentences about what is left out, or read in another way than it may be meant. `places`: from where to
    where in the text each piece stands, in characters; empty for a template, whose words are chosen anew. `sizes`: the
    content tokens of each chunk; `chunk_tokens`: the most that one holds."""

    count: int
    chunks: int
    pieces: tuple[str, ...]
    notices: tuple[str, ...] = ()
    places: tuple[tuple[int, int], ...] = ()
    sizes: tuple[int, ...] = ()
    chunk_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a `studio.asked.questions.Question` gets: JSON, a safetensors file, a picture, ...; and an `Upscale`."""

    content: bytes
    media_type: str


@dataclass(frozen=True, kw_only=True)
class ComparisonNow:
    """A comparison as it is now, with the newest event of every cell that has begun."""

    comparison: Comparison
    cells: Mapping[int, CellEvent] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JobLoad:
    """A job that waits or runs, and what it takes: images, steps and pixels of all its images together.

    `kind` is a request's, "compare" or "branch". `ahead`: jobs before it, while it waits and that is known. `done` of
    `total`: evaluations of all its images, or of all cells of a comparison.
    """

    job_id: str
    owner: str
    group: str  # of its `Allowance`; empty for one without
    state: str
    origin: str
    images: int
    steps: int
    pixels: int
    kind: str
    checkpoint: str  # by its name
    ahead: int | None
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class WorkNow:
    """All jobs that wait or run, oldest first, and the seconds of device that each visitor had within an hour."""

    jobs: tuple[JobLoad, ...] = ()
    device_seconds: Mapping[str, float] = field(default_factory=dict)


class UnknownJob(LookupError):
    """No such job, or not this owner's: the two are not told apart."""


RefusalKind = Literal["not_now", "limit", "full", "unavailable", "forbidden", "internal"]


class Refused(RuntimeError):
    """The engine does not do this now. The text says why, and what to do.

    `kind` is one of
    - "limit": the visitor's share is used,
    - "full": nobody gets more,
    - "unavailable": the studio is closing, or has failed,
    - "forbidden": this visitor may never have it,
    - "internal": a fault, which the log names,
    - "not_now": anything else, such as a checkpoint that is not loaded.

    `retry_after`: seconds after which it may be tried again, where that is known.
    """

    def __init__(self, sentence: str, *, kind: RefusalKind = "not_now", retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.retry_after = retry_after


class Events(Protocol):
    """What a watcher reads, an asynchronous iterator; closing it ends the watching, not the job."""

    def __aiter__(self) -> Events: ...

    async def __anext__(self) -> AnyEvent: ...

    async def aclose(self) -> None: ...


class Engine(Protocol):
    """What the page may ask of an engine.

    An asynchronous call may be awaited on any event loop, and takes no thread while it waits. `owner` is whose job it
    is: nobody else's job is seen, watched or stopped, and an unknown job is not told from somebody else's.
    """

    @property
    def id(self) -> str:
        """A short name. Ids of jobs, models and downloads begin with it: `studio.answered.ids`."""
        ...

    def start(self) -> None:
        """Begin to work, once; returns at once. `status` says how far it is."""
        ...

    def close(self) -> None:
        """Stop running jobs and release the device. Returns within three seconds."""
        ...

    # ------------------------------------------------------------------------------------- snapshots, at no cost

    def status(self) -> EngineStatus:
        """What the engine is doing now."""
        ...

    def catalog(self) -> tuple[Checkpoint, ...]:
        """Installed checkpoints, the built-in one first, as of the last look through the models folders."""
        ...

    # ---------------------------------------------------------------------------------------------------- jobs

    async def submit(self, job: orders.Submission, *, owner: str, origin: str = "api") -> str:
        """Take a job and return its random id. Raises InvalidRequest (unknown checkpoint, unreadable picture, ...),
        Refused, or UnknownJob for a branch of a run that is not recorded any more."""
        ...

    def watch(self, job_id: str, *, owner: str) -> Events:
        """Events of a job from where it is now: the state so far in short, then live ones, ending with exactly one
        terminal event (ComparisonEnded for a comparison). A slow watcher skips previews. Any number of watchers.

        Raises UnknownJob when it is called or first read."""
        ...

    async def cancel(self, job_id: str, *, owner: str) -> bool:
        """Ask a job to stop; it does within one step. False when it had ended already. One that was interrupted is not
        offered to be run again any more. Raises UnknownJob."""
        ...

    async def prioritize(self, job_id: str, cell: int, *, owner: str) -> bool:
        """Make a cell of a comparison before the others. False when it has ended. Raises UnknownJob."""
        ...

    async def jobs(self, *, owner: str) -> tuple[JobSummary, ...]:
        """This owner's jobs, newest first, for finding them again after a reload."""
        ...

    async def record(self, job_id: str, part: orders.RecordPart = orders.WHOLE_RECORD, *, owner: str) -> bytes:
        """The recorded evaluations of one image as the bytes of a safetensors file: what the model was given and what
        it answered in half precision, and the numbers of each evaluation (docs/record.md). Raises UnknownJob (also when
        nothing was recorded)."""
        ...

    # ----------------------------------------------------------------------------------------- questions, models

    @overload
    async def ask(self, question: Question, *, owner: str = "") -> Answer: ...
    @overload
    async def ask(self, question: Upscale, *, owner: str = "") -> Answer: ...
    @overload
    async def ask(self, question: orders.Tokens, *, owner: str = "") -> TokensAnswer: ...
    @overload
    async def ask(self, question: orders.WildcardNames, *, owner: str = "") -> tuple[str, ...]: ...
    @overload
    async def ask(self, question: orders.Speed, *, owner: str = "") -> Pace | None: ...
    @overload
    async def ask(self, question: orders.Cells, *, owner: str = "") -> ComparisonNow: ...
    @overload
    async def ask(self, question: orders.BranchTree, *, owner: str = "") -> tuple[BranchNode, ...]: ...
    @overload
    async def ask(self, question: orders.Work, *, owner: str = "") -> WorkNow: ...
    @overload
    async def ask(self, question: orders.ModelList, *, owner: str = "") -> ModelsNow: ...
    @overload
    async def ask(self, question: orders.ModelPicture, *, owner: str = "") -> bytes | None: ...
    @overload
    async def ask(self, question: orders.RepositoryFiles, *, owner: str = "") -> tuple[HubFile, ...]: ...
    async def ask(self, question: object, *, owner: str = "") -> object:
        """A question that changes nothing; those of the noise viewer, and pictures to be enlarged, are worked on
        between ticks.

        Raises InvalidRequest, UnknownJob, or Refused: the checkpoint is not loaded, too many questions wait, ..."""
        ...

    async def order(self, order: orders.ModelOrder) -> None:
        """Take an order about a model. What becomes of it is told by `ModelList` and `status`; who may give orders is
        for `studio.web` and the page to say. Raises NoSuchModel, InvalidRequest or Refused."""
        ...

    def visitor(self, owner: str, *, here: bool) -> None:
        """This visitor has opened the page (`here`) or closed it. What is only kept to be looked at (recordings, with
        the pictures that their runs began with) is let go of a few minutes later. Runs go on, pictures stay."""
        ...


async def run_events(engine: Engine, job_id: str, *, owner: str) -> AsyncGenerator[Event, None]:
    """The events of a run. Raises UnknownJob, also for a comparison."""
    async with aclosing(engine.watch(job_id, owner=owner)) as events:
        async for event in events:
            if isinstance(event, (Planned, CellEvent, ComparisonEnded)):
                raise UnknownJob(Message("This job is a comparison."))
            yield event


async def comparison_events(engine: Engine, job_id: str, *, owner: str) -> AsyncGenerator[ComparisonEvent, None]:
    """The events of a comparison. Raises UnknownJob, also for a run."""
    async with aclosing(engine.watch(job_id, owner=owner)) as events:
        async for event in events:
            if isinstance(event, (Started, Step, Finished, Stopped, Failed)):
                raise UnknownJob(Message("This job is no comparison."))
            yield event
