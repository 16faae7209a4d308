"""A share from its beginning to its end: who is closed out when, what the guard admits, what ends with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from studio.answered.events import JobSummary
from studio.asked.fields import TextToImage
from studio.picture.preset_files import PresetFiles
from studio.picture.styles import Styles
from studio.ui.text import say
from studio.web.access import Access
from studio.web.guest_files import forget_files
from studio.web.sharing import ShareState, Sharing
from tests.share_stand_ins import LINK, wait_for
from tests.web.asgi import Records, Visitor, studio
from tests.web.test_enter import enter, who

HOST = "a1b2c3.gradio.live"


class Tunnel:
    """One that is up until it is closed or breaks."""

    link = LINK

    def __init__(self) -> None:
        self.ended = threading.Event()

    def wait(self) -> None:
        self.ended.wait(60)

    def close(self) -> None:
        self.ended.set()


class Share:
    """A studio whose owner shares it, through a tunnel that opens when `ready` is set."""

    def __init__(self, folder: Path) -> None:
        self.access, self.records, self.hosts = Access(), Records(), set[str]()
        self.ready, self.failure = threading.Event(), ""
        self.tunnels: list[Tunnel] = []
        self.told: list[ShareState] = []
        engine: Any = self.records
        self.folder = folder
        self.sharing = Sharing(
            self.access,
            engine,
            self.hosts,
            self.open_tunnel,
            on_ready=self.told.append,
            on_end=partial(forget_files, folder),
        )
        self.app = studio(folder, access=self.access, records=self.records, hosts=self.hosts)

    def open_tunnel(self) -> Tunnel:
        self.ready.wait(60)
        if self.failure:
            raise OSError(self.failure)
        self.tunnels.append(Tunnel())
        return self.tunnels[-1]

    def opened(self) -> ShareState:
        self.ready.set()
        self.sharing.begin()
        wait_for(lambda: self.told)
        return self.sharing.now


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share(tmp_path)


def key_of(link: str) -> str:
    assert link.startswith(f"{LINK}/enter#")
    return link.partition("#")[2]


def test_strangers_are_closed_out_before_the_tunnel_is_there(share: Share) -> None:
    assert Visitor(share.app)("/").status == 200
    share.sharing.begin()
    assert share.sharing.now.state == "opening"
    assert share.sharing.now.guest_link == ""
    assert Visitor(share.app)("/").status == 401
    assert Visitor(share.app)("/", host=HOST).status == 421, "the guard does not know the name yet"


def test_a_guest_comes_in_by_the_link_and_the_guard_knows_its_name(share: Share) -> None:
    shared = share.opened()
    assert shared.state == "open"
    assert share.told == [shared]
    guest = Visitor(share.app)
    assert guest("/", host=HOST).status == 401
    assert enter(guest, key_of(shared.guest_link)).status == 200
    assert guest("/", host=HOST).status == 200


def test_what_ends_with_a_share(share: Share) -> None:
    shared = share.opened()
    guest = Visitor(share.app)
    enter(guest, key_of(shared.guest_link))
    job = JobSummary(job_id="j", request=TextToImage(prompt="x"), state="running", origin="text_to_image")
    share.records.known.append(job)
    share.records.owners["j"] = who(guest)
    share.sharing.end()
    assert share.sharing.now == ShareState()
    assert share.tunnels[0].ended.is_set()
    assert share.hosts == set()
    assert guest("/").status == 200, "the studio is open to this machine again"
    assert guest("/", host=HOST).status == 421
    wait_for(lambda: share.records.stopped == ["j"])
    assert len(share.told) == 1


def test_a_guests_styles_and_presets_go_with_the_share_and_nobody_elses(share: Share) -> None:
    shared = share.opened()
    guest = Visitor(share.app)
    enter(guest, key_of(shared.guest_link))
    styles, presets = Styles(share.folder), PresetFiles(share.folder)
    for visitor in (who(guest), "somebody else", None):
        styles.save(visitor, "Ink", "ink", "")
        presets.change(visitor, lambda now: now)
    share.sharing.end()
    assert [len(styles.of(one)) for one in (who(guest), "somebody else", None)] == [0, 1, 1]
    names = sorted(path.name for path in share.folder.glob(".presets/*"))
    assert len(names) == 1
    assert (share.folder / "presets.json").exists()


def test_a_tunnel_that_cannot_be_had_opens_the_studio_again_and_is_said_once(share: Share) -> None:
    share.failure = "no network"
    shared = share.opened()
    assert (shared.state, shared.reason) == ("failed", "no network")
    assert len(share.told) == 1
    assert Visitor(share.app)("/").status == 200


def test_a_share_that_is_ended_while_its_tunnel_opens_stays_ended(share: Share) -> None:
    share.sharing.begin()
    share.sharing.end()
    share.ready.set()
    wait_for(lambda: share.tunnels and share.tunnels[0].ended.is_set())
    assert share.sharing.now.state == "off"
    assert share.told == []
    assert share.hosts == set()


def test_a_tunnel_that_breaks_ends_the_share_and_says_so(share: Share) -> None:
    share.opened()
    share.tunnels[0].ended.set()
    wait_for(lambda: share.sharing.now.state == "failed")
    assert share.sharing.now.reason == say("share.lost")
    assert share.hosts == set()


def test_a_share_ends_at_its_time(share: Share) -> None:
    share.ready.set()
    share.sharing.begin(0.3)
    wait_for(lambda: share.sharing.now.state == "failed")
    assert share.sharing.now.reason == say("share.over")
    wait_for(lambda: share.hosts == set())


def test_the_next_share_has_other_keys(share: Share) -> None:
    first = share.opened()
    second = share.sharing.begin()
    assert enter(Visitor(share.app), key_of(first.guest_link)).status == 401
    assert second.keys is not None
    assert enter(Visitor(share.app), second.keys.guest).status == 200
    renewed = share.sharing.renew()
    assert renewed.keys is not None
    assert enter(Visitor(share.app), second.keys.guest).status == 401
    assert enter(Visitor(share.app), renewed.keys.guest).status == 200


def test_on_a_network_the_link_is_there_at_once(tmp_path: Path) -> None:
    told: list[ShareState] = []
    engine: Any = Records()
    act: Callable[[ShareState], None] = told.append
    sharing = Sharing(Access(always_closed=True), engine, set(), None, address="http://10.0.0.5:7860", on_ready=act)
    shared = sharing.begin()
    assert told == [shared]
    assert shared.guest_link.startswith("http://10.0.0.5:7860/enter#")
