"""The library for programs: pages with a cursor, one picture with its settings, marks, the trash; each their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.api.studio import V1, Program, Studio
from tests.web.asgi import call
from tests.web.test_share_pictures import save


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    here = Studio(tmp_path)
    yield here
    here.engine.close()


def ids(program: Program, query: str = "") -> list[str]:
    return [one["id"] for one in program("GET", "/library", query=query).json()["pictures"]]


def test_a_cursor_leads_through_all_pictures_while_others_come(studio: Studio) -> None:
    program = studio.program()
    saved = [save(studio.engine.gallery, program.person).id for _ in range(5)]
    first = program("GET", "/library", query="limit=2").json()
    assert (first["total"], len(first["pictures"])) == (5, 2)
    save(studio.engine.gallery, program.person)
    seen, cursor = [one["id"] for one in first["pictures"]], first["next"]
    while cursor is not None:
        page = program("GET", "/library", query=f"limit=2&cursor={cursor}").json()
        seen += [one["id"] for one in page["pictures"]]
        cursor = page["next"]
    assert seen == saved[::-1]


def test_one_with_its_settings_its_file_and_its_thumbnail(studio: Studio) -> None:
    program = studio.program()
    job = program.submit(prompt="a fox", seed=7)
    [made] = program.finished(job)["pictures"]
    assert ids(program, "q=fox") == [made["id"]]
    one = program("GET", f"/library/pictures/{made['id']}").json()
    assert one["settings"]["seed"] == 7
    assert one["picture"]["prompt"] == one["settings"]["prompt"] == "a fox"
    file = program("GET", one["picture"]["url"].removeprefix(V1))
    assert file.body == program("GET", f"/pictures/{made['id']}").body
    assert program("GET", one["picture"]["thumbnail"].removeprefix(V1)).body.startswith(b"\xff\xd8")


def test_stars_boards_and_the_trash(studio: Studio) -> None:
    program = studio.program()
    one, other = (save(studio.engine.gallery, program.person).id for _ in range(2))
    assert set(ids(program)) == {one, other}
    assert program("POST", "/library/rate", {"pictures": [one], "rating": 5}).json()["done"] == [one]
    assert ids(program, "rating=5") == [one]
    assert program("POST", "/library/board", {"pictures": [other], "board": "b"}).status == 200
    assert program("POST", "/library/board/change", {"board": "b", "to": "c"}).json()["done"] == [other]
    assert ids(program, "board=c") == [other]
    assert program("GET", "/library/choices").json()["boards"] == [{"board": "c", "pictures": 1}]
    assert program("POST", "/library/delete", {"pictures": [one, other]}).json()["days"] == 7
    assert ids(program) == []
    assert program("POST", "/library/restore", {"pictures": [one]}).status == 200
    assert ids(program) == [one]


def test_a_token_reaches_nothing_of_anothers_and_the_owner_sees_all(studio: Studio) -> None:
    mine, theirs = studio.program("a"), studio.program("b", "guest")
    one, other = (save(studio.engine.gallery, each.person).id for each in (mine, theirs))
    assert ids(mine) == [one]
    assert ids(theirs) == [other]
    assert theirs("GET", f"/library/pictures/{one}").body == theirs("GET", "/library/pictures/x").body
    for address, more in (("rate", {"rating": 5}), ("board", {"board": "b"}), ("delete", {}), ("restore", {})):
        assert theirs("POST", f"/library/{address}", {"pictures": [one]} | more).status == 404, address
    mine("POST", "/library/board", {"pictures": [one], "board": "b"})
    assert theirs("POST", "/library/board/change", {"board": "b"}).status == 404
    assert len(call(studio.app, f"{V1}/library").json()["pictures"]) == 2, "without a token, on this machine"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("rating=9", "rating"),
        ("from=yesterday", "from"),
        ("size=large", "size"),
        ("cursor=x", "cursor"),
        ("limit=201", "limit"),
        ("words=fox", "words"),
        (f"q={'x' * 501}", "q"),
    ],
)
def test_a_bad_search_is_refused_by_field(studio: Studio, query: str, field: str) -> None:
    answer = studio.program()("GET", "/library", query=query)
    assert answer.status == 422
    assert [one["field"] for one in answer.json()["error"]["problems"]] == [field]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"pictures": [], "rating": 1}, "pictures"),
        ({"pictures": "x", "rating": 1}, "pictures"),
        ({"pictures": ["x"]}, "rating"),
        ({"pictures": ["x"], "rating": 1, "stars": 1}, "stars"),
    ],
)
def test_a_bad_body_is_refused_by_field(studio: Studio, body: dict[str, object], field: str) -> None:
    answer = studio.program()("POST", "/library/rate", body)
    assert answer.status == 422
    assert [one["field"] for one in answer.json()["error"]["problems"]] == [field]
