"""The stream of a job's events: slow listeners, those that vanish, too many of them, a token that is revoked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from studio.ui.text import say
from studio.web.api import bodies
from studio.web.api.streams import STREAMS_OF_ONE, Streams
from studio.web.server import Server
from tests.share_stand_ins import wait_for
from tests.web.api.studio import V1, Program, Studio, read_events
from tests.web.asgi import HOST


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    here = Studio(tmp_path)
    yield here
    here.engine.close()


def stream(program: Program, job: str) -> Scope:
    token = f"Bearer {program.token}".encode()
    return {
        "type": "http", "method": "GET", "path": f"{V1}/jobs/{job}/events", "scheme": "http", "root_path": "",
        "query_string": b"", "headers": [(b"host", HOST.encode()), (b"authorization", token)],
        "client": ("127.0.0.1", 1), "asgi": {"version": "3.0", "spec_version": "2.3"},
    }  # fmt: skip


async def stays() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def text(messages: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in messages)


def test_a_slow_reader_gets_fewer_steps_and_the_end(studio: Studio) -> None:
    program = studio.program()
    job = program.submit(num_inference_steps=100)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        await asyncio.sleep(0.05)

    asyncio.run(studio.app(stream(program, job), stays, send))  # type: ignore[arg-type]
    events = read_events(text(sent))
    steps = [event["index"] for event in events if event["event"] == "step"]
    assert steps == sorted(set(steps))
    assert len(steps) < 60, "the rest was old news"
    assert events[-1]["event"] == "finished"


def test_a_reader_that_never_reads_holds_up_nobody(studio: Studio) -> None:
    program = studio.program()
    job = program.submit(num_inference_steps=50)

    async def send(message: Message) -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        stuck = asyncio.create_task(studio.app(stream(program, job), stays, send))  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(wait_for, lambda: studio.engine._book.get(job, owner=program.person).ended is not None)
        stuck.cancel()

    asyncio.run(run())
    assert program.events(job)[-1]["event"] == "finished"


def test_a_vanished_listener_is_forgotten_and_the_job_goes_on(studio: Studio) -> None:
    program = studio.program()

    async def site(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await studio.app(scope, receive, send)
            return
        for answer in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answer}.complete"})

    server = Server(site, host="127.0.0.1", port=0)
    server.start()
    try:
        job = program.submit(prompt="slow x", num_inference_steps=150)
        mailbox = studio.engine._book.get(job, owner=program.person).mailbox
        headers = {"authorization": f"Bearer {program.token}"}
        with httpx.stream("GET", f"{server.url}api/v1/jobs/{job}/events", headers=headers, timeout=30) as answer:
            lines = answer.iter_lines()  # which closes the stream when it is let go of
            assert next(lines) == "retry: 2000"
            assert mailbox.watcher_count() == 1
        wait_for(lambda: mailbox.watcher_count() == 0)
        assert studio.engine._book.get(job, owner=program.person).ended is None
        assert program("POST", f"/jobs/{job}/cancel").json()["stopped"]
    finally:
        server.close()


def test_nobody_opens_more_than_so_many_at_once(studio: Studio) -> None:
    program = studio.program()
    job = program.submit(prompt="slow x", num_inference_steps=150)
    starts: list[int] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            starts.append(message["status"])

    async def run() -> None:
        scopes = [stream(program, job) for _ in range(STREAMS_OF_ONE + 1)]
        tasks = [asyncio.create_task(studio.app(scope, stays, send)) for scope in scopes]  # type: ignore[arg-type]
        while len(starts) < len(tasks):
            await asyncio.sleep(0.01)
        assert sorted(starts) == [200] * STREAMS_OF_ONE + [429]
        for task in tasks[:-1]:
            task.cancel()
        await asyncio.wait(tasks)
        starts.clear()
        last = asyncio.create_task(studio.app(stream(program, job), stays, send))  # type: ignore[arg-type]
        while not starts:
            await asyncio.sleep(0.01)
        assert starts == [200], "those that have gone count no more"
        last.cancel()
        await asyncio.wait([last])

    asyncio.run(run())


def test_a_token_that_is_revoked_ends_its_stream_and_its_job(studio: Studio) -> None:
    program = studio.program()
    job = program.submit(prompt="slow x", num_inference_steps=150)
    [one] = studio.access.programs.all()
    sent: list[Message] = []
    begun = asyncio.Event()

    async def send(message: Message) -> None:
        sent.append(message)
        if b"step" in message.get("body", b""):
            begun.set()

    async def run() -> None:
        task = asyncio.create_task(studio.app(stream(program, job), stays, send))  # type: ignore[arg-type]
        await begun.wait()
        studio.access.programs.revoke(one.id)
        before = len(sent)
        await asyncio.wait_for(task, 30)
        assert len(sent) == before + 1

    asyncio.run(run())
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert b'"finished"' not in text(sent)
    answer = program("GET", f"/jobs/{job}")
    assert answer.status == 401
    assert answer.json()["error"]["message"] == say("login.token")


def test_a_body_that_does_not_come_holds_no_place(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    program = studio.program()
    scope = stream(program, "x") | {"method": "POST", "path": f"{V1}/text_to_image"}
    scope["headers"] = [*scope["headers"], (b"content-type", b"application/json"), (b"content-length", b"20000000")]
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(studio.app(scope, stays, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 400
    assert b"did not arrive within" in text(sent)
    for _ in range(5):  # of which a visitor may have three at once
        assert program("POST", "/text_to_image", {"prompt": "x"}).status == 202


def test_a_stream_in_which_nothing_happens_says_that_it_lives(tmp_path: Path) -> None:
    here = Studio(tmp_path, seconds_per_step=0.5)
    try:
        program = here.program()
        job = program.submit(num_inference_steps=2)

        async def run() -> list[bytes]:
            answer = await Streams(here.engine, keepalive=0.05).open(job, owner=program.person, previews=False)
            return [bytes(part) async for part in answer.body_iterator]  # type: ignore[arg-type]

        begun = time.monotonic()
        parts = asyncio.run(run())
        assert time.monotonic() - begun < 30
        assert parts.count(b": the job goes on\n\n") >= 3
        assert b"event: finished" in parts[-1]
    finally:
        here.engine.close()
