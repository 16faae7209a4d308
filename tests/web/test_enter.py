"""A link opens the studio: an invitation with a guest's rights, another for the owner, one that moves a guest."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
from starlette.types import ASGIApp

from studio.ui.text import SHARING, say
from studio.web.access import HOUR, LONGEST_SHARE, SESSIONS_AN_HOUR, Access, Keys
from studio.web.login import COOKIE
from studio.web.owner_file import NAME, OwnerFile
from tests.ui.test_text import places
from tests.web.asgi import Answer, Page, Visitor, call, studio

FORM = ("content-type", "application/x-www-form-urlencoded")
BROWSER = ("accept", "text/html,application/xhtml+xml")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(clock: Clock, tmp_path: Path) -> Access:
    return Access(owner_file=OwnerFile(tmp_path), clock=clock)


@pytest.fixture
def app(access: Access, tmp_path: Path) -> ASGIApp:
    return studio(tmp_path, access=access, page=Page())


@pytest.fixture
def keys(access: Access) -> Keys:
    return access.share(8 * HOUR)


def enter(visitor: Visitor, key: str) -> Answer:
    return visitor("/enter", method="POST", headers=[FORM], body=urlencode({"key": key}).encode())


def who(visitor: Visitor) -> str:
    answer = visitor("/")
    assert answer.status == 200
    (owner,) = answer.json()["owners"]
    return str(owner)


def test_an_open_studio_is_closed_to_strangers_from_the_moment_it_is_shared(app: ASGIApp, access: Access) -> None:
    here = Visitor(app)
    assert here("/config").status == 200
    access.share()
    assert here("/config").status == 401
    assert here("/", headers=[BROWSER]).header("location") == "/login"
    assert say("login.invited").encode() in here("/login", headers=[BROWSER]).body
    access.end_share()
    assert here("/config").status == 200


def test_a_key_is_128_random_bits(keys: Keys) -> None:
    assert keys.owner != keys.guest
    for key in (keys.owner, keys.guest):
        assert re.fullmatch(r"[A-Za-z0-9_-]{22}", key)


def test_two_guests_of_one_invitation_are_two_visitors(app: ASGIApp, keys: Keys) -> None:
    ann, bob = Visitor(app), Visitor(app)
    assert enter(ann, keys.guest).status == enter(bob, keys.guest).status == 200
    assert who(ann) != who(bob)
    assert [who(ann), who(bob)] == [who(ann), who(bob)]
    assert ann.cookies["studio_owner"] == who(ann)


@pytest.mark.parametrize("key", ["", "x", "a" * 22, "é" * 22])
def test_another_key_opens_nothing(app: ASGIApp, keys: Keys, key: str) -> None:
    stranger = Visitor(app)
    answer = enter(stranger, key)
    assert (answer.status, answer.json()["detail"]) == (401, say("login.over"))
    assert stranger("/").status == 401


def test_the_page_that_a_link_opens_takes_the_key_from_the_address(app: ASGIApp, keys: Keys) -> None:
    page = call(app, "/enter", headers=[BROWSER])
    assert page.header("cache-control") == "no-store"
    text = page.body.decode()
    assert "location.hash" in text
    assert "history.replaceState" in text
    assert keys.guest not in text
    assert not re.search(r"src=|href=|url\(|gradio|https?:", text)


def test_the_owners_link_has_the_owners_rights_on_every_browser(app: ASGIApp, keys: Keys) -> None:
    one, other = Visitor(app), Visitor(app)
    enter(one, keys.owner)
    enter(other, keys.owner)
    assert who(one) == who(other)


def test_the_owner_who_opens_the_guests_link_stays_the_owner(app: ASGIApp, keys: Keys) -> None:
    owner = Visitor(app)
    enter(owner, keys.owner)
    before = who(owner)
    assert enter(owner, keys.guest).status == 200
    assert who(owner) == before


def test_the_owner_is_the_same_visitor_after_a_restart(tmp_path: Path) -> None:
    people = []
    for _ in range(2):
        access = Access(owner_file=OwnerFile(tmp_path))
        owner = Visitor(studio(tmp_path, access=access))
        enter(owner, access.share().owner)
        people.append(who(owner))
    assert people[0] == people[1]
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_the_pictures_of_the_browser_that_shares_stay_its_own(app: ASGIApp, access: Access) -> None:
    here = Visitor(app)
    before = who(here)
    here.cookies[COOKIE] = (access.share(), access.owner_session(before))[1][0]
    assert who(here) == before


def test_an_invitation_ends_with_its_time_and_its_guests_with_it(app: ASGIApp, keys: Keys, clock: Clock) -> None:
    guest, owner = Visitor(app), Visitor(app)
    enter(guest, keys.guest)
    enter(owner, keys.owner)
    clock.now += 8 * HOUR - 1
    assert guest("/").status == 200
    clock.now += 1
    assert guest("/").status == 401
    assert enter(Visitor(app), keys.guest).status == 401
    assert owner("/").status == 200


def test_no_invitation_lives_longer_than_a_week(access: Access, clock: Clock) -> None:
    access.share(100 * LONGEST_SHARE)
    assert access.share_ends == clock.now + LONGEST_SHARE


def test_ending_a_share_revokes_its_guests_sessions_and_keys(app: ASGIApp, access: Access, keys: Keys) -> None:
    guest = Visitor(app)
    enter(guest, keys.guest)
    person = who(guest)
    assert access.end_share() == {person}
    access.share()
    assert guest("/").status == 401
    for key in (keys.guest, keys.owner):
        assert enter(Visitor(app), key).status == 401


def test_a_renewed_invitation_closes_the_old_link_and_lets_guests_stay(
    app: ASGIApp, access: Access, keys: Keys
) -> None:
    guest = Visitor(app)
    enter(guest, keys.guest)
    renewed = access.renew()
    assert guest("/").status == 200
    assert enter(Visitor(app), keys.guest).status == 401
    assert enter(Visitor(app), renewed.guest).status == 200


def test_two_hundred_entries_gain_nothing(app: ASGIApp, access: Access, keys: Keys) -> None:
    statuses = [enter(Visitor(app), keys.guest).status for _ in range(200)]
    assert statuses.count(200) == SESSIONS_AN_HOUR
    assert len(access.guests()) == SESSIONS_AN_HOUR
    renewed = access.renew()
    assert enter(Visitor(app), renewed.guest).status == 429, "a new link of the same share is no new allowance"
    assert enter(Visitor(app), renewed.owner).status == 200


def test_a_reload_of_the_link_is_no_new_session(app: ASGIApp, access: Access, keys: Keys) -> None:
    guest = Visitor(app)
    for _ in range(3 * SESSIONS_AN_HOUR):
        assert enter(guest, keys.guest).status == 200
    assert len(access.guests()) == 1


def test_a_personal_link_moves_a_guest_to_another_browser_once(app: ASGIApp, access: Access, keys: Keys) -> None:
    guest, phone, thief = Visitor(app), Visitor(app), Visitor(app)
    enter(guest, keys.guest)
    path = guest("/personal-link", method="POST").json()["path"]
    assert path.startswith("/enter#")
    key = path.partition("#")[2]
    assert enter(phone, key).status == 200
    assert who(phone) == who(guest)
    assert enter(thief, key).status == 401
    access.show_out(who(guest))
    assert guest("/").status == phone("/").status == 401


def test_a_personal_link_waits_an_hour_and_is_a_guests_alone(app: ASGIApp, keys: Keys, clock: Clock) -> None:
    guest, owner = Visitor(app), Visitor(app)
    enter(guest, keys.guest)
    enter(owner, keys.owner)
    assert owner("/personal-link", method="POST").status == 403
    assert call(app, "/personal-link", method="POST").status == 401
    key = guest("/personal-link", method="POST").json()["path"].partition("#")[2]
    clock.now += HOUR + 1
    assert enter(Visitor(app), key).status == 401


def test_an_address_that_others_reach_is_never_open(tmp_path: Path) -> None:
    access = Access(always_closed=True)
    app = studio(tmp_path, access=access)
    owner, guest = Visitor(app), Visitor(app)
    keys = access.share()
    enter(owner, keys.owner)
    enter(guest, keys.guest)
    access.end_share()
    assert call(app, "/").status == 401
    assert owner("/").status == 200
    assert guest("/").status == 401


def test_the_texts_of_sharing_are_there_in_both_languages() -> None:
    first = SHARING["en"]
    assert set(SHARING) == {"en", "zh"}
    assert SHARING["zh"].keys() == first.keys()
    for key, words in SHARING["zh"].items():
        assert words, key
        assert places(words) == places(first[key]), key
