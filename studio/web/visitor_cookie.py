"""What stands in the cookie that says which visitor a browser is: an id, and where everybody is admitted a signature.

Where everybody is admitted each visitor has a guest's quotas, so an id that a client has made up is no visitor's.
Elsewhere an id alone is taken, as of earlier versions.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import threading
from functools import cached_property
from pathlib import Path

from studio.web.private_file import write_private

logger = logging.getLogger(__name__)

NAME = ".cookie-key"
_VALUE = re.compile(r"([0-9a-f]{32})(?:\.([0-9a-f]{64}))?")
_KEY = re.compile(r"[0-9a-f]{64}")


class VisitorCookie:
    """Writes and reads the cookie's value. Safe from any thread."""

    def __init__(self, folder: Path | None = None, *, signed: bool = False) -> None:
        """`folder` is the outputs folder, where the key of the signatures is remembered in a file that only this
        account can read; None: it is known until the end of this process. `signed`: only what is signed is taken."""
        self._path = folder / NAME if folder is not None else None
        self._signed = signed
        self._lock = threading.Lock()

    def value(self, person: str) -> str:
        """The cookie's value for a visitor's id of 32 hexadecimal digits."""
        return f"{person}.{self._signature(person)}" if self._signed else person

    def person(self, value: str) -> str:
        """The visitor's id; "" for a value that this studio has not written."""
        match = _VALUE.fullmatch(value)
        if match is None:
            return ""
        if self._signed and not hmac.compare_digest(match[2] or "", self._signature(match[1])):
            return ""
        return match[1]

    @staticmethod
    def unsigned_person(value: str) -> str:
        """The visitor's id, signed or not, for a browser that has shown another right to enter; "" for none."""
        match = _VALUE.fullmatch(value)
        return match[1] if match is not None else ""

    def _signature(self, person: str) -> str:
        with self._lock:
            key = self._key
        return hmac.new(key, person.encode("ascii"), hashlib.sha256).hexdigest()

    @cached_property
    def _key(self) -> bytes:
        try:
            text = self._path.read_text(encoding="ascii").strip() if self._path is not None else ""
        except (OSError, ValueError):
            text = ""
        if not _KEY.fullmatch(text):
            text = secrets.token_hex(32)
            self._write(text)
        return bytes.fromhex(text)

    def _write(self, text: str) -> None:
        if self._path is None:
            return
        try:
            write_private(self._path, text + "\n")
        except OSError as error:
            logger.warning("The key of visitors' cookies cannot be written down (%s): known until the end.", error)
