"""Whatever is kept of a program's call goes soon after it."""

from __future__ import annotations

import io
import json
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gradio.state_holder import SessionState
from gradio.utils import get_upload_folder
from gradio_client import Client
from PIL import Image

from studio.picture.gallery import Gallery
from studio.ui import caller_tables
from studio.ui.uploads import SECONDS_UNUSED
from tests.ui.fake_app import Served, launch
from tests.ui.fake_engine import FakeEngine


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Served, str, FakeEngine]]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "temporary"))
    gallery = Gallery(tmp_path / "outputs")
    engine = FakeEngine(gallery, seconds_per_step=0.002)
    site, url = launch(engine, gallery)
    yield site, url, engine
    site.close()
    engine.close()


def pass_minutes(site: Served, engine: FakeEngine) -> None:
    """Let the book and the uploads think that time has passed."""

    def later() -> float:
        return time.monotonic() + SECONDS_UNUSED + 60

    site.uploads._clock = engine._book.clock = later
    engine._book.sweep()
    site.uploads.sweep()
    site.uploads._clock = engine._book.clock = time.monotonic


def counts(site: Served, engine: FakeEngine, temporary: Path) -> dict[str, int]:
    """How many of each thing that is kept for a call or for an owner."""
    uploads, queue = site.uploads, site.page._queue
    return {
        "jobs": len(engine._book._jobs),
        "recordings": len(engine._records),
        "uploads": len(uploads._in_use) + len(uploads._arrivals) + len(uploads._here) + len(uploads._departures),
        "results": len(uploads._leaving),
        "owners of files": len(uploads._owners),
        "files": sum(path.is_file() for path in temporary.rglob("*")),
        "folders": sum(path.is_dir() for path in temporary.rglob("*")),
        "events in Gradio's queue": len(queue.event_ids_to_events) + len(queue.pending_event_ids_session),
    }


def test_what_sixty_calls_leave_does_not_grow(studio: tuple[Served, str, FakeEngine], tmp_path: Path) -> None:
    site, url, engine = studio
    client = Client(url, verbose=False, download_files=str(tmp_path / "downloads"))
    after: list[dict[str, int]] = []
    for number in range(60):
        files, info = client.predict(prompt="a fox", num_inference_steps=2, seed=number, api_name="/text_to_image")
        assert info["state"] == "finished"
        assert Path(files[0]).is_file(), "the caller has its picture"
        if number % 20 == 0:
            client.predict(prompt="a fox", x="seed", x_values="1, 2", num_inference_steps=2, api_name="/compare")
        if number % 20 == 19:
            assert counts(site, engine, tmp_path / "temporary")["files"] >= 20, "still to be fetched"
            pass_minutes(site, engine)
            after.append(counts(site, engine, tmp_path / "temporary"))
    assert after[0] == after[1] == after[2]
    assert after[2]["jobs"] == after[2]["recordings"] == after[2]["files"] == after[2]["results"] == 0


def in_gradio(site: Served) -> dict[str, int]:
    """How many of each thing that Gradio holds for a call or for its caller."""
    page, queue = site.page, site.page._queue
    return {
        "sessions": len(page.state_holder.session_data) + len(page.state_holder.time_last_used),
        "messages": len(queue.pending_messages_per_session),
        "sessions with calls": len(queue.pending_event_ids_session),
        "calls": len(queue.event_ids_to_events),
        "remembered calls": len(queue.event_analytics),
        "files": sum(map(len, page.temp_file_sets)),
        "streams": len(page.pending_streams) + len(page.pending_diff_streams),
    }


def call(url: str, seed: int, *, fetch: bool = True) -> dict[str, object]:
    """One picture for a caller who has neither cookie nor session; returns its `info`."""
    arguments: dict[str, object] = {"prompt": "a fox", "num_inference_steps": 2, "seed": seed}
    address = f"{url}gradio_api/call/v2/text_to_image"
    with httpx.Client(trust_env=False, timeout=60) as client:
        event = client.post(address, json=arguments).raise_for_status().json()["event_id"]
        if not fetch:
            return {}
        answer = client.get(f"{address}/{event}").raise_for_status().text
    data = json.loads(answer.rpartition("event: complete\ndata: ")[2].partition("\n")[0])
    return dict(data[1])


def wait_for_the_end(site: Served) -> None:
    patience = time.monotonic() + 30
    while site.page._queue.event_ids_to_events:
        assert time.monotonic() < patience
        time.sleep(0.01)


@pytest.mark.parametrize("fetch", [True, False], ids=["fetched", "never fetched"])
def test_calls_without_a_session_leave_nothing_in_gradio(
    studio: tuple[Served, str, FakeEngine], monkeypatch: pytest.MonkeyPatch, fetch: bool
) -> None:
    site, url, engine = studio
    monkeypatch.setattr(caller_tables, "SECONDS_BETWEEN_LOOKS_AT_FILES", 0.0)
    if not fetch:  # an answer that nobody has fetched waits as long as the copies of its pictures
        monkeypatch.setattr(caller_tables, "SECONDS_UNUSED", 0.0)
    after: list[dict[str, int]] = []
    for number in range(30):
        info = call(url, number, fetch=fetch)
        assert not fetch or info["state"] == "finished"
        if number % 10 == 9:
            wait_for_the_end(site)
            pass_minutes(site, engine)
            call(url, 1000 + number)  # each call drops what is over of those before it
            wait_for_the_end(site)
            after.append(in_gradio(site))
    assert after[0] == after[1] == after[2]
    assert max(after[2].values()) <= 2, "what is left of the newest call"
    assert site.page._queue.cached_event_analytics_summary == {"functions": {}}, "Gradio has tabulated its calls"


def test_a_session_is_small(studio: tuple[Served, str, FakeEngine]) -> None:
    sessions = studio[0].page.state_holder
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(20):
        assert isinstance(sessions[f"visitor {number}"], SessionState)
    size = (tracemalloc.get_traced_memory()[0] - before) / 20
    tracemalloc.stop()
    assert size < 64 * 1024, "Gradio's own is 557 KiB"


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def events(client: httpx.Client, url: str, name: str, data: dict[str, object]) -> list[object]:
    event = client.post(f"{url}gradio_api/call/v2/{name}", json=data).json()["event_id"]
    lines = client.get(f"{url}gradio_api/call/{name}/{event}").text.strip().splitlines()
    assert lines[-2] == "event: complete", lines
    answer = json.loads(lines[-1].removeprefix("data: "))
    assert isinstance(answer, list)
    return answer


@pytest.mark.parametrize("way", ["gradio_api/file=", "gradio_api/file/"])
def test_uploads_and_results_are_served_to_their_owner_alone(studio: tuple[Served, str, FakeEngine], way: str) -> None:
    _, url, _ = studio
    with httpx.Client(timeout=60) as ann, httpx.Client(timeout=60) as ben:
        for client in (ann, ben):
            assert client.get(url).status_code == 200
        (upload,) = ann.post(f"{url}gradio_api/upload", files={"files": ("mine.png", png(1))}).json()
        files, _ = events(ann, url, "text_to_image", {"prompt": "a fox", "num_inference_steps": 2})
        result = files[0]["path"]  # type: ignore[index]
        for path in (upload, result):
            answer = ann.get(f"{url}{way}{path}")
            assert (answer.status_code, answer.content[:4]) == (200, b"\x89PNG")
            for client in (ben, httpx):
                refused = client.get(f"{url}{way}{path}")
                assert (refused.status_code, refused.text) == (404, "There is nothing here.")
                assert client.head(f"{url}{way}{path}").status_code == 404
        roundabout = upload.replace("/mine.png", "/../" + Path(upload).parent.name + "/mine.png")
        assert ben.get(f"{url}{way}{roundabout.replace('..', '%2E%2E')}").status_code in (403, 404)
        assert ben.post(f"{url}gradio_api/upload", files={"files": ("mine.png", png(1))}).json() == [upload]
        assert ben.get(f"{url}{way}{upload}").status_code == 200, "who sends the same picture has it"
        assert ben.get(f"{url}{way}{result}").status_code == 404


def test_a_program_without_a_cookie_still_fetches_its_results(
    studio: tuple[Served, str, FakeEngine], tmp_path: Path
) -> None:
    _, url, _ = studio
    client = Client(url, verbose=False, download_files=tmp_path / "downloads")
    files, _ = client.predict(prompt="a fox", num_inference_steps=2, api_name="/text_to_image")
    assert Path(files[0]).read_bytes()[:4] == b"\x89PNG"


def test_no_session_is_written_into_a_file_for_whoever_names_it(studio: tuple[Served, str, FakeEngine]) -> None:
    _, url, _ = studio
    for address in ("gradio_api/deep_link", "gradio_api/deep_link/"):
        assert httpx.get(f"{url}{address}?session_hash=anybody").status_code == 404
    assert not list(Path(get_upload_folder()).glob("deep_links/*"))


def test_a_call_or_a_session_that_is_not_known_is_no_error_in_the_log(
    studio: tuple[Served, str, FakeEngine], caplog: pytest.LogCaptureFixture
) -> None:
    _, url, _ = studio
    for address in ("call/text_to_image/nothing", "call/v2/text_to_image/nothing", "call/nothing/nothing"):
        assert httpx.get(f"{url}gradio_api/{address}").status_code == 404
    answer = httpx.get(f"{url}gradio_api/queue/data?session_hash=nobody")
    assert '"session_not_found":true' in answer.text
    assert [record for record in caplog.records if record.name == "studio.web.faults"] == []
