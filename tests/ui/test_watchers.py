"""Sixty tabs watch one run at the same time, and take no thread for it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import httpx

from studio.asked.fields import TextToImage
from studio.asked.orders import SubmitRun
from studio.picture.gallery import Gallery
from tests.ui.fake_app import launch
from tests.ui.fake_engine import FakeEngine

VIEWERS = 60


def test_sixty_viewers_all_see_the_run_at_once(tmp_path: Path) -> None:
    engine = FakeEngine(Gallery(tmp_path), seconds_per_step=0.2)
    served, url = launch(engine, engine.gallery)
    watching = next(number for number, fn in served.page.fns.items() if getattr(fn.fn, "__name__", "") == "run_back")
    seen: set[int] = set()

    async def view(client: httpx.AsyncClient, number: int) -> None:
        asked = {"data": [], "fn_index": watching, "session_hash": f"viewer{number}"}
        await client.post("/gradio_api/queue/join", json=asked)
        async with client.stream("GET", f"/gradio_api/queue/data?session_hash=viewer{number}") as stream:
            async for line in stream.aiter_lines():
                if '"process_generating"' in line and "running" in line:
                    seen.add(number)
                    await asyncio.sleep(60)

    async def all_of_them() -> int:
        limits = httpx.Limits(max_connections=2 * VIEWERS)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            await client.get("/")
            request = TextToImage(prompt="slow", num_inference_steps=100)
            owner = client.cookies["studio_owner"]
            await engine.submit(SubmitRun(request=request), owner=owner, origin="text_to_image")
            viewers = [asyncio.ensure_future(view(client, number)) for number in range(VIEWERS)]
            for _ in range(200):
                await asyncio.sleep(0.1)
                if len(seen) == VIEWERS:
                    break
            workers = sum(thread.name.startswith("AnyIO") for thread in threading.enumerate())
            for viewer in viewers:
                viewer.cancel()
            await asyncio.gather(*viewers, return_exceptions=True)
            return workers

    try:
        workers = asyncio.run(all_of_them())
    finally:
        served.close()
        engine.close()
    assert len(seen) == VIEWERS
    assert workers <= 40, "threads are taken for moments only"
