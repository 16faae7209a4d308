"""Looks at finished pictures with Stable Diffusion's safety checker, which is loaded when it is first needed."""

from __future__ import annotations

from PIL import Image

from studio.checkpoints.catalog import Entry
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.manager import ModelManager
from studio.checkpoints.safety_checker_file import load_safety_checker
from studio.engine import failures
from studio.engine.device import Device


class Safety:
    """Used from the engine's thread alone. The manager counts the checker's memory like a ControlNet's."""

    def __init__(self, manager: ModelManager, device: Device) -> None:
        self._manager = manager
        self._device = device

    def flags(self, picture: Image.Image) -> bool:
        """Whether the checker flags a picture. Raises BadCheckpoint where there is no checker that can be read: nothing
        is shown that was not looked at."""
        checker = self._entry() or self._entry(refresh=True)
        if checker is None:
            raise BadCheckpoint(failures.NO_SAFETY_CHECKER)
        device = self._device.torch_device
        return self._manager.module(checker, lambda: load_safety_checker(checker.path, device)).flags(picture)

    def _entry(self, *, refresh: bool = False) -> Entry | None:
        entries = self._manager.catalog.entries(refresh=refresh)
        return next((e for e in entries if e.facts.kind == "safety_checker" and e.facts.state == "usable"), None)
