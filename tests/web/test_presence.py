"""Whether a visitor has the page open: the engine is told of the first page and of the last."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

from studio.web.presence import Presence


class Told:
    """What the engine was told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bool]] = []

    def visitor(self, owner: str, *, here: bool) -> None:
        self.said.append((owner, here))


async def lasting(scope: Scope, receive: Receive, send: Send) -> None:
    """A heartbeat: lasts until its page is closed, as Gradio's does."""
    await receive()


def scope(path: str, owner: str) -> Scope:
    return {"type": "http", "path": path, "headers": [(b"x-studio-owner", owner.encode())]}


async def silent(message: Message) -> None:
    return None


def test_the_first_page_and_the_last_one_are_told_of() -> None:
    async def visit() -> list[tuple[str, bool]]:
        told, keeper = Told(), Told()
        presence = Presence(lasting, engine=told, keeper=keeper)  # type: ignore[arg-type]
        pages = []

        async def opened(owner: str) -> asyncio.Event:
            closed = asyncio.Event()

            async def receive() -> Message:
                await closed.wait()
                return {"type": "http.disconnect"}

            page = presence(scope(f"/gradio_api/heartbeat/{len(pages)}", owner), receive, silent)
            pages.append(asyncio.ensure_future(page))
            await asyncio.sleep(0)
            return closed

        first, second = await opened("ann"), await opened("ann")
        other = await opened("ben")
        first.set()
        await pages[0]
        assert told.said == [("ann", True), ("ben", True)], "one page of hers is still open"
        second.set()
        await pages[1]
        pages[2].cancel()  # the connection breaks
        await asyncio.gather(pages[2], return_exceptions=True)
        assert not other.is_set()
        assert not presence._open
        assert keeper.said == told.said, "who keeps the uploads is told the same"
        return told.said

    assert asyncio.run(visit()) == [("ann", True), ("ben", True), ("ann", False), ("ben", False)]


def test_other_requests_say_nothing() -> None:
    told = Told()
    presence = Presence(lasting, engine=told)  # type: ignore[arg-type]

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    for path in ("/", "/record/heartbeat", "/gradio_api/heartbeat", "/gradio_api/queue/data"):
        asyncio.run(presence(scope(path, "ann"), receive, silent))
    assert told.said == []
