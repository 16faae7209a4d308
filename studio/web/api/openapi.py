"""The description of the addresses for programs, OpenAPI 3.1: of the tables and forms that they are made of."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import msgspec

from studio import __version__
from studio.answered.errors import STATUSES, ErrorAnswer
from studio.asked.questions import QUESTION_KINDS
from studio.asked.requests import REQUEST_KINDS
from studio.ui import language
from studio.web.api import event_forms
from studio.web.api.enlarging import BODY as UPSCALE
from studio.web.api.errors import ROOT
from studio.web.api.library_forms import BODIES
from studio.web.api.operations import OPERATIONS, Operation
from studio.web.api.saving import BODY as SAVING
from studio.web.api.schemas import PICTURE, Schema, comparison_schema, object_schema, question_schemas, request_schema

_REF = "#/components/schemas/{name}"
_ERROR: Schema = {"application/json": {"schema": {"$ref": _REF.format(name="ErrorAnswer")}}}
_HEADERS = {
    "Idempotency-Key": "Of your choice, 1 to 200 characters: what is sent again under the same one is done once.",
    "Last-Event-ID": "Of the last event that you have read.",
}
_DESCRIPTION = (
    "The studio for programs. Send a token that the owner of the studio has made for you, as the header "
    "Authorization: Bearer. A token is one visitor: it sees its own jobs and pictures. While the studio is not shared, "
    "a client on the same computer that keeps its cookie needs none. Every error is answered in one form, ErrorAnswer."
)
_PICTURES = {
    media_type: {"schema": {"type": "string", "format": "binary"}}
    for media_type in ("image/png", "image/jpeg", "image/webp", "image/gif")
}


@cache
def document() -> bytes:
    """The whole of it, JSON, in English."""
    with language.speaking(language.DEFAULT):
        return json.dumps(_document(), ensure_ascii=False).encode()


def _document() -> dict[str, Any]:
    answers = [one.answer for one in OPERATIONS if not isinstance(one.answer, str)]
    _, schemas = msgspec.json.schema_components([*answers, event_forms.AnyEventForm, ErrorAnswer], ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(ROOT + one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Latent Studio", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                **schemas,
                "Event": {"oneOf": [{"$ref": _REF.format(name=name)} for name in _event_names()]},
                "Picture": PICTURE,
                **{kind: request_schema(form) for kind, form in REQUEST_KINDS.items()},
                "compare": comparison_schema(),
                **{name: object_schema(fields, list(required)) for name, (fields, required) in BODIES.items()},
                "saving": object_schema(SAVING, []),
                "upscale": object_schema(UPSCALE, ["image"]),
                "question": {"oneOf": list(question_schemas().values())},
            },
        },
        "security": [{"token": []}, {}],
    }


def _event_names() -> list[str]:
    return [form.__name__ for form in event_forms.AnyEventForm.__args__]


def _operation(one: Operation) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": one.name, "summary": one.summary, "responses": _responses(one)}
    parameters = [_parameter("path", name, {"type": "string"}) for name in one.parameters]
    if one.name == "question":
        parameters = [_parameter("path", "question", {"type": "string", "enum": list(QUESTION_KINDS)})]
    parameters += [_parameter("query", name, dict(schema)) for name, schema in one.query.items()]
    for name in one.headers:
        parameters.append(_parameter("header", name, {"type": "string"}) | {"description": _HEADERS[name]})
    if parameters:
        operation["parameters"] = parameters
    if one.body:
        content = _PICTURES
        if one.body != "image":
            content = {"application/json": {"schema": {"$ref": _REF.format(name=one.body)}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameter(place: str, name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _responses(one: Operation) -> dict[str, Any]:
    if one.answer == "text/event-stream":
        content: Schema = {one.answer: {"schema": {"type": "string", "description": "data: of Event"}}}
    elif one.answer == "application/json":
        content = {one.answer: {"schema": {"type": "object"}}}
    elif isinstance(one.answer, str):
        content = {one.answer: {"schema": {"type": "string", "format": "binary"}}}
    else:
        content = {"application/json": {"schema": {"$ref": _REF.format(name=one.answer.__name__)}}}
    responses: dict[str, Any] = {str(one.status): {"description": one.summary, "content": content}}
    responses |= {str(status): {"description": sentence} for status, sentence in one.other.items()}
    for kind in (*one.errors, "unauthorized"):
        status = str(STATUSES[kind])
        before = responses.get(status, {}).get("description")
        responses[status] = {"description": f"{before} or {kind}" if before else kind, "content": _ERROR}
    responses["default"] = {"description": "any other error", "content": _ERROR}
    return responses
