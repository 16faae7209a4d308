"""The pictures of a share: all in one ZIP for the owner, a visitor's own for themselves, and their deletion."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from studio.picture.gallery import Gallery
from studio.picture.library.search import Viewer
from studio.picture.library.thumbnails import forget_thumbnail
from studio.picture.library.trash import Trash
from studio.web.board import Board


class SharePictures:
    """Knows from the board whose pictures they are, and has them from the gallery."""

    def __init__(self, board: Board, gallery: Gallery) -> None:
        self._board = board
        self._gallery = gallery

    def count(self) -> int:
        """How many pictures guests have made in this share."""
        return len(self.files())

    def files(self) -> list[tuple[str, Path]]:
        """Name in the ZIP and file of each, guest by guest."""
        share = self._board.share
        return [
            (f"guest-{number}/{file.name}", file.path)
            for number, person in enumerate(share.people, start=1)
            for file in self._gallery.files(person, share.since)
        ]

    def of(self, owner: str) -> list[tuple[str, Path]]:
        """The same of one visitor, whenever they were made."""
        return [(file.name, file.path) for file in self._gallery.files(owner)]

    def clear(self) -> int:
        """Delete all pictures of this share from the disk, those in the trash and all thumbnails too; returns how
        many pictures."""
        share = self._board.share
        files = [(person, file) for person in share.people for file in self._gallery.files(person, share.since)]
        for _, file in files:
            forget_thumbnail(self._gallery.outputs_dir, file.id)
        cleared = sum(self._gallery.remove(file.id, person) for person, file in files)
        guests = {Viewer(person).digest for person in share.people}
        for name, place in Trash(self._gallery.outputs_dir).files():
            entry = self._gallery.entry_of(name)
            with suppress(OSError):
                if entry is not None and entry.owner in guests and place.stat().st_mtime >= share.since:
                    place.unlink()
                    forget_thumbnail(self._gallery.outputs_dir, entry.id)
                    cleared += 1
        return cleared


def zip_stream(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """A ZIP of these files, piece by piece, so that it is never in memory as a whole. Pictures are compressed already,
    so they are only stored. A file that has gone meanwhile is left out."""
    stream = _Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files:
            try:
                content, save_time = path.read_bytes(), path.stat().st_mtime
            except OSError:
                continue
            archive.writestr(zipfile.ZipInfo(name, time.localtime(save_time)[:6]), content)
            yield stream.pop()
    yield stream.pop()


class _Stream(io.RawIOBase):
    """What is written, until it is taken away."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._buffer += piece
        return len(piece)

    def pop(self) -> bytes:
        """What was written since the last time."""
        piece = bytes(self._buffer)
        self._buffer.clear()
        return piece
