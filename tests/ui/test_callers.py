"""Whatever is kept of a program's call goes soon after it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client

from studio.picture.gallery import Gallery
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
        "uploads": len(uploads._held) + len(uploads._unused) + len(uploads._here) + len(uploads._left),
        "results": len(uploads._leaving),
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
