"""A token with `gradio_client`: it opens what is shared, is one visitor, and an error's text holds the JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from studio.picture.gallery import Gallery
from studio.web.access import Access
from studio.web.programs import Programs
from tests.ui.fake_app import launch
from tests.ui.fake_engine import FakeEngine
from tests.web.api.studio import V1


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Access]]:
    folder: Path = tmp_path_factory.mktemp("outputs")
    engine, access = FakeEngine(Gallery(folder), seconds_per_step=0.001), Access(
        always_closed=True, programs=Programs(folder)
    )  # fmt: skip
    page, url = launch(engine, engine.gallery, access=access)
    yield url, access
    page.close()
    engine.close()


@pytest.mark.parametrize("way", ["token", "header"])
def test_it_opens_what_is_closed_and_sees_its_own(served: tuple[str, Access], tmp_path: Path, way: str) -> None:
    url, access = served
    token, program = access.programs.make(way)
    bearer = {"Authorization": f"Bearer {token}"}
    options: dict[str, Any] = {"token": token} if way == "token" else {"headers": bearer}
    client = Client(url, verbose=False, download_files=str(tmp_path), **options)
    files, info = client.predict(prompt="a disc", num_inference_steps=2, api_name="/text_to_image")
    assert Path(files[0]).read_bytes().startswith(b"\x89PNG")
    assert info["state"] == "finished"
    access.programs.revoke(program.id)
    assert httpx.get(f"{url.rstrip('/')}{V1}/jobs", headers=bearer).status_code == 401
    with pytest.raises(Exception, match=r"401|403"):
        client.predict(prompt="a disc", num_inference_steps=2, api_name="/text_to_image")


def said(client: Client, **request: object) -> dict[str, Any]:
    with pytest.raises(AppError) as caught:
        client.predict(**request, api_name="/text_to_image")
    sentence, _, form = str(caught.value).rpartition("\n")
    error = json.loads(form)["error"]
    assert sentence == error["message"]
    return dict(error)


def test_the_text_of_an_error_is_a_sentence_and_the_form(served: tuple[str, Access]) -> None:
    url, access = served
    token, _ = access.programs.make("errors")
    client = Client(url, verbose=False, token=token)
    bad = said(client, prompt="x", width=65, scheduler="nothing")
    assert bad["type"] == "invalid"
    assert [problem["field"] for problem in bad["problems"]] == ["width", "scheduler"]
    assert bad["problems"][0]["allowed"] == "whole numbers from 64 to 2048 in multiples of 8"
    failed = said(client, prompt="fail: oom")
    assert (failed["type"], failed["kind"]) == ("job_failed", "out_of_memory")
    large = said(client, prompt="x", width=2048, height=2048, num_images_per_prompt=16)
    assert large["type"] == "forbidden", "a guest's limits"
    with httpx.Client(headers={"authorization": f"Bearer {token}"}) as program:
        answer = program.post(f"{url}gradio_api/call/nothing", json={"data": []})
        assert answer.json()["error"]["type"] == "not_found"
        assert answer.json()["detail"] == answer.json()["error"]["message"]
