"""A client that speaks ASGI by hand, so that it can also say what no well-behaved client would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.answered.engine import Answer as EngineAnswer
from studio.answered.engine import UnknownJob, WorkNow
from studio.answered.events import Event, JobSummary
from studio.answered.models import Checkpoint
from studio.asked.branch import BranchNode
from studio.asked.orders import (
    WHOLE_RECORD,
    BranchTree,
    Cells,
    ModelPicture,
    RecordPart,
    Submission,
    SubmitBranch,
    SubmitRun,
    Work,
)
from studio.asked.question import Question
from studio.picture.gallery import Gallery
from studio.web import middleware
from studio.web.access import Access
from studio.web.limits import NewVisitors

HOST = "127.0.0.1:7860"


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)

    def json(self) -> Any:
        return json.loads(self.body)


def call(
    app: ASGIApp,
    path: str,
    *,
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    host: str | None = HOST,
    body: bytes | list[bytes] = b"",
    query: str = "",
    scheme: str = "http",
    client: str = "127.0.0.1",
) -> Answer:
    """One request. A list as body is sent in these chunks without a length; `path` is the decoded one."""
    sent = [(b"host", host.encode())] if host is not None else []
    sent += [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    names = {name for name, _ in sent}
    if isinstance(body, list):
        sent.append((b"transfer-encoding", b"chunked"))
    elif body and b"content-length" not in names:
        sent.append((b"content-length", str(len(body)).encode()))
    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
        "method": method, "scheme": scheme, "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"), "root_path": "", "query_string": query.encode(),
        "headers": sent, "client": (client, 50000), "server": ("127.0.0.1", 7860),
    }  # fmt: skip
    chunks = list(body) if isinstance(body, list) else [body]
    messages: list[Message] = []

    async def receive() -> Message:
        if not chunks:
            await asyncio.Event().wait()  # the client waits for its answer
        part = chunks.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(chunks)}

    async def send(message: Message) -> None:
        messages.append(message)

    asyncio.run(_run(app, scope, receive, send))
    starts = [m for m in messages if m["type"] == "http.response.start"]
    assert len(starts) == 1, messages
    return Answer(
        status=starts[0]["status"],
        headers=[(name.decode(), value.decode("latin-1")) for name, value in starts[0]["headers"]],
        body=b"".join(m.get("body", b"") for m in messages if m["type"] == "http.response.body"),
    )


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


@dataclass
class Visitor:
    """A browser: keeps its cookies."""

    app: ASGIApp
    cookies: dict[str, str] = field(default_factory=dict)

    def __call__(self, path: str, *, headers: Iterable[tuple[str, str]] = (), **options: Any) -> Answer:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = call(self.app, path, headers=[*headers, *([("cookie", cookie)] if cookie else [])], **options)
        for name, value in answer.headers:
            if name == "set-cookie":
                for key, morsel in SimpleCookie(value).items():
                    self.cookies[key] = morsel.value
        return answer


class Page:
    """What lies behind the middleware: says what reached it."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return
        self.reached.append(scope["path"])
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        owners = [value.decode() for name, value in scope["headers"] if name == b"x-studio-owner"]
        content = json.dumps({"path": scope["path"], "owners": owners, "length": len(body)}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": content})


class Records:
    """What the routes ask of the engine."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self.asked: list[tuple[Question, str]] = []
        self.refusal: Exception | None = None
        self.recording = b""
        self.without_record: set[str] = set()
        self.stopped: list[str] = []
        self.known: list[JobSummary] = []
        self.events: list[Event] = []

    async def cancel(self, job_id: str, *, owner: str) -> bool:
        if self.owners.get(job_id) != owner:
            raise UnknownJob
        self.stopped.append(job_id)
        return True

    async def jobs(self, *, owner: str) -> tuple[JobSummary, ...]:
        return tuple(job for job in self.known if self.owners.get(job.job_id) == owner)

    async def submit(self, job: Submission, *, owner: str, origin: str) -> str:
        if isinstance(job, SubmitBranch) and self.owners.get(job.job_id) != owner:
            raise UnknownJob
        if self.refusal is not None:
            raise self.refusal
        if isinstance(job, SubmitBranch):
            return f"{job.job_id} {job.image} {job.branch.evaluation} {job.branch.changes} {origin}"
        assert isinstance(job, SubmitRun)
        self.known.insert(0, JobSummary(job_id="new", request=job.request, state="queued", origin=origin))
        self.owners["new"] = owner
        return "new"

    def catalog(self) -> tuple[Checkpoint, ...]:
        return ()

    async def watch(self, job_id: str, *, owner: str) -> AsyncGenerator[Event, None]:
        for event in self.events:
            yield event

    async def ask(self, question: Any, *, owner: str = "") -> Any:
        if isinstance(question, BranchTree):
            if self.owners.get(question.job_id) != owner:
                raise UnknownJob
            return (BranchNode(job_id=question.job_id, state="finished", prompt="x", guidance_scale=5.0),)
        if isinstance(question, Work):
            return WorkNow()
        if isinstance(question, (Cells, ModelPicture)):
            raise UnknownJob
        self.asked.append((question, owner))
        if self.refusal is not None:
            raise self.refusal
        return EngineAnswer(content=b"{}", media_type="application/json")

    async def record(self, job_id: str, part: RecordPart = WHOLE_RECORD, *, owner: str) -> bytes:
        if self.owners.get(job_id) != owner or job_id in self.without_record:
            raise UnknownJob
        until = f" until {part.until}" if part.until is not None else ""
        asked = f"image {part.image} since {part.since}{until}" + " lean" * part.lean
        return self.recording or asked.encode()


def studio(
    folder: Path,
    *,
    page: ASGIApp | None = None,
    hosts: Iterable[str] = (),
    auth: tuple[str, str] | None = None,
    access: Access | None = None,
    new_visitors: NewVisitors | None = None,
    records: Records | None = None,
    wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> ASGIApp:
    """The page behind everything that `launch` is given."""
    kept = hosts if isinstance(hosts, set) else set(hosts)
    engine: Any = records or Records()
    app = wrap(page or Page())
    for layer in reversed(
        middleware(engine, Gallery(folder), hosts=kept, access=access or Access(auth=auth), new_visitors=new_visitors)
    ):
        app = layer.cls(app, *layer.args, **layer.kwargs)
    return app
