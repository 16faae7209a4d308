"""The public endpoints, `/text_to_image`, `/image_to_image` and `/inpaint`, for gradio_client and compatible programs.

Their arguments are the fields of the requests, so names, defaults and order cannot drift apart. `parse` checks the
values, and every error is a sentence that names field, value and what is allowed.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
import msgspec

from studio.answered.engine import Engine, Refused, UnknownJob, run_events
from studio.answered.errors import ApiError, error_of, error_of_job, in_text
from studio.answered.events import TERMINAL, Event, Failed, Finished, Loading, Picture, Queued, Started, Step
from studio.asked.messages import Message
from studio.asked.orders import ModelList, SubmitRun
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.prompt_notices import control_characters
from studio.asked.requests import REQUEST_KINDS, Kind
from studio.asked.rows import Row
from studio.picture.file_formats import media_type
from studio.picture.gallery import Gallery
from studio.picture.taken_over import take_over
from studio.ui import session
from studio.ui.picture_settings import note_of, why
from studio.ui.render import data_uri
from studio.ui.text import say, spoken_text
from studio.ui.uploads import SECONDS_AFTER_CALL, Uploads, read_upload

logger = logging.getLogger(__name__)

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"GIF8", b"RIFF")  # how a picture's file begins
FilesAndInfo = tuple[list[dict[str, Any]], dict[str, Any]]  # files, info


def build(engine: Engine, gallery: Gallery, uploads: Uploads) -> None:
    """Add the endpoints to the page that is being built."""
    for kind in REQUEST_KINDS.values():
        gr.api(
            _endpoint(engine, gallery, kind, uploads),
            api_name=kind.kind,
            api_description=description(kind),
            concurrency_limit=None,
        )
    build_picture_settings(engine)


def build_picture_settings(engine: Engine) -> None:
    """Add the endpoint that reads the settings of a picture's file."""

    async def picture_settings(image: dict) -> dict[str, Any]:
        with telling("picture_settings"):
            name = image.get("path") if isinstance(image, dict) else None
            try:
                data = await asyncio.to_thread(read_upload, str(name))
            except (OSError, ValueError) as error:
                problem = Problem("image", quoted_value(image), Message("an uploaded PNG, JPEG, WebP or GIF file"))
                raise InvalidRequest(problem) from error
            if not data.startswith(_PICTURES):
                allowed_files = Message("an uploaded PNG, JPEG, WebP or GIF file")
                raise InvalidRequest(
                    Problem(
                        "image", Message("a file that begins with {data}", data=quoted_value(data[:12])), allowed_files
                    )
                )
            models = (await engine.ask(ModelList())).models
            settings = await asyncio.to_thread(take_over, data, models)
            if settings is None:
                return {"program": "", "settings": {}, "left_out": [], "notes": []}
            left_out = [
                {"key": one.key, "value": one.value, "reason": one.why.key, "why": why(one)}
                for one in settings.left_out
            ]
            notes = [note_of(remark) for remark in settings.remarks]
            return {
                "program": settings.program,
                "settings": dict(settings.settings),
                "left_out": left_out,
                "notes": notes,
            }

    description = say("api.picture_settings")
    gr.api(picture_settings, api_name="picture_settings", api_description=description, concurrency_limit=None)


def parameters(kind: Kind) -> list[inspect.Parameter]:
    """The arguments of an endpoint, as the table of fields has them: required ones first, pictures before words, then
    the optional ones with the request's own defaults. null stands for what suits the checkpoint."""
    rows = sorted(kind.rows().values(), key=_rank)
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(row.name, positional, annotation=row.annotation)
        if row.is_required
        else inspect.Parameter(row.name, positional, annotation=row.annotation, default=_default(row))
        for row in rows
    ]


def _rank(row: Row) -> int:
    if row.is_required:
        return 0 if row.kind == "file" else 1
    return {"controls": 3, "file": 4}.get(row.kind, 2)


def _default(row: Row) -> object:
    return None if row.kind in ("controls", "file") else row.default


def description(kind: Kind) -> str:
    """What the API's documentation says of an endpoint: its sentence, and what every argument allows."""
    lines = [f"{row.name}: {say(row.label)}. {_allowed_text(row)}" for row in sorted(kind.rows().values(), key=_rank)]
    return "\n".join([say(f"api.{kind.kind}"), *lines])


def _allowed_text(row: Row) -> str:
    text = row.description()
    return say("api.suits", allowed=text) if row.suits else say("api.allowed", allowed=text)


def _endpoint(engine: Engine, gallery: Gallery, kind: Kind, uploads: Uploads) -> Callable[..., Any]:
    arguments = parameters(kind)
    names = [p.name for p in arguments]

    async def call(*values: Any) -> AsyncIterator[FilesAndInfo]:
        values_by_name, owner = dict(zip(names, values)), session.owner_of(values[-1])
        job_id, is_over = None, False
        notes: tuple[str, ...] = ()
        left_out = control_characters(values_by_name.get("prompt"), values_by_name.get("negative_prompt"))
        this_call = secrets.token_hex(8)
        with telling(kind.kind):
            try:
                for name in kind.files():
                    values_by_name[name] = await asyncio.to_thread(
                        _bytes_of_upload, uploads, this_call, name, values_by_name[name]
                    )
                values_by_name["controls"] = await asyncio.to_thread(
                    controls_of, uploads, this_call, values_by_name["controls"]
                )
                order = SubmitRun(request=kind.parse(values_by_name), ephemeral=True)
                job_id = await engine.submit(order, owner=owner)
                async for event in run_events(engine, job_id, owner=owner):
                    is_over = isinstance(event, TERMINAL)
                    notes = (*notes, *event.notes) if isinstance(event, Started | Finished) else notes
                    files, info = await asyncio.to_thread(_answer, gallery, uploads, owner, event)
                    yield files, info | {"notes": [*left_out, *notes]} if is_over else info
            finally:
                uploads.leave(this_call, after=SECONDS_AFTER_CALL)
                # A caller without a cookie can never find its job again, so a cancelled call stops it.
                if job_id is not None and not is_over:
                    await engine.cancel(job_id, owner=owner)

    request = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request, default=None)
    call.__signature__ = inspect.Signature([*arguments, request], return_annotation=FilesAndInfo)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in [*arguments, request]} | {"return": FilesAndInfo}
    call.__name__ = kind.kind
    return call


@contextmanager
def telling(endpoint: str) -> Iterator[None]:
    """Turns every error into a sentence for the caller; an unexpected one is logged under an id."""
    try:
        yield
    except (InvalidRequest, Refused, UnknownJob) as error:
        raise to_caller(error_of(error) or ApiError("bad_request", str(error))) from error
    except (gr.Error, GeneratorExit, asyncio.CancelledError):
        raise
    except Exception as error:
        error_id = secrets.token_hex(4)
        logger.exception("A call of /%s failed (%s)", endpoint, error_id)
        api_error = ApiError("internal", say("failed.unexpected", error_id=error_id), error_id=error_id)
        raise to_caller(api_error) from error


def to_caller(error: ApiError) -> gr.Error:
    """The one thing that Gradio passes on of an error is its text, so the form stands in it, after the sentence."""
    return gr.Error(in_text(error, spoken_text), print_exception=False)


def _answer(gallery: Gallery, uploads: Uploads, owner: str, event: Event) -> FilesAndInfo:
    match event:
        case Failed():
            sentence = say("api.error", message=event.message, error_id=event.error_id)
            raise to_caller(msgspec.structs.replace(error_of_job(event), message=sentence))
        case Loading():
            return [], {"state": "loading", "message": event.message, "fraction": event.fraction}
        case Queued():
            return [], {"state": "queued", "ahead": event.ahead}
        case Started():
            return [], {
                "state": "started",
                "seeds": list(event.seeds),
                "width": event.width,
                "height": event.height,
                "total": event.total,
                "prompt_tokens": event.prompt_tokens,
                "chunks": event.chunks,
                "notes": list(event.notes),
            }
        case Step():
            return [], {
                "state": "running",
                "image": event.image,
                "index": event.index,
                "total": event.total,
                "timestep": event.timestep,
                "sigma": event.sigma,
                "seconds_per_step": event.seconds_per_step,
                "seconds_left": event.seconds_left,
                "preview": data_uri(event.preview.jpeg) if event.preview else None,
            }
    ending: dict[str, Any] = {"state": "finished" if isinstance(event, Finished) else "stopped"}
    if isinstance(event, Finished):
        ending |= {"seconds": event.seconds, "exact": event.exact}
    infos = [dict(picture.info) for picture in event.pictures]
    info = (infos[0] if infos else {}) | ending | {"seeds": [p.seed for p in event.pictures], "images": infos}
    return [file_of(gallery, uploads, owner, picture) for picture in event.pictures], info


def file_of(gallery: Gallery, uploads: Uploads, owner: str, picture: Picture) -> dict[str, Any]:
    """A copy of the picture in a folder that Gradio serves, since a caller without a cookie could not fetch ours. It
    goes some minutes later."""
    path = gallery.path(picture.id, owner)
    if path is None:
        raise to_caller(ApiError("not_found", say("stage.gone")))
    return {
        "path": uploads.result(path, path.name, owner),
        "orig_name": path.name,
        "mime_type": media_type(path),
        "meta": {"_type": "gradio.FileData"},
    }


def _bytes_of_upload(uploads: Uploads, call: str, field: str, image: object) -> bytes:
    """The bytes of an uploaded file, which this call holds from now on; b"" without one. Refuses any other path."""
    if image is None:
        return b""
    name = image.get("path") if isinstance(image, dict) else None
    refusal = InvalidRequest(Problem(field, quoted_value(image), Message("an uploaded PNG, JPEG, WebP or GIF file")))
    if not isinstance(name, str) or not name:
        raise refusal
    try:
        data = read_upload(name)
    except (OSError, ValueError) as error:
        raise refusal from error
    uploads.hold(call, field, name)
    return data


def controls_of(uploads: Uploads, call: str, controls: object) -> object:
    """The argument `controls` with the bytes of its pictures; anything but a list of objects is left for `parse` to
    refuse."""
    if not isinstance(controls, list):
        return controls
    return [
        {**one, "image": _bytes_of_upload(uploads, call, f"controls[{n}].image", one.get("image"))}
        if isinstance(one, dict)
        else one
        for n, one in enumerate(controls)
    ]
