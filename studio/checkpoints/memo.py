"""Small JSON files that remember: what was listed, hashed, noted and corrected. Written whole or not at all.

A studio that may not write beside its models remembers in memory alone; one that finds a damaged file begins anew, and
one that finds the file of a newer version leaves it as it is.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

FOLDER = ".latent-studio"  # in the first models folder; the walk passes over names that begin with a dot


class Memo:
    """A table of JSON values by text, kept in one file. Safe for several threads."""

    def __init__(self, file: Path | None, version: int = 1) -> None:
        """`file` None: in memory alone. A file of an older `version` is not read and is replaced by the first write;
        one of a newer version is neither read nor written."""
        self._file = file
        self._version = version
        self._lock = threading.Lock()
        self._values: dict[str, Any] = self._read()
        self._has_warned = False

    def _read(self) -> dict[str, Any]:
        file = self._file
        if file is None:
            return {}
        try:
            values = json.loads(file.read_bytes())
            if values["version"] > self._version:
                logger.warning("%s is of a newer version of the studio, and is left as it is", file.name)
                self._file = None
                return {}
            fits = values["version"] == self._version and isinstance(values["values"], dict)
            return dict(values["values"]) if fits else {}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            logger.warning("%s cannot be read; what it remembered is found out anew", file.name)
            return {}

    def get(self, key: str) -> Any:
        """The value, None when there is none."""
        with self._lock:
            return self._values.get(key)

    def update(self, values: dict[str, Any], *, drop: frozenset[str] = frozenset()) -> None:
        """Take values in (None deletes), let keys go, and write the file if that has changed anything."""
        with self._lock:
            new = {k: v for k, v in {**self._values, **values}.items() if v is not None and k not in drop}
            if new == self._values:
                return
            self._values = new
            self._write()

    def keys(self) -> frozenset[str]:
        """All there are."""
        with self._lock:
            return frozenset(self._values)

    def _write(self) -> None:
        if self._file is None:
            return
        temporary = None
        try:
            self._file.parent.mkdir(exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._file.parent, prefix=self._file.name)
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                json.dump({"version": self._version, "values": self._values}, out)
            os.replace(temporary, self._file)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            if not self._has_warned:
                self._has_warned = True
                logger.warning("%s cannot be written (%s); it is remembered until the end", self._file.name, error)
