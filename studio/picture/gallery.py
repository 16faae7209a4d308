"""Finished pictures on disk: saved whole or not at all, found again by their owner alone.

Owns the outputs folder and its index. Knows nothing of torch, the page or HTTP; whose a picture is comes as a string.

    outputs/2026-11-22/00001-814512.png     the picture, its metadata inside
    outputs/compare/2026-11-22/...          the cells of comparisons: kept apart, the oldest go when there are too many
    outputs/index.jsonl                     one line a picture: id, sha256 of the owner, file
    outputs/2026-11-22/.<random>.part       being written; swept at the next start when old
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from PIL import Image

from studio.answered.events import Picture
from studio.asked.messages import Message
from studio.picture import chunks, infotext, metadata
from studio.picture.gallery_index import Entry, Index

logger = logging.getLogger(__name__)

THUMBNAIL_SIDE = 256  # pixels, the longer side
LEFTOVER_AGE = 3600.0  # seconds; no save takes this long, so an older .part belongs to nobody
# On a 512x512 picture with a camera's grain this takes 0.6 of the time of Pillow's default 6, for a file 14 % larger.
COMPRESS_LEVEL = 1  # of zlib; the next picture waits for this write

COMPARISONS = "compare"  # the folder of their cells
COMPARISON_BYTES = 2 * 2**30  # of it; what visitors want to have they save, which puts a copy beside the other pictures

_PICTURE_ID = re.compile(r"[0-9a-f]{32}")
_CACHED_THUMBNAILS = 256
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True)
class PictureFile:
    """A picture on the disk. `name` is its path below the outputs folder, with forward slashes; `saved` in seconds
    since 1970; `part_of` the comparison whose cell it is."""

    id: str
    name: str
    path: Path
    saved: float
    part_of: str = ""


class SaveFailed(OSError):
    """The picture is not on disk. The text is a plain sentence for the page: the cause and what to do, no path."""


class Gallery:
    """Saves and finds pictures below one folder. Safe to call from any thread, and from two servers on one folder."""

    def __init__(self, outputs_dir: str | Path) -> None:
        """Makes the folder when it is missing and sweeps what killed saves left behind.

        Nothing is raised for a folder that cannot be used: `save` tells that, since a folder may come back.
        """
        self.outputs_dir = Path(outputs_dir).expanduser().resolve()
        self._lock = threading.Lock()
        self._index = Index(self.outputs_dir)
        self._numbers: dict[str, int] = {}  # day's folder -> last number this process gave
        self._part_sizes: dict[str, int] = {}  # id -> bytes
        self._thumbnails: OrderedDict[str, bytes] = OrderedDict()
        with suppress(OSError):
            self.outputs_dir.mkdir(parents=True, exist_ok=True)
            self._sweep()
        with self._lock:
            self._index.recover()

    # ------------------------------------------------------------------------------------------------------ in

    def save(
        self,
        image: Image.Image,
        *,
        info: Mapping[str, object],
        parameters: str,
        owner: str,
        part_of: str | None = None,
        job: str | None = None,
    ) -> Picture:
        """Write a picture with its metadata and return what its owner may know of it.

        `info` as in studio.picture.metadata, with an int `seed`. When this returns, the file is complete and on the
        disk; when it raises SaveFailed, there is no file. Other servers may save into the same folder at the same time.
        `part_of`: the id of the comparison whose cell this is. It lies apart, not among `earlier`, and goes some day.
        `job`: the id of the run that has made it, for `of_job`.
        """
        seed = info["seed"]
        if type(seed) is not int or seed < 0:
            raise ValueError(f"info['seed']: {seed!r} is not allowed. Allowed: the seed used, a whole number from 0.")
        image = image.convert("RGB")
        png_file = io.BytesIO()
        image.save(png_file, "PNG", pnginfo=metadata.png_info(info, parameters), compress_level=COMPRESS_LEVEL)
        job = "" if part_of else job or ""
        entry = Entry(id=secrets.token_hex(16), owner=_digest(owner), file="", part_of=part_of or "", job=job)
        entry = self._write(png_file.getbuffer(), seed, entry)
        if part_of:
            self._trim(part_of)
        return Picture(
            id=entry.id,
            file_name=entry.file,
            width=image.width,
            height=image.height,
            seed=seed,
            info=dict(info),
            parameters=parameters,
        )

    def keep(self, picture_id: str, owner: str) -> Picture | None:
        """Put a copy of a part among the owner's pictures; None where the owner has no such part. Raises SaveFailed."""
        path = self.path(picture_id, owner)
        if path is None:
            return None
        seed = path.stem.rpartition("-")[2]
        try:
            data = memoryview(path.read_bytes())
        except OSError as error:
            raise SaveFailed(_sentence(error)) from error
        entry = self._write(data, int(seed), Entry(id=secrets.token_hex(16), owner=_digest(owner), file=""))
        return _picture(entry, self.outputs_dir / entry.file)

    def _write(self, data: memoryview, seed: int, entry: Entry) -> Entry:
        """Write a picture's file and take it into the index, on disk and here. Raises SaveFailed."""
        try:
            entry = replace(entry, file=self._write_file(data, seed, entry))
        except OSError as error:
            raise SaveFailed(_sentence(error)) from error
        try:
            self._index.append(entry)
        except OSError as error:  # the picture is safe; it is only not listed after a restart
            logger.warning("The index of the outputs folder could not be written: %s", error.strerror)
        with self._lock:
            self._index.refresh()  # in the index's order, which two servers share
            self._index.entries.setdefault(entry.id, entry)
        return entry

    def _trim(self, newest: str) -> None:
        """Remove the oldest comparisons' files while all of them together are too large; never the newest one's."""
        with self._lock:
            parts = [entry for entry in self._index.entries.values() if entry.part_of]
            for entry in parts:
                if entry.id not in self._part_sizes:
                    try:
                        self._part_sizes[entry.id] = (self.outputs_dir / entry.file).stat().st_size
                    except OSError:
                        self._part_sizes[entry.id] = 0
            surplus = sum(self._part_sizes.values()) - COMPARISON_BYTES
            for old in dict.fromkeys(entry.part_of for entry in parts if entry.part_of != newest):
                if surplus <= 0:
                    break
                for entry in [entry for entry in parts if entry.part_of == old]:
                    with suppress(OSError):
                        if self._file(entry):
                            (self.outputs_dir / entry.file).unlink()
                    surplus -= self._part_sizes.pop(entry.id, 0)
                    del self._index.entries[entry.id]
                    self._thumbnails.pop(entry.id, None)

    def _write_file(self, data: memoryview, seed: int, entry: Entry) -> str:
        """Write the bytes below today's folder under the next free name; returns it relative to the outputs folder."""
        below = COMPARISONS if entry.part_of else ""
        day = (f"{below}/" if below else "") + datetime.now().astimezone().date().isoformat()
        folder = self.outputs_dir / day
        folder.mkdir(parents=True, exist_ok=True)
        if folder.resolve() != folder:
            raise OSError(errno.ELOOP, "today's folder is a link to another place")
        part = folder / f".{secrets.token_hex(8)}.part"
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            while True:
                name = f"{self._next_number(day):05d}-{seed}.png"
                self._index.announce(replace(entry, file=f"{day}/{name}"), data)
                with suppress(FileExistsError):
                    _give_name(part, folder / name)
                    return f"{day}/{name}"
        finally:
            part.unlink(missing_ok=True)

    def _next_number(self, day: str) -> int:
        with self._lock:
            if day not in self._numbers:
                there = [*os.listdir(self.outputs_dir / day), *self._index.names_of(day)]
                names = (re.match(r"(\d{5,})-", name) for name in there)
                self._numbers[day] = max((int(n[1]) for n in names if n), default=0)
            self._numbers[day] += 1
            return self._numbers[day]

    # ----------------------------------------------------------------------------------------------------- out

    def path(self, picture_id: str, owner: str) -> Path | None:
        """The file of a picture, or None when it is absent or another owner's: callers cannot tell which."""
        if not _PICTURE_ID.fullmatch(picture_id):
            return None
        with self._lock:
            if picture_id not in self._index.entries:
                self._index.refresh()
            entry = self._index.entries.get(picture_id)
        if entry is None or not secrets.compare_digest(entry.owner, _digest(owner)):
            return None
        return self._file(entry)

    def picture(self, picture_id: str, owner: str) -> Picture | None:
        """What the file of a picture says, or None as `path`."""
        file = self.path(picture_id, owner)
        with self._lock:
            entry = self._index.entries.get(picture_id)
        return _picture(entry, file) if entry is not None and file is not None else None

    def earlier(self, owner: str, limit: int = 60) -> list[Picture]:
        """This owner's pictures, newest first, also those from before a restart. Files that are gone are left out."""
        mine = _digest(owner)
        with self._lock:
            self._index.refresh()
            entries = [entry for entry in self._index.entries.values() if entry.owner == mine and not entry.part_of]
        pictures: list[Picture] = []
        for entry in reversed(entries):
            if len(pictures) >= limit:
                break
            file = self._file(entry)
            picture = file and _picture(entry, file)
            if picture:
                pictures.append(picture)
        return pictures

    def of_job(self, job_id: str, owner: str) -> list[Picture]:
        """What a run has made, in the order of its images, as far as the files are there."""
        mine = _digest(owner)
        with self._lock:
            self._index.refresh()
            entries = [e for e in self._index.entries.values() if e.job == job_id != "" and e.owner == mine]
        files = [(entry, self._file(entry)) for entry in entries]
        pictures = [picture for entry, file in files if file and (picture := _picture(entry, file))]
        return sorted(pictures, key=lambda picture: int(picture.info.get("image") or 0))  # type: ignore[call-overload]

    def files(self, owner: str, since: float = 0.0) -> list[PictureFile]:
        """This owner's pictures as files, the cells of comparisons too, oldest first, of those that were saved at or
        after `since`. Opens none of them."""
        mine = _digest(owner)
        with self._lock:
            self._index.refresh()
            entries = [entry for entry in self._index.entries.values() if entry.owner == mine]
        files = []
        for entry in entries:
            path = self._file(entry)
            with suppress(OSError):
                if path is not None and (saved := path.stat().st_mtime) >= since:
                    files.append(PictureFile(entry.id, entry.file, path, saved, entry.part_of))
        return files

    def entry_of(self, name: str) -> Entry | None:
        """Whose picture a file of the outputs folder is, by its path below it; None for a file of nobody here."""
        with self._lock:
            if name not in self._index.by_file:
                self._index.refresh()
            return self._index.by_file.get(name)

    def remove(self, picture_id: str, owner: str) -> bool:
        """Delete a picture of this owner from the disk. False where there is none, or it cannot be deleted."""
        path = self.path(picture_id, owner)
        if path is None:
            return False
        try:
            path.unlink()
        except OSError as error:
            logger.warning("A picture could not be deleted: %s", error.strerror)
            return False
        with self._lock:
            self._part_sizes.pop(picture_id, None)
            self._thumbnails.pop(picture_id, None)
        return True

    def thumbnail(self, picture_id: str, owner: str) -> bytes | None:
        """A JPEG of at most 256 pixels a side, or None as `path`."""
        file = self.path(picture_id, owner)
        if file is None:
            return None
        with self._lock:
            thumbnail = self._thumbnails.get(picture_id)
            if thumbnail:
                self._thumbnails.move_to_end(picture_id)
                return thumbnail
        try:
            with Image.open(file, formats=["PNG"]) as image:
                small = image.convert("RGB")
        except (OSError, ValueError, SyntaxError):
            return None
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        jpeg_file = io.BytesIO()
        small.save(jpeg_file, "JPEG", quality=85)
        with self._lock:
            self._thumbnails[picture_id] = jpeg_file.getvalue()
            while len(self._thumbnails) > _CACHED_THUMBNAILS:
                self._thumbnails.popitem(last=False)
        return jpeg_file.getvalue()

    def _file(self, entry: Entry) -> Path | None:
        """The entry's file, if it is there and is what it seems: a regular file, reached without any link."""
        file = self.outputs_dir / entry.file
        try:
            return file if file.resolve() == file and file.is_file() else None
        except OSError:
            return None

    def _sweep(self) -> None:
        """Remove what saves that were killed left behind."""
        for pattern in ("????-??-??/.*.part", f"{COMPARISONS}/????-??-??/.*.part"):
            for part in self.outputs_dir.glob(pattern):
                with suppress(OSError):
                    if time.time() - part.lstat().st_mtime > LEFTOVER_AGE:
                        part.unlink()


def _give_name(part: Path, final: Path) -> None:
    """Let a complete file appear as `final` in one act. Raises FileExistsError when the name is taken, by anybody."""
    if os.name == "nt":
        part.rename(final)  # refuses an existing name there
        return
    if hasattr(os, "link"):
        try:
            os.link(part, final)
            return
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
    _reserve_and_rename(part, final)


def _reserve_and_rename(part: Path, final: Path) -> None:
    """As `_give_name` for disks without hard links (FAT, some network shares), where a rename would overwrite."""
    placeholder = final.with_name(f".{final.name}.part")
    placeholder.open("xb").close()
    try:
        if final.exists():
            raise FileExistsError(errno.EEXIST, "the name is taken")
        part.rename(final)
    finally:
        placeholder.unlink(missing_ok=True)


def _digest(owner: str) -> str:
    return hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()


def _picture(entry: Entry, file: Path) -> Picture | None:
    """What the file itself says; None when it is no longer the picture we wrote."""
    try:
        with file.open("rb") as stream:
            width, height, text = chunks.head(stream, limit=infotext.MAX_TEXT_BYTES)
        info = json.loads(text[metadata.OWN_CHUNK])
        return Picture(
            id=entry.id,
            file_name=entry.file,
            width=width,
            height=height,
            seed=int(info["seed"]),
            info=info,
            parameters=text[metadata.A1111_CHUNK],
        )
    except (OSError, ValueError, SyntaxError, KeyError, TypeError):
        return None


def _sentence(error: OSError) -> str:
    """Why a save failed and what to do, for the page: no path, no number."""
    locked = Message("The outputs folder may not be written to. Change its permissions or use another --outputs-dir.")
    no_folder = Message("--outputs-dir names something that is not a folder. Start the studio with another one.")
    sentence = Message("The outputs folder is gone and cannot be made again. Check the disk that --outputs-dir names.")
    causes = {
        errno.ENOSPC: Message("The disk of the outputs folder is full. Free some space and try again."),
        errno.EDQUOT: Message("The disk quota of the outputs folder is used up. Free some space and try again."),
        errno.EROFS: Message("The outputs folder is on a read-only disk. Start the studio with another --outputs-dir."),
        **dict.fromkeys((errno.EACCES, errno.EPERM), locked),
        errno.ENOENT: sentence,
        **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), no_folder),
        errno.ELOOP: Message("Today's folder inside the outputs folder is a link to another place. Remove the link."),
    }
    other = Message("The outputs folder cannot be written to. Check its disk, or use another --outputs-dir.")
    return Message("The picture could not be saved. {cause}", cause=causes.get(error.errno or 0, other))
