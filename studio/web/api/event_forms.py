"""The events of a job as programs read them."""

from __future__ import annotations

from typing import Any, Literal

from studio.answered.errors import ApiError, error_of_job
from studio.answered.events import (
    AnyEvent,
    CellEvent,
    ComparisonEnded,
    Failed,
    Finished,
    Loading,
    Planned,
    Preview,
    Queued,
    Started,
    Step,
    Stopped,
)
from studio.web.api.forms import Form, PictureForm, picture_forms


class PreviewForm(Form):
    """What the picture looks like now. `jpeg`: base64."""

    width: int
    height: int
    decoder: Literal["fast", "tiny", "full"]
    jpeg: bytes


class EventForm(Form, tag_field="event"):
    """An event of a job. Each connection begins with what is so far."""


class LoadingForm(EventForm, tag="loading"):
    """The checkpoint is being loaded. `fraction`: 0 to 1."""

    checkpoint: str
    message: str
    fraction: float | None


class QueuedForm(EventForm, tag="queued"):
    """The job waits. `ahead`: jobs before it."""

    ahead: int


class StartedForm(EventForm, tag="started"):
    """The first picture has begun; everything random or automatic is decided."""

    seeds: tuple[int, ...]
    width: int
    height: int
    total: int
    prompt_tokens: int
    negative_prompt_tokens: int
    chunks: int
    notes: tuple[str, ...]


class StepForm(EventForm, tag="step"):
    """One evaluation of one picture is done. Of several that nobody has read only the newest is sent."""

    image: int
    index: int
    total: int
    timestep: float
    sigma: float
    seconds_per_step: float
    seconds_left: float
    images_done: int
    preview: PreviewForm | None


class FinishedForm(EventForm, tag="finished"):
    """The end: every picture is on the disk. `notes`: which pictures are held back, each in a sentence."""

    pictures: tuple[PictureForm, ...]
    seconds: float
    exact: bool
    notes: tuple[str, ...] = ()


class StoppedForm(EventForm, tag="stopped"):
    """The end: it was stopped. `pictures`: those that were finished before. `interrupted`: the studio ended while it
    ran, and it can be run again."""

    pictures: tuple[PictureForm, ...]
    index: int
    total: int
    reason: str
    interrupted: bool


class FailedForm(EventForm, tag="failed"):
    """The end: it failed."""

    error: ApiError


RunEvent = StartedForm | StepForm | FinishedForm | StoppedForm | FailedForm


class PlannedForm(EventForm, tag="planned"):
    """A comparison has been taken, with so many cells that can be run."""

    cells: int
    comparison: dict[str, Any]


class CellEventForm(EventForm, tag="cell"):
    """Something happened to one cell of a comparison."""

    cell: int
    of: RunEvent


class EndedForm(EventForm, tag="ended"):
    """The end of a comparison."""

    state: Literal["finished", "stopped"]
    reason: str
    finished_cells: int
    failed_cells: int
    seconds: float
    interrupted: bool


AnyEventForm = (
    LoadingForm | QueuedForm | StartedForm | StepForm | FinishedForm | StoppedForm | FailedForm
    | PlannedForm | CellEventForm | EndedForm
)  # fmt: skip


def event_form(event: AnyEvent, *, previews: bool) -> AnyEventForm:
    """An event of the engine as a program reads it. `previews`: with the pictures of its steps."""
    match event:
        case Loading():
            return LoadingForm(checkpoint=event.checkpoint, message=event.message, fraction=event.fraction)
        case Queued():
            return QueuedForm(ahead=event.ahead)
        case Planned():
            comparison = event.comparison
            return PlannedForm(cells=len(comparison.possible), comparison=comparison.to_dict())
        case CellEvent():
            return CellEventForm(cell=event.cell, of=_run_event(event.event, previews))
        case ComparisonEnded():
            return EndedForm(
                state=event.state,
                reason=event.reason,
                finished_cells=event.finished_cells,
                failed_cells=event.failed_cells,
                seconds=event.seconds,
                interrupted=event.interrupted,
            )
    return _run_event(event, previews)


def _run_event(event: Started | Step | Finished | Stopped | Failed, previews: bool) -> RunEvent:
    match event:
        case Started():
            return StartedForm(**{name: getattr(event, name) for name in StartedForm.__struct_fields__})
        case Step():
            names = [name for name in StepForm.__struct_fields__ if name != "preview"]
            preview = preview_form(event.preview) if previews and event.preview is not None else None
            return StepForm(**{name: getattr(event, name) for name in names}, preview=preview)
        case Finished():
            return FinishedForm(
                pictures=picture_forms(event.pictures), seconds=event.seconds, exact=event.exact, notes=event.notes
            )
        case Stopped():
            return StoppedForm(
                pictures=picture_forms(event.pictures),
                index=event.index,
                total=event.total,
                reason=event.reason,
                interrupted=event.interrupted,
            )
        case Failed():
            return FailedForm(error=error_of_job(event))


def preview_form(preview: Preview) -> PreviewForm:
    """A preview with its bytes."""
    return PreviewForm(width=preview.width, height=preview.height, decoder=preview.decoder, jpeg=preview.jpeg)
