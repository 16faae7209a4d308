"""The library: all pictures of this machine for its owner, and for everybody else their own.

Owns the index, the marks, the trash and the thumbnails. Who asks comes as a `Viewer`; whoever is none of the owner sees
nothing but what the gallery knows as theirs, and nothing of other programs' folders.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.picture.decode import read_picture
from studio.picture.file_formats import media_type
from studio.picture.gallery import Gallery
from studio.picture.library import database
from studio.picture.library.database import Row
from studio.picture.library.marks import MAX_BOARDS, MAX_RATING, Marks, board_name
from studio.picture.library.scan import Scanner, low_priority
from studio.picture.library.search import Search, Viewer, condition_of, scope_of
from studio.picture.library.thumbnails import Thumbnails, read_file
from studio.picture.library.trash import Trash

logger = logging.getLogger(__name__)

MAX_PAGE = 500  # pictures of one question
MAX_TOGETHER = 2000  # pictures of one command
MAX_SIZES = 40  # to choose from, the most frequent
FIRST_LOOK_SECONDS = 0.25  # that a question waits for what is new
_COLUMNS = "p.id, p.root, p.folder, p.name, p.owner, p.cell, p.saved, p.width, p.height, p.prompt, p.model, p.loras, "
_COLUMNS += "p.program, p.number, coalesce(r.rating, 0)"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture as the wall of thumbnails has it. `place`: where it stands in time, for the next question."""

    row: Row
    rating: int
    place: tuple[float, int]
    foreign: bool  # of another program's folder, so that it can only be looked at


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What there is to choose from: `sizes` as width and height, `boards` with how many pictures lie on each."""

    models: list[str]
    loras: list[str]
    sizes: list[tuple[int, int]]
    boards: list[tuple[str, int]]


class Library:
    """Answers from any thread. Nothing is read before the first question."""

    def __init__(self, gallery: Gallery, others: Sequence[Path] = (), busy: Callable[[], bool] = lambda: False) -> None:
        """`others`: folders of other programs, for the owner alone. `busy`: whether a run goes on."""
        self._gallery = gallery
        self._others = tuple(Path(one).expanduser().resolve() for one in others)
        self._busy = busy
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._looked = threading.Event()
        self._thread: threading.Thread | None = None
        self._counts: dict[tuple[object, ...], int] = {}
        self._counted = -1
        self._marked = 0
        self._thumbnails = Thumbnails(gallery.outputs_dir)
        self.trash = Trash(gallery.outputs_dir)

    def _open(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            self._connection, self.on_disk = database.open_index(self._gallery.outputs_dir)
            self._marks = Marks(self._gallery.outputs_dir, self._connection)
            self._marks.refresh()
            self._scanner = Scanner(self._gallery, self._others, self._connection, self._lock, self._busy)
            self._thread = threading.Thread(target=self._work, name="library", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the background thread."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._scanner.stop()
            self._wake.set()
            thread.join(1)
            if not thread.is_alive():
                self._connection.close()

    def _work(self) -> None:
        low_priority()
        self.trash.sweep()
        self._scanner.forget_others()
        self._wake.set()
        while not self._scanner.stopped:
            self._wake.wait()
            self._wake.clear()
            try:
                self._scanner.look()
            except Exception:
                logger.exception("The library could not be looked through")
            self._looked.set()

    def look(self, seconds: float = FIRST_LOOK_SECONDS) -> bool:
        """Look for what is new, and wait so long for it. Says whether all was looked through."""
        self._open()
        self._looked.clear()
        self._wake.set()
        done = self._looked.wait(seconds)
        with self._lock:
            self._marked += self._marks.refresh()
        return done

    # -------------------------------------------------------------------------------------------------- questions

    def page(
        self,
        viewer: Viewer,
        search: Search,
        *,
        limit: int = 100,
        offset: int = 0,
        after: tuple[float, int] | None = None,
        until: int | None = None,
    ) -> list[Shown]:
        """Pictures, newest first: those after a place, or from the `offset`th on. `until`: no later ones than the index
        had when it had this number."""
        self._open()
        where, values = condition_of(viewer, search, until)
        if after is not None:
            where += " AND (p.saved, p.number) < (?, ?)"
            values += after
        sql = (
            f"SELECT {_COLUMNS} FROM pictures p LEFT JOIN ratings r ON r.picture = p.id AND r.person = ? WHERE {where} "
            "ORDER BY p.saved DESC, p.number DESC LIMIT ? OFFSET ?"
        )
        with self._lock:
            rows = self._connection.execute(sql, (viewer.digest, *values, min(limit, MAX_PAGE), offset)).fetchall()
        return [self._shown(row) for row in rows]

    def count(self, viewer: Viewer, search: Search, until: int | None = None) -> int:
        """How many pictures there are. Counted once as long as nothing changes."""
        self._open()
        if search == Search(cells=search.cells) and (until is None or until >= self.newest()):
            scope, scope_values = scope_of(viewer)
            sql = f"SELECT coalesce(sum(p.pictures), 0) FROM kinds p WHERE {scope} AND p.cell = ?"
            with self._lock:
                return int(self._connection.execute(sql, (*scope_values, int(search.cells))).fetchone()[0])
        where, values = condition_of(viewer, search, until)
        now = self._scanner.changes + self._marked
        key = (where, *values)
        with self._lock:
            if self._counted != now:
                self._counts, self._counted = {}, now
            if key not in self._counts:
                sql = f"SELECT count(*) FROM pictures p WHERE {where}"
                self._counts[key] = self._connection.execute(sql, values).fetchone()[0]
            return self._counts[key]

    def newest(self) -> int:
        """The number of the picture that came last into the index."""
        self._open()
        with self._lock:
            return int(self._connection.execute("SELECT coalesce(max(number), 0) FROM pictures").fetchone()[0])

    def choices(self, viewer: Viewer) -> Choices:
        """What there is to choose from."""
        self._open()
        scope, values = scope_of(viewer)
        there = f"FROM kinds p WHERE {scope} AND p.cell = 0 AND p.pictures > 0"
        with self._lock:
            ask = self._connection.execute
            models = [row[0] for row in ask(f"SELECT DISTINCT p.model {there}", values)]
            lists = [row[0] for row in ask(f"SELECT DISTINCT p.loras {there}", values)]
            size = (
                f"SELECT p.width, p.height {there} AND p.width > 0 GROUP BY 1, 2 ORDER BY sum(p.pictures) DESC LIMIT ?"
            )
            sizes = ask(size, (*values, MAX_SIZES)).fetchall()
            boards = self._marks.boards(viewer.digest, scope, values)
        loras = {name for names in lists for name in names.split("\n") if name}
        return Choices(models=sorted(filter(None, models)), loras=sorted(loras), sizes=sorted(sizes), boards=boards)

    def one(self, viewer: Viewer, picture_id: str) -> Shown | None:
        """A picture that they may see; None for any other id, and for a file that is gone."""
        self._open()
        where, values = scope_of(viewer)
        sql = (
            f"SELECT {_COLUMNS} FROM pictures p LEFT JOIN ratings r ON r.picture = p.id AND r.person = ? "
            f"WHERE p.id = ? AND {where}"
        )
        with self._lock:
            row = self._connection.execute(sql, (viewer.digest, picture_id, *values)).fetchone()
        shown = self._shown(row) if row is not None else None
        return shown if shown is not None and _is_there(shown.row.path) else None

    def boards_of(self, viewer: Viewer, picture_id: str) -> list[str]:
        """The boards that a picture lies on."""
        with self._lock:
            return self._marks.boards_of(viewer.digest, picture_id)

    def content(self, shown: Shown, *, lossless: bool = False) -> tuple[bytes | Path, str]:
        """A picture for a browser: the file that the studio has made, or another's, decoded, as PNG if `lossless`, else
        as JPEG. With its media type. Raises InvalidRequest for a file that cannot be decoded, and OSError."""
        path = shown.row.path
        if shown.row.owner:
            return path, media_type(path)
        image = read_picture(read_file(path))
        content = io.BytesIO()
        if lossless:
            image.save(content, "PNG", compress_level=1)
            return content.getvalue(), "image/png"
        image.save(content, "JPEG", quality=92)
        return content.getvalue(), "image/jpeg"

    def thumbnail(self, shown: Shown) -> bytes | None:
        """A JPEG of at most 256 pixels a side; None for a file that cannot be decoded."""
        return self._thumbnails.of(shown.row)

    # ------------------------------------------------------------------------------------------------ marks, trash

    def rate(self, viewer: Viewer, picture_id: str, rating: object) -> bool:
        """Note a rating from 0 to 5; False for a picture that they may not see. Raises InvalidRequest."""
        if type(rating) is not int or not 0 <= rating <= MAX_RATING:
            allowed = Message("whole numbers from {low} to {high}", low=0, high=MAX_RATING)
            raise InvalidRequest(Problem("rating", quoted_value(rating), allowed))
        return self._note(viewer, picture_id, rating=rating)

    def put_on_board(self, viewer: Viewer, picture_id: str, board: object, on: bool) -> bool:
        """Put a picture on a board, which begins with it, or take it off. As `rate`."""
        name = board_name("board", board)
        self._open()
        with self._lock:
            is_one_more = on and not self._marks.has_board(viewer.digest, name)
            if is_one_more and self._marks.count_boards(viewer.digest) >= MAX_BOARDS:
                allowed = Message("at most {most} boards", most=MAX_BOARDS)
                raise InvalidRequest(Problem("board", quoted_value(name), allowed))
        return self._note(viewer, picture_id, board=name, on=on)

    def change_board(self, viewer: Viewer, board: object, to: object = None) -> list[str] | None:
        """Give a board another name, that of another board to put both together; without `to` remove it. Returns the
        ids of its pictures, which stay where they are; None for a board that is not theirs. Raises InvalidRequest."""
        name, new = board_name("board", board), None if to is None else board_name("to", to)
        self._open()
        with self._lock:
            if not self._marks.has_board(viewer.digest, name):
                return None
            pictures = self._marks.on_board(viewer.digest, name)
            self._marks.change_board(viewer.digest, name, new)
            self._marked += 1
        return pictures

    def _note(self, viewer: Viewer, picture_id: str, **mark: Any) -> bool:
        if self.one(viewer, picture_id) is None:
            return False
        with self._lock:
            self._marks.note(viewer.digest, picture_id, **mark)
            self._marked += 1
        return True

    def delete(self, viewer: Viewer, picture_id: str) -> bool:
        """Move a picture into the trash; False for one that they may not see or that is another program's. Raises
        OSError."""
        shown = self.one(viewer, picture_id)
        if shown is None or shown.foreign:
            return False
        self.trash.put(_name(shown.row))
        with self._lock:
            self._connection.execute(
                "INSERT OR REPLACE INTO deleted SELECT * FROM pictures WHERE id = ?", (picture_id,)
            )
            database.remove(self._connection, "id = ?", (picture_id,))
            self._scanner.changes += 1
        return True

    def restore(self, viewer: Viewer, picture_id: str) -> bool:
        """Move a picture back from the trash; False where it is not there, or not theirs. Raises OSError."""
        self._open()
        where, values = scope_of(viewer)
        columns = _COLUMNS.replace("p.number, coalesce(r.rating, 0)", "p.number, 0")
        with self._lock:
            sql = f"SELECT {columns} FROM deleted p WHERE p.id = ? AND {where}"
            row = self._connection.execute(sql, (picture_id, *values)).fetchone()
        if row is None:
            return False
        shown = self._shown(row)
        if not self.trash.restore(_name(shown.row)):
            return False
        with self._lock:
            database.insert(self._connection, [shown.row])
            self._connection.execute("DELETE FROM deleted WHERE id = ?", (picture_id,))
            self._scanner.changes += 1
        return True

    # ----------------------------------------------------------------------------------------------------- helpers

    def _shown(self, values: tuple[Any, ...]) -> Shown:
        names = ("id", "root", "folder", "name", "owner", "cell", "saved", "width", "height", "prompt", "model")
        row = Row(
            **dict(zip(names, values)),
            loras=tuple(filter(None, values[11].split("\n"))),
            program=values[12],
        )
        foreign = row.root != str(self._gallery.outputs_dir)
        return Shown(row=row, rating=values[14], place=(row.saved, values[13]), foreign=foreign)


def _name(row: Row) -> str:
    return f"{row.folder}/{row.name}" if row.folder else row.name


def _is_there(path: Path) -> bool:
    """Whether a regular file lies there, reached without any link."""
    try:
        return path.resolve() == path and path.is_file()
    except OSError:
        return False
