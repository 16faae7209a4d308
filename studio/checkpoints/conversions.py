"""Pickles that wait to become safetensors files: one thread, one at a time; what became of each. No torch.

How it is done safely is `studio.checkpoints.convert`'s.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from studio.answered.engine import Refused
from studio.answered.models import Conversion
from studio.asked.messages import Message
from studio.checkpoints.catalog import Entry
from studio.checkpoints.convert import convert
from studio.checkpoints.inspect import BadCheckpoint

logger = logging.getLogger(__name__)


def target_of(source: Path) -> Path:
    """Where the safetensors file of a pickle goes: beside it. A pickle that says it is one already keeps its name."""
    stem = f"{source.stem}-converted" if source.suffix.lower() == ".safetensors" else source.stem
    return source.with_name(f"{stem}.safetensors")


class Conversions:
    """What was asked for since the start. Safe for several threads."""

    def __init__(self, on_arrival: Callable[[], object] = lambda: None, convert: Callable[..., Path] = convert) -> None:
        """`on_arrival` is called when a new file is there; `convert` for tests."""
        self._on_arrival = on_arrival
        self._convert = convert
        self._condition = threading.Condition()
        self._all: dict[str, Conversion] = {}
        self._queue: list[Entry] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, entry: Entry) -> None:
        """Convert this file when those before it are done. Raises Refused while it is on its way or done already."""
        with self._condition:
            before = self._all.pop(entry.id, None)
            if before is not None and before.state in ("waiting", "running"):
                self._all[entry.id] = before
                raise Refused(Message("{file} is being converted already.", file=entry.path.name))
            self._all[entry.id] = Conversion(id=entry.id, name=entry.path.name, state="waiting")
            self._queue.append(entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="model-convert", daemon=True)
                self._thread.start()
            self._condition.notify_all()

    def newest_first(self) -> tuple[Conversion, ...]:
        """See `studio.answered.models.Models.conversions`."""
        with self._condition:
            return tuple(reversed(self._all.values()))

    def close(self) -> None:
        """End the one that runs, and begin no other."""
        self._stop.set()
        with self._condition:
            self._condition.notify_all()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._queue and not self._stop.is_set():
                    self._condition.wait()
                if self._stop.is_set():
                    return
                entry = self._queue.pop(0)
            self._tell(entry, state="running")
            target = target_of(entry.path)
            try:
                self._convert(
                    entry.path,
                    target,
                    progress=lambda fraction, entry=entry: self._tell(entry, fraction=fraction),
                    stop=self._stop,
                )
            except BadCheckpoint as error:
                self._tell(entry, state="failed", fraction=None, message=str(error))
            except Exception:
                logger.exception("A conversion failed")
                reason = Message("The conversion failed inside the studio; its log has the details.")
                self._tell(entry, state="failed", fraction=None, message=reason)
            else:
                self._tell(
                    entry, state="done", fraction=1.0, message=Message("{target} lies beside it.", target=target.name)
                )
                self._on_arrival()

    def _tell(self, entry: Entry, **changes: object) -> None:
        with self._condition:
            self._all[entry.id] = replace(self._all[entry.id], **changes)  # type: ignore[arg-type]
