"""Whose an uploaded file is, read from Gradio's own answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Scope

from studio.web.arrivals import Arrivals


class Kept:
    """What the keeper was told."""

    def __init__(self) -> None:
        self.files: list[tuple[str, list[str]]] = []
        self.announced: list[tuple[str, list[str], bytes]] = []  # with what had been answered before
        self.sent = bytearray()

    def accept(self, owner: str, paths: Sequence[str]) -> None:
        self.files.append((owner, list(paths)))

    def announce(self, owner: str, paths: Sequence[str]) -> None:
        self.announced.append((owner, list(paths), bytes(self.sent)))

    def owners(self, path: str) -> None:
        raise AssertionError("this is not the place to ask it")

    def visitor(self, owner: str, *, here: bool) -> None:
        raise AssertionError("this is not the place to tell it")


def asked(answer: Response, path: str, method: str = "POST") -> tuple[Kept, bytes]:
    kept = Kept()
    sent = kept.sent
    scope: Scope = {"type": "http", "method": method, "path": path, "headers": [(b"x-studio-owner", b"ann")]}

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.extend(message.get("body", b""))

    asyncio.run(Arrivals(answer, keeper=kept)(scope, receive, send))
    return kept, bytes(sent)


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/upload/"])
def test_files_that_have_come_are_told_with_their_visitor(path: str) -> None:
    kept, sent = asked(JSONResponse(["/uploads/a/x.png", "/uploads/b/y.png"]), path)
    assert kept.files == [("ann", ["/uploads/a/x.png", "/uploads/b/y.png"])]
    assert json.loads(sent) == ["/uploads/a/x.png", "/uploads/b/y.png"], "the page is answered as ever"
    assert kept.announced == [("ann", ["/uploads/a/x.png", "/uploads/b/y.png"], b"")], "before the page knows the paths"


@pytest.mark.parametrize(
    ("answer", "path", "method"),
    [
        (JSONResponse(["/x"], status_code=413), "/gradio_api/upload", "POST"),
        (JSONResponse(["/x"]), "/gradio_api/upload_progress", "POST"),
        (JSONResponse(["/x"]), "/gradio_api/upload", "GET"),
    ],
)
def test_a_refused_upload_and_other_requests_say_nothing(answer: Response, path: str, method: str) -> None:
    assert asked(answer, path, method)[0].files == []


@pytest.mark.parametrize("body", [b"no json", b'{"a": 1}', b"[1, null]"])
def test_an_answer_of_another_kind_names_no_file(body: bytes) -> None:
    assert asked(Response(body), "/gradio_api/upload")[0].files == [("ann", [])]
