"""What programs may ask, one row an address: the routes and their description are both made of this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.answered.errors import ErrorType
from studio.asked.requests import REQUEST_KINDS
from studio.picture.file_formats import FORMAT_NAMES, MAX_QUALITY
from studio.web.api import forms
from studio.web.api import library_forms as library
from studio.web.api.saving import SavingForm

WHOLE_NUMBER: Mapping[str, Any] = {"type": "integer", "minimum": 0, "maximum": 999_999}
FLAG: Mapping[str, Any] = {"type": "integer", "enum": [0, 1]}
FORMAT: Mapping[str, Any] = {"type": "string", "enum": list(FORMAT_NAMES)}
QUALITY: Mapping[str, Any] = {"type": "integer", "minimum": 1, "maximum": MAX_QUALITY}
BODY_ERRORS: tuple[ErrorType, ...] = ("bad_request", "too_large", "media_type", "invalid", "no_room")
JOB_ERRORS: tuple[ErrorType, ...] = (*BODY_ERRORS, "forbidden", "limit", "full")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One address. `name`: that of the method that answers it. `body`: the schema of the JSON that it takes, or "image"
    for a picture's bytes. `answer`: the form of its JSON, or the type of what it answers with."""

    name: str
    method: str
    path: str
    summary: str
    status: int = 200
    body: str = ""
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    answer: type[forms.Form] | str
    other: Mapping[int, str] = field(default_factory=dict)
    errors: tuple[ErrorType, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in the path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


_SUMMARIES: Mapping[str, str] = {
    "text_to_image": "Make pictures from words",
    "image_to_image": "Make pictures from a picture and words",
    "inpaint": "Make a part of a picture anew, or extend it",
}

OPERATIONS: tuple[Operation, ...] = (
    *(
        Operation(
            name=kind,
            method="POST",
            path=f"/{kind}",
            summary=_SUMMARIES[kind],
            status=202,
            body=kind,
            headers=("Idempotency-Key",),
            answer=forms.JobAccepted,
            errors=JOB_ERRORS,
        )
        for kind in REQUEST_KINDS
    ),
    Operation(
        name="compare",
        method="POST",
        path="/compare",
        summary="Make a comparison over one axis or two",
        status=202,
        body="compare",
        headers=("Idempotency-Key",),
        answer=forms.JobAccepted,
        errors=JOB_ERRORS,
    ),
    Operation(
        name="upload",
        method="POST",
        path="/uploads",
        summary="Send a picture, to be named in requests for ten minutes after its last use",
        status=201,
        body="image",
        answer=forms.UploadKept,
        errors=("too_large", "media_type", "invalid", "no_room"),
    ),
    Operation(
        name="jobs",
        method="GET",
        path="/jobs",
        summary="Your jobs, newest first, without their progress and pictures",
        answer=forms.JobList,
    ),
    Operation(
        name="job",
        method="GET",
        path="/jobs/{job}",
        summary="A job as it is now; one that nobody looks at for ten minutes is stopped",
        answer=forms.JobForm,
        errors=("not_found",),
    ),
    Operation(
        name="events",
        method="GET",
        path="/jobs/{job}/events",
        summary="The events of a job as a stream, from where it is now to its end",
        query={"previews": FLAG},
        headers=("Last-Event-ID",),
        answer="text/event-stream",
        other={204: "There is no more: the last event was the end."},
        errors=("not_found", "invalid", "limit"),
    ),
    Operation(
        name="cancel",
        method="POST",
        path="/jobs/{job}/cancel",
        summary="Ask a job to stop",
        answer=forms.JobStopped,
        errors=("not_found",),
    ),
    Operation(
        name="again",
        method="POST",
        path="/jobs/{job}/again",
        summary="Run a job again that the studio's end has interrupted",
        status=202,
        answer=forms.JobAccepted,
        errors=("not_found", "forbidden", "limit", "full"),
    ),
    Operation(
        name="record",
        method="GET",
        path="/jobs/{job}/record",
        summary="What was recorded of a run, a safetensors file (docs/record.md)",
        query={"image": WHOLE_NUMBER, "since": WHOLE_NUMBER, "until": WHOLE_NUMBER, "lean": FLAG},
        answer="application/octet-stream",
        errors=("not_found", "invalid"),
    ),
    Operation(
        name="picture",
        method="GET",
        path="/pictures/{picture}",
        summary="A finished picture as it was saved, with its settings inside, or in another format or without them",
        query={"format": FORMAT, "quality": QUALITY, "lossless": FLAG, "metadata": FLAG},
        answer="image/*",
        errors=("not_found", "invalid"),
    ),
    Operation(
        name="question",
        method="POST",
        path="/questions/{question}",
        summary="A question of the noise viewer about the loaded checkpoint (docs/viewer.md)",
        body="question",
        answer="*/*",
        errors=(*BODY_ERRORS, "not_found", "not_now"),
    ),
    Operation(
        name="upscale",
        method="POST",
        path="/upscale",
        summary="Enlarge a picture; the answer is the file, which `save` also saves here",
        body="upscale",
        answer="image/png",
        errors=(*BODY_ERRORS, "not_now", "limit", "full"),
    ),
    Operation(
        name="models",
        method="GET",
        path="/models",
        summary="The models that are here",
        answer=forms.ModelsForm,
    ),
    Operation(
        name="library",
        method="GET",
        path="/library",
        summary="Your pictures, newest first; the owner's without a token are all of this machine",
        query=library.SEARCH,
        answer=library.LibraryPage,
        errors=("invalid",),
    ),
    Operation(
        name="library_choices",
        method="GET",
        path="/library/choices",
        summary="The models, LoRAs, sizes and boards that a search can be made of",
        answer=library.LibraryChoices,
    ),
    Operation(
        name="library_one",
        method="GET",
        path="/library/pictures/{picture}",
        summary="A picture with all that its file says of how it was made, and its boards",
        answer=library.LibraryOne,
        errors=("not_found",),
    ),
    Operation(
        name="library_file",
        method="GET",
        path="/library/pictures/{picture}/file",
        summary="The picture: as the studio has saved it, or another program's as JPEG",
        answer="image/*",
        errors=("not_found", "invalid"),
    ),
    Operation(
        name="library_thumbnail",
        method="GET",
        path="/library/pictures/{picture}/thumbnail",
        summary="The picture with at most 256 pixels a side",
        answer="image/jpeg",
        errors=("not_found",),
    ),
    *(
        Operation(
            name=name,
            method="POST",
            path=path,
            summary=summary,
            body=name,
            answer=library.LibraryChange,
            errors=(*BODY_ERRORS, "not_found"),
        )
        for name, path, summary in (
            ("library_rate", "/library/rate", "Give pictures 1 to 5 stars, or 0 for none"),
            ("library_board", "/library/board", "Put pictures on a board, which begins with them, or take them off"),
            ("library_change_board", "/library/board/change", "Rename or remove a board; its pictures stay"),
            ("library_delete", "/library/delete", "Move pictures into the trash, for a week"),
            ("library_restore", "/library/restore", "Bring pictures back from the trash"),
        )
    ),
    Operation(
        name="saving",
        method="GET",
        path="/saving",
        summary="How pictures are saved, for the owner",
        answer=SavingForm,
        errors=("forbidden",),
    ),
    Operation(
        name="saving_change",
        method="POST",
        path="/saving",
        summary="Choose the format and the names of pictures that are saved from now on",
        body="saving",
        answer=SavingForm,
        errors=(*BODY_ERRORS, "forbidden"),
    ),
    Operation(
        name="openapi",
        method="GET",
        path="/openapi.json",
        summary="This description",
        answer="application/json",
    ),
)
