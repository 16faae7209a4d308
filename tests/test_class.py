"""A class of guests at one studio: each gets its pictures or is told how many are before it, and nothing grows.

Some of the class behave badly: they vanish in the middle of a stream, never read one, stop what they began, reload the
page, send pictures without end. In CI two guests come for a minute, and one of each bad behaviour but the uploads: one
that is refused before its end is cut off on a busy machine, which its sender sees as a broken connection. 24 guests
for ten minutes are `slow`.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from PIL import Image

from studio.web.login import COOKIE
from tests.test_running import Studio

STEPS = 6
LOGIN = {"username": "class", "password": "of 2026"}
OWNER = "teacher:secret of 2026"
API = "/api/v1"


@dataclass
class Class:
    """What the guests have seen."""

    url: str
    ends: float
    statuses: Counter[int] = field(default_factory=Counter)
    pictures: Counter[str] = field(default_factory=Counter)  # by guest; only of those who ask for one after another
    refusals: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    cookies: set[str] = field(default_factory=set)  # by which guests stay in

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.ends


@dataclass(frozen=True)
class Size:
    """What the server holds."""

    seconds: float
    resident: float  # MiB
    threads: int
    files: int


async def send(here: Class, guest: httpx.AsyncClient, kind: str, body: dict[str, object]) -> dict[str, str] | None:
    """Ask for something; None where it is refused, which is told in words."""
    answer = await guest.post(f"{API}/{kind}", json=body)
    here.statuses[answer.status_code] += 1
    if answer.status_code == 202:
        return dict(answer.json())
    here.refusals.append(answer.json()["error"]["message"])
    if answer.status_code != 429:
        here.faults.append(answer.text)
    await asyncio.sleep(1)
    return None


async def watch(here: Class, guest: httpx.AsyncClient, events: str) -> dict[str, object]:
    """The last event of a job. Who asks too fast is told so, and asks again."""
    last: dict[str, object] = {}
    while True:
        async with guest.stream("GET", events) as stream:
            here.statuses[stream.status_code] += 1
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    last = json.loads(line.removeprefix("data: "))
        if stream.status_code != 429:
            return last
        await asyncio.sleep(float(stream.headers["retry-after"]))


def body(seed: int) -> dict[str, object]:
    return {"prompt": "a fox in the snow", "num_inference_steps": STEPS, "seed": seed}


async def one_after_another(here: Class, guest: httpx.AsyncClient, name: str, turn: int) -> None:
    job = await send(here, guest, "text_to_image", body(turn))
    if job is None:
        return
    last = await watch(here, guest, job["events"])
    if last.get("event") != "finished":
        here.faults.append(f"{name} {last}")
        return
    url = last["pictures"][0]["url"]  # type: ignore[index]
    file = await guest.get(url)
    here.statuses[file.status_code] += 1
    assert Image.open(io.BytesIO(file.content)).size == (128, 128)
    here.pictures[name] += 1


async def vanishing(here: Class, guest: httpx.AsyncClient, name: str, turn: int) -> None:
    job = await send(here, guest, "text_to_image", body(turn))
    if job is not None:
        async with guest.stream("GET", job["events"]) as stream:
            async for _ in stream.aiter_lines():
                break  # and gone


async def never_reading(here: Class, guest: httpx.AsyncClient, name: str, turn: int) -> None:
    job = await send(here, guest, "text_to_image", body(turn))
    if job is not None:
        async with guest.stream("GET", job["events"] + "?previews=1"):
            await asyncio.sleep(3)


async def stopping(here: Class, guest: httpx.AsyncClient, name: str, turn: int) -> None:
    job = await send(here, guest, "text_to_image", body(turn))
    if job is not None:
        answer = await guest.post(f"{job['url']}/cancel", json={})
        here.statuses[answer.status_code] += 1
        last = await watch(here, guest, job["events"])
        if last.get("event") not in ("stopped", "finished"):
            here.faults.append(f"{name} {last}")


async def reloading(here: Class, guest: httpx.AsyncClient, name: str, turn: int) -> None:
    for path in ("/", f"{API}/jobs", f"{API}/models"):
        answer = await guest.get(path)
        here.statuses[answer.status_code] += 1
    await asyncio.sleep(0.5)


async def uploading(here: Class, guest: httpx.AsyncClient, name: str, turn: int) -> None:
    data = io.BytesIO()
    Image.effect_noise((512, 512), 90).convert("RGB").save(data, "PNG")
    answer = await guest.post(f"{API}/uploads", content=data.getvalue(), headers={"content-type": "image/png"})
    here.statuses[answer.status_code] += 1
    if answer.status_code == 201:
        await send(here, guest, "image_to_image", body(turn) | {"image": {"upload": answer.json()["id"]}})
    elif answer.status_code not in (413, 429, 507):
        here.faults.append(answer.text)
    await asyncio.sleep(1)


Behaviour = Callable[[Class, httpx.AsyncClient, str, int], Awaitable[None]]
BAD: tuple[Behaviour, ...] = (vanishing, never_reading, stopping, reloading, uploading)


async def attend(here: Class, behaviour: Behaviour, name: str) -> None:
    """One guest, from the login to the end of the lesson."""
    async with httpx.AsyncClient(base_url=here.url, timeout=120, trust_env=False) as guest:
        entered = await guest.post("/login", data=LOGIN)
        assert entered.status_code == 200, entered.text
        here.cookies.add(guest.cookies[COOKIE])
        turn = 0
        while not here.is_over:
            turn += 1
            try:
                await behaviour(here, guest, name, turn)
            except Exception as error:
                here.faults.append(f"{name}: {error!r}")
                await asyncio.sleep(1)


async def lesson(here: Class, behaviours: list[Behaviour], look: Callable[[], Size]) -> list[Size]:
    """All of them at once, and what the server holds every second."""
    guests = asyncio.gather(*(attend(here, one, f"{k} {one.__name__}") for k, one in enumerate(behaviours)))
    sizes = []
    while not here.is_over:
        await asyncio.sleep(1)
        sizes.append(look())
    await guests
    return sizes


def slope(sizes: list[Size], name: str) -> float:
    """Growth a minute over the second half, by least squares."""
    half = sizes[len(sizes) // 2 :]
    times = [one.seconds / 60 for one in half]
    values = [float(getattr(one, name)) for one in half]
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((t - middle) ** 2 for t in times)
    return sum((t - middle) * (v - mean) for t, v in zip(times, values)) / spread


def check_secrets(outputs: Path, log: str, secrets: set[str]) -> None:
    """Nothing that opens the studio stands in its log or in a file beside the pictures, the jobs' database too."""
    texts = {"log": log, **{p.name: p.read_bytes().decode("latin-1") for p in outputs.rglob("*") if p.is_file()}}
    assert len(texts) > 3
    assert len(secrets) > 3
    assert [name for name, text in texts.items() if any(secret in text for secret in secrets)] == []


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    here = Studio(tmp_path, "--auth", OWNER, "--guest", ":".join(LOGIN.values())).opened()
    yield here
    if here.process.poll() is None:
        here.process.kill()
        here.process.wait(60)


@pytest.mark.alone
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
@pytest.mark.parametrize(
    ("good", "bad", "minutes"),
    [(2, 4, 0.5), pytest.param(14, 10, 10.0, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_each_of_a_class_gets_its_share_and_nothing_grows(
    studio: Studio, tmp_path: Path, good: int, bad: int, minutes: float
) -> None:
    began, process = time.monotonic(), Path(f"/proc/{studio.process.pid}")

    def look() -> Size:
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        resident = int(status["VmRSS"].split()[0]) / 1024
        files = len(os.listdir(process / "fd"))
        return Size(time.monotonic() - began, resident, int(status["Threads"]), files)

    here = Class(studio.url.rstrip("/"), time.monotonic() + 60 * minutes)
    behaviours: list[Behaviour] = [one_after_another] * good + [BAD[k % len(BAD)] for k in range(bad)]
    sizes = asyncio.run(lesson(here, behaviours, look))
    growth = {name: round(slope(sizes, name), 2) for name in ("resident", "threads", "files")}
    made = len(list((tmp_path / "o").glob("????-??-??/*.png")))
    said = {"pictures": dict(here.pictures), "made": made, "statuses": dict(here.statuses), "growth a minute": growth}
    print(json.dumps(said))
    assert here.faults == []
    assert not [status for status in here.statuses if status >= 500 and status != 507]
    assert [one for one in here.refusals if not one.endswith(".") or "raceback" in one] == []
    assert len(here.pictures) == good
    fewest = min(here.pictures.values())
    assert fewest >= max(1, sum(here.pictures.values()) / good / 2), said
    # Of all pictures, those too that nobody waited for. A quarter: these guests ask for the next picture once they have
    # the last, others keep several waiting, which take what room a call of the network has left.
    assert made >= sum(here.pictures.values())
    assert fewest >= made / (good + bad) / 4, said
    room = 1.0 if minutes >= 5 else 60.0  # half a minute is hardly longer than the warm-up
    assert growth["resident"] < 6.0 * room, said
    assert abs(growth["threads"]) < 0.5 * room, said
    assert abs(growth["files"]) < 1.0 * room, said
    if minutes < 5:
        assert sizes[-1].threads <= sizes[len(sizes) // 2].threads + 8
        assert sizes[-1].files <= sizes[len(sizes) // 2].files + 40
    check_secrets(tmp_path / "o", studio.log, {*here.cookies, LOGIN["password"], OWNER.partition(":")[2]})
    assert studio.outside == []
    assert "Traceback" not in studio.log
