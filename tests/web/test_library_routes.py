"""The library belongs to the person: the owner sees all pictures, guests and programs their own alone."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from studio.picture.gallery import Gallery
from studio.picture.library.library import Library
from studio.picture.library.search import OWNER, Search, Viewer
from studio.picture.library.trash import FOLDER
from tests.web.asgi import Visitor
from tests.web.test_share_pictures import Folder, save


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def ids(visitor: Visitor, query: str = "") -> list[str]:
    return [one["id"] for one in visitor("/library", query=query).json()["pictures"]]


def post(visitor: Visitor, address: str, **order: object) -> Any:
    return visitor(f"/library/{address}", method="POST", body=json.dumps(order).encode())


def test_the_owner_sees_all_and_a_guest_their_own(folder: Folder) -> None:
    (ann, ann_id), (bob, bob_id) = folder.guest(), folder.guest()
    hers, his = save(folder.gallery, ann_id), save(folder.gallery, bob_id)
    assert ids(ann) == [hers.id]
    assert ids(bob) == [his.id]
    assert set(ids(folder.here)) == {hers.id, his.id}
    assert ids(folder.here, "q=lak") != []
    assert ids(folder.here, "q=desert") == []


def test_a_guest_cannot_read_rate_delete_restore_or_zip_anothers(folder: Folder) -> None:
    (ann, ann_id), (bob, _) = folder.guest(), folder.guest()
    hers = save(folder.gallery, ann_id)
    assert ids(bob) == []
    ids(ann)
    for address in (f"one/{hers.id}", f"picture/{hers.id}", f"thumbnail/{hers.id}"):
        assert bob(f"/library/{address}").status == 404
        assert ann(f"/library/{address}").status == 200
    orders: dict[str, dict[str, object]] = {
        "rate": {"rating": 5},
        "board": {"board": "mine"},
        "delete": {},
        "pictures.zip": {},
    }
    for address, more in orders.items():
        assert post(bob, address, pictures=[hers.id], **more).status == 404, address
    assert post(ann, "delete", pictures=[hers.id]).json() == {"done": [hers.id], "days": 7}
    assert ids(ann) == ids(folder.here) == []
    assert post(bob, "restore", pictures=[hers.id]).status == 404
    assert post(ann, "restore", pictures=[hers.id]).status == 200
    assert ids(ann) == [hers.id]
    content = post(ann, "pictures.zip", pictures=[hers.id]).body
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == [hers.file_name]


def test_clearing_a_share_empties_the_guests_part_of_the_trash(folder: Folder) -> None:
    ann, ann_id = folder.guest()
    hers, owners = save(folder.gallery, ann_id), save(folder.gallery, "a" * 32)
    assert set(ids(folder.here)) == {hers.id, owners.id}
    assert ann(f"/library/thumbnail/{hers.id}").status == 200
    assert post(folder.here, "delete", pictures=[hers.id, owners.id]).status == 200
    assert folder.here("/share/clear", method="POST").json()["cleared"] == 1
    left = [file.name for file in folder.gallery.outputs_dir.rglob("*") if file.suffix in (".png", ".jpg")]
    assert left == [owners.file_name.rpartition("/")[2]]


def test_a_bad_search_is_named_by_field_value_and_range(folder: Folder) -> None:
    answer = folder.here("/library", query="rating=9&from=yesterday")
    assert answer.status == 400
    assert b"rating" in answer.body
    assert b"from" in answer.body


def test_a_program_sees_its_own_alone_and_no_folder_of_others(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    gallery = Gallery(tmp_path / "outputs")
    mine = save(gallery, "a" * 32)
    save(gallery, "b" * 32)
    source = gallery.outputs_dir / mine.file_name
    (other / "foreign.png").write_bytes(source.read_bytes())
    (other / "link.png").symlink_to(source)
    library = Library(gallery, [other])
    try:
        assert library.look(10)
        everything = library.page(OWNER, Search())
        assert len(everything) == 3, "the link is not followed"
        foreign = next(one for one in everything if one.foreign)
        program = Viewer("a" * 32)
        assert [one.row.id for one in library.page(program, Search())] == [mine.id]
        assert library.one(program, foreign.row.id) is None
        assert not library.delete(OWNER, foreign.row.id), "another program's folder is only looked at"
        assert library.rate(OWNER, mine.id, 4)
        assert library.count(OWNER, Search(rating=4)) == 1
        assert library.count(program, Search(rating=4)) == 0, "each has their own ratings"
    finally:
        library.close()


def test_the_index_is_rebuilt_and_ratings_stay(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    one = save(gallery, "a" * 32)
    library = Library(gallery)
    library.look(10)
    library.rate(OWNER, one.id, 3)
    library.close()
    (tmp_path / ".library.sqlite").write_bytes(b"no index")
    again = Library(gallery)
    try:
        assert again.look(10)
        assert [(shown.row.id, shown.rating) for shown in again.page(OWNER, Search())] == [(one.id, 3)]
    finally:
        again.close()


def test_a_deleted_pictures_number_is_not_given_again(tmp_path: Path) -> None:
    first = save(Gallery(tmp_path), "a" * 32)
    gallery = Gallery(tmp_path)
    assert gallery.remove(first.id, "a" * 32)
    second = save(Gallery(tmp_path), "b" * 32)
    assert second.file_name != first.file_name
    assert Gallery(tmp_path).path(first.id, "a" * 32) is None
    assert not (tmp_path / FOLDER).exists()


def test_boards_are_made_renamed_and_removed_each_persons_own(folder: Folder) -> None:
    (ann, ann_id), (bob, bob_id) = folder.guest(), folder.guest()
    hers, his = save(folder.gallery, ann_id), save(folder.gallery, bob_id)
    assert ids(ann) == [hers.id]
    assert ids(bob) == [his.id]
    assert post(ann, "board", pictures=[hers.id], board=" to  print ").status == 200
    assert ids(ann, "board=to+print") == [hers.id]
    assert ann("/library/choices").json()["boards"] == [["to print", 1]]
    assert ann("/library/choices").json()["sizes"] == [[8, 8]]
    assert bob("/library/choices").json()["boards"] == folder.here("/library/choices").json()["boards"] == []
    assert post(bob, "board/change", board="to print", to=None).status == 404
    assert post(ann, "board/change", board="to print", to="x" * 61).status == 400
    assert post(ann, "board/change", board="to print", to="on the wall").json() == {"pictures": [hers.id]}
    assert ann(f"/library/one/{hers.id}").json()["boards"] == ["on the wall"]
    assert post(ann, "board/change", board="on the wall", to=None).json() == {"pictures": [hers.id]}
    assert ann("/library/choices").json()["boards"] == []
    assert ids(ann) == [hers.id], "the pictures of a board that is removed stay"


def test_boards_are_there_after_a_start_anew(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    one, other = save(gallery, "a" * 32), save(gallery, "a" * 32)
    library = Library(gallery)
    library.look(10)
    library.put_on_board(OWNER, one.id, "old", True)
    library.put_on_board(OWNER, other.id, "new", True)
    assert set(library.change_board(OWNER, "old", "new") or ()) == {one.id}
    library.put_on_board(OWNER, other.id, "gone", True)
    library.change_board(OWNER, "gone")
    library.close()
    again = Library(gallery)
    try:
        assert again.choices(OWNER).boards == [("new", 2)]
    finally:
        again.close()


def test_what_can_be_taken_over_of_a_picture_is_said_to_its_owner_alone(folder: Folder) -> None:
    (ann, ann_id), (bob, _) = folder.guest(), folder.guest()
    hers = save(folder.gallery, ann_id)
    assert ids(ann) == [hers.id]
    answer = ann(f"/library/settings/{hers.id}").json()
    assert answer["name"] == hers.file_name.rpartition("/")[2]
    assert answer["says"] is not None
    assert bob(f"/library/settings/{hers.id}").status == 404
