"""The whole studio is killed at random moments: no half-written file, no finished picture lost, no job forgotten, and
nothing made twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from studio.engine.store.database import NAME
from studio.engine.store.store import MOST_ENDED
from studio.picture.gallery import Gallery
from tests.test_running import Studio

pytestmark = [pytest.mark.alone, pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")]

OWNER = "a" * 32
SEEDS_APART = 1000  # between two jobs
API = "api/v1/"
OVER = ("finished", "interrupted", "stopped", "failed")


@dataclass
class Asked:
    """What this test has asked for, and was told that it is taken."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)  # id -> what was asked
    pictures: dict[str, set[str]] = field(default_factory=dict)  # id -> pictures that were told of once
    number: int = 0

    def submit(self, client: httpx.Client, chance: random.Random) -> None:
        """Ask for one more job. Raises HTTPError where nobody is there."""
        self.number += 1
        body: dict[str, Any] = {
            "prompt": f"a red apple {self.number}",
            "num_inference_steps": chance.randint(2, 12),
            "seed": self.number * SEEDS_APART,
        }
        if chance.random() < 0.15:
            answer = client.post(f"{API}compare", json=body | {"x": "guidance_scale", "x_values": "1, 3"})
        else:
            body["num_images_per_prompt"] = chance.choice((1, 1, 2, 3))
            answer = client.post(f"{API}text_to_image", json=body)
        if answer.status_code == 429:  # eight wait or run already
            time.sleep(0.2)
            return
        assert answer.status_code == 202, answer.text
        self.jobs[answer.json()["job"]] = body
        while len(self.jobs) > MOST_ENDED // 2:  # older ones than the newest 500 are forgotten by design
            del self.jobs[next(iter(self.jobs))]

    def look(self, client: httpx.Client, job_id: str) -> dict[str, Any]:
        """A job as it is now. No picture that was told of once may be missing."""
        answer = client.get(f"{API}jobs/{job_id}")
        assert answer.status_code == 200, (job_id, self.jobs[job_id], answer.text)
        job: dict[str, Any] = answer.json()
        ids = {picture["id"] for picture in job.get("pictures") or ()}
        assert self.pictures.get(job_id, set()) <= ids, job
        self.pictures[job_id] = ids
        return job


def kill_at(here: Studio, seconds: float) -> threading.Thread:
    def kill() -> None:
        time.sleep(seconds)
        here.process.send_signal(signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def client_of(here: Studio) -> httpx.Client:
    return httpx.Client(base_url=here.url, cookies={"studio_owner": OWNER}, trust_env=False, timeout=60)


def live(here: Studio, asked: Asked, chance: random.Random) -> None:
    """Ask for jobs, and look at them, until the studio is killed."""
    with client_of(here) as client, contextlib.suppress(httpx.HTTPError):
        for job_id in list(asked.jobs):
            asked.look(client, job_id)
        while True:
            asked.submit(client, chance)
            time.sleep(chance.uniform(0, 0.3))
            asked.look(client, chance.choice(list(asked.jobs)))


def settle(here: Studio, asked: Asked) -> dict[str, dict[str, Any]]:
    """Every job once none waits or runs any more."""
    with client_of(here) as client:
        until = time.monotonic() + 300
        while True:
            jobs = {job_id: asked.look(client, job_id) for job_id in asked.jobs}
            if all(job["state"] in OVER for job in jobs.values()):
                return jobs
            assert time.monotonic() < until, jobs
            time.sleep(0.3)


def check_files(outputs: Path) -> Counter[int]:
    """Every file is whole, and every picture is listed. How often each seed was made, but for cells."""
    for path in outputs.rglob("*.png"):
        with Image.open(path) as picture:
            picture.load()
    rest = {path.name for path in outputs.rglob("*") if path.is_file() and path.suffix not in (".png", ".part")}
    assert rest <= {"index.jsonl", NAME, f"{NAME}-wal", f"{NAME}-shm", ".owner"}, rest
    assert all(path.name.startswith(".") for path in outputs.rglob("*.part"))
    pictures = [path for path in outputs.glob("????-??-??/*.png")]
    listed = Gallery(outputs).earlier(OWNER, limit=100_000)
    assert {picture.file_name for picture in listed} == {path.relative_to(outputs).as_posix() for path in pictures}
    with sqlite3.connect(outputs / NAME) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return Counter(picture.seed for picture in listed)


def check(jobs: dict[str, dict[str, Any]], asked: Asked, made: Counter[int]) -> Counter[str]:
    """Every job is finished with all its pictures, or interrupted with those that were saved. Nothing was made twice.
    Returns how often each state came."""
    assert max(made.values(), default=1) == 1, "a picture was made twice"
    for job_id, body in asked.jobs.items():
        job, images = jobs[job_id], body.get("num_images_per_prompt")
        assert job["state"] in ("finished", "interrupted"), job
        if images is None:
            continue
        seeds = {body["seed"] + k for k in range(images)}
        assert {picture["seed"] for picture in job["pictures"]} == seeds & set(made), job
        if job["state"] == "finished":
            assert len(job["pictures"]) == images
    return Counter(job["state"] for job in jobs.values())


def rounds(folder: Path, count: int, seed: int, *flags: str, servers: int = 1, seconds: float = 9.0) -> Counter[str]:
    """Kill the studio so often, each time at another moment of so many seconds; then let what waits go on, and
    check."""
    chance, asked = random.Random(seed), Asked()
    here: list[Studio] = []
    try:
        for _ in range(count):
            here = [Studio(folder, *flags, log=f"log{k}") for k in range(servers)]
            for one in here:
                one.opened()
            killers = [kill_at(one, chance.uniform(0, seconds)) for one in here]
            for one in here:
                live(one, asked, chance)
            for killer, one in zip(killers, here):
                killer.join()
                one.process.wait(60)
                assert "Traceback" not in one.log, one.log
        here = [Studio(folder, *flags).opened()]
        jobs = settle(here[0], asked)
        made = check_files(folder / "o")
        states = check(jobs, asked, made)
        assert here[0].end(signal.SIGTERM) < 10
        return states
    finally:
        for one in here:
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait(60)


def test_killed_at_three_moments_it_loses_nothing(tmp_path: Path) -> None:
    states = rounds(tmp_path, 3, seed=3, seconds=5.0)
    assert sum(states.values()) > 3


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_at_fifty_moments_it_loses_nothing(tmp_path: Path) -> None:
    states = rounds(tmp_path, 50, seed=50, seconds=15.0)
    print("jobs by state:", dict(states))
    assert states["finished"]
    assert states["interrupted"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_studios_on_one_folder_are_killed_and_make_nothing_twice(tmp_path: Path) -> None:
    states = rounds(tmp_path, 5, seed=2, servers=2, seconds=15.0)
    print("jobs by state:", dict(states))
