"""Nothing that opens the studio is written down: no password and no key in a log, on the disk only hashes of them.

One evening at a shared studio, with the page, the owner's panel and AUTOMATIC1111's API on a real server: everybody
enters in every way there is, rightly and wrongly, and makes a picture. Then all that was logged and stored is read.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import pytest

from studio.answered.events import JobSummary
from studio.picture.gallery import Gallery
from studio.web.a1111 import routes as a1111
from studio.web.access import Access, digest
from studio.web.login import COOKIE, DEVICE_COOKIE
from studio.web.owner_file import OwnerFile
from studio.web.programs import NAME as PROGRAMS_FILE
from studio.web.programs import Programs
from tests.share_stand_ins import LINK, wait_for
from tests.ui.fake_app import launch
from tests.ui.fake_engine import FakeEngine
from tests.web.test_sharing import Tunnel

OWNER, GUEST = ("ann", "correct-horse-ZQ1"), ("friends", "battery-staple-ZQ2")
WRONG = "nearly-correct-horse-ZQ3"  # what somebody mistypes is nearly their password
FORM = "application/x-www-form-urlencoded"


class Log(logging.Handler):
    """All that any room logs, with its values and tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = "".join(traceback.format_exception(record.exc_info[1])) if record.exc_info else ""
        self.lines.append(f"{record.name} {record.getMessage()} {record.args!r} {error}")


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class Browser:
    """A client that keeps its cookies and logs nothing itself."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}

    def __call__(
        self, path: str, body: bytes | None = None, /, kind: str = "application/json", **headers: str
    ) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {"content-type": kind, **headers} | ({"cookie": cookie} if cookie else {})
        connection.request("GET" if body is None else "POST", path, body, sent)
        answer = connection.getresponse()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                self.cookies |= {key: morsel.value for key, morsel in SimpleCookie(value).items()}
        self.status = answer.status
        content = answer.read()
        connection.close()
        return content

    def log_in(self, user: str, password: str) -> int:
        self("/login", urlencode({"username": user, "password": password}).encode(), FORM)
        return self.status

    def enter(self, key: str) -> int:
        self("/enter", urlencode({"key": key}).encode(), FORM)
        return self.status

    def basic(self, user: str, password: str) -> int:
        self("/sdapi/v1/progress", authorization=f"Basic {basic(user, password)}")
        return self.status


@dataclass
class Evening:
    """What happened. `secrets`: all that opens something, by what it is."""

    outputs: Path
    temporary: Path
    log: Log
    secrets: dict[str, str] = field(default_factory=dict)

    def remember(self, whose: str, browser: Browser) -> None:
        for name in (COOKIE, DEVICE_COOKIE):
            if name in browser.cookies:
                self.secrets[f"{name} of {whose}"] = browser.cookies[name]

    def readable(self, text: str) -> list[str]:
        """The secrets that stand in a text, by what they are."""
        return [name for name, secret in self.secrets.items() if secret in text]


class Engine(FakeEngine):
    """One in which something can break, which is logged with its traceback."""

    is_broken = False

    async def jobs(self, *, owner: str) -> tuple[JobSummary, ...]:
        if self.is_broken:
            raise RuntimeError("a fault of the studio")
        return await super().jobs(owner=owner)


def run_all(evening: Evening, port: int, engine: Engine) -> None:
    owner, guest, other, moved, program = (Browser(port) for _ in range(5))
    assert owner.log_in(OWNER[0], WRONG) == 401
    assert owner.log_in(*OWNER) == 200
    evening.secrets |= {"the owner's password": OWNER[1], "the guests' password": GUEST[1], "a wrong password": WRONG}

    owner("/share", b'{"action": "begin", "seconds": 3600}')
    wait_for(lambda: json.loads(owner("/share"))["state"] == "open")
    link = json.loads(owner("/share"))["link"]
    assert link.startswith(f"{LINK}/enter#")
    key = link.partition("#")[2]
    assert guest.enter(key) == 200
    assert guest.enter("a" * 22) == 401
    personal = json.loads(guest("/personal-link", b""))["path"].partition("#")[2]
    assert moved.enter(personal) == 200
    assert other.log_in(*GUEST) == 200
    evening.secrets |= {"the invitation": key, "the personal link": personal}

    token = json.loads(owner("/programs", b'{"action": "make", "name": "a script"}'))["token"]
    evening.secrets["the program's token"] = token
    wrong_token = token[:-4] + "ZQZQ"
    evening.secrets["a wrong token"] = wrong_token
    for secret, status in ((token, 200), (wrong_token, 401)):
        program("/api/v1/jobs", authorization=f"Bearer {secret}")
        assert program.status == status
    assert program.basic(*GUEST) == 200
    assert program.basic(GUEST[0], WRONG) == 401
    assert program.basic("", token) == 200
    evening.secrets["the header of a program"] = basic(*GUEST)
    evening.secrets["the header of a token"] = basic("", token)

    run = json.dumps({"prompt": "a fox", "num_inference_steps": 2}).encode()
    nothing: dict[str, str] = {}
    for who, headers in ((guest, nothing), (program, {"authorization": f"Bearer {token}"})):
        job = json.loads(who("/api/v1/text_to_image", run, **headers))
        assert who.status == 202
        assert b"event: finished" in who(job["events"], None, **headers)
        engine.is_broken = True
        assert b"Traceback" not in who("/api/v1/jobs", None, **headers)
        assert who.status == 500
        engine.is_broken = False
    event = json.loads(guest("/gradio_api/call/v2/text_to_image", run))["event_id"]
    assert b"event: complete" in guest(f"/gradio_api/call/v2/text_to_image/{event}")
    for whose, browser in {"the owner": owner, "a guest": guest, "another": other, "the moved guest": moved}.items():
        evening.remember(whose, browser)
    owner("/share", b'{"action": "renew"}')
    evening.secrets["the new invitation"] = json.loads(owner("/share"))["link"].partition("#")[2]
    owner("/share", b'{"action": "end"}')
    assert len(evening.secrets) >= 12, evening.secrets.keys()
    assert len(set(evening.secrets.values())) == len(evening.secrets)


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    outputs, temporary = tmp_path_factory.mktemp("outputs"), tmp_path_factory.mktemp("temporary")
    log, root = Log(), logging.getLogger()
    level = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    access = Access(
        auth=OWNER,
        guest=GUEST,
        owner_file=OwnerFile(outputs),
        programs=Programs(outputs),
        cookie_folder=outputs,
    )
    engine = Engine(Gallery(outputs), seconds_per_step=0.002)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GRADIO_TEMP_DIR", str(temporary))
            served, _ = launch(engine, engine.gallery, access=access, open_tunnel=Tunnel, interfaces=[a1111.interface])
            here = Evening(outputs, temporary, log)
            run_all(here, served.server.port, engine)
            served.close()
            yield here
    finally:
        root.removeHandler(log)
        root.setLevel(level)
        engine.close()


def test_no_password_key_or_token_stands_in_the_log(evening: Evening) -> None:
    """At the most talkative level, which the studio itself is never at."""
    text = "\n".join(evening.log.lines)
    assert text.count("a fault of the studio") >= 2, "faults in requests with secrets were logged"
    assert evening.readable(text) == []


def test_what_opens_the_studio_is_on_the_disk_as_a_hash_or_not_at_all(evening: Evening) -> None:
    files = [path for folder in (evening.outputs, evening.temporary) for path in folder.rglob("*") if path.is_file()]
    contents = {path.name: path.read_bytes().decode("latin-1") for path in files}
    assert any(name.endswith(".png") for name in contents)
    assert {name: evening.readable(text) for name, text in contents.items() if evening.readable(text)} == {}
    assert digest(evening.secrets["the program's token"]) in contents[PROGRAMS_FILE], "the hash of what lasts is there"
    names = "\n".join(str(path) for path in files)
    assert evening.readable(names) == []
