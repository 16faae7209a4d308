"""Work that takes long ends when its caller leaves, and its result or error goes through where they stay."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from studio.web.departure import unless_left


def request(leaves: asyncio.Event) -> Request:
    async def receive() -> Any:
        await leaves.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def test_the_result_and_the_error_go_through_where_the_caller_stays() -> None:
    async def work(value: int) -> int:
        await asyncio.sleep(0)
        if value < 0:
            raise ValueError("below")
        return value

    async def both() -> None:
        stays = asyncio.Event()
        assert await unless_left(request(stays), work(3)) == 3
        with pytest.raises(ValueError, match="below"):
            await unless_left(request(stays), work(-1))

    asyncio.run(both())


def test_the_work_is_cancelled_where_the_caller_leaves() -> None:
    async def run() -> list[str]:
        seen, leaves = [], asyncio.Event()

        async def work() -> None:
            try:
                leaves.set()
                await asyncio.sleep(60)
            finally:
                seen.append("ended")

        assert await unless_left(request(leaves), work()) is None
        await asyncio.sleep(0)
        return seen

    assert asyncio.run(run()) == ["ended"]
