"""Finished pictures on disk: saved whole or not at all, found again by their owner alone.

Owns the outputs folder and its index. Knows nothing of torch, the page or HTTP; whose a picture is comes as a string.

    outputs/2026-11-22/00001-814512.png     the picture, its metadata inside; the owner may choose other names
    outputs/compare/2026-11-22/...          the cells of comparisons: kept apart, the oldest go when there are too many
    outputs/index.jsonl                     one line a picture: id, sha256 of the owner, file
    outputs/2026-11-22/.<random>.part       being written; swept at the next start when old
    outputs/.live/...                       pictures of live mode that are not saved yet (`LivePictures`)
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from pathlib import Path

from PIL import Image

from studio.answered.events import Picture
from studio.asked.messages import Message
from studio.picture import metadata
from studio.picture.file_formats import FILE_FORMATS, OWN_CHUNK, encode_or_png
from studio.picture.free_names import FreeNames
from studio.picture.gallery_index import Entry, Index
from studio.picture.live_pictures import LivePicture, LivePictures
from studio.picture.naming import COMPARISONS, DEFAULT_PATTERN, Name, name_of
from studio.picture.placing import folder_below, give_name, sentence_of
from studio.picture.saved_files import Thumbnails, digest, picture_of, sweep_parts
from studio.picture.saving import SavingFile

logger = logging.getLogger(__name__)

COMPARISON_BYTES = 2 * 2**30  # of it; what visitors want to have they save, which puts a copy beside the other pictures

_PICTURE_ID = re.compile(r"[0-9a-f]{32}")
_KEEP_TRIES, _KEEP_SECONDS = 100, 0.05  # how often, and how far apart, one looks whether somebody else has saved it
_NO_SUCH_NAMES = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ)


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
        self.saving = SavingFile(self.outputs_dir)
        self.live = LivePictures(self.outputs_dir, self._save_live)
        self._lock = threading.Lock()
        self._index = Index(self.outputs_dir)
        self._free_names = FreeNames(self.outputs_dir, self._index, self._lock)
        self._part_sizes: dict[str, int] = {}  # id -> bytes
        self._thumbnails = Thumbnails()
        with suppress(OSError):
            self.outputs_dir.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._index.recover()
        with suppress(OSError):
            sweep_parts(self.outputs_dir, [entry.file for entry in self._index.entries.values()])
        self.live.sweep()

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
        live_tab: str = "",
    ) -> Picture:
        """Write a picture with its metadata and return what its owner may know of it.

        `info` as in studio.picture.metadata, with an int `seed`. When this returns, the file is complete and on the
        disk; when it raises SaveFailed, there is no file. Other servers may save into the same folder at the same time.
        `part_of`: the id of the comparison whose cell this is. It lies apart, not among `earlier`, and goes some day.
        `job`: the id of the run that has made it, for `of_job`. `live_tab`: the tab whose live mode has made it. Such a
        picture is not saved before its owner keeps it or pauses (`LivePictures`); its `file_name` is "" until then.
        """
        seed = info["seed"]
        if type(seed) is not int or seed < 0:
            raise ValueError(f"info['seed']: {seed!r} is not allowed. Allowed: the seed used, a whole number from 0.")
        image = image.convert("RGB")
        data, file_format, info = encode_or_png(image, self.saving.now().encoding, info, parameters)
        job = "" if part_of else job or ""
        entry = Entry(id=secrets.token_hex(16), owner=digest(owner), file="", part_of=part_of or "", job=job)
        ending = FILE_FORMATS[file_format].ending
        if live_tab:
            self._hold(memoryview(data), ending, entry, live_tab)
        else:
            entry = self._write(memoryview(data), info, ending, entry)
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
        path, part = self.path(picture_id, owner), self.picture(picture_id, owner)
        if path is None or part is None:
            return None
        try:
            data = memoryview(path.read_bytes())
        except OSError as error:
            raise SaveFailed(sentence_of(error)) from error
        entry = Entry(id=secrets.token_hex(16), owner=digest(owner), file="")
        entry = self._write(data, part.info, path.suffix, entry)
        return picture_of(entry, self.outputs_dir / entry.file)

    def keep_live(self, picture_id: str, owner: str) -> Picture | None:
        """Save a live picture under the id that it has; one that is saved stays as it is. None where the owner has no
        such picture. Raises SaveFailed."""
        for _ in range(_KEEP_TRIES):
            live = self.live.find(picture_id)
            is_ours = live is not None and live.owner == digest(owner) and self._save_live(live)
            is_awaited = not is_ours and (live is not None or self.live.is_claimed(picture_id))
            picture = self.picture(picture_id, owner)
            if picture is not None and picture.file_name:
                return picture
            if not is_awaited or (live is not None and live.owner != digest(owner)):
                return None
            time.sleep(_KEEP_SECONDS)  # another thread or server is saving it
        return None

    def _hold(self, data: memoryview, ending: str, entry: Entry, tab: str) -> None:
        """Put a live picture where it waits to be saved. Raises SaveFailed."""
        try:
            self.live.hold(data, picture_id=entry.id, owner=entry.owner, job=entry.job, ending=ending, tab=tab)
        except OSError as error:
            raise SaveFailed(sentence_of(error)) from error

    def _save_live(self, live: LivePicture) -> bool:
        """Save a live picture; False where somebody else does it. Raises SaveFailed: then it is still there."""
        claimed = self.live.claim(live)
        if claimed is None:
            return False
        is_saved = False
        try:
            with self._lock:
                self._index.refresh()
                is_saved = live.id in self._index.entries  # its server was killed after that
            if not is_saved:
                data = claimed.read_bytes()
                info = json.loads(metadata.head(claimed)[2][OWN_CHUNK])
                entry = Entry(id=live.id, owner=live.owner, file="", job=live.job)
                self._write(memoryview(data), info, live.ending, entry)
                is_saved = True
        except SaveFailed:
            raise
        except (OSError, ValueError, SyntaxError, KeyError, TypeError) as error:
            raise SaveFailed(Message("The picture's file is gone.")) from error
        finally:
            self.live.release(live, is_saved=is_saved)
        return True

    def _write(self, data: memoryview, info: Mapping[str, object], ending: str, entry: Entry) -> Entry:
        """Write a picture's file and take it into the index, on disk and here. Raises SaveFailed."""
        now = datetime.now().astimezone()
        pattern = DEFAULT_PATTERN if entry.part_of else self.saving.now().pattern
        name = name_of(pattern, info, now)
        name = replace(name, folder=f"{COMPARISONS}/{name.folder}") if entry.part_of else name
        try:
            try:
                file = self._write_file(data, name, ending, entry)
            except OSError as error:
                if error.errno not in _NO_SUCH_NAMES or pattern == DEFAULT_PATTERN:
                    raise
                logger.warning("The disk takes no file by the owner's pattern (%s): the usual one.", error.strerror)
                file = self._write_file(data, name_of(DEFAULT_PATTERN, info, now), ending, entry)
        except OSError as error:
            raise SaveFailed(sentence_of(error)) from error
        entry = replace(entry, file=file)
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
                    self._thumbnails.forget(entry.id)

    def _write_file(self, data: memoryview, name: Name, ending: str, entry: Entry) -> str:
        """Write the bytes below a name's folder under its next free form; returns it relative to the outputs folder."""
        folder = folder_below(self.outputs_dir, name.folder)
        part = folder / f".{secrets.token_hex(8)}.part"
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            for candidate in self._free_names.candidates(name, ending):
                self._index.announce(replace(entry, file=candidate), data)
                with suppress(FileExistsError):
                    give_name(part, self.outputs_dir / candidate)
                    return candidate
            raise AssertionError("there is always another number")
        finally:
            part.unlink(missing_ok=True)

    # ----------------------------------------------------------------------------------------------------- out

    def path(self, picture_id: str, owner: str) -> Path | None:
        """The file of a picture, or None when it is absent or another owner's: callers cannot tell which."""
        if not _PICTURE_ID.fullmatch(picture_id):
            return None
        entry, file = self._find(picture_id)
        return file if entry is not None and secrets.compare_digest(entry.owner, digest(owner)) else None

    def _find(self, picture_id: str) -> tuple[Entry | None, Path | None]:
        """A picture's entry and its file. That of a live picture that is not saved names no file."""
        with self._lock:
            if picture_id not in self._index.entries:
                self._index.refresh()
            entry = self._index.entries.get(picture_id)
        if entry is not None:
            return entry, self._file(entry)
        live = self.live.find(picture_id)
        return (_entry_of(live), live.path) if live is not None else (None, None)

    def picture(self, picture_id: str, owner: str) -> Picture | None:
        """What the file of a picture says, or None as `path`."""
        if self.path(picture_id, owner) is None:
            return None
        entry, file = self._find(picture_id)
        return picture_of(entry, file) if entry is not None and file is not None else None

    def earlier(self, owner: str, limit: int = 60) -> list[Picture]:
        """This owner's pictures, newest first, also those from before a restart and the live ones that are not saved.
        Files that are gone are left out."""
        mine = digest(owner)
        with self._lock:
            self._index.refresh()
            entries = [entry for entry in self._index.entries.values() if entry.owner == mine and not entry.part_of]
        saved = {entry.id for entry in entries}
        live = [picture_of(_entry_of(one), one.path) for one in self.live.of(mine)[:limit] if one.id not in saved]
        pictures = (picture_of(entry, file) for entry in reversed(entries) if (file := self._file(entry)))
        return list(islice(filter(None, chain(live, pictures)), limit))

    def of_job(self, job_id: str, owner: str) -> list[Picture]:
        """What a run has made, in the order of its images, as far as the files are there."""
        mine = digest(owner)
        with self._lock:
            self._index.refresh()
            entries = [e for e in self._index.entries.values() if e.job == job_id != "" and e.owner == mine]
        files = [(entry, self._file(entry)) for entry in entries]
        pictures = [picture for entry, file in files if file and (picture := picture_of(entry, file))]
        return sorted(pictures, key=lambda picture: int(picture.info.get("image") or 0))  # type: ignore[call-overload]

    def files(self, owner: str, since: float = 0.0) -> list[PictureFile]:
        """This owner's pictures as files, the cells of comparisons too, oldest first, of those that were saved at or
        after `since`. Opens none of them."""
        mine = digest(owner)
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

    def is_announced(self, name: str) -> bool:
        """Whether a picture is being saved under this name, so that it has an owner soon."""
        with self._lock:
            return self._index.is_announced(name)

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
        self._thumbnails.forget(picture_id)
        return True

    def thumbnail(self, picture_id: str, owner: str) -> bytes | None:
        """A JPEG of at most 256 pixels a side, or None as `path`."""
        file = self.path(picture_id, owner)
        return self._thumbnails.of(picture_id, file) if file is not None else None

    def _file(self, entry: Entry) -> Path | None:
        """The entry's file, if it is there and is what it seems: a regular file, reached without any link."""
        file = self.outputs_dir / entry.file
        try:
            return file if file.resolve() == file and file.is_file() else None
        except OSError:
            return None


def _entry_of(live: LivePicture) -> Entry:
    return Entry(id=live.id, owner=live.owner, file="", job=live.job)
