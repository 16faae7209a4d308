"""A studio for programs on the fake engine, and a program that calls it without a server."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.types import ASGIApp

from studio.asked import orders
from studio.picture.gallery import Gallery
from studio.web import Share, middleware
from studio.web.access import Access
from studio.web.limits import NewVisitors, UploadLimits, with_limits
from studio.web.programs import Programs
from studio.web.sharing import Sharing
from studio.web.upload_room import UploadRoom
from tests.ui.fake_engine import FakeEngine
from tests.web.asgi import Answer, Page, call

V1 = "/api/v1"


class Engine(FakeEngine):
    """One that can be told what to refuse with."""

    refusal: Exception | None = None

    async def submit(self, job: orders.Submission, *, owner: str, origin: str = "api") -> str:
        if self.refusal is not None:
            raise self.refusal
        if isinstance(job, orders.RunAgain):  # of any job
            run = orders.SubmitRun(request=self._book.get(job.job_id, owner=owner).request, allowance=job.allowance)
            return await super().submit(run, owner=owner, origin=origin)
        return await super().submit(job, owner=owner, origin=origin)

    async def ask(self, question: Any, *, owner: str = "") -> Any:
        if self.refusal is not None:
            raise self.refusal
        return await super().ask(question, owner=owner)


class Studio:
    """All that app.py puts before the page, with the page's place empty."""

    def __init__(self, folder: Path, *, visitor_bytes: int = 64 * 2**20, seconds_per_step: float = 0.002) -> None:
        self.engine = Engine(Gallery(folder), seconds_per_step=seconds_per_step)
        self.access, strangers = Access(programs=Programs(folder)), NewVisitors()
        page_engine, limits = with_limits(self.engine, self.access, strangers)  # type: ignore[arg-type]
        room = UploadRoom(folder, self.access, strangers, UploadLimits(visitor=visitor_bytes))
        share = Share(Sharing(self.access, page_engine, set(), None), limits)
        app: Any = Page()
        for layer in reversed(
            middleware(
                page_engine,
                self.engine.gallery,
                hosts=set(),
                access=self.access,
                new_visitors=strangers,
                room=room,
                share=share,
            )
        ):
            app = layer.cls(app, *layer.args, **layer.kwargs)
        self.app: ASGIApp = app

    def program(self, name: str = "a", rights: str = "owner") -> Program:
        token, made = self.access.programs.make(name, rights)
        return Program(self.app, token, made.person)


class Program:
    """A program with a token."""

    def __init__(self, app: ASGIApp, token: str, person: str) -> None:
        self.app, self.token, self.person = app, token, person

    def __call__(
        self, method: str, path: str, value: object = None, *, body: bytes | list[bytes] | None = None,
        content_type: str = "application/json", headers: Mapping[str, str] | None = None, query: str = "",
    ) -> Answer:  # fmt: skip
        content = body if body is not None else b"" if value is None else json.dumps(value).encode()
        every = [("authorization", f"Bearer {self.token}"), *(headers or {}).items()]
        every += [("content-type", content_type)] if content else []
        return call(self.app, V1 + path, method=method, headers=every, body=content, query=query)

    def submit(self, kind: str = "text_to_image", /, **values: object) -> str:
        answer = self("POST", f"/{kind}", {"prompt": "x", "num_inference_steps": 3} | values)
        assert answer.status == 202, answer.body
        return str(answer.json()["job"])

    def events(self, job: str, **options: Any) -> list[dict[str, Any]]:
        """All that a stream says, to its end."""
        answer = self("GET", f"/jobs/{job}/events", **options)
        assert answer.status == 200, answer.body
        assert str(answer.header("content-type")).startswith("text/event-stream")
        return read_events(answer.body)

    def finished(self, job: str) -> dict[str, Any]:
        self.events(job)
        return dict(self("GET", f"/jobs/{job}").json())


def read_events(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each with its `id`."""
    events = []
    for block in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in lines:
            event = json.loads(lines["data"])
            assert event["event"] == lines["event"]
            events.append(event | {"id": lines["id"]})
    return events


def png(width: int = 64, height: int = 64, colour: str = "teal") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()
