"""The studio as a process: it starts behind a dead proxy, and ends in under three seconds whoever is there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from gradio_client import Client

from studio.web.process import LOCK, PREFIX, TemporaryFolder
from tests.audit import asked, watched

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = [pytest.param(n, marks=[pytest.mark.slow] if n >= 2 else []) for n in range(20)]
pytestmark = [pytest.mark.alone, pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")]


def obey_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Studio:
    """`python app.py` in a process of its own, with its temporary files in `folder`, and watched for what it asks of
    addresses outside of this machine."""

    def __init__(
        self, folder: Path, *flags: str, log: str = "log", port: int | None = None, **environment: str
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = port or probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.folder, self._log, self._report = folder / "tmp", folder / log, folder
        self.folder.mkdir(exist_ok=True)
        command = [
            sys.executable,
            str(ROOT / "app.py"),
            "--port",
            str(self.port),
            "--outputs-dir",
            str(folder / "o"),
            *flags,
        ]
        environment = watched(folder, {**os.environ, "TMPDIR": str(self.folder), **environment})
        with self._log.open(
            "w"
        ) as output:  # a suite that runs in the background of a shell ignores SIGINT, and so would it
            self.process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT, preexec_fn=obey_sigint
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def outside(self) -> list[str]:
        """What it and its own processes have asked outside of this machine."""
        return asked(self._report)

    def wait_for(self, there: Callable[[], bool], seconds: float = 120) -> None:
        patience = time.monotonic() + seconds
        while not there():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < patience, self.log
            time.sleep(0.1)

    def opened(self) -> Studio:
        self.wait_for(lambda: "is open at" in self.log)
        return self

    def end(self, number: int) -> float:
        """Seconds from the signal to the end."""
        begun = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(60)
        return time.monotonic() - begun


def left(folder: Path) -> list[str]:
    """What is there, but for what torch compiles, which it keeps for the next start."""
    return [name for name in os.listdir(folder) if "torchinductor" not in name]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Callable[..., Studio]]:
    begun: list[Studio] = []

    def start(*flags: str, **environment: str) -> Studio:
        begun.append(Studio(tmp_path, *flags, **environment))
        return begun[-1].opened()

    yield start
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait(60)
        assert one.outside == []


DEAD = "127.0.0.1:9"  # nothing listens on the port "discard"


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_dead_proxy_is_not_asked_for_this_machine(studio: Callable[..., Studio], scheme: str) -> None:
    proxy = f"{scheme}://{DEAD}"
    names = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    here = studio("--no-preload", **dict.fromkeys(names, proxy), NO_PROXY="", no_proxy="")
    with httpx.Client(trust_env=False) as client:
        assert client.get(here.url).status_code == 200
    assert "Traceback" not in here.log
    assert "share" not in here.log.lower()


def test_proxy_settings_that_nothing_can_use_are_one_line(tmp_path: Path) -> None:
    one = Studio(tmp_path, "--no-preload", HTTP_PROXY="gopher://127.0.0.1:9", http_proxy="gopher://127.0.0.1:9")
    assert one.process.wait(60) == 1
    assert len(one.log.strip().splitlines()) == 1
    assert "The proxy settings cannot be used" in one.log
    assert left(one.folder) == []


def test_a_start_a_page_and_a_run_ask_nothing_outside_of_this_machine(
    studio: Callable[..., Studio], tmp_path: Path
) -> None:
    """No name is looked up and no address connected or sent to: without a network nothing is waited for."""
    here = studio()
    with httpx.Client(base_url=here.url, trust_env=False, timeout=120) as client:
        assert client.get("/").status_code == 200
        job = client.post("api/v1/text_to_image", json={"prompt": "a fox", "num_inference_steps": 2}).json()
        assert "event: finished" in client.get(job["events"]).text
    assert here.end(signal.SIGTERM) < 3
    assert here.outside == []
    (tmp_path / "x").mkdir()
    for code in ("s.getaddrinfo('studio.invalid', 80)", "s.create_connection(('203.0.113.1', 9), 0.01)"):
        subprocess.run(
            [sys.executable, "-c", f"import contextlib, socket as s\nwith contextlib.suppress(OSError): {code}"],
            env=watched(tmp_path / "x", os.environ),
            check=True,
        )
    assert len({line.split()[0] for line in asked(tmp_path / "x")}) == 2, "the watch sees both"


def visit(here: Studio) -> None:
    """A page that stays open, and an API caller in the middle of a run."""
    running = threading.Event()

    def page() -> None:
        with httpx.stream("GET", f"{here.url}gradio_api/heartbeat/abc", timeout=None, trust_env=False) as answer:
            for _ in answer.iter_bytes():
                pass

    def caller() -> None:
        arguments = {"prompt": "a red apple", "num_inference_steps": 150, "num_images_per_prompt": 16}
        with httpx.Client(trust_env=False, timeout=None) as client:
            call = f"{here.url}gradio_api/call/v2/text_to_image"
            event = client.post(call, json=arguments).json()["event_id"]
            with client.stream("GET", f"{call}/{event}") as answer:
                for line in answer.iter_lines():
                    if '"running"' in line:
                        running.set()

    def quietly(visitor: Callable[[], None]) -> None:
        with contextlib.suppress(httpx.HTTPError):  # the studio is gone
            visitor()

    for visitor in (page, caller):
        threading.Thread(target=quietly, args=(visitor,), daemon=True).start()
    here.wait_for(running.is_set)


@pytest.mark.parametrize("attempt", ROUNDS)
def test_it_ends_in_three_seconds_with_a_run_a_page_and_a_caller_there(
    studio: Callable[..., Studio], attempt: int
) -> None:
    here = studio()
    visit(here)
    seconds = here.end(signal.SIGINT if attempt % 2 else signal.SIGTERM)
    assert here.process.returncode == 0, here.log
    assert seconds < 3
    assert left(here.folder) == []
    assert "Traceback" not in here.log


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the child in /proc")
def test_with_the_engine_in_a_process_of_its_own_the_page_outlives_it(studio: Callable[..., Studio]) -> None:
    here = studio("--engine-process")
    client = Client(here.url, verbose=False)

    def picture() -> str:
        return str(client.predict("a fox", num_inference_steps=2, api_name="/text_to_image")[1]["state"])

    assert picture() == "finished"
    (engine,) = children_of(here.process.pid, "studio.engine.remote.child")
    os.kill(engine, signal.SIGKILL)
    here.wait_for(lambda: children_of(here.process.pid, "studio.engine.remote.child") not in ([], [engine]))
    assert picture() == "finished"
    (engine,) = children_of(here.process.pid, "studio.engine.remote.child")
    assert here.end(signal.SIGTERM) < 3
    assert not Path(f"/proc/{engine}").exists() or "Z" in Path(f"/proc/{engine}/stat").read_text().split()[2]
    assert left(here.folder) == []


def children_of(parent: int, module: str) -> list[int]:
    """The ids of a process's children that run a module (Linux)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == parent and module in (folder / "cmdline").read_text():
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize("attempt", ROUNDS)
def test_asked_twice_it_ends_at_once_and_the_next_start_sweeps(studio: Callable[..., Studio], attempt: int) -> None:
    here = studio()
    visit(here)
    number = signal.SIGTERM if attempt % 2 else signal.SIGINT
    here.process.send_signal(number)
    time.sleep(0.1 * (attempt % 3))
    seconds = here.end(number)
    assert here.process.returncode in (0, 128 + number)  # 0: the first was obeyed already
    assert seconds < 1.5
    TemporaryFolder(here.folder).remove()
    assert left(here.folder) == []


def test_ended_before_the_page_is_there_it_leaves_nothing(tmp_path: Path) -> None:
    one = Studio(tmp_path, "--no-preload")
    one.wait_for(lambda: any(one.folder.glob(f"{PREFIX}*/{LOCK}")))
    time.sleep(0.3)  # in the middle of importing
    assert one.end(signal.SIGINT) < 3
    assert one.process.returncode == 130
    assert left(one.folder) == []
    assert "Traceback" not in one.log


def test_a_folder_in_use_is_not_swept_and_one_that_was_left_is(tmp_path: Path) -> None:
    used = TemporaryFolder(tmp_path)
    (used.path / "upload.png").touch()
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / LOCK).touch()
    young = tmp_path / f"{PREFIX}young"  # of a studio that had no locks; a day may still pass
    young.mkdir()
    other = TemporaryFolder(tmp_path)
    assert (used.path / "upload.png").exists()
    assert young.exists()
    assert not left.exists()
    used.remove()
    other.remove()
    assert not used.path.exists()


def test_a_signal_to_start_py_reaches_the_studio(tmp_path: Path) -> None:
    child = "import signal as s, time; s.signal(s.SIGTERM, lambda *_: exit(7)); print('up', flush=True); time.sleep(60)"
    code = f"import start, sys; sys.exit(start.run([sys.executable, '-c', {child!r}]))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.wait(30) == 7
