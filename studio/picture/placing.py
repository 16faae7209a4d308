"""How a complete file gets its name on any disk, and why one did not get there, for people."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from studio.asked.messages import Message

_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def give_name(part: Path, final: Path) -> None:
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
    """As `give_name` for disks without hard links (FAT, some network shares), where a rename would overwrite."""
    placeholder = final.with_name(f".{final.name}.part")
    placeholder.open("xb").close()
    try:
        if final.exists():
            raise FileExistsError(errno.EEXIST, "the name is taken")
        part.rename(final)
    finally:
        placeholder.unlink(missing_ok=True)


def folder_below(outputs_dir: Path, name: str) -> Path:
    """A folder below the outputs folder, which is made and reached without any link. Raises OSError."""
    folder = outputs_dir
    folder.mkdir(parents=True, exist_ok=True)
    for step in filter(None, name.split("/")):
        folder /= step
        folder.mkdir(exist_ok=True)
        if folder.resolve() != folder:
            raise OSError(errno.ELOOP, "the folder is a link to another place")
    return folder


def sentence_of(error: OSError) -> str:
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
