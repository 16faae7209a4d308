"""Pictures of live mode that are not saved yet: whole files in a hidden folder, found by their owner alone.

    outputs/.live/<id>-<sha256 of the owner>-<job>.png     not saved yet; the oldest go when there are too many
    outputs/.live/<id>-<sha256 of the owner>-<job>.png.kept     getting its name among the pictures just now

A picture is saved when its owner keeps it, or when they make no other for PAUSE_SECONDS. Until then no index and no
library knows it. Several servers may use one folder: whoever renames a file first saves it.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from studio.picture.file_formats import ENDINGS
from studio.picture.placing import folder_below

logger = logging.getLogger(__name__)

FOLDER = ".live"
PAUSE_SECONDS = 3.0
MOST_OF_OWNER = 24  # as many as the strip of earlier pictures shows
MOST_BYTES = 256 * 2**20  # of all owners' together
OLD_SECONDS = 3600.0  # after which a file of an earlier start is removed
CLAIM_SECONDS = 60.0  # nobody takes so long to save one
_CLAIM = ".kept"
_JOB = r"[A-Za-z0-9_-]{1,80}"
_NAME = re.compile(rf"([0-9a-f]{{32}})-([0-9a-f]{{64}})-({_JOB})?(\.[a-z]+)({re.escape(_CLAIM)})?")


@dataclass(frozen=True, kw_only=True)
class LivePicture:
    """One that is not saved yet. `owner` is the sha256 of the owner's id, `made` in seconds since 1970."""

    id: str
    owner: str
    job: str
    ending: str
    path: Path
    made: float
    size: int


class LivePictures:
    """Of one outputs folder. Safe from any thread."""

    def __init__(self, outputs_dir: Path, save: Callable[[LivePicture], object]) -> None:
        """`save` puts one among its owner's pictures; it is called PAUSE_SECONDS after the newest of a tab."""
        self.pause_seconds = PAUSE_SECONDS
        self._folder = outputs_dir / FOLDER
        self._save = save
        self._lock = threading.Lock()
        self._pauses: dict[tuple[str, str], tuple[threading.Timer, list[LivePicture]]] = {}  # by owner and tab

    # -------------------------------------------------------------------------------------------------------- in

    def hold(self, data: memoryview, *, picture_id: str, owner: str, job: str, ending: str, tab: str) -> LivePicture:
        """Put a picture here until it is saved or has to go. Raises OSError."""
        folder_below(self._folder.parent, FOLDER)
        job = job if re.fullmatch(_JOB, job) else ""
        path = self._folder / f"{picture_id}-{owner}-{job}{ending}"
        part = self._folder / f".{secrets.token_hex(8)}.part"
        try:
            part.write_bytes(data)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        picture = LivePicture(
            id=picture_id, owner=owner, job=job, ending=ending, path=path, made=time.time(), size=len(data)
        )
        self._trim(owner)
        with self._lock:
            timer, newest = self._pauses.pop((owner, tab), (None, []))
            if timer is not None:
                timer.cancel()
            newest = [one for one in newest if one.job == job]  # a run may have several pictures
            self._wait(owner, tab, [*newest, picture])
        return picture

    def go_on(self, owner: str, tab: str) -> None:
        """The owner asks for another picture in this tab: what they have seen there so far is not saved by itself."""
        with self._lock:
            timer, _ = self._pauses.pop((owner, tab), (None, []))
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Save what a pause would save: nobody makes another picture."""
        with self._lock:
            pauses = list(self._pauses.values())
            self._pauses.clear()
        for timer, pictures in pauses:
            timer.cancel()
            self._save_all(pictures)

    def _wait(self, owner: str, tab: str, pictures: list[LivePicture]) -> None:
        def end() -> None:
            with self._lock:
                if self._pauses.get((owner, tab), (None, []))[0] is not timer:
                    return  # the owner has gone on
                del self._pauses[owner, tab]
            self._save_all(pictures)

        timer = threading.Timer(self.pause_seconds, end)
        timer.daemon = True
        self._pauses[owner, tab] = timer, pictures
        timer.start()

    def _save_all(self, pictures: list[LivePicture]) -> None:
        for picture in pictures:
            try:
                self._save(picture)
            except OSError as error:  # it stays here, and keeping it says why it cannot be saved
                logger.warning("A live picture could not be saved: %s", error)

    def _trim(self, owner: str) -> None:
        everybody = self._all()
        mine = [one for one in everybody if one.owner == owner]
        surplus = sum(one.size for one in everybody) - MOST_BYTES
        gone = set(mine[MOST_OF_OWNER:])
        for one in reversed(everybody):
            if surplus > 0 and one is not everybody[0]:
                gone.add(one)
                surplus -= one.size
        for one in gone:
            with suppress(OSError):
                one.path.unlink()

    # ------------------------------------------------------------------------------------------------------- out

    def find(self, picture_id: str) -> LivePicture | None:
        """The picture with this id; None where it is saved, gone or never was."""
        return next((one for one in self._all() if one.id == picture_id), None)

    def is_claimed(self, picture_id: str) -> bool:
        """Whether somebody is saving it just now."""
        return any(one.id == picture_id for one in self._all(claimed=True))

    def of(self, owner: str) -> list[LivePicture]:
        """This owner's, the newest first."""
        return [one for one in self._all() if one.owner == owner]

    def claim(self, picture: LivePicture) -> Path | None:
        """Take a picture out, to be saved, and return where its file lies until `release`; None where somebody else has
        taken it."""
        claimed = picture.path.with_name(picture.path.name + _CLAIM)
        try:
            picture.path.rename(claimed)
        except OSError:
            return None
        return claimed

    def release(self, picture: LivePicture, *, is_saved: bool) -> None:
        """After `claim`: the file goes, or is here again."""
        claimed = picture.path.with_name(picture.path.name + _CLAIM)
        with suppress(OSError):
            if is_saved:
                claimed.unlink()
            else:
                claimed.rename(picture.path)

    def sweep(self) -> None:
        """Remove what an earlier start has left. What was being saved then is saved now."""
        now = time.time()
        with suppress(OSError):
            for path in self._folder.glob(".*.part"):
                if now - path.lstat().st_mtime > OLD_SECONDS:
                    path.unlink()
        for picture in self._all(claimed=True):
            if now - picture.made < CLAIM_SECONDS:  # another server does it just now
                continue
            self.release(picture, is_saved=False)
            self._save_all([picture])
        for picture in self._all():
            if now - picture.made > OLD_SECONDS:
                with suppress(OSError):
                    picture.path.unlink()

    def _all(self, *, claimed: bool = False) -> list[LivePicture]:
        """Everybody's, the newest first; or those that are being saved."""
        pictures = []
        with suppress(OSError):
            for path in self._folder.iterdir() if not self._folder.is_symlink() else ():
                match = _NAME.fullmatch(path.name)
                if match is None or bool(match[5]) != claimed or match[4] not in ENDINGS:
                    continue
                with suppress(OSError):
                    file = path.lstat()
                    pictures.append(
                        LivePicture(
                            id=match[1],
                            owner=match[2],
                            job=match[3] or "",
                            ending=match[4],
                            path=path.with_name(path.name.removesuffix(_CLAIM)),
                            made=(file.st_ctime_ns if claimed else file.st_mtime_ns) / 1e9,
                            size=file.st_size,
                        )
                    )
        return sorted(pictures, key=lambda one: one.made, reverse=True)
