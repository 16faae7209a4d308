"""The owner's panel: begins, ends and renews a share without a restart, sees who is here, and nobody else does."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.answered.engine import JobLoad, Refused, WorkNow
from studio.answered.events import JobSummary
from studio.answered.models import Checkpoint, MemoryUse, ModelsNow
from studio.asked.fields import TextToImage
from studio.asked.orders import ModelList, SubmitRun, Work
from studio.picture.gallery import Gallery
from studio.web import Share, middleware
from studio.web.access import Access
from studio.web.board import Board
from studio.web.limits import NewVisitors, with_limits
from studio.web.owner_file import OwnerFile
from studio.web.sharing import Sharing
from tests.share_stand_ins import LINK, wait_for
from tests.ui.fake_models import CATALOG, MODELS
from tests.web.asgi import Answer, Page, Records, Visitor
from tests.web.test_enter import enter, who
from tests.web.test_sharing import Tunnel


class Engine(Records):
    """Also says what waits and runs."""

    def __init__(self) -> None:
        super().__init__()
        self.work = WorkNow()

    async def ask(self, question: Any, *, owner: str = "") -> Any:
        if isinstance(question, ModelList):
            return ModelsNow(models=MODELS, memory=MemoryUse())
        return self.work if isinstance(question, Work) else await super().ask(question, owner=owner)

    def run(self, owner: str, job_id: str = "j", **more: Any) -> None:
        """One job of somebody's, which runs."""
        job = JobSummary(job_id=job_id, request=TextToImage(prompt="a secret"), state="running", origin="api")
        self.known.append(job)
        self.owners[job_id] = owner
        load = JobLoad(
            job_id=job_id, owner=owner, group="g", origin="api", images=1, steps=2, pixels=3,
            **{"state": "running", "kind": "text_to_image", "checkpoint": "c", "ahead": None, "done": 1, "total": 2}
            | more,
        )  # fmt: skip
        self.work = WorkNow(jobs=(*self.work.jobs, load), device_seconds={owner: 12.34})

    async def cancel(self, job_id: str, *, owner: str) -> bool:
        stopped = await super().cancel(job_id, owner=owner)
        self.work = replace(self.work, jobs=tuple(job for job in self.work.jobs if job.job_id != job_id))
        return stopped

    def catalog(self) -> tuple[Checkpoint, ...]:
        return (CATALOG[0],)


class Panel:
    """A studio with a panel, open on this machine."""

    def __init__(self, folder: Path, access: Access | None = None) -> None:
        self.engine, self.access, self.hosts = Engine(), access or Access(), set[str]()
        page_engine, self.limits = with_limits(self.engine, self.access, NewVisitors(), Board(folder))  # type: ignore[arg-type]
        self.tunnels: list[Tunnel] = []
        self.sharing = Sharing(self.access, page_engine, self.hosts, self.open_tunnel)
        share = Share(self.sharing, self.limits)
        app: Any = Page()
        for layer in reversed(
            middleware(page_engine, Gallery(folder), hosts=self.hosts, access=self.access, share=share)
        ):
            app = layer.cls(app, *layer.args, **layer.kwargs)
        self.app = app

    def open_tunnel(self) -> Tunnel:
        self.tunnels.append(Tunnel())
        return self.tunnels[-1]

    def act(self, visitor: Visitor, action: str, **more: object) -> Answer:
        return visitor("/share", method="POST", body=json.dumps({"action": action, **more}).encode())

    def shared(self, visitor: Visitor) -> dict[str, Any]:
        """The panel's view once there is a link."""
        assert self.act(visitor, "begin", seconds=3600).status == 200
        wait_for(lambda: self.sharing.now.state == "open")
        return dict(visitor("/share").json())


@pytest.fixture
def panel(tmp_path: Path) -> Panel:
    return Panel(tmp_path)


def test_who_presses_share_is_the_owner_in_the_same_answer_and_everybody_else_a_stranger(panel: Panel) -> None:
    here, other = Visitor(panel.app), Visitor(panel.app)
    before = who(here)
    who(other)
    view = panel.shared(here)
    assert view["state"] == "open"
    assert view["link"].startswith(f"{LINK}/enter#")
    assert who(here) == before, "its pictures stay its own"
    assert other("/").status == other("/share").status == 401
    keys = panel.sharing.now.keys
    assert keys is not None
    assert keys.owner not in json.dumps(view), "the owner's link is for the terminal alone"


def test_a_guest_sees_nothing_of_the_panel(panel: Panel) -> None:
    here, guest = Visitor(panel.app), Visitor(panel.app)
    here("/")
    view = panel.shared(here)
    enter(guest, view["link"].partition("#")[2])
    assert guest("/share").status == 403
    panel.engine.run("somebody")
    for action in ("begin", "end", "renew", "freeze", "stop", "stop_job"):
        assert panel.act(guest, action, job="j").status == 403
    assert panel.engine.stopped == []
    assert guest("/share/qr.svg").status == 404
    assert here("/share").json()["state"] == "open"


def test_ending_it_without_a_restart_revokes_the_guests(panel: Panel) -> None:
    here, guest = Visitor(panel.app), Visitor(panel.app)
    here("/")
    enter(guest, panel.shared(here)["link"].partition("#")[2])
    assert guest("/", host="a1b2c3.gradio.live").status == 200
    assert panel.act(here, "end").json()["state"] == "off"
    assert panel.tunnels[0].ended.is_set()
    assert guest("/", host="a1b2c3.gradio.live").status == 421
    assert panel.shared(here)["guests"] == []
    assert guest("/").status == 401, "the next share knows nothing of the last one's guests"


def test_the_board_names_guests_their_jobs_and_their_time_and_not_their_ids(panel: Panel) -> None:
    here, guest = Visitor(panel.app), Visitor(panel.app)
    here("/")
    enter(guest, panel.shared(here)["link"].partition("#")[2])
    person = who(guest)
    panel.engine.run(person)
    view = here("/share").json()
    [row] = view["guests"]
    assert (row["jobs"], row["seconds"]) == (1, 12.3)
    assert view["waiting"] == 1
    assert person not in json.dumps(view)
    panel.act(here, "stop", guest="nobody")
    assert panel.engine.stopped == []
    panel.act(here, "stop", guest=row["name"])
    assert panel.engine.stopped == ["j"]
    assert guest("/").status == 200
    assert panel.act(here, "show_out", guest=row["name"]).json()["guests"] == []
    assert guest("/").status == 401


def test_the_queue_names_each_job_and_nothing_of_its_words(panel: Panel) -> None:
    here, guest = Visitor(panel.app), Visitor(panel.app)
    here("/")
    enter(guest, panel.shared(here)["link"].partition("#")[2])
    label = panel.engine.catalog()[0].label
    of_the_catalogue = panel.engine.catalog()[0].name
    panel.engine.run(who(guest), "second", state="queued", ahead=1, kind="compare", checkpoint=of_the_catalogue)
    panel.engine.run(who(here), "first", state="queued", ahead=0, checkpoint="gone\u202e")
    panel.engine.run(panel.access.programs.make("my script", "guest")[1].person, "runs")
    view = here("/share").json()
    name = view["guests"][0]["name"]
    queued = {"state": "queued", "done": 1, "total": 2}
    assert view["jobs"] == {
        "rows": [
            {"id": "runs", "whose": "program", "name": "my script", "kind": "text_to_image", "checkpoint": "c",
             "state": "running", "place": None, "done": 1, "total": 2},
            {"id": "first", "whose": "you", "name": "", "kind": "text_to_image", "checkpoint": "gone⟨U+202E⟩",
             "place": 1, **queued},
            {"id": "second", "whose": "guest", "name": name, "kind": "compare", "checkpoint": label,
             "place": 2, **queued},
        ],
        "more": 0,
    }  # fmt: skip
    assert "secret" not in json.dumps(view)
    assert who(guest) not in json.dumps(view)


def test_of_a_long_queue_the_first_fifty_are_listed_and_the_others_counted(panel: Panel) -> None:
    here = Visitor(panel.app)
    here("/")
    for k in range(53):
        panel.engine.run("somebody", f"job {k}", state="queued", ahead=k)
    jobs = here("/share").json()["jobs"]
    assert [job["place"] for job in jobs["rows"]] == list(range(1, 51))
    assert jobs["more"] == 3


def test_one_job_of_a_guest_is_stopped_and_the_other_goes_on(panel: Panel) -> None:
    here, guest = Visitor(panel.app), Visitor(panel.app)
    here("/")
    enter(guest, panel.shared(here)["link"].partition("#")[2])
    for job_id in ("one", "other"):
        panel.engine.run(who(guest), job_id)
    assert panel.act(guest, "stop_job", job="one").status == 403
    answer = panel.act(here, "stop_job", job="one")
    assert answer.status == 200
    assert [job["id"] for job in answer.json()["jobs"]["rows"]] == ["other"]
    assert panel.engine.stopped == ["one"]
    assert guest("/").status == 200, "who made it stays"


@pytest.mark.parametrize("job", ["over", "there-" + "a" * 32, "", None, 7, ["one"], {"id": "one"}])
def test_a_job_that_is_over_unknown_or_no_id_is_a_404_and_stops_nothing(panel: Panel, job: object) -> None:
    here = Visitor(panel.app)
    here("/")
    for job_id in ("one", "over"):
        panel.engine.run("somebody", job_id)
    assert panel.act(here, "stop_job", job="over").status == 200
    answer = panel.act(here, "stop_job", job=job)
    assert answer.status == 404
    assert "does not wait or run here" in answer.body.decode()
    body = json.dumps({"action": "stop_job", "job": job}).encode()
    chinese = here("/share", method="POST", headers=[("accept-language", "zh-CN")], body=body)
    assert "没有这个等待或运行中的任务" in chinese.body.decode()
    assert panel.engine.stopped == ["over"]


def test_freeze_and_thaw(panel: Panel) -> None:
    here = Visitor(panel.app)
    here("/")
    assert panel.act(here, "freeze").json()["frozen"] is True
    assert panel.limits.board.now.frozen
    assert panel.act(here, "thaw").json()["frozen"] is False


def test_a_freeze_outlives_a_restart_and_ends_with_a_new_share(panel: Panel, tmp_path: Path) -> None:
    here = Visitor(panel.app)
    here("/")
    panel.act(here, "freeze")
    after = Panel(tmp_path)
    guest = after.access.by_key(after.access.share().guest, "")
    assert guest is not None
    with pytest.raises(Refused, match="has paused new pictures"):
        asyncio.run(after.limits.submit(SubmitRun(request=TextToImage(prompt="x")), owner=guest[1].person))
    after.access.end_share()
    here = Visitor(after.app)
    assert here("/share").json()["frozen"] is True
    assert after.shared(here)["frozen"] is False
    assert Panel(tmp_path).limits.board.now.frozen is False


def test_the_board_of_a_studio_that_admits_everybody_shows_who_makes_pictures(tmp_path: Path) -> None:
    panel = Panel(tmp_path, Access(auth=("ann", "secret"), admits_everybody=True, owner_file=OwnerFile(tmp_path)))
    here, guest = Visitor(panel.app), Visitor(panel.app)
    form = [("content-type", "application/x-www-form-urlencoded")]
    assert here("/login", method="POST", headers=form, body=b"username=ann&password=secret").status == 200
    assert here("/share").json()["guests"] == []
    who(guest)
    panel.engine.run(who(here))
    assert here("/share").json()["guests"] == [], "the owner is no guest"
    panel.engine.known.clear()
    panel.engine.work = WorkNow()
    panel.engine.run(who(guest))
    view = here("/share").json()
    assert view["everybody"] is True
    [row] = view["guests"]
    assert (row["jobs"], row["seconds"], row["can_be_shown_out"]) == (1, 12.3, False)
    panel.act(here, "stop", guest=row["name"])
    panel.act(here, "show_out", guest=row["name"])
    assert panel.engine.stopped == ["j", "j"]


def test_the_qr_code_is_a_picture_that_loads_nothing(panel: Panel) -> None:
    here = Visitor(panel.app)
    here("/")
    assert here("/share/qr.svg").status == 404
    panel.shared(here)
    answer = here("/share/qr.svg")
    assert answer.header("content-type") == "image/svg+xml"
    assert answer.header("cache-control") == "no-store"
    assert b"<svg" in answer.body
    assert b"script" not in answer.body


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "action"),
        (b"[]", "action"),
        (b'{"action": "open"}', "action"),
        (b'{"action": "begin", "seconds": 1}', "seconds: 1 is not allowed. Allowed: from 60 to 604800"),
        (b'{"action": "begin", "seconds": "x"}', "seconds"),
        (b'{"action": "begin", "seconds": 1e9}', "seconds"),
    ],
)
def test_another_order_is_named(panel: Panel, body: bytes, says: str) -> None:
    answer = Visitor(panel.app)("/share", method="POST", body=body)
    assert answer.status == 400
    assert says in answer.body.decode()
    assert panel.sharing.now.state == "off"
