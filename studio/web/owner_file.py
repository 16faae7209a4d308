"""Which visitor the owner of the studio is: one id on every browser, remembered beside the pictures."""

from __future__ import annotations

import logging
import re
import secrets
import threading
from pathlib import Path

from studio.web.private_file import write_private

logger = logging.getLogger(__name__)

NAME = ".owner"
_PERSON = re.compile(r"[0-9a-f]{32}")


class OwnerFile:
    """The owner's id as a visitor, in a file that only this account can read. Safe from any thread."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` is the outputs folder; None: the id is known until the end of this process."""
        self._path = folder / NAME if folder is not None else None
        self._lock = threading.Lock()
        self._person = self._read()

    def person(self, first: str = "") -> str:
        """The owner's id. Where none is known yet it becomes `first`, the id of the browser that enters as the owner,
        so that its pictures stay."""
        with self._lock:
            if self._person is None:
                self._person = first if _PERSON.fullmatch(first) else secrets.token_hex(16)
                self._write(self._person)
            return self._person

    def is_person(self, person: str) -> bool:
        """Whether this is the owner's id."""
        return person == self._person

    def _read(self) -> str | None:
        try:
            text = self._path.read_text(encoding="ascii").strip() if self._path is not None else ""
        except (OSError, ValueError):
            return None
        return text if _PERSON.fullmatch(text) else None

    def _write(self, person: str) -> None:
        if self._path is None:
            return
        try:
            write_private(self._path, person + "\n")
        except OSError as error:
            logger.warning("Which visitor the owner is cannot be written down (%s): known until the end.", error)
