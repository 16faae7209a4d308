"""What programs are answered with: the forms, from which the JSON and its description both follow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from studio.answered.engine import ComparisonNow
from studio.answered.errors import ApiError, error_of_job
from studio.answered.events import (
    AnyEvent,
    ComparisonEnded,
    Failed,
    Finished,
    JobSummary,
    Loading,
    Picture,
    Queued,
    Started,
    Step,
    Stopped,
)
from studio.answered.models import Checkpoint, Model
from studio.web.api.errors import ROOT

JobKind = Literal["text_to_image", "image_to_image", "inpaint", "comparison"]
JobState = Literal["queued", "running", "interrupted", "finished", "stopped", "failed"]
CellState = Literal["waiting", "running", "finished", "stopped", "failed", "impossible"]


class Form(msgspec.Struct):
    """A JSON object."""


class JobAccepted(Form):
    """A job was taken. `notes`: sentences about what of the request is left out."""

    job: str
    url: str
    events: str
    notes: tuple[str, ...] = ()


class JobStopped(Form):
    """Whether the job was still to be stopped; it ends within one step."""

    job: str
    stopped: bool


class UploadKept(Form):
    """A picture that came: `{"upload": id}` names it wherever a picture is asked for."""

    id: str


class PictureForm(Form):
    """A finished picture: where its PNG is, and all that was run for it. `parameters`: AUTOMATIC1111's text."""

    id: str
    url: str
    width: int
    height: int
    seed: int
    info: dict[str, Any]
    parameters: str


class Progress(Form):
    """How far a run is: `index` + 1 of `total` evaluations of `image`, the newest. Seconds are of the whole job."""

    image: int
    index: int
    total: int
    images_done: int
    seconds_left: float


class CellForm(Form):
    """One cell of a comparison. `values`: what the axes make of it."""

    cell: int
    values: dict[str, int | float | str]
    state: CellState
    pictures: tuple[PictureForm, ...] = ()
    message: str = ""
    error: ApiError | None = None


class JobForm(Form):
    """A job as it is now. `ahead`: jobs before it, while it waits; `request`: as it was taken, its pictures as
    hashes; `cells`: of a comparison, row after row."""

    job: str
    kind: JobKind
    state: JobState
    origin: str
    request: dict[str, Any]
    ahead: int | None = None
    message: str = ""
    seeds: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    progress: Progress | None = None
    pictures: tuple[PictureForm, ...] = ()
    seconds: float | None = None
    cells: tuple[CellForm, ...] = ()
    error: ApiError | None = None


class JobList(Form):
    """A visitor's jobs, newest first."""

    jobs: tuple[JobForm, ...]


class SuitsForm(Form):
    """What a request may leave open, and what suits the checkpoint then."""

    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    noise_schedule: str


class ModelForm(Form):
    """A model that is here. `suits`, and `vaes` that a request's `vae_name` may name: of a checkpoint."""

    name: str
    label: str
    kind: str
    state: str
    reason: str
    family: str
    size_bytes: int
    sha256: str | None
    place: str
    suits: SuitsForm | None = None
    vaes: tuple[str, ...] = ()


class ModelsForm(Form):
    """All models."""

    models: tuple[ModelForm, ...]


def picture_forms(pictures: Iterable[Picture]) -> tuple[PictureForm, ...]:
    """Finished pictures, by what their owner may know of them."""
    return tuple(
        PictureForm(
            id=one.id,
            url=f"{ROOT}/pictures/{one.id}",
            width=one.width,
            height=one.height,
            seed=one.seed,
            info=dict(one.info),
            parameters=one.parameters,
        )
        for one in pictures
    )


# --------------------------------------------------------------------------------------------------------- jobs


def job_form(job: JobSummary, events: Iterable[AnyEvent] = (), cells: ComparisonNow | None = None) -> JobForm:
    """A job as it is, of what is known of it so far."""
    values: dict[str, Any] = {}
    for event in events:
        match event:
            case Queued():
                values["ahead"] = event.ahead
            case Loading():
                values["message"] = event.message
            case Started():
                values |= {"seeds": event.seeds, "notes": event.notes, "message": ""}
            case Step():
                names = Progress.__struct_fields__
                values["progress"] = Progress(**{name: getattr(event, name) for name in names})
            case Finished():
                values |= {"pictures": picture_forms(event.pictures), "seconds": event.seconds}
                values["notes"] = (*values.get("notes", ()), *event.notes)
            case Stopped():
                values |= {"pictures": picture_forms(event.pictures), "message": event.reason}
            case Failed():
                values["error"] = error_of_job(event)
            case ComparisonEnded():
                values |= {"seconds": event.seconds, "message": event.reason}
    if job.state != "queued":
        values.pop("ahead", None)
    if job.state not in ("queued", "running"):
        values.pop("progress", None)
    comparison = job.comparison
    return JobForm(
        job=job.job_id,
        kind="comparison" if comparison is not None else job.request.kind,  # type: ignore[arg-type]
        state=job.state,
        origin=job.origin,
        request=comparison.to_dict() if comparison is not None else job.request.to_dict(),
        cells=_cells(cells) if cells is not None else (),
        **values,
    )


def _cells(now: ComparisonNow) -> tuple[CellForm, ...]:
    return tuple(_cell(now, index) for index in range(len(now.comparison)))


def _cell(now: ComparisonNow, index: int) -> CellForm:
    comparison = now.comparison
    values: dict[str, int | float | str] = {
        axis.field: axis.values[place] for axis, place in zip(comparison.axes, comparison.place(index))
    }
    event = now.cells[index].event if index in now.cells else None
    state: CellState = "running"
    pictures: tuple[PictureForm, ...] = ()
    message, error = "", None
    match event:
        case None:
            refusal = comparison.refusal(index)
            state, message = ("impossible", refusal) if refusal else ("waiting", "")
        case Finished():
            state, pictures = "finished", picture_forms(event.pictures)
        case Stopped():
            state, message = "stopped", event.reason
        case Failed():
            state, error = "failed", error_of_job(event)
    return CellForm(cell=index, values=values, state=state, pictures=pictures, message=message, error=error)


def model_form(model: Model, family: str, checkpoint: Checkpoint | None) -> ModelForm:
    """A model, with nothing of where it lies. `family`: what people call it."""
    suits = None
    if checkpoint is not None:
        suits = SuitsForm(**{name: getattr(checkpoint.suits, name) for name in SuitsForm.__struct_fields__})
    return ModelForm(
        name=model.name,
        label=model.label,
        kind=model.kind or "",
        state=model.state,
        reason=model.reason,
        family=family,
        size_bytes=model.size_bytes,
        sha256=model.sha256,
        place=model.place,
        suits=suits,
        vaes=checkpoint.vaes if checkpoint is not None else (),
    )
