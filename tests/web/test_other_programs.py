"""The interfaces for other programs on the real studio with the built-in model, and the examples of their document."""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from mcp import Client, types
from PIL import Image, ImageDraw
from webuiapi import WebUIApi

from tests.test_running import ROOT, Studio
from tests.web.mcp.test_mcp import pictures_of, talk, text_of
from tests.web.serving import in_background


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    studio = Studio(tmp_path_factory.mktemp("studio"), "--api", "--mcp").opened()
    yield studio
    studio.process.kill()
    studio.process.wait(60)
    assert "Traceback" not in studio.log


def example_of(word: str) -> str:
    """The block of Python in the document that has this word."""
    text = (ROOT / "docs" / "other-programs.md").read_text(encoding="utf-8")
    blocks = [textwrap.dedent(block) for block in re.findall(r"(?:^(?:    .*)?\n)+", text, re.MULTILINE)]
    (example,) = [block for block in blocks if word in block and "import" in block]
    return example


def test_where_they_are_is_said_at_the_start(here: Studio) -> None:
    here.wait_for(lambda: "Stop it" in here.log)
    assert f"{here.url}sdapi/v1/" in here.log
    assert f"{here.url}mcp" in here.log


def test_webuiapi_makes_changes_and_mends_pictures(
    here: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = WebUIApi(baseurl=f"{here.url}sdapi/v1", sampler="Euler", steps=3)
    made = api.txt2img(prompt="a red apple in the snow", width=128, height=128, seed=3)
    mask = Image.new("L", (128, 128), 0)
    ImageDraw.Draw(mask).rectangle((0, 0, 64, 128), fill=255)
    mended = api.img2img(images=[made.image], prompt="a fox", width=128, height=128, mask_image=mask)
    changed = api.img2img(images=[made.image], prompt="a fox", width=128, height=128)
    assert [one.image.size for one in (made, mended, changed)] == [(128, 128)] * 3
    thread, _ = in_background(lambda: api.txt2img(prompt="a fox", steps=150, width=128, height=128))
    while not 0 < api.get_progress()["progress"] < 1:
        assert thread.is_alive()
        time.sleep(0.02)
    api.interrupt()
    thread.join(30)
    assert not thread.is_alive()
    monkeypatch.chdir(tmp_path)
    port = here.url.rstrip("/").rpartition(":")[2]
    exec(example_of("webuiapi.WebUIApi").replace("port=7860", f"port={port}"), {})
    with Image.open(tmp_path / "apple.png") as apple:
        assert apple.size == (128, 128)


def test_an_agent_has_a_run_explained_in_numbers_and_word_maps(here: Studio) -> None:
    token = httpx.post(f"{here.url}programs", json={"action": "make", "name": "agent"}).json()["token"]

    async def conversation(client: Client) -> tuple[types.CallToolResult, types.CallToolResult]:
        arguments = {"prompt": "a red apple in the snow", "num_inference_steps": 4}
        made = await client.call_tool("text_to_image", arguments)
        assert not made.is_error, text_of(made)
        picture_id = made.structured_content["pictures"][0]["id"]
        return made, await client.call_tool("explain_run", {"picture_id": picture_id})

    example = example_of("streamable_http_client").replace("studio_...", token)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(example.replace("http://127.0.0.1:7860/", here.url), {})
    assert "Steps: " in printed.getvalue()
    made, explained = talk(f"{here.url}mcp", token, conversation)
    assert not explained.is_error, text_of(explained)
    assert [picture.size for picture in pictures_of(made)] == [(128, 128)]
    numbers = explained.structured_content
    assert len(numbers["evaluations"]) == 4
    assert set(numbers["words"]) == {"a", "red", "apple", "in", "the", "snow"}
    assert len(pictures_of(explained)) == 1 + 6
    assert "Where the U-Net looked for: apple" in text_of(explained)
    assert "guidance ratio" in text_of(explained)
