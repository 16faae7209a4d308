"""A thousand calls at once from clients without a cookie: whoever keeps one gets a picture, and nobody a 500."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import httpx

from studio.picture.gallery import Gallery
from tests.ui.fake_app import launch
from tests.ui.fake_engine import FakeEngine

BODY = {"prompt": "a fox", "num_inference_steps": 2}
CALL = "gradio_api/call/v2/text_to_image"


async def crowd(url: str) -> tuple[Counter[int], list[str], str]:
    """How the thousand were answered, what the first of them were told, and what the visitor got meanwhile."""
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits, trust_env=False) as strangers:
        strangers.cookies = httpx.Cookies()

        async def call() -> httpx.Response:
            request = strangers.build_request("POST", CALL, json=BODY)
            request.headers.pop("cookie", None)
            request.headers["connection"] = "close"  # the server closes an idle one while it is taken again, else
            return await strangers.send(request)

        async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as visitor:
            await visitor.get("/")
            thousand = asyncio.gather(*(call() for _ in range(1000)))
            await asyncio.sleep(0.5)
            answer = await visitor.post(CALL, json=BODY)
            assert answer.status_code == 200, answer.text
            picture = (await visitor.get(f"{CALL}/{answer.json()['event_id']}")).text
            answers = await thousand
        ids = [one.json()["event_id"] for one in answers if one.status_code == 200]
        ends = [(await strangers.get(f"{CALL}/{event_id}")).text for event_id in ids[-40:]]
    return Counter(one.status_code for one in answers), [one.text for one in answers] + ends, picture


def test_a_thousand_calls_without_a_cookie_fill_nothing_for_others(tmp_path: Path) -> None:
    engine = FakeEngine(Gallery(tmp_path), seconds_per_step=0.05)
    page, url = launch(engine, engine.gallery)
    try:
        statuses, texts, picture = asyncio.run(crowd(url))
    finally:
        page.close()
        engine.close()
    assert '"finished"' in picture, picture
    assert set(statuses) == {200, 429}
    assert statuses[200] >= 200
    assert not [text for text in texts if "Queue is full" in text]
    assert [text for text in texts if "jobs waiting or running" in text and "before you" in text]
