"""What the worker needs of the engine around it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from studio.diffusion.components import Components
from studio.engine.jobs import JobBook
from studio.engine.pace import Paces
from studio.engine.viewer.inquiries import Inquiries
from studio.engine.viewer.recorder import Recorder
from studio.picture.gallery import Gallery


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Where jobs and questions come from and where what is made goes to."""

    book: JobBook
    gallery: Gallery
    recorder: Recorder
    inquiries: Inquiries
    paces: Paces
    exact: bool  # every lane has calls of its own
    versions: dict[str, str]
    closing: threading.Event
    tokenizer_lock: threading.Lock  # the tokenizers library refuses to be borrowed twice
    loading: Callable[[str, str, float], None]  # checkpoint, message, fraction
    on_load: Callable[[Components | None], None]  # what is on the device now
