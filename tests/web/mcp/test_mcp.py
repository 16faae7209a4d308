"""The Model Context Protocol as its own client speaks it: four tools, a guest's token, nobody else's pictures."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

import app
from studio.web.access import Access
from studio.web.mcp import layer
from tests.web.asgi import call
from tests.web.asgi import studio as without_it
from tests.web.serving import Serving, serving

ROOT = Path(__file__).resolve().parent.parent.parent.parent
TOOLS = ["compare", "explain_run", "image_to_image", "text_to_image"]
Talk = Callable[[Client], Awaitable[Any]]


def talk(url: str, token: str, conversation: Talk, mode: str = "auto") -> Any:
    """What comes of a conversation with the tools at this address."""

    async def whole() -> Any:
        headers = {"authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=120) as http:
            transport = streamable_http_client(url, http_client=http)
            async with Client(transport, mode=mode) as client:
                return await conversation(client)

    return asyncio.run(whole())


class Agent:
    def __init__(self, served: Serving, access: Access) -> None:
        self.served, self.access = served, access
        self.token, self.program = access.programs.make("agent")

    def talk(self, conversation: Talk, mode: str = "auto", token: str = "") -> Any:
        return talk(f"{self.served.url}mcp", token or self.token, conversation, mode)

    def call(self, tool: str, token: str = "", mode: str = "auto", **arguments: Any) -> types.CallToolResult:
        async def one(client: Client) -> types.CallToolResult:
            return await client.call_tool(tool, arguments)

        result = self.talk(one, mode, token)
        assert isinstance(result, types.CallToolResult)
        return result

    def refused(self, tool: str, token: str = "", **arguments: Any) -> str:
        result = self.call(tool, token, **arguments)
        assert result.is_error, result
        return text_of(result)


def text_of(result: types.CallToolResult) -> str:
    (text,) = [one for one in result.content if isinstance(one, types.TextContent)]
    return text.text


def pictures_of(result: types.CallToolResult) -> list[Image.Image]:
    images = [one for one in result.content if isinstance(one, types.ImageContent)]
    opened = [Image.open(io.BytesIO(base64.b64decode(one.data))) for one in images]
    assert [f"image/{one.format}".lower() for one in opened] == [one.mime_type for one in images]
    return opened


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    access = Access(auth=("ann", "correct horse"))
    with serving(tmp_path_factory.mktemp("mcp"), layer.interface, access=access) as here:
        yield Agent(here, access)


def words(agent: Agent, **arguments: Any) -> types.CallToolResult:
    return agent.call("text_to_image", **({"prompt": "a red apple", "num_inference_steps": 4} | arguments))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_there_are_exactly_four_tools_and_none_takes_a_path_or_an_address(agent: Agent, mode: str) -> None:
    async def listed(client: Client) -> list[types.Tool]:
        return (await client.list_tools()).tools

    tools = agent.talk(listed, mode)
    assert sorted(tool.name for tool in tools) == TOOLS
    for tool in tools:
        assert tool.input_schema["additionalProperties"] is False
        names = set(tool.input_schema["properties"])
        assert not names & {"path", "url", "file", "uri", "controls", "mask"}
        assert all("description" in one for one in tool.input_schema["properties"].values())
    steps = next(tool for tool in tools if tool.name == "text_to_image").input_schema["properties"][
        "num_inference_steps"
    ]
    assert (steps["type"], steps["minimum"], steps["maximum"]) == ("integer", 1, 150)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_words_become_pictures_and_progress_is_told(agent: Agent, mode: str) -> None:
    told: list[tuple[float, float | None]] = []

    async def conversation(client: Client) -> types.CallToolResult:
        async def progress(done: float, whole: float | None, message: str | None) -> None:
            told.append((done, whole))

        arguments = {"prompt": "a red apple", "num_inference_steps": 20, "seed": 3, "num_images_per_prompt": 2}
        return await client.call_tool("text_to_image", arguments, progress_callback=progress)

    result = agent.talk(conversation, mode)
    assert not result.is_error
    assert [picture.size for picture in pictures_of(result)] == [(128, 128)] * 2
    assert "Steps: 20" in text_of(result)
    assert [one["seed"] for one in result.structured_content["pictures"]] == [3, 4]
    assert len(told) > 5
    assert [done for done, _ in told] == sorted({done for done, _ in told})  # the protocol lets it rise alone
    assert told[-1][1] == 40


def test_a_picture_becomes_a_picture_by_its_id_or_its_bytes(agent: Agent) -> None:
    first = words(agent)
    picture_id = first.structured_content["pictures"][0]["id"]
    for start in ({"picture_id": picture_id}, {"image": first.content[0].data}):  # type: ignore[union-attr]
        result = agent.call("image_to_image", prompt="a fox", strength=0.5, num_inference_steps=4, **start)
        assert not result.is_error, text_of(result)
        assert [picture.size for picture in pictures_of(result)] == [(128, 128)]


def test_a_comparison_is_one_picture(agent: Agent) -> None:
    result = agent.call("compare", prompt="a fox", x="guidance_scale", x_values="1, 4, 7", num_inference_steps=3)
    assert not result.is_error, text_of(result)
    (picture,) = pictures_of(result)
    assert picture.width > 3 * 128
    assert [cell["guidance_scale"] for cell in result.structured_content["cells"]] == [1, 4, 7]
    assert all(cell["state"] == "finished" for cell in result.structured_content["cells"])


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("text_to_image", {}, "prompt"),
        ("text_to_image", {"prompt": "x", "num_inference_steps": 10**9}, "whole numbers from 1 to 150"),
        ("text_to_image", {"prompt": "x", "width": 10**6}, "multiples of 8"),
        ("text_to_image", {"prompt": "x", "guidance_scale": "7"}, "guidance_scale"),
        ("text_to_image", {"prompt": "x", "checkpoint": "../../etc/passwd"}, "checkpoint"),
        ("text_to_image", {"prompt": "x", "path": "/etc/passwd"}, "path"),
        ("text_to_image", {"prompt": ["x"]}, "prompt"),
        ("image_to_image", {"prompt": "x"}, "one of image and picture_id"),
        ("image_to_image", {"prompt": "x", "image": "AAAA", "picture_id": "a"}, "one of image and picture_id"),
        ("image_to_image", {"prompt": "x", "image": "/etc/passwd"}, "base64"),
        ("image_to_image", {"prompt": "x", "image": "http://evil.example/x.png"}, "base64"),
        ("image_to_image", {"prompt": "x", "image": "AAAA"}, "image"),
        ("image_to_image", {"prompt": "x", "picture_id": "../index.jsonl"}, "picture_id"),
        ("image_to_image", {"prompt": "x", "picture_id": 7}, "picture_id"),
        ("compare", {"prompt": "x", "x": "nothing", "x_values": "1"}, "x"),
        ("compare", {"prompt": "x", "x": "guidance_scale", "x_values": "1-9999"}, "x_values"),
        ("explain_run", {"picture_id": "f" * 32}, "picture_id"),
        ("explain_run", {"picture_id": "f" * 32, "url": "http://evil.example"}, "url"),
        ("explain_run", {}, "picture_id"),
        ("delete_everything", {}, "no such tool"),
        ("text_to_image", {"prompt": "fail: oom"}, "ran out of memory"),
        ("text_to_image", {"prompt": "x", "num_images_per_prompt": 16, "num_inference_steps": 150}, "1000 steps"),
    ],
)
def test_what_cannot_be_done_is_said_to_the_agent(agent: Agent, tool: str, arguments: Any, said: str) -> None:
    text = agent.refused(tool, **arguments)
    assert said in text
    sentence, _, form = text.partition("\n")
    assert json.loads(form)["error"]["message"] == sentence
    assert "Traceback" not in text


def test_another_agents_pictures_are_unknown(agent: Agent) -> None:
    picture_id = words(agent).structured_content["pictures"][0]["id"]
    other, _ = agent.access.programs.make("other")
    assert "picture_id" in agent.refused("image_to_image", other, prompt="x", picture_id=picture_id)
    assert "picture_id" in agent.refused("explain_run", other, picture_id=picture_id)


def test_a_run_from_a_picture_is_not_explained(agent: Agent) -> None:
    first = words(agent).content[0].data  # type: ignore[union-attr]
    made = agent.call("image_to_image", prompt="a fox", num_inference_steps=4, image=first)
    picture_id = made.structured_content["pictures"][0]["id"]
    assert "made from words alone" in agent.refused("explain_run", picture_id=picture_id)


def test_only_a_guests_token_opens_it(agent: Agent) -> None:
    owner_token, _ = agent.access.programs.make("mighty", "owner")
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = {"accept": "application/json, text/event-stream"}

    def post(**more: str) -> httpx.Response:
        return httpx.post(f"{agent.served.url}mcp", json=body, headers=headers | more)

    assert post(authorization=f"Bearer {agent.token}").status_code == 200
    assert post().status_code == 401
    assert post(authorization="Bearer wrong").status_code == 401
    assert post(authorization=f"Bearer {owner_token}").status_code == 403
    assert post(authorization=f"Bearer {agent.token}", origin="https://evil.example").status_code == 403
    assert post(authorization=f"Bearer {agent.token}", host="evil.example").status_code == 421
    for method in ("GET", "DELETE"):
        answer = httpx.request(
            method, f"{agent.served.url}mcp", headers=headers | {"authorization": f"Bearer {agent.token}"}
        )
        assert answer.status_code == 405


def test_a_studio_that_is_open_asks_for_a_token_too(tmp_path: Path) -> None:
    with serving(tmp_path, layer.interface) as here:
        assert httpx.post(f"{here.url}mcp", json={}).status_code == 401


def test_broken_messages_are_refused(agent: Agent) -> None:
    headers = {"authorization": f"Bearer {agent.token}", "accept": "application/json, text/event-stream"}
    headers |= {"content-type": "application/json"}
    for body in (
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"jsonrpc": "2.0"}',
        b'{"a":' * 5000,
        b"\xff",
        b'{"jsonrpc":"2.0","id":NaN}',
    ):
        answer = httpx.post(f"{agent.served.url}mcp", content=body, headers=headers)
        assert 400 <= answer.status_code < 500, body
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_agent_that_leaves_stops_its_run(tmp_path: Path, mode: str) -> None:
    access = Access(auth=("ann", "correct horse"))
    with serving(tmp_path, layer.interface, access=access, seconds_per_step=0.05) as here:
        agent = Agent(here, access)

        async def leave(client: Client) -> None:
            arguments = {"prompt": "x", "num_inference_steps": 150}
            running = asyncio.ensure_future(client.call_tool("text_to_image", arguments))
            while not here.engine.asked:
                await asyncio.sleep(0.01)
            running.cancel()

        agent.talk(leave, mode)
        patience = time.monotonic() + 5
        while any(one.job.ended is None for one in here.engine.asked):
            assert time.monotonic() < patience
            time.sleep(0.02)


def test_nothing_of_it_is_there_without_its_flag(tmp_path: Path) -> None:
    assert call(without_it(tmp_path), "/mcp").json()["path"] == "/mcp"  # it is the page's
    imported = "[name for name in sys.modules if name.split('.')[0] == 'mcp']"
    code = f"import sys, app, studio.web, studio.web.a1111.routes; print({imported})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_its_package_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    flags = app.parser().parse_args(["--mcp"])
    with pytest.raises(SystemExit) as caught:
        app.check(flags)
    assert "requirements-mcp.txt" in str(caught.value)
